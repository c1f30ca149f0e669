"""Image files with Pillow alone, for programs that start without TensorFlow: the pixels of `read_image`."""

from __future__ import annotations

import io
import os

import numpy as np
from PIL import Image

from leukemia_tf.data.header import BrokenImage, Header, jpeg_is_complete, one_line, read_header
from leukemia_tf.data.regular_file import read_regular


def read_with_pillow(source: str | os.PathLike | bytes) -> np.ndarray:
    """Read one image file as 8-bit RGB; arguments, pixels and errors are those of `leukemia_tf.data.read_image`."""
    if isinstance(source, bytes):
        data, path = source, ""
    else:
        path = os.fspath(source)
        data = read_regular(path, path)
    header = read_header(data, path)
    try:
        check_end(data, header)
        return decode_with_pillow(data)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise what they meet
        raise BrokenImage(path, f"truncated or damaged {header.format} data ({one_line(error)})") from error


def check_end(data: bytes, header: Header) -> None:
    """Raise a `ValueError` for a JPEG that was cut short, which decoders fill up with grey."""
    if header.format == "JPEG" and not jpeg_is_complete(data):
        raise ValueError("no end-of-image marker")


def decode_with_pillow(data: bytes) -> np.ndarray:
    """uint8 [height, width, 3] of bytes whose header was read; raises what Pillow's decoders meet."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if image.mode.startswith("I"):  # older Pillow calls the 16 bits of a PNG "I", not "I;16"
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=-1)
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))
