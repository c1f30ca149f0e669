"""Judge a trained run again: its own predictions recomputed, or other data."""

from __future__ import annotations

import pathlib
from typing import Any

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.recipes.run import Run


def verify(run: Run) -> dict[str, Any]:
    """Compute decision, predictions and metrics again from ``predictions_val.csv`` and ``predictions.csv``.

    Returns:
        The metrics.

    Raises:
        RunError: if a digit differs; each is named with its file.
    """
    from leukemia_tf.evaluation import verify_metrics
    from leukemia_tf.evaluation.verdict_files import DECISION, verify_files

    if (run.path / DECISION).exists() or "threshold" not in run.info:
        differences = verify_files(run.path, run.recipe.verdict)
    else:  # a run of an older version
        lines = verify_metrics(run.path / "predictions.csv", run.path / "metrics.json")
        differences = [f"metrics.json: {line}" for line in lines]
    if run.info.get("leakage") and not run.metrics.get("stamp"):
        differences.append("metrics.json: `stamp` is missing, although the split divides subjects (run.json)")
    if differences:
        raise RunError("\n".join([f"`{run.path}` does not agree with itself:", *differences]))
    return run.metrics


def evaluate(
    run: Run, data: str, *, output: str | None = None, skip_broken: bool = False, progress: bool = True
) -> dict[str, Any]:
    """Judge the trained model, with all it decided on its validation images, on other data.

    Writes ``predictions.csv``, ``decision.json`` (a copy) and ``metrics.json``.

    The data's test split is used where it has splits of its own; else all of it, for none of it was trained on.

    Args:
        run: a finished training.
        data: manifest name, folder, CSV or ``.npz``; its classes are those of the run.
        output: folder for the files, by default ``evaluations/<data>`` in the run.

    Returns:
        The metrics, with the ``predictions`` path under ``"written_to"``.

    Raises:
        InputError: for bad data or other classes.
    """
    from leukemia_tf.data import load_pixels, open_data, scan_table
    from leukemia_tf.evaluation.verdict_files import write_verdict_files
    from leukemia_tf.recipes.colour import NONE, model_input
    from leukemia_tf.recipes.grouping import group_columns
    from leukemia_tf.recipes.scoring import Scorer

    manifest, table = open_data(data, skip_broken=skip_broken)
    if set(manifest.classes) - set(run.classes):
        raise InputError(f"`data` has the classes of the run, {run.classes}. Received: {list(manifest.classes)}")
    manifest = manifest.replace(classes=tuple(run.classes))
    table = scan_table(manifest, table, skip_broken=skip_broken, progress=progress)
    if (table["split"] == "test").any():
        table = table[table["split"] == "test"]
    size, colour = run.info["image_size"], run.info.get("colour", NONE)

    def pixels(rows: slice):
        # A million images need no room on the disk: each is looked at once.
        return model_input(load_pixels(manifest, table.iloc[rows], size, progress=progress), colour)

    decision = run.decision
    scorer = Scorer(
        run.model,
        manifest,
        image_size=size,
        batch_size=run.recipe.data.batch_size,
        detector=run.detector,
        progress=progress,
    )
    folder = pathlib.Path(output) if output else run.path / "evaluations" / pathlib.Path(data).stem
    frame = decision.apply(table, *scorer(table, pixels), group_columns(decision.rules, table, all_images=False))
    metrics = write_verdict_files(folder, frame, decision, bootstrap=run.recipe.bootstrap, seed=run.recipe.seed)
    return {**metrics, "written_to": str(folder)}
