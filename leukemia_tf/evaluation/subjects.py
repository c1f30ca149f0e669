"""From cells to subjects: a diagnosis is made of a person, a classifier sees one cell at a time."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import pandas as pd
from scipy.special import softmax

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.intervals import wilson_interval
from leukemia_tf.evaluation.metrics import compute_metrics
from leukemia_tf.evaluation.predictions import PREFIX, check_predictions, make_predictions

AGGREGATIONS = ("mean_logit", "noisy_or", "blast_fraction")
"""Aggregations that `aggregate_subjects` knows."""

# A float32 probability of 0 or 1 is one below 1e-7 of either; without a floor one cell would outvote all others.
_FLOOR = 1e-7


def aggregate_subjects(
    frame: pd.DataFrame,
    classes: Sequence[str],
    method: str = "mean_logit",
    *,
    threshold: float = 0.5,
    subject_label: str = "same",
) -> pd.DataFrame:
    """One prediction a subject, as a predictions frame.

    Args:
        frame: of `make_predictions`, every subject known. Unlabelled cells count like labelled ones.
        classes: names in the order of the label index; of two classes the second is the positive one.
        method: ``mean_logit``: mean of the cells' log-probabilities, made probabilities again (the geometric mean);
            ``noisy_or`` (two classes): 1 - prod(1 - p), the probability that one cell or more is positive if cells were
            independent, which many cells drive to 1; ``blast_fraction`` (two classes): share of cells that are
            predicted positive in ``frame``.
        threshold: for two classes, of the subject's probability (or fraction).
        subject_label: ``same``: all labelled cells of a subject must have one label; ``any`` (two classes): a subject
            is positive if any of its cells is.

    Returns:
        The columns of `make_predictions`, one row a subject in sorted order; ``path`` and ``subject`` are its name,
        ``label`` is "" if none of its cells has one.

    Raises:
        InputError: if the frame is malformed or empty, a subject is unknown, has several labels, or an option is
            unknown or not for so many classes.
    """
    classes = tuple(classes)
    _check_options(method, subject_label, classes)
    names, codes = _subjects(frame, classes)
    probabilities = frame[[PREFIX + name for name in classes]].to_numpy(dtype=np.float64)
    sizes = np.bincount(codes)
    if method == "mean_logit":
        logs = np.log(np.clip(probabilities, _FLOOR, 1.0))
        sums = np.stack([np.bincount(codes, weights=column) for column in logs.T], axis=1)
        values = softmax(sums / sizes[:, None], axis=1)
    elif method == "noisy_or":
        logs = np.log(np.maximum(probabilities[:, 0], np.finfo(np.float64).tiny))
        values = -np.expm1(np.bincount(codes, weights=logs))
    else:
        positive = (frame["prediction"] == classes[1]).to_numpy(dtype=np.float64)
        values = np.bincount(codes, weights=positive) / sizes
    labels = _labels(frame, classes, names, codes, subject_label)
    table = pd.DataFrame({"path": names, "subject": names, "label": labels}, dtype=object)
    return make_predictions(table, values, classes, threshold=threshold)


def blast_fractions(
    frame: pd.DataFrame, classes: Sequence[str], *, subject_label: str = "same", confidence: float = 0.95
) -> pd.DataFrame:
    """Share of each subject's cells that are predicted positive, with Wilson's interval.

    The interval says how well so few cells tell the share of cells that the classifier would call positive; it knows
    nothing of the classifier's errors.

    Args:
        frame, classes, subject_label: as of `aggregate_subjects`, for two classes.
        confidence: between 0 and 1.

    Returns:
        Columns ``subject``, ``label``, ``images``, ``positive``, ``fraction``, ``low``, ``high``; subjects in order.
    """
    classes = tuple(classes)
    _check_options("blast_fraction", subject_label, classes)
    names, codes = _subjects(frame, classes)
    images = np.bincount(codes)
    positive = np.bincount(codes, weights=frame["prediction"] == classes[1]).astype(np.int64)
    ends = [wilson_interval(int(k), int(n), confidence) for k, n in zip(positive, images)]
    return pd.DataFrame(
        {
            "subject": names,
            "label": _labels(frame, classes, names, codes, subject_label),
            "images": images,
            "positive": positive,
            "fraction": positive / images,
            "low": [low for low, _ in ends],
            "high": [high for _, high in ends],
        }
    )


def subject_metrics(
    frame: pd.DataFrame,
    classes: Sequence[str],
    method: str = "mean_logit",
    *,
    threshold: float = 0.5,
    subject_label: str = "same",
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Metrics with one vote a subject: `compute_metrics` of `aggregate_subjects`, whose arguments these are.

    Returns:
        The dictionary of `compute_metrics` (its ``n_images`` are subjects), and ``aggregation``: ``method``,
        ``threshold``, ``subject_label``, ``n_images`` (cells).
    """
    options = {"threshold": threshold, "subject_label": subject_label}
    subjects = aggregate_subjects(frame, classes, method, **options)
    metrics = compute_metrics(subjects, classes, bootstrap=bootstrap, seed=seed, confidence=confidence)
    return {**metrics, "aggregation": {"method": method, **options, "n_images": len(frame)}}


def _check_options(method: str, subject_label: str, classes: tuple[str, ...]) -> None:
    if method not in AGGREGATIONS:
        raise InputError(f"`method` must be one of {', '.join(AGGREGATIONS)}; received {method!r}")
    if subject_label not in ("same", "any"):
        raise InputError(f"`subject_label` must be same or any; received {subject_label!r}")
    if len(classes) != 2 and (method != "mean_logit" or subject_label != "same"):
        option = f"`method` {method}" if method != "mean_logit" else f"`subject_label` {subject_label}"
        raise InputError(f"{option} is for two classes; received {len(classes)}")


def _subjects(frame: pd.DataFrame, classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    check_predictions(frame, classes, "`frame`")
    names = frame["subject"].to_numpy(dtype=object)
    unknown = int((names == "").sum())
    if unknown or not len(names):
        raise InputError(
            "`frame` must name the subject of every image; "
            + (f"received {unknown} of {len(names)} without" if len(names) else "received no image")
        )
    distinct, codes = np.unique(names.astype(str), return_inverse=True)
    return distinct.astype(object), codes


def _labels(frame, classes, names, codes, subject_label) -> list[str]:
    labels = frame["label"].to_numpy(dtype=object)
    sets: list[set[str]] = [set() for _ in names]
    for code, label in zip(codes, labels):
        if label:
            sets[code].add(label)
    if subject_label == "any":
        return [classes[1] if classes[1] in found else "".join(found) for found in sets]
    several = [f"`{name}` ({', '.join(sorted(found))})" for name, found in zip(names, sets) if len(found) > 1]
    if several:
        more = f" and {len(several) - 5} more" if len(several) > 5 else ""
        advice = "; `subject_label` any calls those with a positive image positive" if len(classes) == 2 else ""
        raise InputError(
            f"`frame` must have one label for all images of a subject{advice}; received several for "
            f"{', '.join(several[:5])}{more}"
        )
    return ["".join(found) for found in sets]
