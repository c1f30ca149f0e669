"""Resampling with replacement, of subjects where they are known and of images where they are not.

Images of one subject resemble each other, so an interval that resamples images as if they were independent is too
narrow. Resampling whole subjects (the cluster bootstrap: Field and Welsh, Journal of the Royal Statistical Society B
69, 2007) keeps that dependence. The intervals are percentile intervals (Efron and Tibshirani, 1993, chapter 13) or
bias-corrected and accelerated ones (chapter 14).
"""

from __future__ import annotations

from typing import Iterator, Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from leukemia_tf.errors import InputError

_CHUNK_ELEMENTS = 4_000_000


def sampling_units(subjects: Sequence[str]) -> tuple[str, np.ndarray]:
    """Decide what is resampled.

    Args:
        subjects: one name an image; "" where it is unknown.

    Returns:
        ``("subject", codes)`` if every subject is known and there is more than one, else ``("image", codes)``.
        ``codes`` is int [N], the unit of each image; subjects are numbered in sorted order.
    """
    names = np.asarray(subjects, dtype=object)
    if len(names) and all(names):
        distinct, codes = np.unique(names.astype(str), return_inverse=True)
        if len(distinct) > 1:
            return "subject", codes.astype(np.int64)
    return "image", np.arange(len(names), dtype=np.int64)


def iter_counts(n_units: int, n_resamples: int, seed: int, rows: int | None = None) -> Iterator[np.ndarray]:
    """Yield uint16 [rows, n_units]: how often each unit was drawn in each resample.

    Each resample draws ``n_units`` units with replacement. The numbers depend on ``seed`` (NumPy's PCG64) and not on
    ``rows``, which bounds the memory.
    """
    if n_resamples < 0:
        raise InputError(f"`n_resamples` must be 0 or more; received {n_resamples!r}")
    if seed < 0:
        raise InputError(f"`seed` must be 0 or more; received {seed!r}")
    rows = rows or max(1, _CHUNK_ELEMENTS // max(1, n_units))
    generator = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, n_resamples, rows):
        counts = np.empty((min(rows, n_resamples - start), n_units), dtype=np.uint16)
        for row in counts:
            row[:] = np.bincount(generator.integers(0, n_units, n_units), minlength=n_units)
        yield counts


def resample_counts(subjects: Sequence[str], n_resamples: int, seed: int) -> np.ndarray:
    """How often each subject is drawn in each resample.

    Args:
        subjects: one name an image. If they are not all known, or there is only one, images are resampled.
        n_resamples: number of resamples R.
        seed: of the random draws.

    Returns:
        uint16 [R, units]; the columns are the distinct subjects in sorted order, or the images in order. Each row sums
        to the number of units.
    """
    units = sampling_units(subjects)[1]
    n_units = int(units.max(initial=-1)) + 1
    return np.concatenate([np.empty((0, n_units), np.uint16), *iter_counts(n_units, n_resamples, seed)])


def percentile_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of the resampled ``values`` [R], leaving out NaN; ``None`` if nothing is left.

    Raises:
        InputError: if ``confidence`` does not lie between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"`confidence` must lie between 0 and 1; received {confidence!r}")
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return float(low), float(high)


def iter_jackknife_counts(n_units: int, rows: int | None = None, *, most: int = 2000) -> Iterator[np.ndarray]:
    """Yield uint16 [rows, n_units], in all ``n_units`` rows: each leaves out one unit and counts every other once.

    In the form of `iter_counts`, so that what evaluates resamples evaluates the jackknife too. Of more than ``most``
    units, ``most`` random blocks (the same in every call) are left out instead, one after the other: a block's
    influence is the sum of its units', so the acceleration that `bca_interval` takes from it stays the same but for a
    sampling error of about 0.4 / ``most``.
    """
    rows = rows or max(1, _CHUNK_ELEMENTS // max(1, n_units))
    blocks = min(n_units, most)
    block = np.arange(n_units)
    if blocks < n_units:
        block = np.random.Generator(np.random.PCG64(0)).permutation(n_units) % blocks
    for start in range(0, blocks, rows):
        left_out = np.arange(start, min(start + rows, blocks))
        yield (block[None, :] != left_out[:, None]).astype(np.uint16)


def bca_interval(
    values: np.ndarray, estimate: float, jackknife: np.ndarray, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Bias-corrected and accelerated interval (Efron, Journal of the American Statistical Association 82, 1987).

    The percentiles are shifted by the median bias of the resamples and by the skewness of the jackknife. Resamples
    that equal the estimate count half below it. NaN are left out, of the resamples and of the jackknife.

    Args:
        values: [R], the resampled metric.
        estimate: the metric of the sample itself.
        jackknife: [U], the metric with one unit left out each, units as in the resampling; or one block of units.
        confidence: between 0 and 1.

    Returns:
        ``(low, high)``, or ``None`` where it is not defined: no resample, or all of them on one side of the estimate.

    Raises:
        InputError: if ``confidence`` does not lie between 0 and 1.
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"`confidence` must lie between 0 and 1; received {confidence!r}")
    values, jackknife = values[~np.isnan(values)], jackknife[~np.isnan(jackknife)]
    if not len(values) or not len(jackknife) or np.isnan(estimate):
        return None
    # Sums in another order miss the estimate by a rounding error; those are ties.
    ties = np.isclose(values, estimate, rtol=1e-12, atol=1e-15)
    below = (np.count_nonzero((values < estimate) & ~ties) + 0.5 * np.count_nonzero(ties)) / len(values)
    if below in (0.0, 1.0):
        return None
    bias = ndtri(below)
    deviations = jackknife.mean() - jackknife
    scale = np.sum(deviations**2) ** 1.5
    acceleration = np.sum(deviations**3) / (6.0 * scale) if scale > 0 else 0.0
    tail = (1.0 - confidence) / 2.0
    shifted = bias + ndtri(np.array([tail, 1.0 - tail]))
    levels = ndtr(bias + shifted / (1.0 - acceleration * shifted))
    low, high = np.quantile(values, levels)
    return float(low), float(high)
