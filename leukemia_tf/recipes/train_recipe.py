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
from leukemia_tf.files import atomic_path, read_json, write_json
from leukemia_tf.recipes.recipe import Recipe
from leukemia_tf.recipes.run import ESTIMATOR_FILE, KERAS_FILE, RESEARCH_USE, Run

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

    from leukemia_tf.data import Manifest
    from leukemia_tf.training import TimeBudget

log = logging.getLogger(__name__)

_SWITCH = {"auto": "auto", "on": True, "off": False}
_MAY_CHANGE = {"minutes", "tensorboard"}
"""Fields that a resumed command may give another value."""


def train_recipe(recipe: Recipe, run_dir: str | os.PathLike, *, progress: bool = True, command: str = "") -> Run:
    """Train `recipe` in `run_dir` and write the verdict and the exports there.

    The same call again goes on where the last one stopped; a finished run is returned as it is.

    Args:
        recipe: with its overrides applied; see `leukemia_tf.recipes.override` and `for_source`.
        run_dir: a new folder, or one that this recipe began.
        progress: show progress on standard error.
        command: the command line, for the report.

    Raises:
        InputError: for bad data, or a `run_dir` of another recipe.
        RunError: if training or an export fails, or the folder cannot be written.
    """
    run = _open_run(recipe, pathlib.Path(run_dir))
    if run.finished:
        log.info("`%s` is finished; nothing is trained again", run.path)
        return run
    with _Notices(run.info.get("notices", [])) as notices:
        _train(recipe, run, notices, progress, command)
    return run


def _train(recipe: Recipe, run: Run, notices: _Notices, progress: bool, command: str) -> None:
    began = time.monotonic()
    from leukemia_tf.data import load_pixels
    from leukemia_tf.models import describe_model
    from leukemia_tf.recipes.environment import describe_environment, peak_memory_mb
    from leukemia_tf.recipes.verdict import write_verdict
    from leukemia_tf.training import TimeBudget, set_determinism

    budget = TimeBudget(recipe.minutes) if recipe.minutes else None
    by_gradients = describe_model(recipe.model.builder)["kind"] == "keras"
    if not by_gradients:
        _check_estimator(recipe)

    # ---- data -----------------------------------------------------------------------------------------------------
    manifest, table = _data(recipe, run, progress)
    write_json(run.path / "environment.json", describe_environment(command=command))
    parts = {split: table[table["split"] == split] for split in ("train", "val", "test")}
    size = recipe.data.image_size

    # ---- model ----------------------------------------------------------------------------------------------------
    set_determinism(recipe.seed, ops=_SWITCH[recipe.deterministic])
    with _precision(recipe.precision):
        model = build(recipe, len(manifest.classes), synthetic=manifest.synthetic)
        pixels = {split: load_pixels(manifest, part, size, progress=progress) for split, part in parts.items()}

        # ---- training ---------------------------------------------------------------------------------------------
        if by_gradients:
            history = _fit(model, recipe, run, manifest, parts, pixels, budget, progress)
        else:
            history = _fit_estimator(model, recipe, manifest, parts, pixels)
        complete = history.attrs.get("complete", True)

        # ---- verdict, export --------------------------------------------------------------------------------------
        _save_model(model, run)
        run.update_info(notices=notices.lines)
        write_verdict(run, model, manifest, table, parts["test"], pixels["test"], history)
        if by_gradients:
            _export(model, run, manifest, size)

    run.update_info(
        status="finished" if complete else "stopped by the time budget",
        seconds=round(run.info.get("seconds", 0.0) + time.monotonic() - began, 1),
        peak_memory_mb=peak_memory_mb(),
    )
    if not complete:
        log.warning("The time budget ended training early: these are the figures so far; the same command goes on.")


