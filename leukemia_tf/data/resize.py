"""The one resize of the package: pipeline, command, app and export all call this function."""

from __future__ import annotations

import tensorflow as tf


def resize_images(images: tf.Tensor, size: int) -> tf.Tensor:
    """Resize images to a square, bilinear with antialiasing.

    With antialiasing TensorFlow agrees with Pillow's `BILINEAR` to one grey level; without it, shrinking aliases. An
    image that is not square is stretched. The result is rounded to whole numbers, so that pixels kept as uint8 are
    the pixels themselves; images that already have the size come out as they went in (but for the rounding).

    Args:
        images: uint8 or float tensor [..., height, width, 3] of any size, values 0 to 255.
        size: side of the result in pixels.

    Returns:
        float32 tensor [..., size, size, 3], whole numbers from 0 to 255.

    Raises:
        ValueError: if `size` is no positive whole number, or `images` has no three channels.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"`size` must be a whole number of pixels of at least 1; received {size!r}")
    images = tf.convert_to_tensor(images)
    rank = images.shape.rank
    if rank is None or rank < 3 or images.shape[-1] != 3:
        raise ValueError(f"`images` must have the shape [..., height, width, 3]; received {images.shape}")
    if images.shape[-3] == size and images.shape[-2] == size:
        resized = tf.cast(images, tf.float32)
    elif rank > 4:
        shape = tf.shape(images)
        flat = tf.reshape(images, tf.concat([[-1], shape[-3:]], 0))
        resized = tf.image.resize(flat, [size, size], "bilinear", antialias=True)
        resized = tf.reshape(resized, tf.concat([shape[:-3], [size, size, 3]], 0))
        resized.set_shape(images.shape[:-3] + [size, size, 3])
    else:
        resized = tf.image.resize(images, [size, size], "bilinear", antialias=True)
    return tf.clip_by_value(tf.round(resized), 0.0, 255.0)
