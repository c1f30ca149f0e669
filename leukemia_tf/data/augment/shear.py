"""A shear to one side, as some published lists have it."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from leukemia_tf.data.augment.warp import AffineStep


@dataclasses.dataclass(frozen=True)
class Shear(AffineStep):
    """Move each row to the right in proportion to its distance from the top row, which stays.

    :class:`~leukemia_tf.data.augment.warp.Warp` shears about the centre, both ways and both axes.

    Args:
        factor: least and most pixels for each pixel of distance, -1 to 1, drawn uniformly for each image.
        fill: what is shown from outside the image, see :func:`~leukemia_tf.data.augment.warp.warp_images`.
    """

    name = "shear"

    factor: tuple[float, float] = (0.1, 0.3)
    fill: str = "nearest"

    def __post_init__(self):
        self._check_interval("factor", -1, 1)
        self._check_fill()

    def draw(self, count, size, seed):
        factor = tf.random.stateless_uniform([count], seed, *self.factor)
        one, zero = tf.ones_like(factor), tf.zeros_like(factor)
        return tf.reshape(tf.stack([one, -factor, zero, zero, one, zero], axis=1), [-1, 2, 3])
