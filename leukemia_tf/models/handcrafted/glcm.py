"""75 texture features: six properties of twelve grey-level co-occurrence matrices, and three of the grey image.

Distances, directions, properties and the three further features are those of the notebook of system 001-A
(github.com/DouglasBragaMestrado/leukemia_cnn, main.ipynb). Two are corrected: the original's energy summed squares in
8 bits, where 16 times 16 is 0, and it grew with the number of pixels. The properties are Haralick's (IEEE Transactions
on Systems, Man, and Cybernetics 3, 610-621, 1973).
"""

from __future__ import annotations

import cv2
import numpy as np

DISTANCES = (1, 3, 5)
ANGLES = (0, 45, 90, 135)
_PROPERTIES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation", "second_moment")
GLCM_NAMES = (
    *(f"glcm_{name}_{distance}px_{angle}" for distance in DISTANCES for name in _PROPERTIES for angle in ANGLES),
    "gradient_energy",
    "grey_variance",
    "grey_energy",
)


def glcm_features(image: np.ndarray) -> np.ndarray:
    """Co-occurrence of grey levels at 1, 3 and 5 pixels in four directions, and the strength of edges.

    A matrix of 256 x 256 levels holds the share of each pair of pixels, counted both ways round. Of each: contrast
    (mean squared difference), dissimilarity (mean difference), homogeneity (mean of 1 / (1 + squared difference)),
    energy (root of the second moment), correlation (0 where all pixels are equal) and angular second moment (sum of
    squares). Then the mean squared Sobel gradient in (grey levels / pixel)^2, the variance and the mean square of the
    grey image.

    Args:
        image: uint8 (S, S, 3), RGB, S at least 6.

    Returns:
        float32 (75,), in the order of `GLCM_NAMES`.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    features = []
    for distance in DISTANCES:
        by_angle = [cooccurrence_properties(*_pairs(grey, *offset(distance, angle))) for angle in ANGLES]
        features.append(np.stack(by_angle, axis=1).ravel())
    levels = grey.astype(np.float64)
    down, right = (cv2.Sobel(levels, cv2.CV_64F, *order, ksize=3, scale=1 / 8) for order in ((0, 1), (1, 0)))
    features.append([np.mean(down**2 + right**2), levels.var(), np.mean(levels**2)])
    return np.concatenate(features).astype(np.float32)


def offset(distance: int, angle: int) -> tuple[int, int]:
    """The neighbour (rows down, columns right) nearest to a distance in pixels and an angle in degrees.

    The angle counts clockwise from the right.
    """
    radians = np.deg2rad(angle)
    return int(np.round(np.sin(radians) * distance)), int(np.round(np.cos(radians) * distance))


def _pairs(grey: np.ndarray, down: int, right: int) -> tuple[np.ndarray, np.ndarray]:
    """All pixels that have a neighbour at this offset, and the neighbours."""
    height, width = grey.shape
    first = grey[: height - down, max(0, -right) : width - max(0, right)]
    return first, grey[down:, max(0, right) : width - max(0, -right)]


def cooccurrence_properties(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The six properties of the symmetric co-occurrence matrix of pairs of pixels.

    The matrix itself is never made: it has 65,536 cells, of which an image fills a few thousand.

    Args:
        first, second: uint8 of one shape, pixel and neighbour.

    Returns:
        float64 (6,): contrast, dissimilarity, homogeneity, energy, correlation, second moment.
    """
    unordered = np.minimum(first, second).astype(np.int32) * 256 + np.maximum(first, second)
    counts = np.bincount(unordered.ravel(), minlength=256 * 256)
    filled = np.flatnonzero(counts)
    share = counts[filled] / first.size
    low, high = np.divmod(filled.astype(np.float64), 256)
    difference = high - low
    contrast = share @ difference**2
    mean = share @ (low + high) / 2
    variance = share @ (low**2 + high**2) / 2 - mean**2
    correlation = (share @ (low * high) - mean**2) / variance if variance > 1e-6 else 0.0
    # Half of a pair of different levels lies on each side of the diagonal.
    second_moment = share**2 @ np.where(difference > 0, 0.5, 1.0)
    homogeneity = share @ (1 / (1 + difference**2))
    return np.array([contrast, share @ difference, homogeneity, np.sqrt(second_moment), correlation, second_moment])
