"""Read every image once: hash, header facts, a small grey picture of it, and what should not matter about it.

Nothing here needs TensorFlow: JPEG files are decoded at a reduced size (the whole file is still read to its end, so a
truncated one is found), and only numbers and a thumbnail of a few kilobytes are kept of each image.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import io
import os
import warnings
from typing import Iterator

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from leukemia_tf.data.audit.cues import CUES, header_cues, pixel_cues
from leukemia_tf.data.audit.halve import halve
from leukemia_tf.data.header import BrokenImage, Header, jpeg_is_complete, one_line, read_settings
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.medmnist import read_array, split_reference, to_rgb
from leukemia_tf.data.progress import track
from leukemia_tf.data.regular_file import read_regular
from leukemia_tf.data.scratch import scratch_array
from leukemia_tf.data.table import image_file
from leukemia_tf.data.threads import map_threads

SIZE = 64
# A JPEG is decoded at the smallest of 1, 1/2, 1/4 and 1/8 of its size that is more than this: enough for small print.
_REDUCED = 112
# Images that a thread reads before it hands them over.
_BATCH = 8
_REDUCED_FLAGS = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """What is kept of one image.

    Attributes:
        sha256: of the file's bytes, or of an array image's pixels; "" if the file could not be read at all.
        reason: why the image cannot be used, "" if it can.
        bytes: size of the file, 0 for an array image.
        width: in pixels.
        height: in pixels.
        header: None for an array image and for a file without a readable header.
        encoder: how the file was written, in words ("JPEG 4:2:0, quantisation 12.3"); equal for equal settings.
        thumbnail: uint8 [SIZE, SIZE], grey; None if the image is broken.
        cues: name of the cue -> its features, as `leukemia_tf.data.audit.cues` defines them.
    """

    sha256: str = ""
    reason: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    header: Header | None = None
    encoder: str = ""
    thumbnail: np.ndarray | None = None
    cues: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is kept of all images of a table, row by row.

    Attributes:
        facts: columns sha256, reason, bytes, width, height, format, kinds (conversions to 8-bit RGB, in words),
            other_format (where the suffix says another) and encoder.
        thumbnails: uint8 [N, SIZE, SIZE]; zero where an image is broken. Of very many images mapped from a file.
        cues: cue -> array [N, features]; only those that all usable images have.
    """

    facts: pd.DataFrame
    thumbnails: np.ndarray
    cues: dict[str, np.ndarray]


def read_table_images(manifest: Manifest, table: pd.DataFrame, *, progress: bool = True) -> Reading:
    """Read all images of a table, in its order, in a thread pool; a broken one becomes a reason, not an error.

    Args:
        manifest: gives the folder of the table's paths.
        table: as `open_data` returns it.
        progress: show progress on a terminal, log one line otherwise.

    Raises:
        InputError: if the file of an array cannot be read.
        RunError: if the disk has no room for what is kept of very many images.
    """
    rows: list[tuple] = [()] * len(table)
    thumbnails = scratch_array((len(table), SIZE, SIZE), np.uint8)
    cues: dict[str, np.ndarray] = {}
    seen: collections.Counter = collections.Counter()
    for row, facts in _read_all(manifest, table, progress):
        header = facts.header
        path = table["path"].iat[row]
        rows[row] = (
            facts.sha256, facts.reason, facts.bytes, facts.width, facts.height, header.format if header else "",
            ", ".join(header.conversions) if header else "",
            header.format if header and not header.fits_suffix(path) else "", facts.encoder,
        )  # fmt: skip
        if facts.thumbnail is not None:
            thumbnails[row] = facts.thumbnail
        for name, values in facts.cues.items():
            if name not in cues:
                cues[name] = scratch_array((len(table), len(values)), values.dtype)
            cues[name][row] = values
            seen[name] += 1
    names = ["sha256", "reason", "bytes", "width", "height", "format", "kinds", "other_format", "encoder"]
    frame = pd.DataFrame(rows, columns=names, index=table.index)
    usable = int((frame["reason"] == "").sum())
    return Reading(frame, thumbnails, {name: cues[name] for name in CUES if seen[name] == usable and usable})


def _read_all(manifest: Manifest, table: pd.DataFrame, progress: bool) -> Iterator[tuple[int, ImageFacts]]:
    paths = table["path"].to_numpy()
    from_array = table["index"].notna().to_numpy()
    files = np.flatnonzero(~from_array)
    with warnings.catch_warnings():
        # Pillow warns about odd metadata; what matters is whether the pixels can be read.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        if len(files):
            batches = [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]
            results = map_threads(
                lambda rows: [read_one(image_file(manifest, paths[row]), paths[row]) for row in rows], batches
            )
            each = ((row, facts) for rows, batch in zip(batches, results) for row, facts in zip(rows, batch))
            yield from track(each, len(files), "auditing images", progress)
    yield from _from_arrays(manifest, table, np.flatnonzero(from_array), progress)


