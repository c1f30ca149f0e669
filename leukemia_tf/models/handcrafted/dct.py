"""1024 coefficients of the discrete cosine transform, lowest frequencies first.

Number, order and logarithm are those of the notebook of system 001-A (github.com/DouglasBragaMestrado/leukemia_cnn,
main.ipynb). The original transformed the image at its own size; here it is brought to 64 pixels first, so that all 1024
exist for an image of any size and mean the same in each.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

_SIDE = 64
_COEFFICIENTS = 1024


@functools.cache
def zigzag(side: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the first ``number`` cells of a square in the zigzag order of JPEG: along the diagonals from
    the corner (0, 0), in turn up and down."""
    cells = ((row, column) for row in range(side) for column in range(side))
    ordered = sorted(cells, key=lambda cell: (sum(cell), cell[sum(cell) % 2 == 0]))[:number]
    rows, columns = np.array(ordered).T
    return rows, columns


DCT_NAMES = tuple(f"dct_{row}_{column}" for row, column in zip(*zigzag(_SIDE, _COEFFICIENTS)))


def dct_features(image: np.ndarray) -> np.ndarray:
    """Magnitudes of the lowest frequencies of the grey image, beside the largest: log10(1 + |c| / max |c|).

    Args:
        image: uint8 (S, S, 3), RGB.

    Returns:
        float32 (1024,) in [0, 0.302], in the order of `DCT_NAMES` (rows count up and down, columns left to right); all
        0 for a black image.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if grey.shape != (_SIDE, _SIDE):
        shrinks = min(grey.shape) > _SIDE
        grey = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    magnitudes = np.abs(cv2.dct(grey.astype(np.float32))[zigzag(_SIDE, _COEFFICIENTS)])
    largest = magnitudes.max()
    if largest == 0:
        return np.zeros(_COEFFICIENTS, np.float32)
    return np.log10(1 + magnitudes / largest)
