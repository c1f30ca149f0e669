"""Confusion matrices, of one sample or of thousands of resamples at once, and the metrics that follow from them.

A matrix is float64 [..., C, C]; rows are true classes, columns predicted ones, entries are (weighted) counts. Each
metric maps it to [...] or [..., C], and is NaN where it is not defined.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, n_classes: int) -> np.ndarray:
    """Counts [C, C] of int ``labels`` [N] and ``predictions`` [N]."""
    cells = np.bincount(labels * n_classes + predictions, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.float64)


def unit_confusions(
    labels: np.ndarray, predictions: np.ndarray, n_classes: int, units: np.ndarray, n_units: int
) -> sparse.csr_array:
    """Counts [U, C * C], one flat confusion matrix a unit (subject or image), for `resampled_confusions`.

    Sparse, because a unit of one image fills one cell.
    """
    cells = labels * n_classes + predictions
    shape = (n_units, n_classes**2)
    return sparse.coo_array((np.ones(len(cells)), (units, cells)), shape=shape).tocsr()


def resampled_confusions(counts: np.ndarray, per_unit: sparse.csr_array) -> np.ndarray:
    """Matrices [R, C, C] of R resamples, by one matrix product.

    Args:
        counts: [R, U], how often each unit was drawn.
        per_unit: [U, C * C] of `unit_confusions`.
    """
    n_classes = int(round(per_unit.shape[1] ** 0.5))
    # Whole numbers below 2**53: the product is exact in whatever order the library adds.
    return (counts.astype(np.float64) @ per_unit).reshape(-1, n_classes, n_classes)


def support(matrix: np.ndarray) -> np.ndarray:
    """Images of each true class, [..., C]."""
    return matrix.sum(axis=-1)


def recall(matrix: np.ndarray) -> np.ndarray:
    """Share of each true class that was found, [..., C]; of the positive class it is the sensitivity."""
    return _ratio(_diagonal(matrix), support(matrix))


def precision(matrix: np.ndarray) -> np.ndarray:
    """Share of each predicted class that was right, [..., C]."""
    return _ratio(_diagonal(matrix), matrix.sum(axis=-2))


def f1(matrix: np.ndarray) -> np.ndarray:
    """Harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN), [..., C]."""
    return _ratio(2.0 * _diagonal(matrix), support(matrix) + matrix.sum(axis=-2))


def true_negative_rate(matrix: np.ndarray) -> np.ndarray:
    """Share of the other classes' images that were not taken for the class, [..., C]."""
    total = matrix.sum(axis=(-2, -1))[..., None]
    others = total - support(matrix)
    false_positives = matrix.sum(axis=-2) - _diagonal(matrix)
    return _ratio(others - false_positives, others)


def accuracy(matrix: np.ndarray) -> np.ndarray:
    """Share of images that were right, [...]."""
    return _ratio(_diagonal(matrix).sum(axis=-1), matrix.sum(axis=(-2, -1)))


def balanced_accuracy(matrix: np.ndarray) -> np.ndarray:
    """Mean recall over the classes, [...]; not defined where a class is absent."""
    return recall(matrix).mean(axis=-1)


def f1_macro(matrix: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes, [...]; not defined where a class is absent."""
    return np.where((support(matrix) > 0).all(axis=-1), f1(matrix).mean(axis=-1), np.nan)


def f1_weighted(matrix: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes weighted by their images, [...]; an absent class has no weight."""
    weights = support(matrix)
    scores = np.where(weights > 0, f1(matrix), 0.0)
    return _ratio((weights * scores).sum(axis=-1), weights.sum(axis=-1))


def sensitivity(matrix: np.ndarray) -> np.ndarray:
    """Two classes: recall of the second. Above: macro one-vs-rest, which is the balanced accuracy. [...]"""
    return recall(matrix)[..., 1] if matrix.shape[-1] == 2 else balanced_accuracy(matrix)


def specificity(matrix: np.ndarray) -> np.ndarray:
    """Two classes: recall of the first. Above: mean true negative rate, NaN where a class is absent. [...]"""
    if matrix.shape[-1] == 2:
        return recall(matrix)[..., 0]
    return np.where((support(matrix) > 0).all(axis=-1), true_negative_rate(matrix).mean(axis=-1), np.nan)


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
