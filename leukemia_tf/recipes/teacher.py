"""The teacher of a run: found or trained, checked, loaded, and compared with its student."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.files import write_json
from leukemia_tf.recipes.colour import NONE, model_input
from leukemia_tf.recipes.recipe import Recipe
from leukemia_tf.recipes.run import KERAS_FILE, Run
from leukemia_tf.training.distillation.settings import Distillation

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

    from leukemia_tf.data import Manifest

log = logging.getLogger(__name__)

FOLDER = "teacher"
"""Of the run: where a teacher is trained that was not given."""

AGREEMENT_FILE, PREDICTIONS_FILE = "agreement.json", "predictions_teacher.csv"


@dataclass(frozen=True)
class Teacher:
    """A trained run that teaches, its network, and the side of its images in pixels."""

    run: Run
    model: keras.Model
    image_size: int


def taught_by(recipe: Recipe, teacher: str | os.PathLike) -> Recipe:
    """`recipe` with the run `teacher` as its teacher; one that had none learns half from labels, half from logits."""
    settings = recipe.distillation or Distillation()
    return dataclasses.replace(recipe, distillation=dataclasses.replace(settings, teacher=os.fspath(teacher)))


def needs_teacher(recipe: Recipe) -> bool:
    """Whether any term of its loss asks a teacher."""
    return recipe.distillation is not None and bool(recipe.distillation.used)


def check_teacher(recipe: Recipe) -> Recipe:
    """Look for the teacher before anything is read; says in one line which it is.

    Returns:
        The recipe, with the teacher's split where it has the same data set and no split of its own: what the teacher
        was trained on must not test the student.

    Raises:
        InputError: if there is no teacher, or none that can teach.
    """
    if not needs_teacher(recipe):
        return recipe
    settings = recipe.distillation
    if recipe.strategy != "none":
        raise InputError(f"`strategy` is 'none' where a teacher is asked in training. Received: {recipe.strategy!r}")
    if not settings.teacher:
        if not settings.teacher_recipe:
            raise InputError("`--teacher` (distillation.teacher) is the folder of a finished run. Received: none")
        log.info(
            "teacher: none given (--teacher RUN), so `%s` is trained first, in the folder `%s` of the run",
            settings.teacher_recipe,
            FOLDER,
        )
        return recipe
    run = _finished(settings.teacher)
    log.info("teacher: `%s` in `%s`; loss: %s", run.recipe.model.builder, run.path, settings.describe())
    data, source = recipe.data, run.recipe.data.source
    free = not data.split_file and not data.groups_file and data.split_level == "auto"
    if free and _same_source(source, data.source) and (run.path / "split.csv").exists():
        log.info("the split is that of the teacher, so that nothing it was trained on tests its student")
        data = dataclasses.replace(data, split_file=str(run.path / "split.csv"))
    return dataclasses.replace(recipe, data=data)


def open_teacher(
    recipe: Recipe, run: Run, manifest: Manifest, table: pd.DataFrame, *, progress: bool, command: str
) -> Teacher | None:
    """The teacher of a run, trained first where none is given; None where no term asks one.

    Args:
        recipe, run: of the student, whose data has been read.
        manifest, table: of the student's data.
        progress, command: as for `train_recipe`.

    Raises:
        InputError: if its classes or colours differ from the student's, or it was trained on the student's test images.
        RunError: if the time budget ended its training.
    """
    if not needs_teacher(recipe):
        return None
    given = bool(recipe.distillation.teacher)
    teacher = _finished(recipe.distillation.teacher) if given else _train_first(recipe, run, progress, command)
    if teacher.classes != list(manifest.classes):
        raise InputError(
            f"`teacher` has the classes of the data, {', '.join(manifest.classes)}, in this order. "
            f"Received: {teacher.path} with {', '.join(teacher.classes)}"
        )
    colours = recipe.data.colour, teacher.recipe.data.colour
    if "clahe" in colours and len(set(colours)) > 1 or recipe.data.colour not in ("none", "clahe"):
        raise InputError(
            "`data.colour` of a student is 'none', because a teacher brings its own inside; but 'clahe', which is no "
            f"part of a model, where the teacher has it. Received: {colours[0]!r}, and {colours[1]!r} for the teacher"
        )
    if given:
        _check_leak(recipe, run, teacher, table)
    run.update_info(teacher={"run": str(teacher.path), "recipe": teacher.recipe.name})
    return Teacher(teacher, teacher.model, int(teacher.info["image_size"]))


def write_agreement(
    teacher: Teacher, run: Run, manifest: Manifest, test: pd.DataFrame, pixels: np.ndarray, *, progress: bool
) -> dict[str, Any]:
    """Ask the teacher about the test images, and write its answers and how far the student agrees.

    Into ``predictions_teacher.csv`` and ``agreement.json``.

    Args:
        teacher, run, manifest: as above; the run has its ``predictions.csv``.
        test: rows of the test split.
        pixels: of `test`, in the student's size.
        progress: show progress on standard error.
    """
    from leukemia_tf.data import load_pixels
    from leukemia_tf.evaluation.predictions import plain_columns, write_predictions
    from leukemia_tf.recipes.predicting import predict_table

    if teacher.image_size != pixels.shape[1]:
        pixels = load_pixels(manifest, test, teacher.image_size, progress=progress)
        pixels = model_input(pixels, teacher.run.info.get("colour", NONE))
    recipe, classes = run.recipe, list(manifest.classes)
    found = predict_table(
        teacher.model,
        manifest,
        test,
        pixels,
        image_size=teacher.image_size,
        batch_size=recipe.data.batch_size,
    )
    # As the teacher's own run decides: calibrated, at its operating point.
    asked = teacher.run.decision.apply(test, found)[plain_columns(classes)]
    write_predictions(run.path / PREDICTIONS_FILE, asked)
    agreement = compute_agreement(run)
    write_json(run.path / AGREEMENT_FILE, agreement)
    return agreement


def compute_agreement(run: Run) -> dict[str, Any]:
    """The contents of ``agreement.json``, from the predictions of both that lie in the student's folder."""
    from leukemia_tf.evaluation import measure_agreement, read_predictions

    said, classes = read_predictions(run.path / "predictions.csv")
    asked, _ = read_predictions(run.path / PREDICTIONS_FILE)
    return measure_agreement(said, asked, classes, bootstrap=run.recipe.bootstrap, seed=run.recipe.seed)


