"""CIE Lab and back, differentiable, and which pixels of an image are more than a black background."""

from __future__ import annotations

import keras
from keras import ops

from leukemia_tf.errors import InputError

# Linear sRGB to CIE XYZ under D65, divided by the white point, so that white is (1, 1, 1): what OpenCV computes with.
_WHITE = (0.950456, 1.0, 1.088754)
_TO_XYZ = (
    (0.412453 / _WHITE[0], 0.357580 / _WHITE[0], 0.180423 / _WHITE[0]),
    (0.212671, 0.715160, 0.072169),
    (0.019334 / _WHITE[2], 0.119193 / _WHITE[2], 0.950227 / _WHITE[2]),
)
_TO_RGB = (
    (3.240479 * _WHITE[0], -1.53715, -0.498535 * _WHITE[2]),
    (-0.969256 * _WHITE[0], 1.875991, 0.041556 * _WHITE[2]),
    (0.055648 * _WHITE[0], -0.204043, 1.057311 * _WHITE[2]),
)
_KNEE = 0.008856  # of XYZ: straight below, cube root above
_SLOPE, _OFFSET = 7.787, 16 / 116
_SRGB_KNEE = 0.04045


def rgb_to_lab(images):
    """sRGB (..., 3) in [0, 255] -> CIE Lab, float32: L from 0 to 100, a and b about -128 to 127. White point D65.

    The same numbers as ``cv2.cvtColor(images / 255, cv2.COLOR_RGB2LAB)`` of float32.
    """
    rgb = ops.clip(ops.cast(images, "float32") / 255.0, 0.0, 1.0)
    # Both branches of a `where` have a gradient; without `maximum` that of the power is not a number at 0.
    steep = ops.power((ops.maximum(rgb, _SRGB_KNEE) + 0.055) / 1.055, 2.4)
    linear = ops.where(rgb > _SRGB_KNEE, steep, rgb / 12.92)
    xyz = _mix(linear, _TO_XYZ)
    root = ops.power(ops.maximum(xyz, _KNEE), 1 / 3)
    fx, fy, fz = _channels(ops.where(xyz > _KNEE, root, _SLOPE * xyz + _OFFSET))
    return ops.stack([116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)], axis=-1)


def lab_to_rgb(lab):
    """The inverse of `rgb_to_lab`; colours outside of sRGB are clipped. Float32 (..., 3) in [0, 255]."""
    lightness, a, b = _channels(lab)
    fy = (lightness + 16.0) / 116.0
    roots = ops.stack([fy + a / 500.0, fy, fy - b / 200.0], axis=-1)
    knee = _SLOPE * _KNEE + _OFFSET
    xyz = ops.where(roots > knee, roots * roots * roots, (roots - _OFFSET) / _SLOPE)
    linear = ops.clip(_mix(xyz, _TO_RGB), 0.0, 1.0)
    knee = _SRGB_KNEE / 12.92
    steep = 1.055 * ops.power(ops.maximum(linear, knee), 1 / 2.4) - 0.055
    return 255.0 * ops.clip(ops.where(linear > knee, steep, 12.92 * linear), 0.0, 1.0)


def not_black(images, black: float):
    """Float32 (B, h, w, 1): 1 where the brightest of the three channels is above ``black``, 0 for the background."""
    return ops.cast(ops.max(images, axis=-1, keepdims=True) > black, "float32")


def masked_mean(values, mask):
    """Mean over the pixels of each image where ``mask`` (B, h, w, 1) is 1, shape (B, 1, 1, C); 0 where none is."""
    count = ops.maximum(ops.sum(mask, axis=(1, 2), keepdims=True), 1.0)
    return ops.sum(values * mask, axis=(1, 2), keepdims=True) / count


def check_images(layer: keras.layers.Layer, shape) -> None:
    """Refuse what are no images (B, h, w, 3).

    Raises:
        InputError: names the layer and the shape.
    """
    if len(shape) != 4 or shape[-1] != 3:
        name = type(layer).__name__
        raise InputError(f"`{name}` takes images (B, h, w, 3), RGB in [0, 255]. Received: shape {tuple(shape)}")


def check_black(black: float) -> float:
    """``black`` as a float, or an `InputError` if it is no grey level."""
    if isinstance(black, bool) or not hasattr(black, "__float__") or not 0 <= float(black) <= 255:
        raise InputError(f"`black` must be a grey level from 0 to 255. Received: {black!r}")
    return float(black)


def _channels(values):
    return [values[..., channel] for channel in range(3)]


def _mix(values, matrix):
    """``values @ matrix.T`` along the last axis, in full float32: a GPU may round the factors of a product of matrices
    to 10 bits (TF32), which is a grey level."""
    channels = _channels(values)
    return ops.stack([sum(w * channel for w, channel in zip(row, channels)) for row in matrix], axis=-1)
