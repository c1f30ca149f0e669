"""Read the bytes of an image file, whatever lies under its name."""

from __future__ import annotations

import os
import stat

from leukemia_tf.data.header import BrokenImage, one_line

MAX_FILE_BYTES = 1 << 30


def read_regular(file: str | os.PathLike, path: str) -> bytes:
    """Read a whole file; a pipe or device, which might never end, is refused without opening it.

    Args:
        file: where it is.
        path: how the error names it.

    Raises:
        BrokenImage: if it is missing, no regular file, not readable, or larger than 1 GiB.
    """
    try:
        facts = os.stat(file)
        if not stat.S_ISREG(facts.st_mode):
            raise BrokenImage(path, f"not a regular file ({_kind(facts.st_mode)})")
        if facts.st_size > MAX_FILE_BYTES:
            raise BrokenImage(path, f"files of at most 1 GiB are accepted; received {facts.st_size} bytes")
        with open(file, "rb", buffering=0) as stream:
            return stream.readall()
    except OSError as error:
        raise BrokenImage(path, f"cannot be read ({error.strerror or one_line(error)})") from error


def _kind(mode: int) -> str:
    for test, name in (
        (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
    ):  # fmt: skip
        if test(mode):
            return name
    return "special"
