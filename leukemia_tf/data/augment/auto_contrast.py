"""Each channel stretched to the full range, for some of the images."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from leukemia_tf.data.augment.step import Step


@dataclasses.dataclass(frozen=True)
class AutoContrast(Step):
    """Stretch each channel of an image so that its darkest pixel becomes 0 and its brightest 255.

    Args:
        probability: of an image being stretched, 0 to 1.

    What ``PIL.ImageOps.autocontrast`` and ``torchvision.transforms.RandomAutocontrast`` do, without their rounding. A
    channel of one single value stays as it is.
    """

    name = "auto_contrast"

    probability: float = 0.5

    def __post_init__(self):
        self._check_range("probability", 0, 1)

    def __call__(self, images, labels, seed):
        low = tf.reduce_min(images, axis=[1, 2], keepdims=True)
        span = tf.reduce_max(images, axis=[1, 2], keepdims=True) - low
        chosen = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed) < self.probability
        stretch = chosen & (span > 0)
        scale = tf.where(stretch, tf.math.divide_no_nan(255.0, span), tf.ones_like(span))
        shift = tf.where(stretch, low, tf.zeros_like(low))
        return tf.clip_by_value((images - shift) * scale, 0.0, 255.0), labels
