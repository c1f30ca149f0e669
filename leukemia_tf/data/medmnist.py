"""NPZ files in MedMNIST's format: one pair of image and label arrays for each split."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import zipfile
import zlib
from typing import Iterator

import numpy as np
import pandas as pd

from leukemia_tf.data.manifest import Manifest, load_manifest
from leukemia_tf.data.table import SPLITS, check_classes, make_table
from leukemia_tf.errors import InputError

# Arrays of images do not shrink like this; small ones may do what they like.
_MAX_RATIO = 200
_SMALL = 100 * 10**6


def open_medmnist(file: str | os.PathLike) -> tuple[Manifest, pd.DataFrame]:
    """Open an NPZ file with `{train,val,test}_images` (uint8) and `{train,val,test}_labels` (whole numbers).

    Images are [N, height, width, 3] or grey [N, height, width], labels [N, 1] or [N]. Only the labels are read; of
    the images only the headers. Pickled arrays are never loaded.

    Args:
        file: the NPZ file. If its name contains "bloodmnist" and there are 8 classes, they get BloodMNIST's names;
            otherwise classes are called by their numbers.

    Raises:
        InputError: if the file is no NPZ, or an array is missing or has another shape or type. One line for each.
    """
    file = pathlib.Path(os.path.abspath(file))
    with _opened(file) as archive:
        labels = _read_labels(archive, file)
    values = np.unique(np.concatenate(list(labels.values())))
    known = load_manifest("bloodmnist")
    if "bloodmnist" in file.name.lower() and list(values) == list(range(known.num_classes)):
        manifest = known.replace(root=file.parent)
        names = dict(enumerate(known.classes))
    else:
        names = {value: str(value) for value in values}
        manifest = Manifest(
            name=file.stem,
            title=f"Arrays {file.name}",
            licence="not stated",
            citation="not stated",
            homepage="not stated",
            classes=tuple(names.values()),
            layout="medmnist",
            official_split=True,
            root=file.parent,
        )
    rows = [
        {"path": f"{file.name}#{split}_images/{index}", "index": index, "label": names[value], "split": split}
        for split in SPLITS
        for index, value in enumerate(labels[split])
    ]
    table = make_table(rows, manifest.name)
    check_classes(table, manifest.classes, str(file))
    return manifest, table


def read_array(file: str | os.PathLike, name: str) -> np.ndarray:
    """Read one image array of an NPZ file: uint8 [N, height, width, 3], or [N, height, width] when grey.

    Raises:
        InputError: if the file or the array is missing or damaged, or holds pickled objects.
    """
    file = pathlib.Path(file)
    with _opened(file) as archive:
        array = _load(archive, file, name)
    if array.dtype != np.uint8 or not (array.ndim == 3 or (array.ndim == 4 and array.shape[-1] == 3)):
        raise InputError(
            f"`{file.name}`: `{name}` must be uint8 [N, H, W, 3] or [N, H, W]; "
            f"received {array.dtype} {list(array.shape)}"
        )
    return array


def split_reference(path: str) -> tuple[str, str]:
    """Split a table's path "file.npz#test_images/17" into ("file.npz", "test_images")."""
    file, _, reference = path.rpartition("#")
    return file, reference.rpartition("/")[0]


def to_rgb(images: np.ndarray) -> np.ndarray:
    """Repeat grey images [N, H, W] to [N, H, W, 3]; colour images stay as they are."""
    return np.repeat(images[..., None], 3, axis=-1) if images.ndim == 3 else images


def _read_labels(archive: np.lib.npyio.NpzFile, file: pathlib.Path) -> dict[str, np.ndarray]:
    needed = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
    missing = [name for name in needed if name not in archive.files]
    if missing:
        raise InputError(
            f"`{file.name}`: array {', '.join(f'`{name}`' for name in missing)} is missing; MedMNIST files hold "
            f"{', '.join(needed)}; received {', '.join(archive.files) or 'no array'}"
        )
    labels, problems = {}, []
    for split in SPLITS:
        shape, dtype = _read_shape(archive, file, f"{split}_images")
        if dtype != np.uint8 or not (len(shape) == 3 or (len(shape) == 4 and shape[-1] == 3)) or 0 in shape:
            problems.append(
                f"`{file.name}`: `{split}_images` must be uint8 [N, H, W, 3] or [N, H, W], none of them 0; "
                f"received {dtype} {list(shape)}"
            )
        values = _load(archive, file, f"{split}_labels")
        if values.dtype.kind not in "iu" or values.ndim not in (1, 2) or values.shape[1:] not in ((), (1,)):
            problems.append(
                f"`{file.name}`: `{split}_labels` must be whole numbers [N, 1], one label an image; "
                f"received {values.dtype} {list(values.shape)}"
            )
        elif len(values) != shape[0]:
            problems.append(
                f"`{file.name}`: `{split}_labels` must hold {shape[0]} labels, one an image; received {len(values)}"
            )
        elif values.size and values.min() < 0:
            problems.append(f"`{file.name}`: `{split}_labels` must be 0 or more; received {values.min()}")
        labels[split] = values.reshape(-1).tolist()
    if problems:
        raise InputError("\n".join(problems))
    return labels


def _read_shape(archive: np.lib.npyio.NpzFile, file: pathlib.Path, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Read shape and type of an array without its data, which may be gigabytes."""
    with _explained(file, name), archive.zip.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(member)
    return shape, dtype


def _load(archive: np.lib.npyio.NpzFile, file: pathlib.Path, name: str) -> np.ndarray:
    shape, dtype = _read_shape(archive, file, name)
    with _explained(file, name):
        info = archive.zip.getinfo(f"{name}.npy")
        # Before memory is taken: a header can declare anything, and zeros shrink by a thousand.
        declared = math.prod(shape) * dtype.itemsize
        if declared > info.file_size and not dtype.hasobject:
            raise ValueError(f"it declares {declared:,} bytes and holds {info.file_size:,}")
        if info.file_size > max(_SMALL, _MAX_RATIO * info.compress_size):
            raise ValueError(f"it unpacks from {info.compress_size:,} to {info.file_size:,} bytes, like a bomb")
        return archive[name]


@contextlib.contextmanager
def _opened(file: pathlib.Path) -> Iterator[np.lib.npyio.NpzFile]:
    with contextlib.ExitStack() as stack:
        with _explained(file, "file"):
            # Opened here, because np.load leaves the file open when it is no archive.
            archive = np.load(stack.enter_context(open(file, "rb")), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InputError(f"`{file}` must be an NPZ file of several arrays; received a single array")
        yield stack.enter_context(archive)


@contextlib.contextmanager
def _explained(file: pathlib.Path, name: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError) as error:
        raise InputError(
            f"`{file}`: `{name}` cannot be read: damaged, or pickled objects (which are never loaded); "
            f"received: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error
    except OSError as error:
        raise InputError(f"`{file}` cannot be read; received: {error.strerror or error}") from error
