"""Judge a trained run again: its own predictions recomputed, or other data."""

from __future__ import annotations

import pathlib
from typing import Any

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.recipes.run import Run


def verify(run: Run) -> dict[str, Any]:
    """Recompute ``metrics.json`` from ``predictions.csv`` alone and compare to the last digit.

    Returns:
        The metrics.

    Raises:
        RunError: if a figure differs; each is named.
    """
    from leukemia_tf.evaluation import verify_metrics

    differences = verify_metrics(run.path / "predictions.csv", run.path / "metrics.json")
    if run.info.get("leakage") and not run.metrics.get("stamp"):
        differences.append("`stamp` is missing, although the split divides subjects (run.json)")
    if differences:
        raise RunError(
            "\n".join([f"`{run.path / 'metrics.json'}` does not follow from predictions.csv:", *differences])
        )
    return run.metrics


def evaluate(
    run: Run, data: str, *, output: str | None = None, skip_broken: bool = False, progress: bool = True
) -> dict[str, Any]:
    """Judge the trained model on other data and write ``predictions.csv`` and ``metrics.json``.

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
    from leukemia_tf.evaluation import make_predictions
    from leukemia_tf.recipes.colour import NONE, model_input
    from leukemia_tf.recipes.predicting import predict_table
    from leukemia_tf.recipes.verdict import write_figures

    manifest, table = open_data(data, skip_broken=skip_broken)
    if set(manifest.classes) - set(run.classes):
        raise InputError(f"`data` has the classes of the run, {run.classes}. Received: {list(manifest.classes)}")
    manifest = manifest.replace(classes=tuple(run.classes))
    table = scan_table(manifest, table, skip_broken=skip_broken, progress=progress)
    if (table["split"] == "test").any():
        table = table[table["split"] == "test"]
    size = run.info["image_size"]
    pixels = model_input(load_pixels(manifest, table, size, progress=progress), run.info.get("colour", NONE))
    found = predict_table(
        run.model,
        manifest,
        table,
        pixels,
        image_size=size,
        batch_size=run.recipe.data.batch_size,
        progress=progress,
    )
    folder = pathlib.Path(output) if output else run.path / "evaluations" / pathlib.Path(data).stem
    threshold = run.info["threshold"] if len(run.classes) == 2 else 0.5
    frame = make_predictions(table, found, run.classes, threshold=threshold)
    metrics = write_figures(folder, frame, run.classes, bootstrap=run.recipe.bootstrap, seed=run.recipe.seed)
    return {**metrics, "written_to": str(folder)}
