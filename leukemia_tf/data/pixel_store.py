"""Where decoded pixels are kept: in memory, or in a file that is mapped and is whole or absent."""

from __future__ import annotations

import contextlib
import os
import pathlib
from typing import Iterable

import numpy as np

from leukemia_tf.data.scratch import check_room
from leukemia_tf.files import atomic_path, explain_write_errors


class InMemory:
    """An array that is filled row by row.

    Attributes:
        array: uint8 of the given shape; what is in it was put there.
    """

    whole = False

    def __init__(self, shape: tuple[int, ...]):
        self.array = np.empty(shape, np.uint8)

    def __enter__(self) -> InMemory:
        return self

    def __exit__(self, *_) -> None:
        pass

    def put(self, rows: Iterable[int], images: np.ndarray) -> None:
        """Keep some images, uint8 [n, S, S, 3]."""
        self.array[rows] = images


class InFile:
    """A `.npy` file that is filled row by row between `__enter__` and `__exit__`, and gets its name when it is whole.

    Args:
        file: its name. A file that is there already is taken as it is.
        shape: [N, S, S, 3].

    Attributes:
        whole: whether all rows are there.
        array: uint8 of the given shape, mapped, read-only.
    """

    def __init__(self, file: pathlib.Path, shape: tuple[int, ...]):
        self.file, self.shape = file, shape
        self.whole = file.exists()
        if self.whole:
            self.array = np.load(file, mmap_mode="r")

    def __enter__(self) -> InFile:
        if self.whole:
            return self
        check_room(self.file.parent, int(np.prod(self.shape, dtype=np.int64)))
        with contextlib.ExitStack() as opened:
            temporary = opened.enter_context(atomic_path(self.file))
            # Not buffered, so that the mapping below shows what was put.
            self._stream = opened.enter_context(open(temporary, "rb+", buffering=0))
            header = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
            np.lib.format.write_array_header_1_0(self._stream, header)
            self._start = self._stream.tell()
            self._stream.truncate(self._start + int(np.prod(self.shape, dtype=np.int64)))
            self.array = np.load(temporary, mmap_mode="r")
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error) -> None:
        if self.whole:
            return
        self._opened.__exit__(*error)
        if error[0] is None:
            self.array, self.whole = np.load(self.file, mmap_mode="r"), True

    def put(self, rows: Iterable[int], images: np.ndarray) -> None:
        """Keep some images, uint8 [n, S, S, 3].

        Raises:
            RunError: if the disk is full.
        """
        # Plain writes: on a full disk they raise an error, where a write through a mapping kills the process.
        with explain_write_errors(self.file):
            for row, image in zip(rows, images):
                left = memoryview(np.ascontiguousarray(image)).cast("B")
                place = self._start + int(row) * len(left)
                while len(left):
                    written = os.pwrite(self._stream.fileno(), left, place)
                    left, place = left[written:], place + written


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
