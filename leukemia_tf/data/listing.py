"""Listing the images below a folder, without what is hidden, linked from elsewhere or unusable as a name."""

from __future__ import annotations

import logging
import os
import pathlib

from leukemia_tf.data.names import check_names, show
from leukemia_tf.data.table import SUFFIXES, is_hidden
from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)

# What lies beside images by right, and is not worth a line.
_DOCUMENTS = (".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".pdf", ".html", ".docx", ".xlsx")


def list_images(folder: pathlib.Path, root: pathlib.Path, *, check: bool = True) -> list[str]:
    """List the JPEG, PNG, BMP and TIFF files in `folder` at any depth, as sorted POSIX paths relative to `root`.

    Args:
        folder: where to begin.
        root: what the paths are relative to; links that lead out of it are not followed.
        check: refuse names that no table can hold (`names.name_problem`).

    Raises:
        InputError: if a folder cannot be listed; names every such name.
    """
    images, outside, other = [], [], []
    for parent, folders, files in os.walk(folder, onerror=cannot_list):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in folders:
            if os.path.islink(os.path.join(parent, name)):
                outside.append(os.path.join(parent, name))  # os.walk does not follow it
        for name in files:
            path = pathlib.Path(parent, name)
            if is_hidden(name):
                continue
            if path.suffix.lower() not in SUFFIXES:
                if path.suffix.lower() not in _DOCUMENTS:
                    other.append(path)
            elif path.is_symlink() and not pathlib.Path(os.path.realpath(path)).is_relative_to(root):
                outside.append(path)
            else:
                images.append(path.relative_to(root).as_posix())
    if outside:
        log.warning(
            "`%s`: %d links to folders, or out of `%s`, are not followed; first `%s`",
            folder, len(outside), root, show(outside[0]),
        )  # fmt: skip
    if other:
        log.info(
            "`%s`: %d files are not JPEG, PNG, BMP or TIFF and left out; first `%s`", folder, len(other), show(other[0])
        )
    if check:
        check_names(images, str(folder))
    return sorted(images)


def cannot_list(error: OSError) -> None:
    raise InputError(f"folder `{error.filename}` cannot be listed; received: {error.strerror}") from error
