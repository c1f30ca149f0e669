"""Arrays that may be larger than memory: mapped from a file that nobody else sees and that goes with the process."""

from __future__ import annotations

import math
import os
import pathlib
import shutil
import tempfile

import numpy as np

from leukemia_tf.data.cache import cache_dir
from leukemia_tf.errors import RunError
from leukemia_tf.files import explain_write_errors

# A million thumbnails of 64 x 64 are four times as much.
IN_MEMORY = 1 << 30


def check_room(folder: pathlib.Path, size: int) -> None:
    """See that a folder, which is made if it is missing, has room for `size` bytes.

    Raises:
        RunError: if it has not, or cannot be written.
    """
    with explain_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise RunError(
            f"`{folder}` needs {size / 1e9:.1f} GB of room for working files and has {free / 1e9:.1f} GB: free some, "
            "or name a folder on a larger disk in LEUKEMIA_TF_CACHE."
        )


def scratch_array(shape: tuple[int, ...], dtype: np.dtype | type, *, in_memory: int = IN_MEMORY) -> np.ndarray:
    """An array of zeros: in memory, or if it takes more than `in_memory` bytes, mapped from a file in the cache folder.

    The file has no name (it is gone when the array is, however the process ends) and its place on the disk is taken at
    once, since a write through a mapping kills the process when the disk turns out to be full.

    Raises:
        RunError: if the disk has too little room, or the cache folder cannot be written.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= in_memory:
        return np.zeros(shape, dtype)
    folder = pathlib.Path(cache_dir())
    check_room(folder, size)
    with explain_write_errors(folder):
        with tempfile.TemporaryFile(dir=folder, prefix=".tmp-") as stream:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.truncate(size)
            return np.memmap(stream, dtype, "r+", shape=shape)
