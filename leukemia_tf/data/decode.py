"""From the bytes of an image file to RGB pixels, the same ones inside and outside of a TensorFlow graph.

Every JPEG is decoded with the accurate integer DCT: TensorFlow's default is the fast one, which is off by up to four
grey levels from what Pillow and OpenCV read.
"""

from __future__ import annotations

import functools
import os

import numpy as np
import tensorflow as tf

from leukemia_tf.data.decode_pillow import check_end, decode_with_pillow
from leukemia_tf.data.header import MAX_PIXELS, BrokenImage, Header, one_line, read_header
from leukemia_tf.data.regular_file import read_regular

__all__ = ["BrokenImage", "decode_bytes", "decode_image", "read_image"]


def decode_image(encoded: tf.Tensor, channels: int = 3) -> tf.Tensor:
    """Decode JPEG, PNG or BMP bytes to RGB. Can be traced into a `tf.function` and saved in a SavedModel.

    Greyscale is repeated, an alpha channel is dropped, 16-bit samples keep their upper 8 bits, CMYK is converted: the
    pixels are those of `read_image`. TIFF, and BMP with a palette, need `read_image`.

    Args:
        encoded: scalar string tensor (or bytes), the content of one file.
        channels: 3.

    Returns:
        uint8 tensor [height, width, 3], values 0 to 255.

    Raises:
        tf.errors.InvalidArgumentError: if the bytes are none of these formats, are truncated, or hold more than
            100 megapixels.
    """
    if channels != 3:
        raise ValueError(f"`channels` must be 3 (RGB is all that the models take); received {channels!r}")
    encoded = tf.convert_to_tensor(encoded, tf.string)
    # On the CPU also where there is a GPU: these operations have no other kernels.
    with tf.device("CPU:0"):
        image = tf.case(
            [
                (tf.io.is_jpeg(encoded), lambda: _decode_jpeg(encoded)),
                (tf.strings.substr(encoded, 0, 4) == b"\x89PNG", lambda: _decode_png(encoded)),
                (tf.strings.substr(encoded, 0, 2) == b"BM", lambda: _decode_bmp(encoded)),
            ],
            default=lambda: _refuse(encoded),
        )
    image.set_shape([None, None, 3])
    return image


def read_image(source: str | os.PathLike | bytes) -> np.ndarray:
    """Read one image file, whatever its pixel layout, as 8-bit RGB.

    Args:
        source: path of a JPEG, PNG, BMP or TIFF file, or the bytes of one.

    Returns:
        uint8 array [height, width, 3], values 0 to 255. Alpha is dropped, 16-bit samples keep their upper 8 bits.

    Raises:
        BrokenImage: if the file cannot be read, is truncated, is of another format, or holds more than
            100 megapixels (which is seen before anything is decoded).
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, path = bytes(source), ""
    else:
        path = os.fspath(source)
        data = read_regular(path, path)
    return decode_bytes(data, read_header(data, path), path)


def decode_bytes(data: bytes, header: Header, path: str = "") -> np.ndarray:
    """Decode bytes whose header was read: uint8 [height, width, 3].

    Raises:
        BrokenImage: if the data behind the header is truncated or damaged.
    """
    try:
        if header.format == "TIFF" or (header.format == "BMP" and header.bits != 24):
            return decode_with_pillow(data)
        check_end(data, header)
        return _traced_decode()(tf.constant(data)).numpy()
    except MemoryError:
        raise
    except tf.errors.OpError as error:
        raise BrokenImage(path, f"truncated or damaged {header.format} data") from error
    except Exception as error:  # Pillow's decoders raise what they meet
        raise BrokenImage(path, f"truncated or damaged {header.format} data ({one_line(error)})") from error


@functools.cache
def _traced_decode():
    """`decode_image` as a graph: threads then wait for each other half as long as with eager operations."""
    return tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)])


def _decode_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    shape = tf.io.extract_jpeg_shape(encoded)
    with tf.control_dependencies([_few_enough(shape[0], shape[1])]):
        return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_png(encoded: tf.Tensor) -> tf.Tensor:
    # Width and height are big-endian numbers at byte 16, so a bomb is known before it is unpacked.
    size = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.uint8), tf.int32)
    weights = tf.constant([1 << 16, 1 << 8, 1])
    with tf.control_dependencies(
        [
            tf.debugging.Assert((size[0] == 0) & (size[4] == 0), ["PNG is wider or higher than 16 million pixels"]),
            _few_enough(tf.reduce_sum(size[1:4] * weights), tf.reduce_sum(size[5:8] * weights)),
        ]
    ):
        return tf.io.decode_png(encoded, channels=3)


def _decode_bmp(encoded: tf.Tensor) -> tf.Tensor:
    # TensorFlow takes the palette index for a grey level; better none than wrong pixels.
    bits = tf.io.decode_raw(tf.strings.substr(encoded, 28, 1), tf.uint8)[0]
    with tf.control_dependencies(
        [tf.debugging.Assert((bits == 24) | (bits == 32), ["BMP must have 24 or 32 bits a pixel; received", bits])]
    ):
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)


def _refuse(encoded: tf.Tensor) -> tf.Tensor:
    start = tf.strings.substr(encoded, 0, tf.minimum(8, tf.strings.length(encoded)))
    with tf.control_dependencies([tf.debugging.Assert(False, ["bytes must be a JPEG, PNG or BMP image:", start])]):
        return tf.zeros([0, 0, 3], tf.uint8)


def _few_enough(height: tf.Tensor, width: tf.Tensor) -> tf.Operation | None:
    pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
    return tf.debugging.Assert(pixels <= MAX_PIXELS, ["at most 100 megapixels are accepted; received", height, width])
