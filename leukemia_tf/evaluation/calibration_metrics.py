"""How far probabilities are from frequencies: reliability curve, calibration errors, Brier score.

Of two classes the probability is that of the second class and the frequency that class's share; above two classes it
is the probability of the predicted class and the share of right predictions (top-label calibration: Guo et al., ICML
2017). The calibration errors are biased upwards on few images, and depend on the bins: compare like with like.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation._arrays import check_labels, labelled_arrays
from leukemia_tf.evaluation.intervals import Interval, mean_interval, wilson_interval

BINNINGS = ("width", "mass")
"""Bins of equal width, or of (nearly) equal numbers of images."""


def reliability_curve(
    probabilities: np.ndarray, labels: Sequence[int], *, bins: int = 15, binning: str = "width"
) -> pd.DataFrame:
    """Mean probability and observed frequency of each bin.

    Args:
        probabilities: [N, C]; of two classes also [N, 1] or [N], the probability of the second.
        labels: class indices [N].
        bins: at most so many; equal probabilities share a bin, and empty bins are left out.
        binning: ``width`` or ``mass``. A bin holds what lies above its lower end, up to and with its upper end.

    Returns:
        One row a bin: ``low``, ``high`` (its ends), ``images``, ``probability`` (mean), ``frequency``, and
        ``frequency_low``, ``frequency_high``, the 95 % Wilson interval of independent images.

    Raises:
        InputError: if shapes disagree, a value is out of range or an option unknown.
    """
    labels, values = check_labels(labels, probabilities)
    if bins < 1:
        raise InputError(f"`bins` must be 1 or more; received {bins!r}")
    if binning not in BINNINGS:
        raise InputError(f"`binning` must be one of {', '.join(BINNINGS)}; received {binning!r}")
    confidence, hits = confidence_and_hits(values, labels)
    levels = np.linspace(0.0, 1.0, bins + 1)
    edges = levels if binning == "width" else np.quantile(confidence, levels)
    place = np.searchsorted(edges[1:-1], confidence)
    rows = []
    for index in np.unique(place):
        inside = place == index
        images, right = int(inside.sum()), int(hits[inside].sum())
        low, high = wilson_interval(right, images)
        mean = float(confidence[inside].mean())
        rows.append((float(edges[index]), float(edges[index + 1]), images, mean, right / images, low, high))
    names = ["low", "high", "images", "probability", "frequency", "frequency_low", "frequency_high"]
    return pd.DataFrame(rows, columns=names)


def calibration_error(
    probabilities: np.ndarray, labels: Sequence[int], *, bins: int = 15, binning: str = "width"
) -> float:
    """Expected calibration error: mean distance of probability and frequency over the images of the bins.

    ``binning="width"`` is the usual one (Naeini et al., AAAI 2015), ``"mass"`` the adaptive one (Nguyen and O'Connor,
    EMNLP 2015). Arguments and errors as of `reliability_curve`.
    """
    curve = reliability_curve(probabilities, labels, bins=bins, binning=binning)
    gaps = (curve["probability"] - curve["frequency"]).abs()
    return float(np.average(gaps, weights=curve["images"]))


def brier_score(
    probabilities: np.ndarray,
    labels: Sequence[int],
    subjects: Sequence[str] | None = None,
    *,
    method: str = "percentile",
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Brier score with a bootstrap interval: mean squared error of the probability of the second class, in [0, 1];
    above two classes the squared errors of all classes are summed, which gives [0, 2].

    Args and errors as of `reliability_curve` and `mean_interval`; subjects are resampled where all are known.
    """
    labels, values = check_labels(labels, probabilities)
    errors = ((values - np.eye(values.shape[1])[labels]) ** 2).sum(axis=1)
    if values.shape[1] == 2:
        errors = (values[:, 1] - labels) ** 2
    return mean_interval(errors, subjects, method=method, bootstrap=bootstrap, seed=seed, confidence=confidence)


def measure_calibration(
    frame: pd.DataFrame,
    classes: Sequence[str],
    *,
    bins: int = 15,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Calibration of the labelled images of a predictions frame, as JSON values.

    Returns:
        ``ece`` (equal width), ``adaptive_ece`` (equal mass), ``nll`` (mean negative log-likelihood; a probability of 0
        counts as 1e-7), ``brier`` (`Interval.to_dict`), ``bins``, ``n_images`` and ``reliability``, the rows of
        `reliability_curve`.

    Raises:
        InputError: if the frame is malformed, no image has a label, or an option is out of range.
    """
    arrays = labelled_arrays(frame, classes)
    own = arrays.probabilities[np.arange(len(arrays.labels)), arrays.labels]
    given = (arrays.probabilities, arrays.labels)
    brier = brier_score(*given, arrays.subjects, bootstrap=bootstrap, seed=seed, confidence=confidence)
    return {
        "ece": calibration_error(*given, bins=bins),
        "adaptive_ece": calibration_error(*given, bins=bins, binning="mass"),
        "nll": float(-np.log(np.maximum(own, 1e-7)).mean()),
        "brier": brier.to_dict(),
        "bins": bins,
        "n_images": len(arrays.labels),
        "reliability": reliability_curve(*given, bins=bins).to_dict(orient="records"),
    }


def confidence_and_hits(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probability that is judged, float [N], and whether what it is of was there, bool [N] (see the module)."""
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], labels == 1
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
