"""The eight symmetries of a square: rotations by 90 degrees and flips, exact to the last bit."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from leukemia_tf.data.augment.step import Step
from leukemia_tf.errors import InputError


D4_NAMES = tuple(
    f"{mirrored}{turned}" for mirrored in ("", "mirrored_") for turned in ("0", "90", "180", "270")
)
"""What each does: mirrored left-right or not, then turned left by so many degrees. The first changes nothing."""


def d4_view(images: np.ndarray, element: int) -> np.ndarray:
    """Turn and flip all images alike, without a copy: what comes back looks at the memory (or the file) of `images`.

    Args:
        images: ``[B, S, S, C]`` of any type.
        element: 0 to 7: ``np.rot90`` taken ``element % 4`` times, after a left-right flip where ``element >= 4``.

    Raises:
        InputError: for another element or images that are not square.
    """
    if isinstance(element, bool) or not hasattr(element, "__index__") or not 0 <= element < 8:
        raise InputError(f"`element` must be a whole number from 0 to 7. Received: {element!r}")
    if images.ndim != 4 or images.shape[1] != images.shape[2]:
        raise InputError(f"`images` must have the shape (B, S, S, C). Received: {tuple(images.shape)}")
    return np.rot90(images[:, :, ::-1] if element >= 4 else images, element % 4, axes=(1, 2))


@functools.lru_cache(maxsize=8)
def _pixel_orders(size: int) -> np.ndarray:
    """int32 ``[8, size * size]``: row ``k`` lists the source pixel of each target pixel under element ``k``."""
    grid = np.arange(size * size, dtype=np.int32).reshape(1, size, size, 1)
    return np.stack([d4_view(grid, element).ravel() for element in range(8)])


def apply_d4(images: tf.Tensor, elements: tf.Tensor) -> tf.Tensor:
    """Turn and flip each image by its own element of the symmetry group of the square.

    Args:
        images: ``[B, S, S, C]`` of any type, with ``S`` and ``C`` known.
        elements: int32 ``[B]``, 0 to 7, see :func:`d4_view`.
    """
    size, channels = images.shape[1], images.shape[3]
    # One gather of whole pixels. Choosing between eight transposed copies with tf.where is ten times slower.
    order = tf.gather(tf.constant(_pixel_orders(size)), elements)
    pixels = tf.reshape(images, [-1, size * size, channels])
    return tf.reshape(tf.gather(pixels, order, batch_dims=1), [-1, size, size, channels])


def d4_matrices(size: int, elements: tf.Tensor) -> tf.Tensor:
    """The same eight moves as maps ``[B, 2, 3]`` for :func:`leukemia_tf.data.augment.warp.warp_images`."""
    rows, columns = np.divmod(_pixel_orders(size), size)
    source = np.stack([columns, rows], axis=1).reshape(8, 2, size, size).astype(np.float32)
    corner, right, below = source[..., 0, 0], source[..., 0, -1], source[..., -1, 0]
    table = np.stack([(right - corner) / (size - 1), (below - corner) / (size - 1), corner], axis=2)
    return tf.gather(tf.constant(table), elements)


@dataclasses.dataclass(frozen=True)
class D4(Step):
    """One of the eight rotations by 90 degrees and flips, each equally likely, for each image.

    A blood cell on a smear has no up or down, and whole pixels are moved, so this costs no sharpness.
    """

    name = "d4"

    def elements(self, count, seed) -> tf.Tensor:
        """int32 ``[count]``, 0 to 7, for :func:`apply_d4` or :func:`d4_matrices`."""
        return tf.random.stateless_uniform([count], seed, 0, 8, tf.int32)

    def draw(self, count, size: int, seed) -> tf.Tensor:
        """The same moves as ``count`` matrices ``[count, 2, 3]``, for a warp that follows."""
        return d4_matrices(size, self.elements(count, seed))

    def __call__(self, images, labels, seed):
        elements = self.elements(tf.shape(images)[0], seed)
        return tf.ensure_shape(apply_d4(images, elements), images.shape), labels


@dataclasses.dataclass(frozen=True)
class Symmetry(Step):
    """The same one of the eight for every image, as an operation of ``some_of``.

    Args:
        element: 0 to 7, see :func:`apply_d4`: 1, 2 and 3 turn left by 90, 180 and 270 degrees, 4 mirrors left-right
            and 6 top-bottom.
    """

    name = "symmetry"

    element: int = 0

    def __post_init__(self):
        self._check_whole("element", 0, 7)

    def __call__(self, images, labels, seed):
        elements = tf.fill([tf.shape(images)[0]], self.element)
        return tf.ensure_shape(apply_d4(images, elements), images.shape), labels
