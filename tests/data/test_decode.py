"""Headers and decoding, against Pillow, OpenCV and colours that are known."""

import io
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from leukemia_tf.data.decode import decode_image, read_image
from leukemia_tf.data.header import BrokenImage, read_header
from leukemia_tf.errors import InputError

# An odd width, so that rows of a BMP are padded.
PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8), (5, 5), 1.5)


def encode(image, kind, mode=None, **options):
    """Encode with Pillow."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def by_pillow(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def bomb(width, height):
    """Return a small PNG whose header promises `width` x `height` pixels."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 5000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


BOTH = {
    "png": encode(PICTURE, "PNG"),
    "png grey": encode(PICTURE, "PNG", "L"),
    "png grey alpha": encode(PICTURE, "PNG", "LA"),
    "png rgba": encode(PICTURE, "PNG", "RGBA"),
    "png palette": encode(PICTURE, "PNG", "P"),
    "png palette, see-through colour": encode(Image.fromarray(PICTURE).convert("P"), "PNG", transparency=3),
    "png 4-bit palette": encode(Image.fromarray(PICTURE).quantize(16), "PNG", bits=4),
    "png 1-bit": encode(PICTURE, "PNG", "1"),
    "jpeg": encode(PICTURE, "JPEG", quality=90),
    "jpeg 4:4:4": encode(PICTURE, "JPEG", quality=90, subsampling=0),
    "jpeg progressive": encode(PICTURE, "JPEG", progressive=True),
    "jpeg grey": encode(PICTURE, "JPEG", "L"),
    "jpeg cmyk": encode(PICTURE, "JPEG", "CMYK", quality=95),
    "bmp": encode(PICTURE, "BMP"),
}
PILLOW_ONLY = {
    "bmp palette": encode(PICTURE, "BMP", "P"),
    "bmp grey": encode(PICTURE, "BMP", "L"),
    "bmp 1-bit": encode(PICTURE, "BMP", "1"),
    "bmp rgba": encode(PICTURE, "BMP", "RGBA"),
    "tiff": encode(PICTURE, "TIFF"),
    "tiff lzw": encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "tiff cmyk": encode(PICTURE, "TIFF", "CMYK"),
    "tiff grey": encode(PICTURE, "TIFF", "L"),
}


@pytest.mark.parametrize("name", BOTH)
def test_graph_and_file_give_the_pixels_that_pillow_gives(name):
    data = BOTH[name]
    expected = by_pillow(data)
    pixels = read_image(data)
    assert pixels.dtype == np.uint8 and pixels.shape == (30, 41, 3)
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(decode_image(data).numpy(), expected)


@pytest.mark.parametrize("name", PILLOW_ONLY)
def test_other_kinds_are_read_through_pillow(name):
    np.testing.assert_array_equal(read_image(PILLOW_ONLY[name]), by_pillow(PILLOW_ONLY[name]))


@pytest.mark.parametrize("name", ["png", "bmp", "tiff", "tiff lzw", "png rgba"])
def test_lossless_kinds_give_the_picture_back(name):
    np.testing.assert_array_equal(read_image({**BOTH, **PILLOW_ONLY}[name]), PICTURE)


def test_jpeg_agrees_with_opencv():
    # Without the accurate DCT the difference is up to 4.
    expected = cv2.cvtColor(cv2.imdecode(np.frombuffer(BOTH["jpeg"], np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert np.abs(read_image(BOTH["jpeg"]).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_has_its_colour(kind):
    # 100 % yellow ink on white paper is RGB (255, 255, 0); inverted by mistake it would be blue or black.
    image = Image.new("CMYK", (16, 16), (0, 0, 255, 0))
    options = {"quality": 95} if kind == "JPEG" else {}
    pixels = read_image(encode(image, kind, **options)).astype(int)
    assert np.abs(pixels - [255, 255, 0]).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_keeps_the_upper_8_bits(suffix, channels):
    shape = (9, 8) if channels == 1 else (9, 8, 3)
    wide = np.random.default_rng(1).integers(0, 65536, shape, dtype=np.uint16)
    data = cv2.imencode(suffix, wide)[1].tobytes()
    expected = (wide >> 8).astype(np.uint8)
    expected = np.repeat(expected[..., None], 3, -1) if channels == 1 else expected[..., ::-1]
    np.testing.assert_array_equal(read_image(data), expected)
    assert "16-bit" in read_header(data).conversions


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("png", ()),
        ("jpeg", ()),
        ("bmp", ()),
        ("tiff", ()),
        ("png grey", ("greyscale",)),
        ("png grey alpha", ("greyscale", "alpha channel")),
        ("png rgba", ("alpha channel",)),
        ("png palette", ("palette",)),
        ("png 1-bit", ("1-bit",)),
        ("jpeg cmyk", ("CMYK",)),
        ("bmp palette", ("palette",)),
    ],
)
def test_headers_say_what_must_be_converted(name, kinds):
    header = read_header({**BOTH, **PILLOW_ONLY}[name])
    assert (header.width, header.height, header.conversions) == (41, 30, kinds)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95, -1])
