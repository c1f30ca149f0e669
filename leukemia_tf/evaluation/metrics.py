"""Metrics of a set of predictions with bootstrap intervals, as a dictionary that is JSON and can be recomputed."""

from __future__ import annotations

import json
import math
import os
from typing import Any, Iterator, Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.evaluation import confusion
from leukemia_tf.evaluation.bootstrap import iter_counts, percentile_interval, sampling_units
from leukemia_tf.evaluation.predictions import PREFIX, check_predictions, read_predictions
from leukemia_tf.evaluation.ranking import Ranking
from leukemia_tf.files import read_json, write_json

METRICS = (
    "accuracy",
    "balanced_accuracy",
    "auc",
    "average_precision",
    "f1_weighted",
    "f1_macro",
    "sensitivity",
    "specificity",
)
"""Keys of the metrics in the dictionary of `compute_metrics`."""

_OF_MATRIX = {name: getattr(confusion, name) for name in METRICS if name not in ("auc", "average_precision")}
_OF_CLASS = ("precision", "recall", "f1")


def evaluate_resamples(
    labels: np.ndarray,
    probabilities: np.ndarray,
    predictions: np.ndarray,
    counts: Iterator[np.ndarray],
    units: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Every metric of every resample.

    Args:
        labels: int [N], true classes.
        probabilities: float [N, C].
        predictions: int [N], predicted classes.
        counts: chunks [r, U] of how often each unit was drawn; ``[np.ones((1, U))]`` for the sample itself.
        units: int [N], the unit of each image; default: each image is one.

    Returns:
        Each of `METRICS` [R]; ``confusion`` [R, C, C]; ``class_precision``, ``class_recall``, ``class_f1`` [R, C] and,
        above two classes, ``class_auc`` and ``class_average_precision`` [R, C], one against the rest. NaN where a
        metric is not defined. With two classes AUC and average precision are those of class 1, above two classes
        the mean over classes.
    """
    n_classes = probabilities.shape[1]
    units = np.arange(len(labels)) if units is None else units
    per_unit = confusion.unit_confusions(labels, predictions, n_classes, units, int(units.max()) + 1)
    ranked = [1] if n_classes == 2 else list(range(n_classes))
    rankings = [Ranking(labels == index, probabilities[:, index], units) for index in ranked]
    matrices, areas = [], []
    for chunk in counts:
        matrices.append(confusion.resampled_confusions(chunk, per_unit))
        areas.append(np.array([ranking(chunk) for ranking in rankings]))  # [classes, 2, r]
    if not matrices:
        matrices, areas = [np.empty((0, n_classes, n_classes))], [np.empty((len(ranked), 2, 0))]
    matrix, area = np.concatenate(matrices), np.concatenate(areas, axis=2)
    values = {name: function(matrix) for name, function in _OF_MATRIX.items()}
    values["auc"], values["average_precision"] = area.mean(axis=0)
    values["confusion"] = matrix
    for name in _OF_CLASS:
        values[f"class_{name}"] = getattr(confusion, name)(matrix)
    if n_classes > 2:
        values["class_auc"], values["class_average_precision"] = area.transpose(1, 2, 0)
    return values


def compute_metrics(
    frame: pd.DataFrame,
    classes: Sequence[str],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Metrics of the labelled images of a predictions frame, each with a percentile bootstrap interval.

    Subjects are resampled where all are known and there is more than one, else images. A resample in which a metric is
    not defined (a class was not drawn) is left out of the interval of that metric, and counted.

    Args:
        frame: of `make_predictions` or `read_predictions`. Images without a label ("") are not evaluated.
        classes: names in the order of the label index; of two classes the second is the positive one.
        bootstrap: number of resamples; 0 for no intervals.
        seed: of the resampling.
        confidence: of the intervals, between 0 and 1.

    Returns:
        JSON values only, never NaN. Under each name of `METRICS`: ``{"value", "low", "high", "left_out"}`` and,
        where one of the numbers is null, ``"reason"``. Sensitivity and specificity are those of ``classes[1]``; above
        two classes, means of one class against the rest. Further ``classes``, ``positive_class``, ``n_images``,
        ``n_unlabelled``, ``n_subjects`` (null if unknown), ``bootstrap`` (``unit``, ``n_units``, ``resamples``,
        ``seed``, ``confidence``, ``method``), ``confusion_matrix`` (rows are true classes), ``per_class``.

    Raises:
        InputError: if the frame is malformed, no image has a label, or an option is out of range.
    """
    classes = tuple(classes)
    check_predictions(frame, classes, "`frame`")
    percentile_interval(np.zeros(1), confidence)  # raises for a confidence out of range, whatever the rest
    labelled = frame[frame["label"] != ""]
    if not len(labelled):
        raise InputError(f"`frame` must hold at least one image with a label; received {len(frame)} without")
    index = {name: position for position, name in enumerate(classes)}
    labels = labelled["label"].map(index).to_numpy(dtype=np.int64)
    predictions = labelled["prediction"].map(index).to_numpy(dtype=np.int64)
    probabilities = labelled[[PREFIX + name for name in classes]].to_numpy(dtype=np.float64)
    subjects = labelled["subject"].to_numpy(dtype=object)
    unit, units = sampling_units(subjects)
    n_units = int(units.max()) + 1

    ones = np.ones((1, n_units), dtype=np.uint16)
    point = evaluate_resamples(labels, probabilities, predictions, iter([ones]), units)
    # One unit has nothing to vary: every resample is the sample itself.
    resamples = bootstrap if n_units > 1 else 0
    draws = evaluate_resamples(labels, probabilities, predictions, iter_counts(n_units, resamples, seed), units)

    counts = np.bincount(labels, minlength=len(classes))
    no_interval = "no resamples were asked for" if n_units > 1 else "one image has no interval"

    def entry(name: str, column: int | None = None) -> dict[str, Any]:
        value = point[name][0] if column is None else point[name][0, column]
        sampled = draws[name] if column is None else draws[name][:, column]
        if np.isnan(value):
            why = _why_undefined(name, column, classes, counts)
            return {"value": None, "low": None, "high": None, "left_out": len(sampled), "reason": why}
        interval = percentile_interval(sampled, confidence)
        result = {"value": float(value), "low": None, "high": None, "left_out": int(np.isnan(sampled).sum())}
        if interval is None:
            return {**result, "reason": "not defined in any resample" if len(sampled) else no_interval}
        return {**result, "low": interval[0], "high": interval[1]}

    known = all(subjects)
    per_class = []
    for column, name in enumerate(classes):
        row: dict[str, Any] = {"class": name, "images": int(counts[column])}
        row["subjects"] = len(set(subjects[labels == column])) if known else None
        row["predicted"] = int((predictions == column).sum())
        row.update({key[6:]: entry(key, column) for key in point if key.startswith("class_")})
        per_class.append(row)
    return {
        "classes": list(classes),
        "positive_class": classes[1] if len(classes) == 2 else None,
        "n_images": len(labelled),
        "n_unlabelled": len(frame) - len(labelled),
        "n_subjects": len(set(subjects)) if known else None,
        "bootstrap": {
            "unit": unit,
            "n_units": n_units,
            "resamples": bootstrap,
            "seed": seed,
            "confidence": confidence,
            "method": "percentile",
        },
        **{name: entry(name) for name in METRICS},
        "confusion_matrix": [[int(cell) for cell in row] for row in point["confusion"][0]],
        "per_class": per_class,
    }


def _why_undefined(name: str, column: int | None, classes: tuple[str, ...], counts: np.ndarray) -> str:
    absent = [classes[i] for i in np.flatnonzero(counts == 0)]
    if column is not None:
        if name == "class_precision":
            return f"no image was predicted as `{classes[column]}`"
        if counts[column]:
            return f"every image is of class `{classes[column]}`"
        absent = [classes[column]]
    return "no image of class " + ", ".join(f"`{other}`" for other in absent)


def write_metrics(path: str | os.PathLike, metrics: dict[str, Any]) -> None:
    """Write the dictionary of `compute_metrics` as JSON, atomically; every digit is kept."""
    write_json(path, metrics)


LEAKY_SPLIT = "LEAKY SPLIT: images of one subject lie in several splits; these figures flatter the model"
"""`stamp` in the metrics of a model that was trained and tested on the same people."""


def verify_metrics(predictions_csv: str | os.PathLike, metrics_json: str | os.PathLike) -> list[str]:
    """Compute the metrics again from ``predictions.csv`` and compare them with those stored, to the last digit.

    A `stamp` says something of the split, which the predictions don't tell, and is not compared.

    Args:
        predictions_csv: file of `write_predictions`.
        metrics_json: file of `write_metrics`; its number of resamples, seed and confidence are used.

    Returns:
        One line for each difference; empty if there is none.

    Raises:
        InputError: if ``predictions_csv`` is missing or malformed.
        RunError: if ``metrics_json`` is missing, is not JSON, or does not say how it was resampled.
    """
    stored = read_json(metrics_json)
    settings = stored.get("bootstrap") if isinstance(stored, dict) else None
    if not isinstance(settings, dict) or not {"resamples", "seed", "confidence"} <= set(settings):
        raise RunError(
            f"`{metrics_json}` must hold `bootstrap` with resamples, seed and confidence, as compute_metrics writes "
            f"it; received {settings!r}"
        )
    frame, classes = read_predictions(predictions_csv)
    try:
        fresh = compute_metrics(
            frame,
            classes,
            bootstrap=settings["resamples"],
            seed=settings["seed"],
            confidence=settings["confidence"],
        )
    except TypeError as error:
        raise RunError(f"`{metrics_json}`: `bootstrap` must hold numbers; received {settings!r}") from error
    stored.pop("stamp", None)
    return list(differences("", stored, json.loads(json.dumps(fresh))))


def differences(where: str, stored: Any, fresh: Any, tolerance: float = 0.0) -> Iterator[str]:
    """One line for each place at which two JSON values differ.

    Args:
        where: name of the place, "" for the whole.
        stored, fresh: the values, which were stored and which were computed again.
        tolerance: two numbers are equal when they differ by at most this share of the larger.
    """
    if isinstance(stored, dict) and isinstance(fresh, dict):
        for key in [*fresh, *(key for key in stored if key not in fresh)]:
            name = f"{where}.{key}" if where else str(key)
            if key not in stored:
                yield f"`{name}` is not stored; recomputed {fresh[key]!r}"
            elif key not in fresh:
                yield f"`{name}` is stored as {stored[key]!r}; it does not follow from the predictions"
            else:
                yield from differences(name, stored[key], fresh[key], tolerance)
    elif isinstance(stored, list) and isinstance(fresh, list) and len(stored) == len(fresh):
        for position, pair in enumerate(zip(stored, fresh)):
            yield from differences(f"{where}[{position}]", *pair, tolerance)
    elif isinstance(stored, bool) != isinstance(fresh, bool) or not _equal(stored, fresh, tolerance):
        yield f"`{where}` is stored as {stored!r}; recomputed {fresh!r}"


def _equal(stored: Any, fresh: Any, tolerance: float) -> bool:
    if tolerance and isinstance(stored, float) and isinstance(fresh, float):
        return math.isclose(stored, fresh, rel_tol=tolerance)
    return stored == fresh
