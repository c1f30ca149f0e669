"""Colour handling outside of a model: what Reinhard's method is fitted to, and CLAHE. NumPy and OpenCV only."""

from __future__ import annotations

import cv2
import numpy as np

from leukemia_tf.data.threads import map_threads
from leukemia_tf.errors import InputError

BLACK = 8.0
"""A pixel whose brightest channel is at most this grey level is background: cells that were cut out of their
surroundings lie on black. In 60 whole images of PBC no pixel has its brightest channel below 98."""

CLIP_LIMIT = 2.0
TILES = 8


def fit_reinhard(pixels: np.ndarray, *, black: float = BLACK) -> dict[str, list[float]]:
    """The colours of a set of images, for `leukemia_tf.layers.Reinhard`. Give it training images only.

    Args:
        pixels: uint8 (N, S, S, 3), RGB; an array or a memory-mapped file.
        black: pixels whose brightest channel is at most this are left out.

    Returns:
        ``mean`` and ``std``, each of L, a and b (CIE Lab, D65, as of OpenCV's float32 conversion): of every image its
        mean and its standard deviation over the pixels, then the average over the images. So the spread is that
        within an image, and an image counts the same however much of it is background.

    Raises:
        InputError: if all images are black, or the pixels are of another kind.
    """
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8:
        raise InputError(f"`pixels` must be uint8 (N, S, S, 3). Received: {pixels.dtype} {pixels.shape}")
    found = [one for one in map_threads(lambda image: _statistics(image, black), pixels) if one is not None]
    if not found:
        raise InputError(
            f"`pixels` must hold an image with pixels above grey level {black:g}. Received: {len(pixels)} black images"
        )
    mean, std = np.mean(found, axis=0)
    return {"mean": mean.tolist(), "std": std.tolist()}


def _statistics(image: np.ndarray, black: float) -> tuple[np.ndarray, np.ndarray] | None:
    chosen = image.max(axis=-1) > black
    if not chosen.any():
        return None
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[chosen].astype(np.float64)
    return lab.mean(axis=0), lab.std(axis=0)


def clahe(
    pixels: np.ndarray, *, clip_limit: float = CLIP_LIMIT, tiles: int = TILES, black: float = BLACK
) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of the lightness (Zuiderveld, 1994), by OpenCV.

    L of 8-bit CIE Lab is equalised, a and b stay. The black background stays as it is, although it takes part in the
    histograms of its tiles.

    Args:
        pixels: uint8 (N, S, S, 3), RGB.
        clip_limit: how many times the average a bin of a histogram may hold.
        tiles: an image is cut into ``tiles`` x ``tiles`` for the histograms.
        black: pixels whose brightest channel is at most this are background.

    Returns:
        uint8 (N, S, S, 3), a new array.
    """

    def one(image: np.ndarray) -> np.ndarray:
        lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
        # An object for each image, since its buffers cannot be shared between threads.
        lab[..., 0] = cv2.createCLAHE(clip_limit, (tiles, tiles)).apply(lab[..., 0])
        return np.where(image.max(axis=-1, keepdims=True) > black, cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), image)

    result = np.empty(pixels.shape, np.uint8)
    for row, image in enumerate(map_threads(one, pixels)):
        result[row] = image
    return result
