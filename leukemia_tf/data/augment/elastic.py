"""Elastic deformation: every pixel is moved a little, and neighbours alike."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import tensorflow as tf

from leukemia_tf.data.augment.python_calls import python_call
from leukemia_tf.data.augment.step import Step


@dataclasses.dataclass(frozen=True)
class Elastic(Step):
    """Shift each pixel by smoothed noise (Simard et al. 2003), with OpenCV; what lies outside is mirrored.

    Noise drawn uniformly from -1 to 1 for each pixel and axis is smoothed by a Gaussian of ``sigma`` pixels and
    multiplied by ``alpha``. With the defaults the shifts have a standard deviation of 0.36 % of the side.

    Args:
        alpha: least and most factor, 0 to 10000, drawn uniformly for each image.
        sigma: least and most width of the Gaussian in pixels, 0.5 to 100, drawn uniformly for each image.
        side: the side in pixels that both are meant for, 1 to 10000. For an image of another side ``sigma`` is
            multiplied by the ratio of the sides, and ``alpha`` by its square (smoothing over fewer pixels leaves more
            of the noise), so that the deformation relative to the cell stays the same.
    """

    name = "elastic"

    alpha: tuple[float, float] = (40.0, 60.0)
    sigma: tuple[float, float] = (4.0, 6.0)
    side: int = 450

    def __post_init__(self):
        self._check_interval("alpha", 0, 10000)
        self._check_interval("sigma", 0.5, 100)
        self._check_whole("side", 1, 10000)

    def __call__(self, images, labels, seed):
        count, size = tf.shape(images)[0], images.shape[1]
        one, two = (tf.random.experimental.stateless_fold_in(seed, number) for number in range(2))
        u = tf.random.stateless_uniform([2, count], one)
        noise = tf.random.stateless_uniform([count, 2, size, size], two, -1.0, 1.0)
        ratio = size / self.side
        alphas = (self.alpha[0] + u[0] * (self.alpha[1] - self.alpha[0])) * ratio**2
        sigmas = (self.sigma[0] + u[1] * (self.sigma[1] - self.sigma[0])) * ratio
        moved = python_call(deform, [images, noise, alphas, sigmas], tf.float32, lambda batch, *_: batch)
        return tf.ensure_shape(moved, images.shape), labels


def deform(batch: np.ndarray, noise: np.ndarray, alphas: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """Images ``[B, S, S, 3]`` shown at each pixel plus ``alpha * smoothed noise``.

    Args:
        batch: float32 ``[B, S, S, 3]``.
        noise: float32 ``[B, 2, S, S]``, along columns and along rows.
        alphas, sigmas: float32 ``[B]``, in pixels.
    """
    result = np.empty_like(batch)
    rows, columns = np.indices(batch.shape[1:3], dtype=np.float32)
    for source, target, field, alpha, sigma in zip(batch, result, noise, alphas, sigmas):
        right, down = (cv2.GaussianBlur(part, (0, 0), float(sigma)) * alpha for part in field)
        cv2.remap(source, columns + right, rows + down, cv2.INTER_LINEAR, dst=target, borderMode=cv2.BORDER_REFLECT)
    return result
