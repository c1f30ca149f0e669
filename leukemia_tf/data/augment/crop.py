"""A random square out of the image, resized to fill the frame."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from leukemia_tf.data.augment.warp import AffineStep


@dataclasses.dataclass(frozen=True)
class Crop(AffineStep):
    """Cut out a square anywhere in the image and enlarge it, bilinearly, to the size of the image.

    Args:
        share: least and most side of the square, as a fraction of the side, 0.05 to 1, drawn uniformly for each image.
    """

    name = "crop"
    fill = "nearest"  # half a pixel beyond the border is asked for, as in any enlargement

    share: tuple[float, float] = (0.8, 0.95)

    def __post_init__(self):
        self._check_interval("share", 0.05, 1)

    def draw(self, count, size, seed):
        u = tf.unstack(tf.random.stateless_uniform([3, count], seed))
        share = self.share[0] + u[0] * (self.share[1] - self.share[0])
        zero = tf.zeros_like(share)
        # Pixel centres lie at halves: column x shows (x + 1/2) * share - 1/2 of the square, which begins at `left`.
        left, top = ((0.5 * share - 0.5) + place * (1.0 - share) * size for place in u[1:])
        return tf.reshape(tf.stack([share, zero, left, zero, share, top], axis=1), [-1, 2, 3])
