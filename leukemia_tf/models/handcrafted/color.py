"""66 colour statistics: eleven of each of the channels R, G, B, H, S and V.

The list is that of the notebook of system 001-A (github.com/DouglasBragaMestrado/leukemia_cnn, main.ipynb).
"""

from __future__ import annotations

import cv2
import numpy as np

_CHANNELS = ("red", "green", "blue", "hue", "saturation", "value")
_STATISTICS = (
    "mean", "std", "skewness", "kurtosis", "min", "max", "median", "quartile_1", "quartile_3", "energy", "entropy",
)  # fmt: skip
COLOR_NAMES = tuple(f"color_{channel}_{statistic}" for channel in _CHANNELS for statistic in _STATISTICS)


def color_features(image: np.ndarray) -> np.ndarray:
    """Statistics of the pixels of each channel, from its histogram, which holds all of an 8-bit channel.

    Mean, deviation, extremes, median and quartiles are in grey levels (hue: 0 to 179, two degrees a step, as OpenCV
    has it; a hue is counted on a line, so red is at both ends). Skewness and excess kurtosis are 0 for a channel of
    one level. A quantile is the lowest level that reaches the share (the original interpolated between two pixels,
    half a level apart at most where both occur). Energy is the sum of the squared shares of the levels, entropy is
    in bits.

    Args:
        image: uint8 (S, S, 3), RGB.

    Returns:
        float32 (66,), in the order of `COLOR_NAMES`.
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    features = [_statistics(source[..., channel]) for source in (image, hsv) for channel in range(3)]
    return np.concatenate(features).astype(np.float32)


def _statistics(channel: np.ndarray) -> np.ndarray:
    shares = np.bincount(channel.ravel(), minlength=256) / channel.size
    levels = np.arange(256.0)
    mean = shares @ levels
    centred = levels - mean
    std = np.sqrt(shares @ centred**2)
    skewness = kurtosis = 0.0
    if std > 1e-6:
        skewness = shares @ (centred / std) ** 3
        kurtosis = shares @ (centred / std) ** 4 - 3
    present = np.flatnonzero(shares)
    # A share such as 0.25 is reached in exact arithmetic; the sum of floats may stay a rounding error below it.
    first, median, third = np.searchsorted(np.cumsum(shares), np.array([0.25, 0.5, 0.75]) - 1e-9)
    positive = shares[present]
    entropy = -(positive @ np.log2(positive))
    energy = positive @ positive
    return np.array([mean, std, skewness, kurtosis, present[0], present[-1], median, first, third, energy, entropy])
