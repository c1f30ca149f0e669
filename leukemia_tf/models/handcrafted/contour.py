"""160 Fourier descriptors of the cell's outline.

As in the notebook of system 001-A (github.com/DouglasBragaMestrado/leukemia_cnn, main.ipynb) they describe the distance
of 320 points of the outline from its centroid. Corrected: the original took every k-th corner of a simplified outline
for equal steps (corners lie close where it is crooked and far apart where it is straight), rounded the centroid to
whole pixels, and began with the coefficient 0, which is a constant once everything is divided by it.
"""

from __future__ import annotations

import cv2
import numpy as np

from leukemia_tf.models.handcrafted.mask import cell_contour

_POINTS = 320
_DESCRIPTORS = 160
CONTOUR_NAMES = tuple(f"contour_fourier_{number}" for number in range(1, _DESCRIPTORS + 1))


def contour_features(image: np.ndarray) -> np.ndarray:
    """Fourier descriptors of the outline of the cell.

    Args:
        image: uint8 (S, S, 3), RGB.

    Returns:
        float32 (160,), see `fourier_descriptors`; all 0 where no cell is found.
    """
    contour = cell_contour(image)
    if contour is None:
        return np.zeros(_DESCRIPTORS, np.float32)
    return fourier_descriptors(contour)


def fourier_descriptors(contour: np.ndarray) -> np.ndarray:
    """How much the distance from the centroid varies 1, 2, ... 160 times around the outline.

    320 points lie at equal steps along the polygon, from the corner that is farthest from the centroid on. Magnitudes
    of the Fourier coefficients do not depend on rotation, position or the first corner; divided by the mean distance
    not on scale either. As in the original the result is log10(1 + that).

    Args:
        contour: numbers (P, 2), the corners of a closed polygon with an area above 0.

    Returns:
        float32 (160,); 0 for a circle.
    """
    corners = np.asarray(contour, np.float64)
    # OpenCV's moments want float32, which has no digits to spare far from the origin.
    origin = corners.mean(axis=0)
    corners = corners - origin
    moments = cv2.moments(corners.astype(np.float32))
    corners = corners - [moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]]
    corners = np.roll(corners, -int(np.argmax(np.hypot(*corners.T))), axis=0)
    closed = np.concatenate([corners, corners[:1]])
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    steps = np.arange(_POINTS) / _POINTS * length[-1]
    distance = np.hypot(*(np.interp(steps, length, closed[:, axis]) for axis in (0, 1)))
    spectrum = np.abs(np.fft.rfft(distance))
    return np.log10(1 + spectrum[1 : _DESCRIPTORS + 1] / spectrum[0]).astype(np.float32)