def _fit(
    model: keras.Model,
    recipe: Recipe,
    run: Run,
    manifest: Manifest,
    parts: dict[str, pd.DataFrame],
    pixels: dict[str, np.ndarray],
    budget: TimeBudget | None,
    progress: bool,
) -> pd.DataFrame:
    """Train a Keras model through the phases and return its history, one row an epoch."""
    from leukemia_tf.data import class_weights, make_pipeline, steps_per_epoch
    from leukemia_tf.training import fit_phases, make_loss

    data, outputs = recipe.data, model.output_shape[-1]
    common = {
        "manifest": manifest,
        "image_size": data.image_size,
        "batch_size": data.batch_size,
        "labels": "binary" if outputs == 1 else "categorical",
    }
    balance = "oversample" if data.balance == "oversample" else "none"

    def batches(first_epoch: int):
        return make_pipeline(
            parts["train"],
            policy=data.policy,
            training=True,
            seed=recipe.seed,
            first_epoch=first_epoch,
            balance=balance,
            pixels=pixels["train"],
            **common,
        )

    return fit_phases(
        model,
        batches,
        # Its last batch may be smaller, which XLA compiles once more in each phase. Filling it up would need weights
        # of 0 in the loss, in every metric, and then in those of training too, where class weights would enter them.
        make_pipeline(parts["val"], pixels=pixels["val"], **common),
        recipe.phases,
        run.path,
        loss=make_loss(recipe.loss, recipe.loss_config, outputs=outputs),
        monitor=recipe.monitor,
        mode=recipe.mode,
        class_weight=class_weights(parts["train"], manifest.classes) if data.balance == "class_weight" else None,
        steps_per_epoch=steps_per_epoch(parts["train"], data.batch_size, training=True, balance=balance),
        seed=recipe.seed,
        jit_compile=_SWITCH[recipe.jit_compile],
        callbacks=[budget] if budget else [],
        tensorboard=recipe.tensorboard,
        progress=progress,
    )


def _fit_estimator(
    model: Any,
    recipe: Recipe,
    manifest: Manifest,
    parts: dict[str, pd.DataFrame],
    pixels: dict[str, np.ndarray],
) -> pd.DataFrame:
    """Fit a scikit-learn model; there are no epochs, so the history is empty."""
    import pandas as pd

    from leukemia_tf.data.balance import label_indices

    labels = {split: label_indices(parts[split], manifest.classes) for split in ("train", "val")}
    log.info(
        "fitting `%s` to %s images; there are no epochs to show", recipe.model.builder, f"{len(labels['train']):,}"
    )
    began = time.monotonic()
    model.fit(pixels["train"], labels["train"], pixels["val"], labels["val"], seed=recipe.seed)
    log.info("fitted in %.1f s", time.monotonic() - began)
    return pd.DataFrame()


def _check_estimator(recipe: Recipe) -> None:
    """Refuse what has no meaning for a model that is fitted in one go, instead of passing over it."""
    given = {
        "phases": recipe.phases,
        "loss": recipe.loss if recipe.loss != "auto" else "",
        "minutes": recipe.minutes,
        "precision": recipe.precision if recipe.precision != "float32" else "",
        "data.balance": recipe.data.balance if recipe.data.balance != "none" else "",
    }
    wrong = {name: value for name, value in given.items() if value}
    if wrong:
        values = ", ".join(f"{len(value)} phases" if name == "phases" else str(value) for name, value in wrong.items())
        raise InputError(
            f"`{recipe.model.builder}` is fitted in one go, without {', '.join(wrong)}. Received: {values}"
        )


