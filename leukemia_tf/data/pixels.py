"""All images of a table as one uint8 array, decoded and resized once."""

from __future__ import annotations

import collections
import functools
import hashlib
import logging
import os
import pathlib
from typing import Callable, Iterable, Iterator

import numpy as np
import pandas as pd
import tensorflow as tf

from leukemia_tf.data.cache import cache_dir as default_cache_dir
from leukemia_tf.data.decode import decode_bytes
from leukemia_tf.data.header import BrokenImage, read_header
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.medmnist import read_array, split_reference, to_rgb
from leukemia_tf.data.progress import track
from leukemia_tf.data.regular_file import read_regular
from leukemia_tf.data.resize import resize_images
from leukemia_tf.data.table import image_file
from leukemia_tf.data.threads import map_threads
from leukemia_tf.errors import InputError
from leukemia_tf.files import atomic_path

log = logging.getLogger(__name__)

# Change when decoding or resizing changes, so that pixels of an older version are not used.
_VERSION = 1
_CHUNK = 256
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
    if isinstance(image_size, bool) or not isinstance(image_size, (int, np.integer)) or image_size < 1:
        raise InputError(f"`image_size` must be a whole number of pixels of at least 1; received {image_size!r}")
    image_size = int(image_size)
    shape = (len(table), image_size, image_size, 3)
    needed = int(np.prod(shape, dtype=np.int64))
    limit = int(0.4 * available_memory()) if memory_limit is None else memory_limit
    if needed <= limit:
        pixels = np.empty(shape, np.uint8)
        for rows, chunk in _decoded(manifest, table, image_size, progress):
            pixels[rows] = chunk
        return pixels
    folder = pathlib.Path(default_cache_dir() if cache_dir is None else cache_dir) / "pixels"
    file = folder / f"{_key(manifest, table, image_size)}.npy"
    if not file.exists():
        log.info("%.1f GB of pixels are more than %.1f GB of memory: kept in `%s`", needed / 1e9, limit / 1e9, file)
        _write(file, shape, _decoded(manifest, table, image_size, progress))
    return np.load(file, mmap_mode="r")


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
    file = source.with_name(f"{digest}.npy")
    if not file.exists():
        _write(file, pixels.shape, ((np.arange(part.start, part.stop), images) for part, images in changed))
    return np.load(file, mmap_mode="r")


def available_memory() -> int:
    """Return how many bytes of memory are free, within what the container may use."""
    try:
        import psutil

        free = psutil.virtual_memory().available
    except ImportError:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    group = pathlib.Path("/sys/fs/cgroup")
    try:
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass  # no such limit: not in a container, or the limit is "max"
    return max(free, 0)


def _decoded(
    manifest: Manifest, table: pd.DataFrame, size: int, progress: bool
) -> Iterator[tuple[slice | np.ndarray, np.ndarray]]:
    """Yield (positions, uint8 images) for all rows: first the files in table order, then array by array."""
    paths, hashes = table["path"].to_numpy(), table["sha256"].to_numpy()
    from_array = table["index"].notna().to_numpy()
    files = np.flatnonzero(~from_array)
    if len(files):
        results = map_threads(lambda row: _read_one(manifest, paths[row], hashes[row], size), files)
        problems = []
        for row, image in track(zip(files, results), len(files), f"reading images at {size} px", progress):
            if isinstance(image, BrokenImage):
                problems.append(str(image))
            elif not problems:
                yield np.array([row]), image[None]
        if problems:
            raise InputError("\n".join([*problems, "check the data again, --skip-broken leaves broken images out"]))
    groups = collections.defaultdict(list)
    for row in np.flatnonzero(from_array):
        groups[split_reference(paths[row])].append(row)
    for (file, name), rows in groups.items():
        images = read_array(image_file(manifest, file), name)
        rows = np.array(rows)
        indices = table["index"].iloc[rows].to_numpy(dtype=np.int64)
        chunks = [slice(start, start + _CHUNK) for start in range(0, len(rows), _CHUNK)]
        for part in track(chunks, len(chunks), f"resizing {name} to {size} px", progress and images.shape[1] != size):
            chosen = to_rgb(images[indices[part]])
            if chosen.shape[1:3] != (size, size):
                chosen = resize_images(chosen, size).numpy().astype(np.uint8)
            yield rows[part], chosen


def _read_one(manifest: Manifest, path: str, sha256: str, size: int) -> np.ndarray | BrokenImage:
    """Return the resized image, or the error, so that all broken files are named together."""
    try:
        data = read_regular(image_file(manifest, path), path)
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise BrokenImage(path, "the file has changed since the table was scanned")
        image = decode_bytes(data, read_header(data, path), path)
    except BrokenImage as error:
        return BrokenImage(path, error.reason)
    if image.shape == (size, size, 3):
        return image
    return _traced_resize(size)(tf.constant(image)).numpy()


@functools.lru_cache(maxsize=8)
def _traced_resize(size: int):
    """`resize_images` as a graph: threads then wait for each other half as long as with eager operations."""

    def resize(image):
        # tf.image.resize has no GPU kernel with antialiasing; copying there and back would only take time.
        with tf.device("CPU:0"):
            return tf.cast(resize_images(image, size), tf.uint8)

    return tf.function(resize, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])


def _key(manifest: Manifest, table: pd.DataFrame, size: int) -> str:
    """Hash what determines the pixels: the bytes of each image where known, else its path, size and time."""
    digest = hashlib.sha256(f"pixels {_VERSION} {size}\n".encode())
    for path, index, sha256 in zip(table["path"], table["index"], table["sha256"]):
        if not sha256:
            file = image_file(manifest, path if pd.isna(index) else split_reference(path)[0])
            try:
                facts = file.stat()
                sha256 = f"{file.absolute()} {index} {facts.st_size} {facts.st_mtime_ns}"
            except OSError:
                sha256 = str(file)  # reading it will say what is wrong
        digest.update(f"{sha256}\n".encode())
    return digest.hexdigest()


def _write(file: pathlib.Path, shape: tuple[int, ...], chunks: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
    """Write the `.npy` file under a temporary name, and give it its name when it is whole."""
    image_bytes = int(np.prod(shape[1:]))
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with atomic_path(file) as temporary, open(temporary, "wb") as out:
        np.lib.format.write_array_header_1_0(out, header)
        start = out.tell()
        # Plain writes: on a full disk they raise an error, where a write through a mapping kills the process.
        for rows, chunk in chunks:
            for row, image in zip(rows, chunk):
                out.seek(start + int(row) * image_bytes)
                out.write(image.tobytes())
        out.flush()