def read_one(file: str | os.PathLike, path: str) -> ImageFacts:
    """Read one image file; `path` is how it is called in messages."""
    try:
        data = read_regular(file, path)
    except BrokenImage as error:
        return ImageFacts(reason=error.reason)
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        header, settings = read_settings(data, path)
    except BrokenImage as error:
        return ImageFacts(sha256, error.reason, len(data))
    size = {"bytes": len(data), "width": header.width, "height": header.height, "header": header}
    try:
        image = _decode(data, header, _REDUCED)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise what they meet
        return ImageFacts(sha256, f"truncated or damaged {header.format} data ({one_line(error)})", **size)
    encoder, encoder_cue = header_cues(header, settings)
    cues = {**pixel_cues(image), "encoder": encoder_cue}
    cues["file size"] = np.array([np.log(len(data)), len(data) / (header.width * header.height)], np.float32)
    cues["resolution"] = _resolution(header.width, header.height)
    return ImageFacts(sha256, "", encoder=encoder, thumbnail=make_thumbnail(image), cues=cues, **size)


def read_picture(manifest: Manifest, path: str, index: int | None, side: int = 160) -> np.ndarray | None:
    """Read one image for display: uint8 RGB of at most `side` pixels; None if it is broken."""
    if index is not None:
        file, name = split_reference(path)
        pixels = to_rgb(read_array(image_file(manifest, file), name)[index : index + 1])[0]
    else:
        try:
            data = read_regular(image_file(manifest, path), path)
            pixels = _decode(data, read_settings(data, path)[0], side - 1)
        except MemoryError:
            raise
        except Exception:  # whatever Pillow's decoders meet: the audit has named the file already
            return None
    scale = side / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """Shrink (or enlarge) RGB pixels to a grey uint8 [SIZE, SIZE]; what is not square is stretched."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    while min(grey.shape) >= 2 * SIZE:
        grey = halve(grey)
    if grey.shape == (SIZE, SIZE):
        return grey
    return cv2.resize(grey, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


def _decode(data: bytes, header: Header, least: int) -> np.ndarray:
    """RGB pixels, of a large image at a reduced size, whose shorter side is still more than `least`."""
    if header.format == "JPEG" and not jpeg_is_complete(data):
        raise ValueError("no end-of-image marker")
    pixels = _decode_fast(data, header, least)
    if pixels is None:
        with Image.open(io.BytesIO(data)) as image:
            if header.format == "JPEG":
                image.draft(None, (least + 1, least + 1))
            image.load()
            if image.mode.startswith("I"):
                pixels = np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=-1)
            else:
                pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    while min(pixels.shape[:2]) > 2 * least:
        pixels = halve(pixels)
    return pixels


def _decode_fast(data: bytes, header: Header, least: int) -> np.ndarray | None:
    """RGB pixels of ordinary JPEG and BMP files, by OpenCV in half the time; None leaves the file to Pillow."""
    if header.format == "JPEG" and header.mode in ("RGB", "L"):
        size = min(header.width, header.height)
        flag = next((flag for factor, flag in _REDUCED_FLAGS if size > factor * least), cv2.IMREAD_COLOR)
    elif header.format == "BMP" and header.bits == 24 and not any(data[30:34]):
        # OpenCV does not mind when the last rows are missing.
        start, rows = int.from_bytes(data[10:14], "little"), (3 * header.width + 3) // 4 * 4 * header.height
        if data[14] < 40 or start + rows > len(data):
            return None
        flag = cv2.IMREAD_COLOR
    else:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _from_arrays(
    manifest: Manifest, table: pd.DataFrame, rows: np.ndarray, progress: bool
) -> Iterator[tuple[int, ImageFacts]]:
    groups = collections.defaultdict(list)
    for row in rows:
        groups[split_reference(table["path"].iat[row])].append(row)
    for (file, name), members in groups.items():
        images = read_array(image_file(manifest, file), name)

        def one(row: int, images: np.ndarray = images, name: str = name) -> ImageFacts:
            index = int(table["index"].iat[row])
            if index >= len(images):
                return ImageFacts(reason=f"`{name}` has {len(images)} images")
            pixels = np.ascontiguousarray(images[index])
            colour = np.ascontiguousarray(to_rgb(pixels[None])[0])
            return ImageFacts(
                hashlib.sha256(pixels).hexdigest(), width=pixels.shape[1], height=pixels.shape[0], encoder="array",
                thumbnail=make_thumbnail(colour), cues=pixel_cues(colour),
            )  # fmt: skip

        yield from zip(members, track(map_threads(one, members), len(members), f"auditing {name}", progress))


def _resolution(width: int, height: int) -> np.ndarray:
    return np.array([width, height, width / height], np.float32)
