"""Integrated gradients (Sundararajan, Taly and Yan, ICML 2017): pixels whose contributions add up to the logit."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from leukemia_tf.errors import InputError
from leukemia_tf.explain.attribution import Attribution
from leukemia_tf.explain.baselines import fill_images
from leukemia_tf.explain.classes import check_classes
from leukemia_tf.explain.scorer import network_of


def integrated_gradients(
    model: Any,
    images: np.ndarray,
    classes: int | Sequence[int] | None = None,
    *,
    baseline: str | tuple[float, float, float] = "mean",
    steps: int = 32,
) -> Attribution:
    """What each pixel adds to the logit on the straight way from a baseline to the image.

    The integral of the gradient is taken by the midpoint rule. A pixel's three channels are added up.

    Args:
        model: a Keras model, or its `Network`.
        images: (N, S, S, 3), RGB in [0, 255], of the size that the model takes.
        classes: index of the class that is explained, one or one an image; None takes the most probable.
        baseline: where the way begins, see `leukemia_tf.explain.baselines.fill_images`.
        steps: gradients an image.

    Returns:
        Maps in units of the logit. ``figures``: ``sum`` of the map, ``difference`` of the logit between image and
        baseline, and ``gap``, how far the two are apart as a share of the difference (of at least .01). By the
        completeness of the method the gap is 0 but for the steps; one above .1 asks for more of them.

    Raises:
        InputError: for a model that lets no gradient through, or images of another shape.
    """
    network = network_of(model)
    if isinstance(steps, bool) or not hasattr(steps, "__index__") or steps < 1:
        raise InputError(f"`steps` must be a whole number of at least 1. Received: {steps!r}")
    images = np.asarray(images, np.float32)
    classes = network.predicted(images) if classes is None else classes
    classes = check_classes(classes, len(images), network.num_classes)
    starts = fill_images(images, baseline)
    # Several images walk side by side, so that the memory is that of one batch.
    total = np.zeros(images.shape, np.float64)
    for step in range(steps):
        position = (step + 0.5) / steps
        total += network.input_gradients(starts + position * (images - starts), classes)
    maps = ((images - starts) * total / steps).sum(axis=-1)
    difference = (network.evidence(images, classes) - network.evidence(starts, classes)).astype(np.float64)
    added = maps.sum(axis=(1, 2))
    gap = np.abs(added - difference) / np.maximum(np.abs(difference), 0.01)
    figures = {"sum": added, "difference": difference, "gap": gap}
    return Attribution("integrated_gradients", maps.astype(np.float32), classes, "part of the logit", figures=figures)
