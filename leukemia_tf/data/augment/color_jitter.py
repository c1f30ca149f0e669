"""Brightness, contrast, saturation and hue by torchvision's rules, in random order."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import tensorflow as tf

from leukemia_tf.data.augment.color import LUMA
from leukemia_tf.data.augment.python_calls import python_call
from leukemia_tf.data.augment.step import Step

_LUMA = np.array(LUMA, np.float32)


@dataclasses.dataclass(frozen=True)
class ColorJitter(Step):
    """A random change of colours for each image, as ``torchvision.transforms.ColorJitter`` defines it.

    Brightness multiplies; contrast scales about the mean of the greyscale image; saturation blends with the greyscale
    image; hue turns the hue of HSV. The four come in an order drawn for each image, and each clips to 0..255.
    :class:`~leukemia_tf.data.augment.color.Color` is another definition of the same four words (brightness is added,
    contrast is about the mean of each channel, hue turns about the grey axis), and several times faster. Against
    torchvision on Pillow images, nothing is rounded between the steps.

    Args:
        brightness, contrast, saturation: factor from ``1 - x`` to ``1 + x``, 0 to 1; 0 leaves that step out.
        hue: largest turn either way, as a fraction of a full turn, 0 to 0.5.

    Every number is drawn uniformly from its range.
    """

    name = "color_jitter"

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __post_init__(self):
        for field in ("brightness", "contrast", "saturation"):
            self._check_range(field, 0, 1)
        self._check_range("hue", 0, 0.5)

    def __call__(self, images, labels, seed):
        ranges = tf.constant([[self.brightness], [self.contrast], [self.saturation], [self.hue]])
        u = tf.random.stateless_uniform([8, tf.shape(images)[0]], seed, -1.0, 1.0)
        amounts = tf.transpose(u[:4] * ranges)
        orders = tf.argsort(tf.transpose(u[4:]))
        jittered = python_call(self._jitter, [images, amounts, orders], tf.float32, lambda batch, *_: batch)
        return tf.ensure_shape(jittered, images.shape), labels

    def _jitter(self, batch: np.ndarray, amounts: np.ndarray, orders: np.ndarray) -> np.ndarray:
        used = [bool(strength) for strength in (self.brightness, self.contrast, self.saturation, self.hue)]
        result = batch.copy()
        for index, (amount, order) in enumerate(zip(amounts, orders)):
            for which in order:
                if used[which]:
                    result[index] = np.clip(CHANGES[which](result[index], amount[which]), 0, 255)
        return result


def brighten(image: np.ndarray, amount: float) -> np.ndarray:
    """``[S, S, 3]`` times ``1 + amount``."""
    return image * (1 + amount)


def change_contrast(image: np.ndarray, amount: float) -> np.ndarray:
    """Scaled by ``1 + amount`` about the mean of the greyscale image, one number for all channels."""
    return image * (1 + amount) - amount * np.float32(np.dot(cv2.mean(image)[:3], _LUMA))


def saturate(image: np.ndarray, amount: float) -> np.ndarray:
    """``1 + amount`` parts of the image and ``-amount`` parts of its greyscale image."""
    return cv2.transform(image, (1 + amount) * np.eye(3, dtype=np.float32) - amount * np.tile(_LUMA, (3, 1)))


def turn_hue(image: np.ndarray, amount: float) -> np.ndarray:
    """The hue of HSV turned by ``amount`` of a full turn."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # float32: hue in degrees, value on the scale of the image
    hsv[..., 0] = (hsv[..., 0] + 360 * amount) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


CHANGES = (brighten, change_contrast, saturate, turn_hue)
