"""The resize of `resize_images` for programs that start without TensorFlow: the same pixels, bit for bit."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from scipy.sparse import csr_array


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resize one image to a square, bilinear with antialiasing, as `leukemia_tf.data.resize_images` does.

    TensorFlow's kernel (`ScaleAndTranslate`) is followed operation by operation in float32: first the rows, then the
    columns, each a weighted sum of neighbours in order, which is what a product with a sparse matrix computes. Its
    threads do not wait for each other, and it takes half of TensorFlow's time. (Where a compiler fuses multiplication
    and addition, as on ARM, a pixel may differ by one grey level.)

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
    rows = _weights(height, size) @ image.reshape(height, width * 3).astype(np.float32)
    # Columns in front, so that they too are long rows of the product. NumPy takes six times as long for the transposing
    # of pixels, which then is most of the work.
    columns = cv2.transpose(rows.reshape(size, width, 3)).reshape(width, size * 3)
    resized = (_weights(width, size) @ columns).reshape(size, size, 3)
    return cv2.transpose(np.clip(np.rint(resized), 0.0, 255.0).astype(np.uint8))


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
