"""All images of a table as one uint8 array, decoded and resized once."""

from __future__ import annotations

import hashlib
import os
import pathlib
from typing import Callable

import numpy as np
import pandas as pd

from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.pixel_reader import PixelReader
from leukemia_tf.data.pixel_store import InFile
from leukemia_tf.data.progress import track

_SMALL_CHUNK = 32


def load_pixels(
    manifest: Manifest,
    table: pd.DataFrame,
    image_size: int,
    *,
    memory_limit: int | None = None,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> np.ndarray:
    """Decode and resize every image of a table, with as many threads as there are processors.

    Args:
        manifest: gives the folder of the table's paths.
        table: its rows; any part of a table will do.
        image_size: side S of the result in pixels.
        memory_limit: bytes that the array may take; None means 40 % of the memory that is free. A larger array is
            written to `<cache_dir>/pixels/<key>.npy` and mapped from there; the key is a hash of the images and the
            size, so the same table finds it again.
        cache_dir: folder for that file; None takes `leukemia_tf.data.cache_dir()`.
        progress: show progress on a terminal, log one line otherwise.

    Returns:
        uint8 [N, S, S, 3], RGB; row i belongs to row i of the table, by position. Read-only when it is mapped.

    Raises:
        InputError: names every image that is broken, or has changed since the table was scanned.
        RunError: if the cache cannot be written (disk full, no permission).
    """
    options = {"memory_limit": memory_limit, "cache_dir": cache_dir, "progress": progress}
    with PixelReader(manifest, {"": table}, {"": image_size}, **options) as reader:
        return reader.all()[""]


def change_pixels(
    pixels: np.ndarray,
    function: Callable[[np.ndarray], np.ndarray],
    tag: str,
    *,
    doing: str = "changing pixels, parts",
    progress: bool = False,
) -> np.ndarray:
    """Do something to every image of what `load_pixels` gave, a few at a time.

    Args:
        pixels: uint8 [N, S, S, 3]. An array in memory is changed in place; a mapped file stays as it is, and the result
            goes into another one beside it, which the same call finds again.
        function: takes some of the images and returns as many of the same shape and type.
        tag: says what `function` does, with all its numbers; part of the other file's name, as a hash.
        doing, progress: what the progress line says, and whether there is one.

    Returns:
        The same array, or the other file, mapped.

    Raises:
        RunError: if that file cannot be written.
    """
    starts = range(0, len(pixels), _SMALL_CHUNK)
    parts = [slice(start, min(start + _SMALL_CHUNK, len(pixels))) for start in starts]
    changed = ((part, function(pixels[part])) for part in track(parts, len(parts), doing, progress))
    if not isinstance(pixels, np.memmap):
        for part, images in changed:
            pixels[part] = images
        return pixels
    source = pathlib.Path(pixels.filename)
    digest = hashlib.sha256(f"{source.stem} {tag}".encode()).hexdigest()
    with InFile(source.with_name(f"{digest}.npy"), pixels.shape) as store:
        if not store.whole:
            for part, images in changed:
                store.put(range(part.start, part.stop), images)
    return store.array
