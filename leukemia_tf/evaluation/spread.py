"""Repeated runs: the spread of their figures, and what the pooled predictions of a cross-validation say.

Two different questions. The spread over folds or seeds says how much a figure moves when the training is done again.
How far it may be from the truth for other people is told by resampling the subjects that were tested.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.bootstrap import iter_counts, percentile_interval, sampling_units
from leukemia_tf.evaluation.comparison import align_models
from leukemia_tf.evaluation.metrics import METRICS, evaluate_resamples


def summarize_spread(values: Sequence[float | None], confidence: float = 0.95) -> dict[str, Any]:
    """Mean and spread of one figure over repeated runs.

    Args:
        values: one a run; None or NaN where it is not defined, which are left out.
        confidence: of Student's t interval of the mean, which takes the runs as independent.

    Returns:
        JSON values: ``n`` (how many were defined), ``mean``, ``sd`` (of the sample, n - 1), ``min``, ``max``, ``low``
        and ``high``; null where too few are defined.

    Raises:
        InputError: if ``confidence`` does not lie between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"`confidence` must lie between 0 and 1; received {confidence!r}")
    given = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    known = given[~np.isnan(given)]
    result: dict[str, Any] = dict.fromkeys(("n", "mean", "sd", "min", "max", "low", "high"))
    result["n"] = len(known)
    if len(known):
        result |= {"mean": float(known.mean()), "min": float(known.min()), "max": float(known.max())}
    if len(known) > 1:
        deviation = float(known.std(ddof=1))
        half = float(stats.t.ppf(0.5 + confidence / 2, len(known) - 1)) * deviation / len(known) ** 0.5
        result |= {"sd": deviation, "low": result["mean"] - half, "high": result["mean"] + half}
    return result


def pooled_intervals(
    frames: Sequence[pd.DataFrame],
    classes: Sequence[str],
    *,
    metrics: Sequence[str] = METRICS,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Metrics of the out-of-fold predictions of one or more cross-validations of the same images.

    Args:
        frames: one for each cross-validation, every image once. A metric is the mean of theirs.
        classes: names in the order of the label index.
        metrics: some of `METRICS`.
        bootstrap: number of resamples, of subjects where all are known and there is more than one, else of images; all
            frames are resampled alike.
        seed, confidence: of the resampling and its percentile interval.

    Returns:
        JSON values: under each metric ``value``, ``low``, ``high`` (null where not defined); ``unit``, ``n_units``,
        ``n_images``. With one frame the figures are those of `compute_metrics`.

    Raises:
        InputError: if a frame is malformed, or they do not hold the same images, labels and subjects.
    """
    # A cross-validation on its own is aligned with itself.
    named = {f"repeat {number}": frame for number, frame in enumerate(frames)}
    aligned = align_models({**named, "itself": frames[0]}, tuple(classes))
    models = [aligned[name] for name in named]
    unit, units = sampling_units(models[0].subjects)
    n_units = int(units.max()) + 1
    resamples = bootstrap if n_units > 1 else 0

    def mean(counts) -> dict[str, np.ndarray]:
        found = [evaluate_resamples(m.labels, m.probabilities, m.predictions, counts(), units) for m in models]
        return {name: np.mean([each[name] for each in found], axis=0) for name in metrics}

    point = mean(lambda: iter([np.ones((1, n_units), dtype=np.uint16)]))
    draws = mean(lambda: iter_counts(n_units, resamples, seed))
    result: dict[str, Any] = {"unit": unit, "n_units": n_units, "n_images": len(models[0].labels)}
    for name in metrics:
        value = float(point[name][0])
        low, high = (None, None) if np.isnan(value) else percentile_interval(draws[name], confidence) or (None, None)
        result[name] = {"value": None if np.isnan(value) else value, "low": low, "high": high}
    return result
