"""Run a recipe: data, model, phases, verdict, export; and go on where a killed run stopped."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import pathlib
import time
from typing import TYPE_CHECKING, Any, Iterator

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.files import atomic_path, explain_write_errors, read_json, write_json
from leukemia_tf.recipes.colour import colour_layer, fit_colour, model_input, training_input, with_colour
from leukemia_tf.recipes.fitting import (
    SWITCH,
    check_estimator,
    check_network,
    fit_estimator,
    fit_network,
    is_network,
)
from leukemia_tf.recipes.prepare import prepare_table
from leukemia_tf.recipes.recipe import Recipe
from leukemia_tf.recipes.run import ESTIMATOR_FILE, KERAS_FILE, Run
from leukemia_tf.recipes.teacher import check_teacher, open_teacher, write_agreement
from leukemia_tf.training.workers import explain_lost_worker, folder_to_write, this_worker

if TYPE_CHECKING:
    import keras
    import numpy as np

log = logging.getLogger(__name__)

_MAY_CHANGE = {"minutes", "tensorboard"}
"""Fields that a resumed command may give another value."""


def train_recipe(recipe: Recipe, run_dir: str | os.PathLike, *, progress: bool = True, command: str = "") -> Run | None:
    """Train `recipe` in `run_dir` and write the verdict and the exports there.

    The same call again goes on where the last one stopped; a finished run is returned as it is.

    Args:
        recipe: with its overrides applied; see `leukemia_tf.recipes.override` and `for_source`.
        run_dir: a new folder, or one that this recipe began.
        progress: show progress on standard error.
        command: the command line, for the report.

    Returns:
        The run; None in a worker that is not the chief, and leaves nothing (see `leukemia_tf.training.workers`).

    Raises:
        InputError: for bad data, or a `run_dir` of another recipe.
        RunError: if training or an export fails, or the folder cannot be written.
    """
    recipe = check_teacher(recipe)
    worker = this_worker(recipe.strategy)
    with folder_to_write(worker, run_dir) as folder:
        run = _open_run(recipe, folder)
        if run.finished:
            log.info("`%s` is finished; nothing is trained again", run_dir)
        else:
            with _Notices(run.info.get("notices", [])) as notices, explain_lost_worker(worker):
                _train(recipe, run, notices, progress and worker.is_chief, command)
    return run if worker.is_chief else None


def _train(recipe: Recipe, run: Run, notices: _Notices, progress: bool, command: str) -> None:
    began = time.monotonic()
    from leukemia_tf.data import PixelReader, load_pixels
    from leukemia_tf.recipes.environment import describe_environment, peak_memory_mb
    from leukemia_tf.recipes.export import write_saved_model
    from leukemia_tf.recipes.grouping import group_columns
    from leukemia_tf.recipes.report import write_run_report
    from leukemia_tf.recipes.scoring import training_sample
    from leukemia_tf.recipes.verdict import write_verdict
    from leukemia_tf.training import Strategy, TimeBudget, set_determinism
    from leukemia_tf.training.callbacks.resume_state import read_state, weights_fingerprint

    budget = TimeBudget(recipe.minutes) if recipe.minutes else None
    network = is_network(recipe)
    if not network:
        check_estimator(recipe)
    strategy = Strategy(recipe.strategy)  # several processes meet before anything else of TensorFlow's is made

    # ---- data -----------------------------------------------------------------------------------------------------
    manifest, table = prepare_table(recipe, run, progress)
    write_json(run.path / "environment.json", describe_environment(command=command))
    parts = {split: table[table["split"] == split] for split in ("train", "val", "test")}
    group_columns(recipe.verdict, table[table["split"] != ""])  # raises for a column that is not there
    size = recipe.data.image_size
    teacher = open_teacher(recipe, run, manifest, table, progress=progress, command=command)
    if teacher and budget and budget.seconds_left <= 0:
        raise RunError("the time budget ended with the teacher's training; the same command goes on with the student")

    # ---- model ----------------------------------------------------------------------------------------------------
    set_determinism(recipe.seed, ops=SWITCH[recipe.deterministic])
    # A teacher of larger images sees them as they are, and the student's are made of them.
    sizes = {split: max(size, teacher.image_size) if teacher and split == "train" else size for split in parts}
    # Only what looks at all images before the first step has to wait for them.
    waits = not network or teacher is not None or recipe.data.colour != "none"
    with _precision(recipe.precision):
        with strategy.scope():
            model = build(recipe, len(manifest.classes), synthetic=manifest.synthetic)
        if network:
            strategy.prepare(model)
            check_network(model, recipe)
        with PixelReader(manifest, parts, sizes, progress=progress and waits) as reader:

            def read_all() -> dict[str, np.ndarray]:
                arrays = reader.all()
                if run.reading:
                    run.update_info(status="training")
                return arrays

            pixels = read_all() if waits else {split: reader[split] for split in parts}
            colour = run.info.get("colour") or fit_colour(recipe.data.colour, pixels["train"])
            run.update_info(colour=colour)
            pixels = {split: model_input(part, colour) for split, part in pixels.items()}
            for split in ("train", "val"):
                pixels[split] = training_input(pixels[split], colour, progress=progress)

            # ---- training -----------------------------------------------------------------------------------------
            if strategy.worker.count > 1:
                strategy.check_batch(min(recipe.data.batch_size, len(parts["train"])))
                state = read_state(run.path / "checkpoints" / "state.npz") or {}
                done = [state.get("phase"), state.get("epoch")]
                strategy.check_agreement(f"{run.info['split_hash']} {weights_fingerprint(model)} {done}")
            if network:
                asked = teacher.model if teacher else None
                with strategy.scope():
                    history = fit_network(
                        model, recipe, run, manifest, parts, pixels, budget, progress, asked, read_all=read_all
                    )
                if not strategy.worker.is_chief:
                    strategy.check_agreement("done")  # while one is gone, TensorFlow lets the others do nothing
                    return
                model = strategy.gather(model)
                if not waits:
                    pixels = read_all()
            else:
                history = fit_estimator(model, recipe, manifest, parts, pixels)
        complete = history.attrs.get("complete", True)

        # ---- verdict, export --------------------------------------------------------------------------------------
        sample = training_sample(parts["train"], recipe.seed)
        parts["train"], pixels["train"] = parts["train"].iloc[sample], pixels["train"][sample]
        for split in ("train", "val"):
            # What it was trained on went through the layer that the saved model begins with, or is of a teacher's size.
            if colour_layer(colour) is not None or pixels[split].shape[1] != size:
                pixels[split] = model_input(load_pixels(manifest, parts[split], size, progress=progress), colour)
        if network:
            model = with_colour(model, colour)
        _save_model(model, run)
        write_verdict(run, model, manifest, parts, pixels)
        run.update_info(notices=notices.lines)
        if teacher:
            write_agreement(teacher, run, manifest, parts["test"], pixels["test"], progress=progress)
        write_run_report(run)
        if network:
            write_saved_model(run, model, run.path / "saved_model")
    strategy.check_agreement("done")

    run.update_info(
        status="finished" if complete else "stopped by the time budget",
        seconds=round(run.info.get("seconds", 0.0) + time.monotonic() - began, 1),
        peak_memory_mb=peak_memory_mb(),
    )
    if not complete:
        log.warning("The time budget ended training early: these are the figures so far; the same command goes on.")


def for_source(recipe: Recipe, source: str | None, *, smoke: bool = False) -> Recipe:
    """The recipe for `source` (None: its own), with the overrides for the sample and for a smoke test applied."""
    from leukemia_tf.recipes.overrides import override
    from leukemia_tf.recipes.registry import get_recipe

    if source is not None:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=source))
    if recipe.data.source == "sample":
        recipe = override(recipe, recipe.on_sample)
    if not smoke:
        return recipe
    recipe = override(recipe, recipe.on_smoke)
    if recipe.distillation and recipe.distillation.teacher_recipe:
        small = get_recipe(recipe.distillation.teacher_recipe).on_smoke
        recipe = override(recipe, {"distillation.teacher_changes": {**small, **recipe.distillation.teacher_changes}})
    return recipe


def build(recipe: Recipe, num_classes: int, *, synthetic: bool = False) -> keras.Model:
    """The untrained model of `recipe`.

    Args:
        recipe: its model's name, options and weights, and the image size.
        num_classes: as many as the data has.
        synthetic: without network, go on with random weights where ImageNet's are missing, instead of an error.

    Raises:
        InputError: for an option that the builder does not take, or weights that are missing.
    """
    from leukemia_tf.models import build_model, describe_model

    takes = describe_model(recipe.model.builder)["options"]
    options = dict(recipe.model.options)
    if "weights" in takes:
        options["weights"] = recipe.model.weights
    elif recipe.model.weights != "none":
        raise InputError(
            f"`model.weights` is 'none' for `{recipe.model.builder}`, which loads no weights. "
            f"Received: {recipe.model.weights!r}"
        )
    if "on_missing_weights" in takes:
        options["on_missing_weights"] = "random" if synthetic else "error"
    return build_model(recipe.model.builder, num_classes=num_classes, image_size=recipe.data.image_size, **options)


def _open_run(recipe: Recipe, path: pathlib.Path) -> Run:
    """Begin a run's folder, or check that it holds this recipe."""
    wanted = recipe.to_dict()
    file = path / "recipe.json"
    # Until its images were read a run holds nothing that another recipe, such as one with --skip-broken, could spoil.
    begun = file.exists() and (path / "run.json").exists()
    if not begun or Run(path).reading:
        of_run = {"recipe.json", "table.csv", "split.csv"}
        if not begun and path.is_dir() and {item.name for item in path.iterdir()} - of_run:
            raise InputError(
                f"`run_dir` is a new or empty folder, or one of a run. Received: {path} (holds other files)"
            )
        if begun:
            with explain_write_errors(path):
                (path / "run.json").unlink()  # what it says was of the other recipe, or is found out anew
        write_json(file, wanted)
        return Run(path)
    differences = recipe_differences(read_json(file), recipe)
    if differences:
        raise InputError(
            f"`{path}` is a run of another recipe: {'; '.join(differences)}. Give that command or another --run-dir."
        )
    return Run(path)