def for_source(recipe: Recipe, source: str | None, *, smoke: bool = False) -> Recipe:
    """The recipe for `source` (None: its own), with the overrides for the sample and for a smoke test applied."""
    from leukemia_tf.recipes.overrides import override

    if source is not None:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, source=source))
    if recipe.data.source == "sample":
        recipe = override(recipe, recipe.on_sample)
    return override(recipe, recipe.on_smoke) if smoke else recipe


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
    # Until its data was read a run holds nothing that another recipe, such as one with --skip-broken, could spoil.
    if not file.exists() or not (path / "run.json").exists():
        if path.is_dir() and {item.name for item in path.iterdir()} - {"recipe.json"}:
            raise InputError(
                f"`run_dir` is a new or empty folder, or one of a run. Received: {path} (holds other files)"
            )
        write_json(file, wanted)
        return Run(path)
    # Through the dataclass, so that a field which the version that wrote the file lacked has its default.
    there = Recipe.from_dict(read_json(file)).to_dict()
    differences = [
        f"{name} is {old!r} there and {new!r} here"
        for name, old, new in _differences(there, wanted)
        if name.split(".")[0] not in _MAY_CHANGE
    ]
    if differences:
        raise InputError(
            f"`{path}` is a run of another recipe: {'; '.join(differences)}. Give that command or another --run-dir."
        )
    return Run(path)


def _differences(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f"{name}.{index}")
    elif old != new:
        yield name, old, new


def _data(recipe: Recipe, run: Run, progress: bool) -> tuple[Manifest, pd.DataFrame]:
    """The table with its split: from the run's own ``table.csv`` where there is one, else from the images."""
    from leukemia_tf.data import assert_disjoint, open_data, scan_table, split_hash, split_table
    from leukemia_tf.data.table_file import read_table, write_table

    data = recipe.data
    manifest, table = open_data(data.source, skip_broken=data.skip_broken)
    if manifest.synthetic:
        log.info(
            "SYNTHETIC DATA: `%s` is rendered, not photographed; its figures say nothing of patients.", data.source
        )
    stored = run.path / "table.csv"
    if stored.exists():
        before = read_table(stored)
        missing = sorted(set(before["path"]) - set(table["path"]))
        if missing:
            raise InputError(
                f"`{data.source}` lacks {len(missing)} images that this run began with, such as {missing[0]}. "
                "Bring them back, or begin a new run."
            )
        table = before
    else:
        table = scan_table(manifest, table, skip_broken=data.skip_broken, progress=progress)
        skipped = table.attrs.get("skipped", [])
        table = split_table(table, fractions=data.fractions, seed=recipe.seed)
        level = table.attrs["split_level"]
        digest = split_hash(table)
        for split, most in (("train", data.max_train_images), ("val", data.max_val_images)):
            table = _subset(table, split, most, recipe.seed)
        write_table(stored, table)
        run.update_info(
            status="training",
            classes=list(manifest.classes),
            image_size=data.image_size,
            threshold=recipe.threshold,
            manifest=manifest.to_dict(),
            split_level=level,
            split_hash=digest,
            skipped=skipped,
            research_use=RESEARCH_USE,
        )
    assert_disjoint(table, level=run.info["split_level"])
    return manifest, table


def _subset(table: pd.DataFrame, split: str, most: int, seed: int) -> pd.DataFrame:
    """Keep a stratified choice of `most` rows of a split; the others belong to no split."""
    rows = table.index[table["split"] == split]
    if not most or len(rows) <= most:
        return table
    from sklearn.model_selection import train_test_split

    classes = table["label"].nunique()
    if most < classes:
        raise InputError(f"`data.max_{split}_images` is at least the number of classes, {classes}. Received: {most}")
    kept, _ = train_test_split(rows, train_size=most, random_state=seed, stratify=table.loc[rows, "label"])
    table = table.copy()
    table.loc[rows.difference(kept), "split"] = ""
    log.warning("only %d of %d %s images are used, a stratified choice", most, len(rows), split)
    return table


def _save_model(model: Any, run: Run) -> None:
    if hasattr(model, "predict_proba"):
        with atomic_path(run.path / ESTIMATOR_FILE) as temporary:
            model.save(temporary)
        return
    from leukemia_tf.models import uncompiled

    with atomic_path(run.path / KERAS_FILE) as temporary:
        uncompiled(model).save(temporary)


def _export(model: keras.Model, run: Run, manifest: Manifest, size: int) -> None:
    from leukemia_tf.export import export_saved_model

    export_saved_model(
        model,
        run.path / "saved_model",
        classes=manifest.classes,
        image_size=size,
        notice=RESEARCH_USE,
    )


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
