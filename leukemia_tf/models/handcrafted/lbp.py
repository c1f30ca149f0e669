"""54 features: histograms of uniform local binary patterns at three radii.

Radii and points are those of the notebook of system 001-A (github.com/DouglasBragaMestrado/leukemia_cnn, main.ipynb);
the patterns are those of Ojala, Pietikainen and Maenpaa (IEEE Transactions on Pattern Analysis and Machine Intelligence
24, 971-987, 2002).
"""

from __future__ import annotations

import cv2
import numpy as np

_RINGS = ((1, 8), (2, 16), (3, 24))
"""Radius in pixels, number of points."""

LBP_NAMES = tuple(
    f"lbp_{radius}px_{f'{code}_of_{points}' if code <= points else 'other'}"
    for radius, points in _RINGS
    for code in range(points + 2)
)


def lbp_features(image: np.ndarray) -> np.ndarray:
    """Share of each pattern among the pixels at least a radius away from the border.

    Args:
        image: uint8 (S, S, 3), RGB, S at least 7.

    Returns:
        float32 (54,), in the order of `LBP_NAMES`; 10, 18 and 26 shares that sum to 1 each.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    histograms = []
    for radius, points in _RINGS:
        codes = local_binary_patterns(grey, radius, points)
        histograms.append(np.bincount(codes.ravel(), minlength=points + 2) / codes.size)
    return np.concatenate(histograms).astype(np.float32)


def local_binary_patterns(grey: np.ndarray, radius: int, points: int) -> np.ndarray:
    """The rotation-invariant uniform pattern of each pixel.

    A point on the circle around a pixel is 1 where the image, interpolated between its four neighbours, is at least as
    bright as the pixel. The code is the number of ones if they lie in one run around the circle, else points + 1.

    Args:
        grey: uint8 (H, W).
        radius: of the circle in pixels.
        points: on the circle, equally spaced.

    Returns:
        uint8 (H - 2 radius, W - 2 radius).
    """
    image = grey.astype(np.float32)
    height, width = image.shape
    centre = image[radius : height - radius, radius : width - radius]
    ones, changes = np.zeros(centre.shape, np.uint8), np.zeros(centre.shape, np.uint8)
    first = last = None
    for number in range(points):
        angle = 2 * np.pi * number / points
        neighbour = _shifted(image, -radius * np.sin(angle), radius * np.cos(angle), radius)
        # Interpolating between equal levels may end a rounding error below them.
        bit = neighbour >= centre - 1e-3
        ones += bit
        if last is None:
            first = bit
        else:
            changes += bit != last
        last = bit
    changes += first != last
    return np.where(changes <= 2, ones, np.uint8(points + 1))


def _shifted(image: np.ndarray, down: float, right: float, margin: int) -> np.ndarray:
    """The image at (row + down, column + right) of each pixel inside the margin, interpolated bilinearly."""
    kernel = np.zeros((2 * margin + 1, 2 * margin + 1), np.float32)
    # Cosine and sine of a right angle are not quite 0 and 1, and would reach one pixel too far.
    down, right = round(down, 9), round(right, 9)
    top, left = int(np.floor(down)), int(np.floor(right))
    for row, row_share in ((top, 1 - (down - top)), (top + 1, down - top)):
        for column, column_share in ((left, 1 - (right - left)), (left + 1, right - left)):
            if row_share * column_share:
                kernel[margin + row, margin + column] = row_share * column_share
    return cv2.filter2D(image, cv2.CV_32F, kernel)[margin:-margin, margin:-margin]
