"""The cell in an image: the outline of the largest region that stands out from the border."""

from __future__ import annotations

import cv2
import numpy as np


def cell_contour(image: np.ndarray) -> np.ndarray | None:
    """Outline of the largest region on the other side of Otsu's threshold than the border of the image.

    The threshold is taken of the green channel, in which a stained nucleus is darkest, after a blur of one pixel.
    What most of the border belongs to is background, so that both a dark cell on a bright smear and a bright cell cut
    out on black (C-NMC) are found. In a field of many cells it is one of them, or a clump. System 001-A took all
    above the fixed grey level 30, which finds a cell on black only.

    Args:
        image: uint8 (S, S, 3), RGB.

    Returns:
        int32 (P, 2), the corners (x, y) in pixels, always in the same sense of rotation; or None without a region
        of some area, as in an image of one colour.
    """
    green = cv2.GaussianBlur(image[..., 1], (0, 0), 1.0)
    _, region = cv2.threshold(green, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    border = np.concatenate([region[0], region[-1], region[1:-1, 0], region[1:-1, -1]])
    if border.mean() > 0.5:
        region = 1 - region
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None
    largest = max(contours, key=cv2.contourArea)
    return largest[:, 0] if cv2.contourArea(largest) > 0 else None
