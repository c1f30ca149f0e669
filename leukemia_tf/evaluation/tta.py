"""Test-time augmentation: several views of an image, one weighted average of what a model says of them.

The views are the caller's; `leukemia_tf.recipes.views` makes the eight symmetries of a square. The average is of the
probabilities, or of their logarithms (a geometric mean, made to sum to 1), which a single view that is sure of itself
moves more. Weights are equal, or learnt on the validation images by their log loss, which is convex in the weights for
both averages (after Shanmugam et al., ICCV 2021, "Better aggregation in test-time augmentation").
"""

from __future__ import annotations

import dataclasses
from typing import Sequence

import numpy as np
from scipy.special import log_softmax, softmax

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.evaluation._arrays import check_indices, check_labels
from leukemia_tf.evaluation._records import JsonRecord

AVERAGES = ("probabilities", "log_probabilities")
"""What can be averaged."""

# As in the calibration: float32 cannot tell smaller probabilities from 0, and one view must not decide alone.
_FLOOR = 1e-7
# Largest distance of a fitted log loss from its minimum, in nats.
_GAP = 1e-5


@dataclasses.dataclass(frozen=True)
class TestTimeAugmentation(JsonRecord):
    """How the views of an image are averaged, of `equal_views` or `fit_views`.

    Attributes:
        classes: names in the order of the columns.
        views: names of the views, in their order; the first is the image as it is.
        average: one of `AVERAGES`.
        weights: one a view, none below 0, their sum 1.
        n_images: validation images that the weights were learnt on; 0 for equal weights.
    """

    __test__ = False  # pytest takes classes whose name begins with Test for its own.

    classes: tuple[str, ...]
    views: tuple[str, ...]
    average: str
    weights: tuple[float, ...]
    n_images: int

    def __post_init__(self):
        for name in ("classes", "views"):
            names = getattr(self, name)
            if isinstance(names, str) or len(set(names)) != len(names) or len(names) < 2:
                raise InputError(f"`{name}` must be two or more different names. Received: {names!r}")
            object.__setattr__(self, name, tuple(names))
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
        if self.average not in AVERAGES:
            raise InputError(f"`average` must be one of {', '.join(AVERAGES)}. Received: {self.average!r}")
        fit = len(self.weights) == len(self.views) and min(self.weights) >= 0 and abs(sum(self.weights) - 1) < 1e-6
        if not fit:
            raise InputError(
                f"`weights` must be {len(self.views)} numbers of at least 0 that sum to 1. Received: {self.weights}"
            )

    @property
    def cost(self) -> int:
        """How many times the model runs for one image: the views with a weight."""
        return sum(weight > 0 for weight in self.weights)

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """The averaged probabilities, float64 [N, C], rows that sum to 1.

        Args:
            probabilities: [V, N, C], view by view; of two classes also [V, N, 1] or [V, N], those of the second.

        Raises:
            InputError: if the shape is another, or a value is no number in [0, 1].
        """
        values = _check_views(probabilities, len(self.views), len(self.classes))
        weights = np.asarray(self.weights)
        if self.average == "probabilities":
            mixed = np.tensordot(weights, values, axes=1)
            return mixed / mixed.sum(axis=1, keepdims=True)
        return softmax(np.tensordot(weights, np.log(np.maximum(values, _FLOOR)), axes=1), axis=1)


def equal_views(
    classes: Sequence[str], views: Sequence[str], average: str = "probabilities"
) -> TestTimeAugmentation:
    """The average in which every view counts the same.

    Args:
        classes: names in the order of the columns.
        views: names of the views.
        average: one of `AVERAGES`.
    """
    return TestTimeAugmentation(classes, views, average, (1.0 / max(1, len(views)),) * len(views), 0)


def fit_views(
    probabilities: np.ndarray,
    labels: Sequence[int],
    classes: Sequence[str],
    views: Sequence[str],
    average: str = "probabilities",
) -> TestTimeAugmentation:
    """Learn the weights of the views: those with the least log loss, which should be that of the validation images.

    Args:
        probabilities: [V, N, C], [V, N, 1] or [V, N], see `TestTimeAugmentation.apply`.
        labels: class indices [N].
        classes: names in the order of the columns.
        views: names of the views.
        average: one of `AVERAGES`.

    Raises:
        InputError: if shapes disagree, or a value is not what it should be.
        RunError: if the minimum is not found, to within 1e-5 nats.
    """
    equal = equal_views(classes, views, average)
    values = np.maximum(_check_views(probabilities, len(equal.views), len(equal.classes)), _FLOOR)
    labels = check_indices(labels, values.shape[1], values.shape[2])
    loss = _mixture_loss if average == "probabilities" else _product_loss
    start = np.asarray(equal.weights)
    from scipy.optimize import minimize

    found = minimize(
        loss,
        start,
        args=(values, labels),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(start),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    # Weights of views that do not help end within rounding of 0; such a view need not be computed.
    weights = np.where(found.x < 1e-8, 0.0, found.x)
    weights /= weights.sum()
    value, slope = loss(weights, values, labels)
    # The loss is convex, so it lies no further above its minimum than this (the gap of Frank and Wolfe).
    gap = float(slope @ weights - slope.min())
    if not gap < _GAP:
        raise RunError(
            f"the weights of {len(weights)} views have not converged on {len(labels)} images: the log loss "
            f"{value:.6g} may lie {gap:.2g} above its minimum ({found.message})"
        )
    return dataclasses.replace(equal, weights=tuple(weights.tolist()), n_images=len(labels))


def _check_views(probabilities: np.ndarray, n_views: int, n_classes: int) -> np.ndarray:
    """float64 [V, N, C], each view checked."""
    given = np.asarray(probabilities)
    wanted = f"[{n_views}, N, {n_classes}] (views, images, classes)"
    if given.ndim not in (2, 3) or len(given) != n_views:
        raise InputError(f"`probabilities` must have shape {wanted}. Received: {list(given.shape)}")
    if not given.shape[1]:
        return np.zeros((n_views, 0, n_classes))
    values = np.stack([check_labels(np.zeros(len(view), np.int64), view)[1] for view in given])
    if values.shape[2] != n_classes:
        raise InputError(f"`probabilities` must have shape {wanted}. Received: {list(given.shape)}")
    return values


def _mixture_loss(weights: np.ndarray, values: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Log loss of the average of probabilities, and its gradient by the weights."""
    own = values[:, np.arange(len(labels)), labels]
    mixed = weights @ own
    return float(-np.log(mixed).mean()), -(own / mixed).mean(axis=1)


def _product_loss(weights: np.ndarray, values: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Log loss of the average of log-probabilities, and its gradient by the weights."""
    logs = np.log(values)
    mixed = log_softmax(np.tensordot(weights, logs, axes=1), axis=1)
    rows = np.arange(len(labels))
    slope = (np.exp(mixed) * logs).sum(axis=2) - logs[:, rows, labels]
    return float(-mixed[rows, labels].mean()), slope.mean(axis=1)
