"""Flips, rotation, zoom, shear and translation as one affine warp: an image is resampled once."""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np
import tensorflow as tf

from leukemia_tf.data.augment.color import adjust_image
from leukemia_tf.data.augment.python_calls import python_call
from leukemia_tf.data.augment.step import Step
from leukemia_tf.errors import InputError

FILLS = {
    "reflect": cv2.BORDER_REFLECT,
    "nearest": cv2.BORDER_REPLICATE,
    "wrap": cv2.BORDER_WRAP,
    "constant": cv2.BORDER_CONSTANT,
}


def warp_images(images: tf.Tensor, matrices: tf.Tensor, fill: str = "reflect", colors=None) -> tf.Tensor:
    """Resample each image under its own affine map, bilinearly, with OpenCV; and perhaps change its colours.

    OpenCV 5 gives what ``tf.raw_ops.ImageProjectiveTransformV3`` gives, to a hundredth of a grey level, in less than
    half the time (batches of 64 images of 128 pixels on two cores). It runs outside the graph: fine in tf.data, not in
    a saved model.

    Args:
        images: float32 or uint8 ``[B, S, S, 3]``.
        matrices: float32 ``[B, 2, 3]``; ``matrix @ (x, y, 1)`` is the point of the input that is shown at column
            ``x`` and row ``y`` of the output (pixel centres are whole numbers).
        fill: what lies outside the image: "reflect" (``d c b a | a b c d | d c b a``), "nearest", "wrap" or
            "constant" (black).
        colors: contrast, brightness and matrices for :func:`leukemia_tf.data.augment.color.adjust_colors`, which is
            done to each warped image while it is still in the processor's cache.

    Returns:
        float32 ``[B, S, S, 3]``.
    """
    border = FILLS[fill]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    numbers = []
    if colors is not None:
        contrast, brightness, mixing = colors
        mixing = tf.eye(3, batch_shape=[tf.shape(images)[0]]) if mixing is None else mixing
        numbers = [contrast, brightness, mixing]

    def warp(batch, maps, *numbers):
        result = np.empty(batch.shape, np.float32)
        exact, warped = np.empty((2, *batch.shape[1:]), np.float32)
        for index, (source, target, matrix) in enumerate(zip(batch, result, maps)):
            if source.dtype != np.float32:
                exact[...] = source  # the resampling of 8-bit images rounds
                source = exact
            into = warped if numbers else target
            cv2.warpAffine(source, matrix, source.shape[1::-1], dst=into, flags=flags, borderMode=border)
            if numbers:
                adjust_image(warped, *(number[index] for number in numbers), target)
        return result

    def unchanged(batch, *_):
        return batch.astype(np.float32)

    return tf.ensure_shape(python_call(warp, [images, matrices, *numbers], tf.float32, unchanged), images.shape)


def compose(first: tf.Tensor, then: tf.Tensor) -> tf.Tensor:
    """The matrices ``[B, 2, 3]`` of two warps, ``first`` and ``then``, done as one."""
    linear = first[:, :, :2]
    return tf.concat([linear @ then[:, :, :2], linear @ then[:, :, 2:] + first[:, :, 2:]], axis=2)


def affine_matrices(size, flip_x, flip_y, angle, zoom, shear_x, shear_y, shift_x, shift_y) -> tf.Tensor:
    """The matrices for :func:`warp_images` of: flip, then rotate, then zoom, then shear, then translate.

    Args (float32 ``[B]`` each, but for the first):
        size: side of the images in pixels.
        flip_x, flip_y: -1 to mirror left-right or top-bottom, else 1.
        angle: radians.
        zoom: 1 leaves the size, 1.1 shows a tenth more of the scene on each axis (zooms out), .9 a tenth less.
        shear_x, shear_y: pixels moved along one axis for each pixel on the other.
        shift_x, shift_y: translation in pixels, to the right and down.
    """
    cos, sin = tf.cos(angle), tf.sin(angle)
    # The map runs from the output back to the input, so the first step is leftmost: flip @ turn @ zoom @ shear.
    a, b = zoom * (cos - sin * shear_y), zoom * (cos * shear_x - sin)
    c, d = zoom * (sin + cos * shear_y), zoom * (sin * shear_x + cos)
    a, b, c, d = flip_x * a, flip_x * b, flip_y * c, flip_y * d
    centre = (size - 1) / 2
    x, y = centre + shift_x, centre + shift_y
    rows = [a, b, centre - a * x - b * y, c, d, centre - c * x - d * y]
    return tf.reshape(tf.stack(rows, axis=1), [-1, 2, 3])


class AffineStep(Step):
    """A step that draws one affine map for each image. `Policy` makes one warp of several in a row.

    Subclasses have a ``fill``, see :func:`warp_images`.
    """

    def draw(self, count, size: int, seed) -> tf.Tensor:
        """``count`` random matrices ``[count, 2, 3]`` for images of ``size`` pixels."""
        raise NotImplementedError

    def __call__(self, images, labels, seed):
        return warp_images(images, self.draw(tf.shape(images)[0], images.shape[1], seed), self.fill), labels

    def _check_fill(self) -> None:
        if self.fill not in FILLS:
            raise InputError(f"`fill` of step `{self.name}` must be one of {', '.join(FILLS)}, got {self.fill!r}")


@dataclasses.dataclass(frozen=True)
class Warp(AffineStep):
    """One random affine warp for each image, composed of up to six geometric changes.

    Args:
        flip_horizontal, flip_vertical: True mirrors with probability one half; a number is the probability, 0 to 1.
        rotation: largest rotation either way, in degrees, 0 to 180.
        zoom: largest zoom out or in, as a fraction of the side; one factor for both axes. 0 to 0.9.
        shear: largest shear of each axis, in pixels for each pixel, 0 to 0.5.
        translation: largest shift of each axis, as a fraction of the side, 0 to 1.
        fill: what is shown from outside the image, see :func:`warp_images`.

    Every number is drawn uniformly from its range.
    """

    name = "warp"

    flip_horizontal: bool | float = False
    flip_vertical: bool | float = False
    rotation: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    translation: float = 0.0
    fill: str = "reflect"

    def __post_init__(self):
        for field in ("flip_horizontal", "flip_vertical"):
            if not isinstance(getattr(self, field), bool):
                self._check_range(field, 0, 1)
        self._check_range("rotation", 0, 180)
        self._check_range("zoom", 0, 0.9)
        self._check_range("shear", 0, 0.5)
        self._check_range("translation", 0, 1)
        self._check_fill()

    def draw(self, count, size: int, seed) -> tf.Tensor:
        u = tf.unstack(tf.random.stateless_uniform([8, count], seed, -1.0, 1.0))
        return affine_matrices(
            size,
            flip_x=_mirror(u[0], self.flip_horizontal),
            flip_y=_mirror(u[1], self.flip_vertical),
            angle=u[2] * math.radians(self.rotation),
            zoom=1.0 + u[3] * self.zoom,
            shear_x=u[4] * self.shear,
            shear_y=u[5] * self.shear,
            shift_x=u[6] * self.translation * size,
            shift_y=u[7] * self.translation * size,
        )


def _mirror(u: tf.Tensor, flip: bool | float) -> tf.Tensor:
    """-1 with the probability of `flip`, else 1, for `u` drawn uniformly from -1 to 1."""
    probability = 0.5 if flip is True else float(flip)
    return tf.where(u < 2.0 * probability - 1.0, -tf.ones_like(u), tf.ones_like(u))
