"""Files read without TensorFlow: the same pixels, and the same files refused."""

from __future__ import annotations

import io
import random

import cv2
import numpy as np
import pytest
from PIL import Image

from leukemia_tf.data import BrokenImage, read_image
from leukemia_tf.data.decode_pillow import read_with_pillow

PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8), (5, 5), 1.5)
WIDE = np.random.default_rng(1).integers(0, 65536, (9, 8, 3), dtype=np.uint16)


def encode(kind: str, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(file, kind, **options)
    return file.getvalue()


FILES = {
    "jpeg": encode("JPEG", quality=90),
    "jpeg 4:4:4": encode("JPEG", quality=90, subsampling=0),
    "jpeg 4:2:2": encode("JPEG", subsampling=1),
    "jpeg progressive": encode("JPEG", progressive=True),
    "jpeg grey": encode("JPEG", "L"),
    "jpeg cmyk": encode("JPEG", "CMYK"),
    "png": encode("PNG"),
    "png rgba": encode("PNG", "RGBA"),
    "png palette": encode("PNG", "P"),
    "png see-through colour": encode("PNG", "P", transparency=3),
    "png grey alpha": encode("PNG", "LA"),
    "png 1-bit": encode("PNG", "1"),
    "png 16-bit": cv2.imencode(".png", WIDE)[1].tobytes(),
    "png 16-bit grey": cv2.imencode(".png", WIDE[..., 0])[1].tobytes(),
    "bmp": encode("BMP"),
    "bmp palette": encode("BMP", "P"),
    "tiff": encode("TIFF"),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_those_of_the_pipeline(name, tmp_path):
    expected = read_image(FILES[name])
    np.testing.assert_array_equal(read_with_pillow(FILES[name]), expected)
    (tmp_path / "file").write_bytes(FILES[name])
    np.testing.assert_array_equal(read_with_pillow(tmp_path / "file"), expected)


def test_the_upper_8_of_16_bits():
    np.testing.assert_array_equal(read_with_pillow(FILES["png 16-bit"]), (WIDE >> 8)[..., ::-1])


def test_damaged_files_are_refused_alike_or_read_alike():
    """Bytes changed at random, a third of the files also cut short: neither reader knows more than the other."""
    chance = random.Random(0)
    refused = 0
    for number in range(90):
        data = bytearray(chance.choice([FILES["jpeg"], FILES["png"], FILES["jpeg grey"]]))
        data[chance.randrange(30, len(data))] = chance.randrange(256)
        if number % 3 == 0:
            data = data[: chance.randrange(40, len(data))]
        try:
            expected = read_image(bytes(data))
        except BrokenImage:
            refused += 1
            with pytest.raises(BrokenImage):
                read_with_pillow(bytes(data))
        else:
            np.testing.assert_array_equal(read_with_pillow(bytes(data)), expected)
    assert 20 < refused < 90


def test_the_error_names_the_file(tmp_path):
    (tmp_path / "cut.jpg").write_bytes(FILES["jpeg"][:-200])
    with pytest.raises(BrokenImage, match="cut.jpg.*truncated or damaged JPEG"):
        read_with_pillow(tmp_path / "cut.jpg")
    with pytest.raises(BrokenImage, match="gone.jpg.*cannot be read"):
        read_with_pillow(tmp_path / "gone.jpg")
