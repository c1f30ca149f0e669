"""Files that are either the old ones or the new ones, never half of each."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pathlib
import tempfile
from typing import Any, Iterator

from leukemia_tf.errors import RunError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CANNOT_WRITE = {
    getattr(errno, name) for name in "EROFS EACCES EPERM ENOENT ENOTDIR EISDIR EEXIST ENAMETOOLONG".split()
}


def is_full(error: OSError) -> bool:
    """Whether an error says that the disk, the quota or the file size limit is used up.

    HDF5 reports it in the text of its error, not always in `errno`.
    """
    return error.errno in _FULL or any(f"errno = {number}," in str(error) for number in _FULL)


@contextlib.contextmanager
def explain_write_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turn "no space left", "read-only" and "permission denied" under ``path`` into a one-line `RunError`."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            advice = "no space left. Free some space and give the same command again"
        elif error.errno in _CANNOT_WRITE:
            advice = f"{error.strerror}. Choose a folder that can be written"
        else:
            raise
        raise RunError(f"cannot write `{path}`: {advice}; what was written before is intact.") from error


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yield a temporary path in the same folder; on success it replaces ``path``, on failure it is removed.

    The temporary name keeps the suffixes of ``path``, because Keras chooses a format by them.

    Raises:
        RunError: if the folder cannot be written (full, read-only, no permission).
    """
    path = pathlib.Path(path)
    with explain_write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=path.name, dir=path.parent)
        os.close(handle)
        os.chmod(name, 0o666 & ~_umask())
        try:
            yield pathlib.Path(name)
            with open(name, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            pathlib.Path(name).unlink(missing_ok=True)
            raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write ``text`` (UTF-8, ``\\n`` line ends) atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN is not JSON and raises ``ValueError``."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike) -> Any:
    """Read JSON.

    Raises:
        RunError: if the file is missing or is not JSON.
    """
    path = pathlib.Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"`{path}` is missing; is this the folder of a run?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"`{path}` is not valid JSON: {error}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
