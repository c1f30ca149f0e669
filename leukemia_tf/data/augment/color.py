"""Hue, saturation, contrast and brightness as one linear map of the colours of each image."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from leukemia_tf.data.augment.step import Step

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: how bright red, green and blue look


def color_matrices(hue: tf.Tensor, saturation: tf.Tensor) -> tf.Tensor:
    """``[B, 3, 3]`` for ``rgb @ matrix``: turn the hue, then scale the saturation.

    Args:
        hue: float32 ``[B]``, radians by which colours turn about the grey axis of the RGB cube (a third of a full
            turn takes red to green, green to blue, blue to red).
        saturation: float32 ``[B]``; 0 gives the grey of equal luma (BT.601), 1 changes nothing.
    """
    cos, sin = tf.cos(hue)[:, None, None], tf.sin(hue)[:, None, None]
    # Rodrigues' formula for the axis (1, 1, 1) / sqrt(3), transposed because colours are row vectors.
    cross = tf.constant([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]) / math.sqrt(3.0)
    turn = cos * tf.eye(3) + sin * cross + (1.0 - cos) * tf.fill([3, 3], 1.0 / 3.0)
    s = saturation[:, None, None]
    fade = s * tf.eye(3) + (1.0 - s) * tf.constant([[weight] * 3 for weight in LUMA])
    return turn @ fade


def adjust_colors(images, contrast, brightness, matrices=None) -> tf.Tensor:
    """``clip(mean + contrast * (rgb @ matrix - mean) + brightness)``, the mean that of a channel of an image.

    Args:
        images: float32 ``[B, S, S, 3]``, 0 to 255.
        contrast: float32 ``[B]``, factor.
        brightness: float32 ``[B]``, added to every channel, in grey levels.
        matrices: float32 ``[B, 3, 3]`` or None for no change of hue and saturation.
    """
    size = images.shape[1]
    means = tf.reduce_mean(images, axis=[1, 2])[:, None, :]
    factor = contrast[:, None, None]
    # Whole rows [S * 3] are scaled and shifted, since broadcasting over a last axis of 3 does not vectorise.
    if matrices is None:
        rows = tf.reshape(images, [-1, size, size * 3]) * factor
    else:
        means = means @ matrices
        pixels = tf.reshape(images, [-1, size * size, 3])
        rows = tf.reshape(pixels @ (matrices * factor), [-1, size, size * 3])
    shift = tf.tile((1.0 - factor) * means + brightness[:, None, None], [1, 1, size])
    return tf.reshape(tf.clip_by_value(rows + shift, 0.0, 255.0), [-1, size, size, 3])


@dataclasses.dataclass(frozen=True)
class Color(Step):
    """A random change of colours for each image, as staining and lamps vary from one laboratory to the next.

    Args:
        brightness: largest shift either way, as a fraction of the full range of 255, 0 to 1.
        contrast: factor from ``1 - contrast`` to ``1 + contrast`` about the mean of each channel, 0 to 1 (what
            ``keras.layers.RandomContrast`` means by it).
        saturation: factor from ``1 - saturation`` to ``1 + saturation``, 0 to 1.
        hue: largest turn either way, as a fraction of a full turn, 0 to 0.5.

    Every number is drawn uniformly from its range.
    """

    name = "color"

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        for field in ("brightness", "contrast", "saturation"):
            self._check_range(field, 0, 1)
        self._check_range("hue", 0, 0.5)

    def __call__(self, images, labels, seed):
        u = tf.unstack(tf.random.stateless_uniform([4, tf.shape(images)[0]], seed, -1.0, 1.0))
        matrices = None
        if self.hue or self.saturation:
            matrices = color_matrices(u[0] * self.hue * 2 * math.pi, 1.0 + u[1] * self.saturation)
        contrast, brightness = 1.0 + u[2] * self.contrast, u[3] * self.brightness * 255.0
        return tf.ensure_shape(adjust_colors(images, contrast, brightness, matrices), images.shape), labels
