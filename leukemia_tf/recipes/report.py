"""The report of a run, written again from the files in its folder alone."""

from __future__ import annotations

import pathlib
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from leukemia_tf.evaluation import most_confident_errors, read_predictions, summarize_table, write_report
from leukemia_tf.files import atomic_path, read_json

if TYPE_CHECKING:
    from leukemia_tf.recipes.run import Run

GALLERY = "gallery"


def write_gallery(run: Run, frame: pd.DataFrame, pixels: np.ndarray) -> None:
    """Write the test images of the most confident errors as ``gallery/<rank>.png``.

    Args:
        run: the run.
        frame: its predictions.
        pixels: uint8 (N, S, S, 3), row i of `frame`.
    """
    from PIL import Image

    folder = run.path / GALLERY
    shutil.rmtree(folder, ignore_errors=True)
    for rank, error in enumerate(most_confident_errors(frame).itertuples(), 1):
        with atomic_path(folder / f"{rank:02}.png") as temporary:
            Image.fromarray(np.ascontiguousarray(pixels[error.row])).save(temporary)


def write_run_report(run: Run) -> pathlib.Path:
    """Write ``report.html`` and the plots from the run's files; returns the page."""
    return write_report(run.path, **report_inputs(run))


def report_inputs(run: Run) -> dict[str, Any]:
    """What `write_report` takes, read from the run's folder."""
    from PIL import Image

    from leukemia_tf.data.table_file import read_table

    info, recipe = run.info, run.recipe
    predictions, classes = read_predictions(run.path / "predictions.csv")
    errors = []
    for rank, error in enumerate(most_confident_errors(predictions).itertuples(), 1):
        file = run.path / GALLERY / f"{rank:02}.png"
        if file.exists():
            with Image.open(file) as image:
                name = pathlib.PurePosixPath(error.path).name
                errors.append((np.asarray(image), f"{error.label} called {error.prediction}\n{name}"))
    history = run.path / "history.csv"
    table = read_table(run.path / "table.csv")
    return {
        "title": recipe.title,
        "recipe": recipe.to_dict(),
        "environment": read_json(run.path / "environment.json"),
        "manifest": info["manifest"],
        "table": summarize_table(table, classes, level=info["split_level"], split_hash=info["split_hash"]),
        "history": pd.read_csv(history) if history.exists() else pd.DataFrame(),
        "metrics": run.metrics,
        "predictions": predictions,
        "pixels_of_errors": errors,
        "skipped": info["skipped"],
        "notices": info["notices"],
    }
