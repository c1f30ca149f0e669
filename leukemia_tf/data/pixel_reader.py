"""Images of several tables decoded by threads in the background, while whoever needs rows waits for those alone."""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import pathlib
import threading
import time
from typing import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from leukemia_tf.data.cache import cache_dir as default_cache_dir
from leukemia_tf.data.header import BrokenImage
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.pixel_store import InFile, InMemory, available_memory
from leukemia_tf.data.pixel_sources import array_rows, pixels_key, read_one
from leukemia_tf.data.progress import track
from leukemia_tf.data.threads import map_threads
from leukemia_tf.errors import InputError, RunError

log = logging.getLogger(__name__)


class PixelReader:
    """Decode and resize every image of some tables, once, with as many threads as there are processors.

    Reading begins at once and goes on in the background. Rows that somebody waits for come first, the others in the
    order of the tables. What is read does not depend on who asked first, or on the threads.

    A context manager: leaving it stops the threads, and removes a file that is not whole. If it is left by an error
    after an image turned out to be broken, the rest is read and all broken images are named, by an error that takes
    the place of the first.

    Args:
        manifest: gives the folder of the tables' paths.
        tables: name -> rows.
        sizes: name -> side S of the images in pixels.
        memory_limit: bytes that all arrays together may take; None means 40 % of the memory that is free. What goes
            beyond is written to `<cache_dir>/pixels/<key>.npy`, and mapped from there when it is whole; the key is a
            hash of the images and the size, so the same table finds it again.
        cache_dir: folder for those files; None takes `leukemia_tf.data.cache_dir()`.
        progress: show progress on a terminal, log one line otherwise.

    Raises:
        InputError: for a size that is none.
    """

    def __init__(
        self,
        manifest: Manifest,
        tables: Mapping[str, pd.DataFrame],
        sizes: Mapping[str, int],
        *,
        memory_limit: int | None = None,
        cache_dir: str | os.PathLike | None = None,
        progress: bool = False,
    ):
        self._manifest, self._progress = manifest, progress
        self._sources = {}
        limit = int(0.4 * available_memory()) if memory_limit is None else memory_limit
        folder = pathlib.Path(default_cache_dir() if cache_dir is None else cache_dir) / "pixels"
        for name, table in tables.items():
            source = _Source(manifest, table, sizes[name])
            needed = int(np.prod(source.shape, dtype=np.int64))
            if needed <= limit:
                source.store, limit = InMemory(source.shape), limit - needed
            else:
                source.store = InFile(folder / f"{source.key}.npy", source.shape)
                source.done[:] = source.store.whole
                if not source.store.whole:
                    line = "%.1f GB of pixels are more than %.1f GB of memory: kept in `%s`"
                    log.info(line, needed / 1e9, limit / 1e9, source.store.file)
            self._sources[name] = source
        self._changed = threading.Condition()
        self._wanted: collections.deque[tuple[str, int]] = collections.deque()
        self._problems: list[str] = []
        self._error: BaseException | None = None
        self._stop = self._ended = False
        self._thread = threading.Thread(target=self._read, name="pixel reader", daemon=True)
        self._thread.start()

    def __enter__(self) -> PixelReader:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        try:
            if isinstance(error, Exception) and self._problems:
                self.all()
        finally:
            self.close()

    def __getitem__(self, name: str) -> PendingPixels:
        """The pixels of a table, whose rows are waited for when they are looked at."""
        return PendingPixels(self, name)

    def all(self) -> dict[str, np.ndarray]:
        """Wait until everything is read.

        Returns:
            Name -> uint8 [N, S, S, 3], RGB; row i belongs to row i of the table, by position. Read-only where mapped.

        Raises:
            InputError: names every image that is broken, or has changed since the table was scanned.
            RunError: if the cache cannot be written (disk full, no permission).
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended)
        self._thread.join()
        if self._error is not None:
            raise self._error
        return {name: source.store.array for name, source in self._sources.items()}

    def close(self) -> None:
        """Stop reading and let go of the arrays; who still waits for rows gets an error."""
        with self._changed:
            self._stop = True
        self._thread.join()
        self._sources = {}

    def _rows(self, name: str, rows: np.ndarray) -> np.ndarray:
        with self._changed:
            if name not in self._sources:
                raise RunError("pixels are no longer there: reading them was stopped")
            source = self._sources[name]
            missing = [int(row) for row in rows if not source.done[row]]
            self._wanted.extend((name, row) for row in missing)
            # After the first broken image nothing is given any more: what it was needed for cannot go on.
            self._changed.wait_for(lambda: self._ended or self._problems or source.done[missing].all())
            if self._problems or self._error is not None or not source.done[missing].all():
                raise RunError(f"pixels could not be read: {next(iter(self._problems), self._error)}")
        return source.store.array[rows]

    def _read(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                for source in self._sources.values():
                    stack.enter_context(source.store)
                began = time.monotonic()
                total = self._read_files()
                for name, source in self._sources.items():
                    left = np.flatnonzero(~source.done & ~source.is_file)
                    for rows, chunk in array_rows(self._manifest, source.table, left, source.size, self._progress):
                        self._check_stop()
                        self._put(name, rows, chunk)
                if not self._problems and not all(source.done.all() for source in self._sources.values()):
                    # Stopped while no image was on its way: a file must not get its name for that.
                    raise _Stopped("reading images was stopped")
                if self._problems:
                    hint = "check the data again, --skip-broken leaves broken images out"
                    raise InputError("\n".join([*sorted(self._problems), hint]))
            if total and not self._progress:
                log.info("%s images were read in %.1f s", f"{total:,}", time.monotonic() - began)
        except _Stopped as stopped:
            self._error = RunError(str(stopped))
        except BaseException as error:  # raised where the pixels are used
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read_files(self) -> int:
        files = [
            (name, int(row))
            for name, source in self._sources.items()
            for row in np.flatnonzero(source.is_file & ~source.done)
        ]
        sizes = " and ".join(str(size) for size in dict.fromkeys(source.size for source in self._sources.values()))
        results = map_threads(self._read_one, self._in_order(files))
        # Closed also where this is left by an error, whose traceback would keep the threads.
        with contextlib.closing(results):
            for name, row, image in track(results, len(files), f"reading images at {sizes} px", self._progress):
                self._check_stop()
                if isinstance(image, BrokenImage):
                    with self._changed:
                        self._problems.append(str(image))
                        self._changed.notify_all()
                else:
                    self._put(name, [row], image[None])
        return len(files)

    def _in_order(self, files: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
        """Each of `files` once: what is wanted first."""
        given, rest = set(), iter(files)
        while not self._stop:
            with self._changed:
                following = self._wanted.popleft() if self._wanted else next(rest, None)
            if following is None:
                return
            name, row = following
            if following not in given and self._sources[name].is_file[row]:
                given.add(following)
                yield following

    def _read_one(self, which: tuple[str, int]) -> tuple[str, int, np.ndarray | BrokenImage]:
        name, row = which
        source = self._sources[name]
        return name, row, read_one(self._manifest, source.paths[row], source.hashes[row], source.size)

    def _put(self, name: str, rows: np.ndarray | list[int], images: np.ndarray) -> None:
        source = self._sources[name]
        source.store.put(rows, images)
        with self._changed:
            source.done[rows] = True
            self._changed.notify_all()

    def _check_stop(self) -> None:
        if self._stop:
            raise _Stopped("reading images was stopped")


class PendingPixels:
    """What `PixelReader` reads of one table, as far as a pipeline needs an array: shape, type, and rows by number.

    Attributes:
        key: hash of what the pixels follow from: the bytes of the images, and the size.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, reader: PixelReader, name: str):
        source = reader._sources[name]
        self.shape, self.key = source.shape, source.key
        self._reader, self._name = reader, name

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """uint8 [n, S, S, 3] of the rows with these numbers, as soon as they are read.

        Raises:
            RunError: if an image is broken, or reading was stopped.
        """
        return self._reader._rows(self._name, rows)


class _Source:
    """One table, its store, and which of its rows are there."""

    def __init__(self, manifest: Manifest, table: pd.DataFrame, size: int):
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
            raise InputError(f"`image_size` must be a whole number of pixels of at least 1; received {size!r}")
        self.table, self.size = table, int(size)
        self.shape = (len(table), self.size, self.size, 3)
        self.key = pixels_key(manifest, table, self.size)
        self.paths, self.hashes = table["path"].to_numpy(), table["sha256"].to_numpy()
        self.is_file = table["index"].isna().to_numpy()
        self.done = np.zeros(len(table), bool)
        self.store: InMemory | InFile


class _Stopped(Exception):
    """The reader was closed before everything was read."""
