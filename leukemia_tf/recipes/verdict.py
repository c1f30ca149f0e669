"""The verdict on the test split: predictions, figures, plots and the report."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from leukemia_tf.evaluation import (
    compute_metrics,
    make_predictions,
    most_confident_errors,
    read_predictions,
    summarize_table,
    write_metrics,
    write_predictions,
    write_report,
)
from leukemia_tf.evaluation.metrics import LEAKY_SPLIT
from leukemia_tf.files import read_json
from leukemia_tf.recipes.predicting import predict_table

if TYPE_CHECKING:
    from leukemia_tf.data import Manifest
    from leukemia_tf.recipes.run import Run


def write_figures(
    folder: str | os.PathLike,
    predictions: pd.DataFrame,
    classes: list[str],
    *,
    bootstrap: int,
    seed: int,
    stamp: str = "",
) -> dict[str, Any]:
    """Write ``predictions.csv``, read it back, and write the ``metrics.json`` that follows from it.

    A `stamp`, such as `LEAKY_SPLIT`, goes before the figures.
    """
    folder = pathlib.Path(folder)
    write_predictions(folder / "predictions.csv", predictions)
    stored, _ = read_predictions(folder / "predictions.csv")
    metrics = compute_metrics(stored, classes, bootstrap=bootstrap, seed=seed)
    if stamp:
        metrics = {"stamp": stamp, **metrics}
    write_metrics(folder / "metrics.json", metrics)
    return metrics


def write_verdict(
    run: Run,
    model: Any,
    manifest: Manifest,
    table: pd.DataFrame,
    test: pd.DataFrame,
    pixels: np.ndarray,
    history: pd.DataFrame,
) -> None:
    """Predict the test split with `model` and write all files of the verdict into the run's folder.

    Args:
        run: the run.
        model: a Keras model with its best weights, or a fitted one with ``predict_proba``.
        manifest, table: the data; `table` holds all splits.
        test: rows of the test split.
        pixels: uint8 (N, S, S, 3), row i of `test`.
        history: one row an epoch; empty for a model that has none.
    """
    recipe, info = run.recipe, run.info
    found = predict_table(
        model,
        manifest,
        test,
        pixels,
        image_size=recipe.data.image_size,
        batch_size=recipe.data.batch_size,
        jit_compile=getattr(model, "jit_compile", False),
    )
    classes = list(manifest.classes)
    threshold = recipe.threshold if len(classes) == 2 else 0.5
    predictions = make_predictions(test, found, classes, threshold=threshold)
    stamp = LEAKY_SPLIT if info.get("leakage") else ""
    metrics = write_figures(run.path, predictions, classes, bootstrap=recipe.bootstrap, seed=recipe.seed, stamp=stamp)

    rows = {path: row for row, path in enumerate(test["path"])}
    errors = [
        (pixels[rows[error.path]], f"{error.label} called {error.prediction}\n{pathlib.PurePosixPath(error.path).name}")
        for error in most_confident_errors(predictions).itertuples()
    ]
    write_report(
        run.path,
        title=recipe.title,
        recipe=recipe.to_dict(),
        environment=read_json(run.path / "environment.json"),
        manifest=manifest.to_dict(),
        table=summarize_table(table, classes, level=info["split_level"], split_hash=info["split_hash"]),
        history=history,
        metrics=metrics,
        predictions=predictions,
        pixels_of_errors=errors,
        skipped=info["skipped"],
        notices=info["notices"],
    )
