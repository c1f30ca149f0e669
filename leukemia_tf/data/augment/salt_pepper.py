"""Single pixels turned white or black."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from leukemia_tf.data.augment.step import Step


@dataclasses.dataclass(frozen=True)
class SaltPepper(Step):
    """Turn each pixel white or black, both equally likely, with a small probability.

    Args:
        fraction: of the pixels that change, 0 to 1, on average.
    """

    name = "salt_pepper"

    fraction: float = 0.02

    def __post_init__(self):
        self._check_range("fraction", 0, 1)

    def __call__(self, images, labels, seed):
        u = tf.random.stateless_uniform([*tf.unstack(tf.shape(images)[:3]), 1], seed)
        salted = tf.where(u >= 1.0 - self.fraction / 2, 255.0, images)
        return tf.ensure_shape(tf.where(u < self.fraction / 2, 0.0, salted), images.shape), labels
