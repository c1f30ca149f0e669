"""Gaussian blur with a random width, for some of the images."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import tensorflow as tf

from leukemia_tf.data.augment.python_calls import python_call
from leukemia_tf.data.augment.step import Step
from leukemia_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Blur(Step):
    """Blur an image, as one out of focus, with OpenCV; borders are mirrored without repeating the edge pixel.

    Args:
        kernel: side of the kernel in pixels, odd, 1 to 31. Not relative to the side of the image.
        sigma: least and most standard deviation in pixels, 0.05 to 20, drawn uniformly for each image.
        probability: of an image being blurred, 0 to 1.

    The kernel is a Gaussian at whole pixels, divided by its sum, as ``torchvision.transforms.GaussianBlur`` has it.
    """

    name = "blur"

    kernel: int = 3
    sigma: tuple[float, float] = (0.1, 2.0)
    probability: float = 1.0

    def __post_init__(self):
        self._check_whole("kernel", 1, 31)
        if self.kernel % 2 == 0:
            raise InputError(f"`kernel` of step `blur` must be odd, got {self.kernel}")
        self._check_interval("sigma", 0.05, 20)
        self._check_range("probability", 0, 1)

    def __call__(self, images, labels, seed):
        u = tf.random.stateless_uniform([2, tf.shape(images)[0]], seed)
        sigmas = self.sigma[0] + u[0] * (self.sigma[1] - self.sigma[0])
        sigmas = tf.where(u[1] < self.probability, sigmas, tf.zeros_like(sigmas))  # 0 leaves the image alone
        blurred = python_call(self._blur, [images, sigmas], tf.float32, lambda batch, _: batch)
        return tf.ensure_shape(blurred, images.shape), labels

    def _blur(self, batch: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
        result = batch.copy()
        for target, sigma in zip(result, sigmas):
            if sigma:
                cv2.GaussianBlur(target, (self.kernel, self.kernel), float(sigma), dst=target)
        return result
