"""What takes the place of pixels that are removed."""

from __future__ import annotations

import cv2
import numpy as np

from leukemia_tf.errors import InputError

FILLS = ("mean", "black", "blur")
"""Mean colour of the image, black, or the image so blurred that no nucleus has an edge."""


def fill_images(images: np.ndarray, fill: str | tuple[float, float, float] = "mean") -> np.ndarray:
    """Images with nothing left to see, float32 (N, S, S, 3).

    Args:
        images: (N, S, S, 3), RGB in [0, 255].
        fill: one of `FILLS`, or a colour, three numbers from 0 to 255. Black is the surroundings of cells that were
            cut out; within a smear it is as odd as any other colour that does not occur there.

    Raises:
        InputError: for another fill.
    """
    images = np.asarray(images, np.float32)
    if isinstance(fill, str):
        if fill == "mean":
            return np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape).astype(np.float32)
        if fill == "black":
            return np.zeros_like(images)
        if fill == "blur":
            sigma = images.shape[1] / 12
            return np.stack([cv2.GaussianBlur(one, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) for one in images])
    else:
        colour = np.asarray(fill, np.float32)
        if colour.shape == (3,) and (colour >= 0).all() and (colour <= 255).all():
            return np.broadcast_to(colour, images.shape).astype(np.float32)
    raise InputError(f"`fill` must be {', '.join(FILLS)} or three numbers from 0 to 255. Received: {fill!r}")