def recipe_differences(stored: dict[str, Any], recipe: Recipe) -> list[str]:
    """What a stored recipe has otherwise, but for what a resumed command may change; one phrase each."""
    # Through the dataclass, so that a field which the version that wrote the file lacked has its default.
    there = Recipe.from_dict(stored).to_dict()
    differences = {
        name: f"{name} is {old!r} there and {new!r} here"
        for name, old, new in _differences(there, recipe.to_dict())
        if name.split(".")[0] not in _MAY_CHANGE
    }
    # Of another recipe nearly everything differs, and its name says it all.
    return [differences["name"]] if "name" in differences else list(differences.values())


def _differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f"{name}.{index}")
    elif old != new:
        yield name, old, new


def _save_model(model: Any, run: Run) -> None:
    if hasattr(model, "predict_proba"):
        with atomic_path(run.path / ESTIMATOR_FILE) as temporary:
            model.save(temporary)
        return
    from leukemia_tf.models import uncompiled

    with atomic_path(run.path / KERAS_FILE) as temporary:
        uncompiled(model).save(temporary)


class _Notices(logging.Handler):
    """Collect what was warned of, because a reader of the report must know it as well."""

    def __init__(self, lines: list[str]):
        super().__init__(logging.WARNING)
        self.lines = list(lines)

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self.lines:
            self.lines.append(line)

    def __enter__(self) -> _Notices:
        logging.getLogger("leukemia_tf").addHandler(self)
        return self

    def __exit__(self, *_) -> None:
        logging.getLogger("leukemia_tf").removeHandler(self)


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    """Set Keras's dtype policy, and set it back."""
    import keras

    before = keras.config.dtype_policy()
    if name != "float32" and keras.backend.backend() not in ("tensorflow", "jax"):
        raise RunError(f"`precision` {name!r} needs the TensorFlow or JAX backend")
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
