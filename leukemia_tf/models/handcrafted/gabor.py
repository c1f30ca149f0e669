"""36 features of Gabor filters: three of the response at each of four directions and three frequencies.

Directions, frequencies, width and statistics are those of the notebook of system 001-A
(github.com/DouglasBragaMestrado/leukemia_cnn, main.ipynb). Two are changed: the mean square stands for the sum of
squares, which grows with the image, and the even filter has no response to an even area.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

_DIRECTIONS = (0, 45, 90, 135)
_FREQUENCIES = (0.1, 0.25, 0.4)
_SIGMA = 4.0
_REACH = 12  # three sigmas
GABOR_NAMES = tuple(
    f"gabor_{statistic}_{direction}_{frequency}"
    for direction in _DIRECTIONS
    for frequency in _FREQUENCIES
    for statistic in ("mean", "std", "energy")
)


def gabor_features(image: np.ndarray) -> np.ndarray:
    """Mean, deviation and mean square of |even response| + |odd response|, in grey levels.

    Args:
        image: uint8 (S, S, 3), RGB.

    Returns:
        float32 (36,), in the order of `GABOR_NAMES` (direction of the wave in degrees, clockwise from
        the right; frequency in cycles a pixel).
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height, width = grey.shape
    rows, columns = (cv2.getOptimalDFTSize(side + 2 * _REACH) for side in (height, width))
    framed = cv2.copyMakeBorder(grey, _REACH, _REACH, _REACH, _REACH, cv2.BORDER_REFLECT_101)
    spectrum = cv2.dft(_padded(framed, rows, columns), flags=cv2.DFT_COMPLEX_OUTPUT)
    features = []
    for kernel in _spectra(rows, columns):
        both = cv2.idft(cv2.mulSpectrums(spectrum, kernel, 0), flags=cv2.DFT_SCALE)
        even, odd = cv2.split(np.abs(both[2 * _REACH :, 2 * _REACH :][:height, :width]))
        mean, deviation = (value[0, 0] for value in cv2.meanStdDev(even + odd))
        features += [mean, deviation, mean**2 + deviation**2]
    return np.array(features, np.float32)


@functools.lru_cache(maxsize=4)
def _spectra(rows: int, columns: int) -> list[np.ndarray]:
    """Fourier transforms of the filters. With 25 x 25 weights each that is five times as fast as sliding them."""
    return [
        cv2.dft(cv2.merge([_padded(part, rows, columns) for part in pair]), flags=cv2.DFT_COMPLEX_OUTPUT)
        for pair in gabor_kernels()
    ]


def _padded(array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    height, width = array.shape
    return cv2.copyMakeBorder(array, 0, rows - height, 0, columns - width, cv2.BORDER_CONSTANT, value=0)


@functools.cache
def gabor_kernels() -> list[tuple[np.ndarray, np.ndarray]]:
    """The even (cosine) and the odd (sine) filter of each direction and frequency, float32 (25, 25)."""
    size = (2 * _REACH + 1, 2 * _REACH + 1)
    # A cosine of endless wavelength: the Gaussian alone.
    envelope = cv2.getGaborKernel(size, _SIGMA, 0.0, 1e9, 1.0, 0.0, ktype=cv2.CV_64F)
    pairs = []
    for direction in _DIRECTIONS:
        for frequency in _FREQUENCIES:
            waves = [
                cv2.getGaborKernel(size, _SIGMA, np.deg2rad(direction), 1 / frequency, 1.0, phase, ktype=cv2.CV_64F)
                for phase in (0.0, np.pi / 2)
            ]
            balanced = [wave - envelope * (wave.sum() / envelope.sum()) for wave in waves]
            pairs.append(tuple((wave / envelope.sum()).astype(np.float32) for wave in balanced))
    return pairs
