"""Tests of two models on the same images: McNemar's, DeLong's, and Holm's correction for many of them."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
from scipy.stats import binomtest, norm, rankdata

from leukemia_tf.errors import InputError


class McNemar(NamedTuple):
    """Images that only the first or only the second model has right, and the two-sided p value."""

    only_first: int
    only_second: int
    p_value: float


class DeLong(NamedTuple):
    """AUC of two models, second minus first, its standard error and the two-sided p value."""

    first: float
    second: float
    difference: float
    standard_error: float
    p_value: float


def mcnemar_exact(first_right: Sequence[bool], second_right: Sequence[bool]) -> McNemar:
    """Exact McNemar test (McNemar, Psychometrika 12, 1947): a sign test of the images that one model alone has right.

    It takes images as independent; with several images a subject its p value is too small.

    Args:
        first_right, second_right: bool [N], whether each model has each image right.

    Raises:
        InputError: if lengths differ or nothing is given.
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise InputError(
            "`first_right` and `second_right` must be one or more values each, equally many; "
            f"received shapes {list(first.shape)} and {list(second.shape)}"
        )
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differ = only_first + only_second
    p_value = float(binomtest(only_first, differ, 0.5).pvalue) if differ else 1.0
    return McNemar(only_first, only_second, p_value)


def auc_covariance(
    positive: Sequence[bool], scores: np.ndarray, subjects: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """AUC of several scores of the same images and their covariance (DeLong, DeLong and Clarke-Pearson, Biometrics 44,
    1988), computed from mid-ranks (Sun and Xu, IEEE Signal Processing Letters 21, 2014).

    Args:
        positive: bool [N].
        scores: [K, N], higher for positives; equal scores count one half.
        subjects: one name an image: the covariance then allows for images of one subject being alike (Obuchowski,
            Biometrics 53, 1997). Default: images are independent.

    Returns:
        AUC [K] and covariance [K, K].

    Raises:
        InputError: if shapes disagree, or there are fewer than two positives or negatives (subjects that have some).
    """
    positive, scores = np.asarray(positive, dtype=bool), np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or positive.shape != scores.shape[1:] or not np.isfinite(scores).all():
        raise InputError(
            "`scores` must be finite, of shape [K, N] for `positive` of shape [N]; "
            f"received {list(scores.shape)} and {list(positive.shape)}"
        )
    names = np.arange(len(positive)) if subjects is None else np.asarray(subjects, dtype=object).astype(str)
    if names.shape != positive.shape:
        raise InputError(f"`subjects` must name one for each of {len(positive)} images; received {len(names)}")
    units = np.unique(names, return_inverse=True)[1]
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    pos_units, neg_units = len(np.unique(units[positive])), len(np.unique(units[~positive]))
    if min(pos_units, neg_units) < 2:
        what = "images" if subjects is None else "subjects with images"
        raise InputError(
            f"`positive` must hold two or more {what} of each side for a variance; received {pos_units} positive and "
            f"{neg_units} negative"
        )
    # Share of negatives below each positive, and of positives above each negative.
    both = rankdata(scores, axis=1)
    of_positives = (both[:, positive] - rankdata(scores[:, positive], axis=1)) / n_neg
    of_negatives = 1.0 - (both[:, ~positive] - rankdata(scores[:, ~positive], axis=1)) / n_pos
    auc = of_positives.mean(axis=1)
    n_units = int(units.max()) + 1

    def unit_sums(components: np.ndarray, own: np.ndarray) -> np.ndarray:
        deviations = components - auc[:, None]
        return np.stack([np.bincount(own, weights=row, minlength=n_units) for row in deviations])

    sums_pos, sums_neg = unit_sums(of_positives, units[positive]), unit_sums(of_negatives, units[~positive])
    cross = sums_pos @ sums_neg.T
    covariance = (
        pos_units / (pos_units - 1) * (sums_pos @ sums_pos.T) / n_pos**2
        + neg_units / (neg_units - 1) * (sums_neg @ sums_neg.T) / n_neg**2
        + n_units / (n_units - 1) * (cross + cross.T) / (n_pos * n_neg)
    )
    return auc, covariance


def delong_test(
    positive: Sequence[bool], first: Sequence[float], second: Sequence[float], subjects: Sequence[str] | None = None
) -> DeLong:
    """Whether two models' AUC differ on the same images. Arguments and errors as of `auc_covariance`.

    The p value is 1 for equal AUC without variance (the same ranking), and NaN for different AUC without variance.
    """
    if np.shape(first) != np.shape(second):
        raise InputError(
            f"`first` and `second` must be equally many; received shapes {np.shape(first)} and {np.shape(second)}"
        )
    auc, covariance = auc_covariance(positive, np.stack([first, second]), subjects)
    difference = float(auc[1] - auc[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
    error = max(variance, 0.0) ** 0.5
    if error > 1e-12:
        p_value = float(2.0 * norm.sf(abs(difference) / error))
    else:
        p_value = 1.0 if abs(difference) < 1e-12 else float("nan")
    return DeLong(float(auc[0]), float(auc[1]), difference, error, p_value)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p values adjusted for all of them being looked at (Holm, Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: [K] in [0, 1]; NaN are left out of the family and stay NaN.

    Raises:
        InputError: if one lies outside [0, 1].
    """
    given = np.asarray(p_values, dtype=np.float64)
    defined = ~np.isnan(given)
    values = given[defined]
    if given.ndim != 1 or ((values < 0) | (values > 1)).any():
        raise InputError(f"`p_values` must lie in [0, 1]; received {given.tolist()}")
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    result = np.full(given.shape, np.nan)
    result[defined] = adjusted
    return result
