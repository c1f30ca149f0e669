"""Shrink a picture by exactly two: many times faster than by an odd factor."""

from __future__ import annotations

import cv2
import numpy as np


def halve(image: np.ndarray) -> np.ndarray:
    """Mean of blocks of 2 x 2 pixels of a uint8 image; a last odd row or column is left out."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    return cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
