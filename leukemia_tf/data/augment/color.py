"""Hue, saturation, contrast and brightness as one linear map of the colours of each image."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import tensorflow as tf

from leukemia_tf.data.augment.python_calls import python_call
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
    if matrices is None:
        matrices = tf.eye(3, batch_shape=[tf.shape(images)[0]])

    def adjust(batch, *numbers):
        result = np.empty_like(batch)
        for image, target, *of_image in zip(batch, result, *numbers):
            adjust_image(image, *of_image, target)
        return result

    adjusted = python_call(adjust, [images, contrast, brightness, matrices], tf.float32, lambda batch, *_: batch)
    return tf.ensure_shape(adjusted, images.shape)


def adjust_image(image: np.ndarray, contrast: float, brightness: float, matrix: np.ndarray, target: np.ndarray) -> None:
    """`adjust_colors` of one image, float32 ``[S, S, 3]``, into another: one matrix and one offset, with OpenCV."""
    mean = np.array(cv2.mean(image)[:3]) @ matrix
    affine = np.empty((3, 4), np.float32)
    affine[:, :3] = contrast * matrix.T
    affine[:, 3] = (1.0 - contrast) * mean + brightness
    cv2.transform(image, affine, dst=target)
    np.clip(target, 0.0, 255.0, out=target)


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

    def draw(self, count, seed) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
        """Contrast, brightness and matrices of ``count`` images, as :func:`adjust_colors` takes them."""
        u = tf.unstack(tf.random.stateless_uniform([4, count], seed, -1.0, 1.0))
        matrices = None
        if self.hue or self.saturation:
            matrices = color_matrices(u[0] * self.hue * 2 * math.pi, 1.0 + u[1] * self.saturation)
        return 1.0 + u[2] * self.contrast, u[3] * self.brightness * 255.0, matrices

    def __call__(self, images, labels, seed):
        return adjust_colors(images, *self.draw(tf.shape(images)[0], seed)), labels