def _finished(path: str) -> Run:
    """The run, if it can teach."""
    try:
        run = Run(path)
    except InputError:
        what = "a folder without a run" if pathlib.Path(path).is_dir() else "no such folder"
        raise InputError(f"`teacher` is the folder of a finished run. Received: {path} ({what})") from None
    if not run.finished:
        raise InputError(
            f"`teacher` is the folder of a finished run. Received: {path} ({run.info.get('status', 'just begun')}; its "
            "own command goes on with it)"
        )
    if run.model_path.name != KERAS_FILE:
        raise InputError(
            f"`teacher` is a run of a network, with a {KERAS_FILE}. Received: {path} (`{run.recipe.name}`, an "
            "estimator of scikit-learn)"
        )
    return run


def _train_first(recipe: Recipe, run: Run, progress: bool, command: str) -> Run:
    from leukemia_tf.recipes.overrides import override
    from leukemia_tf.recipes.registry import get_recipe
    from leukemia_tf.recipes.train_recipe import for_source, train_recipe

    settings, data = recipe.distillation, recipe.data
    teacher = for_source(get_recipe(settings.teacher_recipe), data.source)
    changes = {
        **({"model.weights": settings.teacher_weights} if settings.teacher_weights else {}),
        **settings.teacher_changes,
        "data.split_file": str(run.path / "split.csv"),
        "data.split_level": "auto",
        "data.groups_file": "",
        "data.skip_broken": data.skip_broken,
        "data.allow_leakage": data.allow_leakage,
        **{name: getattr(recipe, name) for name in ("seed", "deterministic", "minutes")},
    }
    trained = train_recipe(override(teacher, changes), run.path / FOLDER, progress=progress, command=command)
    if not trained.finished:
        raise RunError(
            "the time budget ended while the teacher was trained; the same command goes on with it, and then with the "
            "student"
        )
    return trained


def _check_leak(recipe: Recipe, run: Run, teacher: Run, table: pd.DataFrame) -> None:
    """Refuse a teacher that knows the answers of the test."""
    from leukemia_tf.data.table_file import read_table

    test, seen = table[table["split"] == "test"], read_table(teacher.path / "table.csv")
    seen = seen[seen["split"].isin(["train", "val"])]
    known = test["sha256"].isin(set(seen["sha256"]) - {""})
    if _same_source(recipe.data.source, teacher.recipe.data.source):
        known |= test["path"].isin(set(seen["path"]))
        known |= test["subject"].isin(set(seen["subject"]) - {""})
    if not known.any():
        return
    what = f"{known.sum()} of {len(test)} test images of the student, or others of their subjects"
    if not recipe.data.allow_leakage:
        raise InputError(
            f"`teacher` was trained on {what}; give --split {teacher.path / 'split.csv'}, or --allow-leakage for a "
            f"report that is stamped. Received: {teacher.path}"
        )
    log.warning("the teacher was trained on %s", what)
    run.update_info(leakage=True)


def _same_source(one: str, other: str) -> bool:
    return one == other or os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
