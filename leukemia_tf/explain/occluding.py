"""Occlusion (Zeiler and Fergus, ECCV 2014): what a model loses when a patch is covered. Works on any model."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from leukemia_tf.data.progress import track
from leukemia_tf.errors import InputError
from leukemia_tf.explain.attribution import Attribution
from leukemia_tf.explain.baselines import fill_images
from leukemia_tf.explain.classes import check_classes
from leukemia_tf.explain.scorer import scorer_of

_BATCH = 32


def occlusion(
    model: Any,
    images: np.ndarray,
    classes: int | Sequence[int] | None = None,
    *,
    patch: int | None = None,
    stride: int | None = None,
    fill: str | tuple[float, float, float] = "mean",
    progress: bool = False,
) -> Attribution:
    """How far the evidence for a class falls when a square patch is covered, for every place of the patch.

    Evidence is the class's logit, or the log-odds of its probability for a model with ``predict_proba``. A pixel gets
    the mean of the patches that cover it. An image costs as many predictions as there are places, some 170 by default.

    Args:
        model: a Keras model, its `Network`, or an object with ``predict_proba``.
        images: (N, S, S, 3), RGB in [0, 255], of the size that the model takes.
        classes: index of the class that is explained, one or one an image; None takes the most probable.
        patch: side of the patch in pixels; None takes a seventh of the image.
        stride: pixels from one place to the next, at most ``patch``; None takes half a patch. The last place of a row
            ends at the border, whatever the stride.
        fill: what the patch is covered with, see `leukemia_tf.explain.baselines.fill_images`.
        progress: show progress, image by image.

    Returns:
        Maps in units of the logit, above 0 where covering takes evidence away. ``figures`` has ``evidence``, that of
        the image as it is.

    Raises:
        InputError: for a patch or stride that does not fit, or images of another shape.
    """
    scorer = scorer_of(model)
    images = np.asarray(images, np.float32)
    classes = scorer.predicted(images) if classes is None else classes
    classes = check_classes(classes, len(images), scorer.probabilities(images[:1]).shape[1])
    size = images.shape[1]
    patch = max(1, round(size / 7)) if patch is None else _check_side("patch", patch, size)
    stride = max(1, patch // 2) if stride is None else _check_side("stride", stride, patch)
    starts = sorted({*range(0, size - patch, stride), size - patch})
    places = [(row, column) for row in starts for column in starts]
    maps = np.zeros((len(images), size, size), np.float32)
    whole = scorer.evidence(images, classes)
    numbers = track(range(len(images)), len(images), "covering patches, images", progress)
    for number in numbers:
        image, cover = images[number], fill_images(images[number : number + 1], fill)[0]
        total, count = np.zeros((size, size)), np.zeros((size, size))
        for start in range(0, len(places), _BATCH):
            chosen = places[start : start + _BATCH]
            covered = np.repeat(image[None], len(chosen), axis=0)
            for one, (row, column) in zip(covered, chosen):
                area = np.s_[row : row + patch, column : column + patch]
                one[area] = cover[area]
            left = scorer.evidence(covered, np.full(len(chosen), classes[number]))
            for (row, column), value in zip(chosen, whole[number] - left):
                area = np.s_[row : row + patch, column : column + patch]
                total[area] += value
                count[area] += 1
        maps[number] = total / count
    return Attribution("occlusion", maps, classes, "fall of the logit", figures={"evidence": whole.astype(np.float64)})


def _check_side(name: str, value: int, most: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or not 1 <= value <= most:
        raise InputError(f"`{name}` must be a whole number of pixels from 1 to {most}. Received: {value!r}")
    return int(value)
