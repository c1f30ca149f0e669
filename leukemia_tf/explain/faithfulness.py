"""Deletion and insertion (Petsiuk, Das and Saenko, BMVC 2018): is what a map points at what the model needs?

Pixels are taken away, or put into a blurred image, in the order of the map. A map that points at what counts makes the
probability fall early (a low area under the curve of deletion) and rise early (a high one of insertion). What is low
and what is high differs from image to image, so an order that knows nothing is measured beside it. That order comes
from smooth noise: single pixels taken at random would destroy the texture of the whole image at once, and any map of
patches would look good beside them.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from leukemia_tf.errors import InputError
from leukemia_tf.explain.attribution import check_maps, enlarge
from leukemia_tf.explain.baselines import fill_images
from leukemia_tf.explain.classes import check_classes
from leukemia_tf.explain.scorer import scorer_of

SEEDS = (0, 1, 2)
_GRID = 7


def deletion_insertion(
    model: Any,
    images: np.ndarray,
    maps: np.ndarray,
    classes: int | Sequence[int],
    *,
    steps: int = 20,
    fill: str | tuple[float, float, float] = "mean",
    start: str | tuple[float, float, float] = "blur",
) -> dict[str, np.ndarray]:
    """Areas under the curves of an order of pixels.

    Args:
        model: a Keras model, its `Network`, or an object with ``predict_proba``.
        images: (N, S, S, 3), RGB in [0, 255], of the size that the model takes.
        maps: (N, S, S), highest first. Pixels of one value, such as the zeros of a Grad-CAM, come in random order.
        classes: index of the class whose probability is followed, one or one an image.
        steps: parts in which the pixels are moved.
        fill: what replaces deleted pixels, see `leukemia_tf.explain.baselines.fill_images`.
        start: what insertion begins with.

    Returns:
        ``deletion`` and ``insertion``, float64 (N,): the mean probability of the class along the way, in [0, 1].

    Raises:
        InputError: for shapes that disagree.
    """
    scorer = scorer_of(model)
    images = np.asarray(images, np.float32)
    maps = check_maps(maps, len(images))
    if maps.shape[1:] != images.shape[1:3]:
        raise InputError(f"`maps` must have the size of the images, {images.shape[1:3]}. Received: {maps.shape[1:]}")
    if isinstance(steps, bool) or not hasattr(steps, "__index__") or steps < 1:
        raise InputError(f"`steps` must be a whole number of at least 1. Received: {steps!r}")
    curves: dict[str, list[float]] = {"deletion": [], "insertion": []}
    classes = check_classes(classes, len(images), scorer.probabilities(images[:1]).shape[1])
    moved = np.linspace(0, maps[0].size, steps + 1).round()
    rng = np.random.default_rng(0)
    for image, one, target in zip(images, maps, classes):
        order = np.lexsort((rng.random(one.size), -one.ravel()))
        rank = np.empty(one.size, np.int64)
        rank[order] = np.arange(one.size)
        ways = {"deletion": (image, fill_images(image[None], fill)[0])}
        ways["insertion"] = (fill_images(image[None], start)[0], image)
        for name, (before, after) in ways.items():
            done = rank.reshape(one.shape)[None] < moved[:, None, None]
            between = np.where(done[..., None], after, before)
            curve = scorer.probabilities(between)[:, target].astype(np.float64)
            curves[name].append(float(np.trapezoid(curve, dx=1 / steps)))
    return {name: np.array(values) for name, values in curves.items()}


def random_maps(images: int, size: int, seed: int, *, grid: int = _GRID) -> np.ndarray:
    """Smooth noise, float32 (images, size, size): ``grid`` x ``grid`` random numbers, enlarged like a feature map."""
    return enlarge(np.random.default_rng(seed).normal(size=(images, grid, grid)), size)


def random_order(
    model: Any, images: np.ndarray, classes: int | Sequence[int], *, seeds: Sequence[int] = SEEDS, **options: Any
) -> dict[str, np.ndarray]:
    """What `deletion_insertion` gives for orders that know nothing, the mean over ``seeds``.

    Args:
        model, images, classes, options: as for `deletion_insertion`.
        seeds: each for one order an image.
    """
    if not len(seeds):
        raise InputError("`seeds` must be one number or more. Received: none")
    size = np.shape(images)[1]
    found = [
        deletion_insertion(model, images, random_maps(len(images), size, seed), classes, **options) for seed in seeds
    ]
    return {f"{name}_random": np.mean([one[name] for one in found], axis=0) for name in found[0]}
