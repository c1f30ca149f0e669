"""What an image tells beside its cells: how its file was written, its border, its colour, print burned into it.

None of it should tell the class. `leukemia_tf.data.audit.shortcuts` measures how well each of them does.
"""

from __future__ import annotations

import array
import zlib

import cv2
import numpy as np

from leukemia_tf.data.audit.overlay import find_print
from leukemia_tf.data.header import Header

# Cue -> what it is, in a phrase for the report.
CUES = {
    "file size": "bytes of the file, and bytes a pixel",
    "resolution": "width, height and their ratio",
    "encoder": "format, pixel layout, quality, chroma subsampling, metadata",
    "border": "a frame of 2 % of the width: mean and deviation of its four sides",
    "corners": "mean colour of the four corners (5 % of the width)",
    "colour": "mean, deviation and correlation of red, green and blue over the whole image",
    "print": "text, scale bars and boxes burned into the outer part of the image",
}

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
_SUBSAMPLING = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1"}


def header_cues(header: Header, settings: dict) -> tuple[str, np.ndarray]:
    """Describe how a file was written.

    Args:
        header: of `read_header`.
        settings: Pillow's `info` of the file; of a JPEG also `quantization` (tables) and `layer` (components).

    Returns:
        A line in words that is equal for equal settings, and float32 features: format, pixel layout, bits, mean of
        the first two quantisation tables, a number for the tables, horizontal and vertical chroma subsampling,
        progressive, resolution tag, presence of EXIF, ICC profile, comment and transparency.
    """
    tables = settings.get("quantization") or {}
    layers = settings.get("layer") or []
    means = [sum(tables[key]) / len(tables[key]) for key in sorted(tables)][:2]
    factors = [(int(layer[1]), int(layer[2])) for layer in layers]
    factor = (0, 0)
    if len(factors) >= 3:
        factor = (factors[0][0] // max(1, factors[1][0]), factors[0][1] // max(1, factors[1][1]))
    progressive = bool(settings.get("progressive") or settings.get("interlace"))
    dpi = settings.get("dpi") or settings.get("jfif_density") or (0, 0)
    extras = [name for name in ("exif", "icc_profile", "comment", "transparency") if settings.get(name)]
    words = [header.format, header.mode] + ([f"{header.bits} bit"] if header.bits not in (8, 24) else [])
    if header.format == "JPEG":
        words += [_SUBSAMPLING.get(factor, "grey" if len(layers) == 1 else "other subsampling")]
        words += ["quantisation " + "/".join(f"{mean:.1f}" for mean in means)]
    if progressive:
        words.append("progressive" if header.format == "JPEG" else "interlaced")
    if header.format == "TIFF" and settings.get("compression"):
        words.append(str(settings["compression"]))
    words += [name.replace("_", " ") for name in extras]
    number = zlib.crc32(b"".join(array.array("H", tables[key]).tobytes() for key in sorted(tables))) % 1009
    features = [
        _FORMATS.index(header.format), zlib.crc32(header.mode.encode()) % 97, header.bits, *(means + [0.0, 0.0])[:2],
        number, *factor, progressive, _number(dpi),
        *(name in extras for name in ("exif", "icc_profile", "comment", "transparency")),
    ]  # fmt: skip
    return ", ".join(words), np.array(features, np.float32)


def _number(dpi: object) -> float:
    """The horizontal resolution tag; 0 for what is none (some files divide by zero in it)."""
    value = float(dpi[0]) if isinstance(dpi, tuple) and dpi else 0.0
    return value if np.isfinite(value) else 0.0


def pixel_cues(image: np.ndarray) -> dict[str, np.ndarray]:
    """Measure border, corners, colour and print of RGB pixels, uint8 [height, width, 3] of any size.

    Returns:
        "border" 24 numbers (mean and deviation of red, green and blue on the top, bottom, left and right side),
        "corners" 12 (mean red, green and blue of four corners), "colour" 9 (mean, deviation, correlations), and
        "print" as `find_print` gives them; all float32, in grey levels or pixels' share.
    """
    height, width = image.shape[:2]
    frame = max(1, round(0.02 * min(height, width)))
    corner = max(1, round(0.05 * min(height, width)))
    sides = (image[:frame], image[-frame:], image[:, :frame], image[:, -frame:])
    border = np.concatenate([np.ravel(cv2.meanStdDev(np.ascontiguousarray(side))) for side in sides])
    patches = (
        image[:corner, :corner], image[:corner, -corner:], image[-corner:, :corner], image[-corner:, -corner:]
    )  # fmt: skip
    corners = np.concatenate([cv2.mean(np.ascontiguousarray(patch))[:3] for patch in patches])
    # Every so many pixels: a thousand of them say enough of the colour.
    step = max(1, min(height, width) // 32)
    flat = image[step // 2 :: step, step // 2 :: step].reshape(-1, 3).astype(np.float32)
    mean = flat.mean(0)
    flat -= mean
    covariance = flat.T @ flat / len(flat)
    deviation = np.sqrt(np.diag(covariance))
    spread = np.maximum(deviation, 1.0)
    correlation = [covariance[a, b] / (spread[a] * spread[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    return {
        "border": border.astype(np.float32),
        "corners": corners.astype(np.float32),
        "colour": np.concatenate([mean, deviation, correlation]).astype(np.float32),
        "print": find_print(image),
    }
