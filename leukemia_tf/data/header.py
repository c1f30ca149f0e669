"""What an image file's header says, before a single pixel is decoded."""

from __future__ import annotations

import dataclasses
import io
import pathlib

from PIL import Image

from leukemia_tf.errors import InputError

FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
MAX_PIXELS = 100_000_000

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
}
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"BM", b"II*\0", b"MM\0*")
_BITS_PER_SAMPLE = 258  # TIFF tag
_JPEG_SETTINGS = (("quantization", {}), ("layer", []))


class BrokenImage(InputError):
    """An image file that cannot be used. `path` names it ("" for bytes), `reason` says why in one line."""

    def __init__(self, path: str, reason: str):
        super().__init__(f"`{path or 'image'}`: {reason}")
        self.path = path
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Header:
    """Format, size and pixel layout of an image file.

    Attributes:
        format: one of `FORMATS`.
        width: in pixels.
        height: in pixels.
        mode: Pillow's name of the pixel layout ("RGB", "L", "CMYK", ...).
        bits: bits of a sample (of a whole pixel in a BMP).
        frames: how many images the file holds; only the first is used.
    """

    format: str
    width: int
    height: int
    mode: str
    bits: int
    frames: int = 1

    @property
    def conversions(self) -> tuple[str, ...]:
        """What must be converted to become 8-bit RGB, in words; empty for an ordinary colour image."""
        kinds = []
        if self.mode in ("I;16", "I;16B", "I;16L") or (self.bits == 16 and self.format != "BMP"):
            kinds.append("16-bit")
        if self.mode == "1":
            kinds.append("1-bit")
        elif self.mode in ("L", "LA", "I;16", "I;16B", "I;16L"):
            kinds.append("greyscale")
        elif self.mode in ("P", "PA"):
            kinds.append("palette")
        elif self.mode == "CMYK":
            kinds.append("CMYK")
        elif self.mode in ("YCbCr", "LAB", "HSV"):
            kinds.append(self.mode)
        if self.mode in ("RGBA", "LA", "PA", "RGBX"):
            kinds.append("alpha channel")
        if self.frames > 1:
            kinds.append("multi-page (first page used)")
        return tuple(kinds)

    def fits_suffix(self, path: str) -> bool:
        """Tell whether a file name ends as its format says; a name without a suffix always fits."""
        suffix = pathlib.PurePosixPath(path).suffix.lower()
        return not suffix or suffix in _SUFFIXES[self.format]


def read_header(data: bytes, path: str = "") -> Header:
    """Read the header of an encoded image. No pixel is decoded, so a decompression bomb costs nothing.

    Args:
        data: the bytes of the file.
        path: how the error names the file.

    Raises:
        BrokenImage: if the bytes are no JPEG, PNG, BMP or TIFF image, hold more than 100 megapixels, or have a
            pixel layout without a defined range (32-bit integers or floating point).
    """
    return read_settings(data, path)[0]


def read_settings(data: bytes, path: str = "") -> tuple[Header, dict]:
    """`read_header`, and how the file was written: Pillow's `info`, of a JPEG also `quantization` and `layer`."""
    if not data:
        raise BrokenImage(path, "the file is empty (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            # A JPEG that holds further pictures (MPO) is read as the JPEG it starts with.
            kind = "JPEG" if image.format == "MPO" else image.format
            header = Header(kind, image.width, image.height, image.mode, _bits(image, data), _frames(image))
            settings = dict(image.info)
            if kind == "JPEG":
                settings |= {name: getattr(image, name, default) for name, default in _JPEG_SETTINGS}
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BrokenImage(path, _too_large(one_line(error))) from error
    except Image.UnidentifiedImageError as error:
        if data.startswith(_STARTS):
            raise BrokenImage(path, "the header is damaged") from error
        raise BrokenImage(path, f"not a JPEG, PNG, BMP or TIFF image; it starts with {data[:8]!r}") from error
    except Exception as error:  # Pillow's format readers raise what they meet: struct.error, SyntaxError, KeyError...
        raise BrokenImage(path, f"the header is damaged ({one_line(error)})") from error
    if header.width * header.height > MAX_PIXELS:
        raise BrokenImage(path, _too_large(f"{header.width} x {header.height} pixels"))
    if header.width < 1 or header.height < 1:
        raise BrokenImage(path, f"the image has no pixels; received {header.width} x {header.height}")
    if header.mode in ("I", "F") and header.format != "PNG":  # older Pillow calls the 16 bits of a PNG "I"
        raise BrokenImage(path, f"samples must have 8 or 16 bits; received 32-bit samples (mode {header.mode!r})")
    return header, settings


def one_line(error: BaseException, limit: int = 160) -> str:
    """Return an exception's message, or its name, as one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."


def jpeg_is_complete(data: bytes) -> bool:
    """Whether an end-of-image marker follows the start of the picture itself (metadata may hold a small JPEG too)."""
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] != b"\xda":
        # Segments say how long they are; a marker may be preceded by further FF bytes.
        place += 1 if data[place + 1 : place + 2] == b"\xff" else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    # From the end, where it should be.
    return data.rfind(b"\xff\xd9", place) >= 0


def looks_whole(data: bytes, header: Header) -> bool:
    """Whether a file is as long as its header and its marks say, without decoding it; False where only that would tell.

    A JPEG has its end-of-image marker, the chunks of a PNG up to the last one have the checksums that they carry, an
    uncompressed BMP has as many rows as it announces.
    """
    if header.format == "JPEG":
        return jpeg_is_complete(data)
    if header.format == "PNG":
        try:
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                image.verify()
        except Exception:  # as in `read_settings`; decoding will say what it is
            return False
        return True
    if header.format == "BMP" and data[14] >= 40 and data[30:34] in (b"\0\0\0\0", b"\3\0\0\0"):
        row = (header.width * header.bits + 31) // 32 * 4
        return len(data) >= int.from_bytes(data[10:14], "little") + row * header.height
    return False


def _too_large(received: str) -> str:
    return f"at most {MAX_PIXELS // 1_000_000} megapixels are accepted (it was not decoded); received {received}"


def _bits(image: Image.Image, data: bytes) -> int:
    """Return the bits of a sample; Pillow's mode hides the 16 bits of colour images."""
    if image.format == "PNG":
        return data[24]
    if image.format == "BMP":
        return int.from_bytes(data[24:26] if data[14] == 12 else data[28:30], "little")
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,)))
    return 8


def _frames(image: Image.Image) -> int:
    return getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