@pytest.mark.parametrize("name", ["png", "jpeg", "jpeg progressive", "bmp", "tiff", "tiff lzw", "png grey"])
def test_truncated_files_are_found(name, share):
    data = {**BOTH, **PILLOW_ONLY}[name]
    cut = data[: int(len(data) * share)] if share > 0 else data[:share]
    if name.startswith("tiff") and share > 0.5:
        # What is cut off may be the tags at the end of the file, or pixels.
        cut = data[: len(data) * 3 // 4]
    with pytest.raises(BrokenImage, match="`image`: "):
        read_image(cut)


def test_damaged_png_is_found():
    data = bytearray(BOTH["png"])
    data[len(data) // 2] ^= 255
    with pytest.raises(BrokenImage, match="truncated or damaged PNG data"):
        read_image(bytes(data))


@pytest.mark.parametrize("width", [10_001, 20_000, 2_000_000_000])
def test_bombs_are_refused_by_their_header(width, monkeypatch):
    data = bomb(width, 10_000)

    def never(*_):
        raise AssertionError("decoded")

    with monkeypatch.context() as patch:
        patch.setattr("leukemia_tf.data.decode.decode_bytes", never)
        with pytest.raises(BrokenImage, match="at most 100 megapixels"):
            read_image(data)
    with pytest.raises(tf.errors.InvalidArgumentError, match="megapixels|16 million"):
        decode_image(data)


def test_what_is_no_image(tmp_path):
    for name, content, says in [
        ("a.png", b"", "0 bytes"),
        ("b.png", b"just some text", "not a JPEG, PNG, BMP or TIFF"),
        ("c.png", encode(PICTURE, "GIF"), "starts with b'GIF8"),
        ("d.tif", encode(Image.new("F", (4, 4)), "TIFF"), "8 or 16 bits"),
        ("e.png", BOTH["png"][:20], "header is damaged|not a JPEG"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BrokenImage, match=says) as error:
            read_image(tmp_path / name)
        assert isinstance(error.value, InputError) and error.value.path.endswith(name)
    with pytest.raises(BrokenImage, match="No such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(BrokenImage, match="not a regular file"):
        read_image(tmp_path)


def test_format_and_suffix():
    header = read_header(BOTH["jpeg"])
    assert header.fits_suffix("a/b.JPG") and header.fits_suffix("noname") and not header.fits_suffix("x.png")


def test_decoding_inside_a_saved_model(tmp_path):
    module = tf.Module()
    module.decode = tf.function(decode_image, input_signature=[tf.TensorSpec([], tf.string)])
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    for name in ("png", "jpeg", "jpeg cmyk", "bmp", "png palette"):
        np.testing.assert_array_equal(loaded.decode(BOTH[name]).numpy(), read_image(BOTH[name]))


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"text", "JPEG, PNG or BMP"), (b"", "JPEG, PNG or BMP"), (PILLOW_ONLY["bmp palette"], "24 or 32 bits")],
)
def test_graph_decoding_refuses_what_it_would_get_wrong(data, says):
    with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(says)):
        tf.function(decode_image)(tf.constant(data))


def test_channels_must_be_three():
    with pytest.raises(ValueError, match="received 1"):
        decode_image(BOTH["png"], channels=1)
