"""The resize of `resize_images` for programs that start without TensorFlow: the same pixels, bit for bit."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from scipy.sparse import csr_array

_BLOCK = 32
"""Rows of the result that are made at a time. Arrays of a whole image are so large that the allocator gives their
memory back each time, and asking for it again takes longer than the work: at 224 pixels 1.5 times as long as all of
reading."""


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resize one image to a square, bilinear with antialiasing, as `leukemia_tf.data.resize_images` does.

    TensorFlow's kernel (`ScaleAndTranslate`) is followed operation by operation in float32: first the rows, then the
    columns, each a weighted sum of neighbours in order, which is what a product with a sparse matrix computes. Its
    threads do not wait for each other, and it takes less than half of TensorFlow's time. (Where a compiler fuses
    multiplication and addition, as on ARM, a pixel may differ by one grey level.)

    Args:
        image: uint8 [height, width, 3].
        size: side of the result in pixels.

    Returns:
        uint8 [size, size, 3].

    Raises:
        ValueError: if `size` is no positive whole number, or `image` has another shape or type.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"`size` must be a whole number of pixels of at least 1; received {size!r}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"`image` must be uint8 [height, width, 3]; received {image.dtype} {list(image.shape)}")
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    across = _weights(width, size)
    resized = np.empty((size, size, 3), np.uint8)
    for first, last, top, bottom, down in _blocks(height, size):
        rows = down @ image[top:bottom].reshape(bottom - top, width * 3).astype(np.float32)
        # Columns in front, so that they too are long rows of the product. NumPy takes six times as long for transposing
        # pixels, which then is most of the work.
        columns = cv2.transpose(rows.reshape(last - first, width, 3)).reshape(width, (last - first) * 3)
        block = (across @ columns).reshape(size, last - first, 3)
        np.rint(block, out=block)
        np.clip(block, 0.0, 255.0, out=block)
        resized[first:last] = cv2.transpose(block.astype(np.uint8))
    return resized


@functools.lru_cache(maxsize=256)
def _blocks(given: int, size: int) -> list[tuple[int, int, int, int, csr_array]]:
    """For each few rows of the result: which they are, which rows of the image they are made of, and their weights."""
    weights = _weights(given, size)
    found = []
    for first in range(0, size, _BLOCK):
        part = weights[first : first + _BLOCK]
        top, bottom = int(part.indices.min()), int(part.indices.max()) + 1
        found.append((first, first + part.shape[0], top, bottom, part[:, top:bottom]))
    return found


@functools.lru_cache(maxsize=256)
def _weights(given: int, size: int) -> csr_array:
    """float32 [size, given]: row i holds the triangle of weights of pixel i of the result."""
    one, half = np.float32(1), np.float32(0.5)
    inverse = one / (np.float32(size) / np.float32(given))
    kernel_scale = max(inverse, one)
    values: list[np.ndarray] = []
    places: list[np.ndarray] = []
    ends = [0]
    for index in range(size):
        centre = (np.float32(index) + half) * inverse
        first = min(max(math.ceil(centre - kernel_scale - half), 0), given - 1)
        last = min(max(math.floor(centre + kernel_scale - half), 0), given - 1)
        neighbours = np.arange(first, last + 1)
        distance = np.abs((neighbours.astype(np.float32) + half - centre) * (one / kernel_scale))
        triangle = np.maximum(one - distance, np.float32(0))
        # One after the other: NumPy would add in pairs.
        total = functools.reduce(np.add, triangle, np.float32(0))
        values.append(triangle * (one / total))
        places.append(neighbours)
        ends.append(ends[-1] + len(neighbours))
    return csr_array((np.concatenate(values), np.concatenate(places), ends), shape=(size, given))
