"""Image files named one by one or by their folders: walked through, not listed, so that a million take no memory."""

from __future__ import annotations

import os
from typing import Iterable, Iterator

from leukemia_tf.data.table import SUFFIXES, is_hidden
from leukemia_tf.errors import InputError


class ImageFiles:
    """The files named and those inside the folders named, as absolute paths; folders in the order of their names.

    Iterating walks through the folders each time; ``len`` walks once.

    Args:
        images: a file or folder, or several.

    Raises:
        InputError: for a path that does not exist, a folder without images, or nothing at all; all are named.
    """

    def __init__(self, images: str | os.PathLike | Iterable[str | os.PathLike]):
        given = [images] if isinstance(images, (str, os.PathLike)) else list(images)
        self._items = [os.fspath(item) for item in given]
        self._count = 0
        wrong = []
        for item in self._items:
            if os.path.isfile(item):
                self._count += 1
            elif os.path.isdir(item):
                inside = sum(1 for _ in _walk(item))
                self._count += inside
                if not inside:
                    wrong.append(f"`{item}` holds no {', '.join(sorted(SUFFIXES))} file")
            else:
                wrong.append(f"`{item}` does not exist")
        if wrong or not self._items:
            raise InputError("\n".join(wrong) or "`images` names at least one file or folder. Received: nothing")

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for item in self._items:
            if os.path.isdir(item):
                yield from _walk(os.path.realpath(item))
            else:
                yield os.path.realpath(item)


def _walk(folder: str) -> Iterator[str]:
    """Images in and below a folder, in the order of their paths; links to folders are not followed."""
    with os.scandir(folder) as entries:
        found = [(entry.name + "/" if _is_folder(entry) else entry.name, entry.is_symlink()) for entry in entries]
    # With its slash a folder's name sorts as the paths inside it do.
    for name, link in sorted(found):
        path = os.path.join(folder, name)
        if name.endswith("/"):
            yield from _walk(path[:-1])
        elif name.lower().endswith(SUFFIXES) and not is_hidden(name) and os.path.isfile(path):
            yield os.path.realpath(path) if link else path


def _is_folder(entry: os.DirEntry) -> bool:
    return entry.is_dir(follow_symlinks=False)
