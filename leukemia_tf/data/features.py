"""Features of frozen networks on disk: what they belong to, written whole or not at all, read mapped, given in batches.

Knows nothing of the networks themselves. A file is a ``.npy`` that any NumPy can map, with the CRC-32 of its numbers
behind them; its name is a hash of everything that its numbers follow from, so that runs and processes can share it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import pathlib
import shutil
import struct
import zlib
from typing import TYPE_CHECKING, Iterable, Iterator, Sequence

import keras
import numpy as np
import PIL
import tensorflow as tf

import leukemia_tf
from leukemia_tf.data.augment.policy import get_policy
from leukemia_tf.data.augment.python_calls import python_call
from leukemia_tf.data.balance import label_indices
from leukemia_tf.data.cache import cache_dir
from leukemia_tf.data.pixel_reader import PendingPixels
from leukemia_tf.data.untuned import PARALLEL_CALLS, untuned
from leukemia_tf.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.data.manifest import Manifest

log = logging.getLogger(__name__)

_TRAILER = struct.Struct("<4sI")
_MAGIC = b"crc1"
_CODE = (
    "data/augment", "data/pipeline.py", "data/balance.py", "data/features.py", "data/pixel_sources.py",
    "data/decode.py", "data/decode_pillow.py", "data/resize.py", "layers",
)  # fmt: skip
"""Sources that images and features follow from, besides the configuration of the network."""
_PART = 1 << 24


def batches_key(pixels: np.ndarray | PendingPixels, table: pd.DataFrame, manifest: Manifest, **options) -> str:
    """Hash of all that the batches of a pipeline follow from: pixels, labels, options, this code and TensorFlow.

    Args:
        pixels: uint8 [N, S, S, 3] as the pipeline gets them, colour and size included. Of those still being read the
            hash is of the images' files and the size, so that nothing is waited for.
        table: its rows.
        manifest: gives the classes.
        **options: the further arguments of :func:`leukemia_tf.data.make_pipeline`.
    """
    if "policy" in options:
        options["policy"] = get_policy(options["policy"]).describe()
    versions = [leukemia_tf.__version__, tf.__version__, keras.__version__, keras.backend.backend()]
    text = json.dumps([options, list(manifest.classes), list(pixels.shape), versions, _code_hash()], sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    digest.update(label_indices(table, manifest.classes).tobytes())
    if isinstance(pixels, PendingPixels):
        digest.update(f"{pixels.key} {PIL.__version__}".encode())
        return digest.hexdigest()
    step = max(1, _PART // max(1, pixels[:1].nbytes))
    for start in range(0, len(pixels), step):
        digest.update(np.ascontiguousarray(pixels[start : start + step]).data)
    return digest.hexdigest()


@functools.lru_cache(maxsize=1)
def _code_hash() -> str:
    root = pathlib.Path(leukemia_tf.__file__).parent
    digest = hashlib.blake2b(digest_size=16)
    for name in _CODE:
        found = root / name
        for file in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            digest.update(file.read_bytes())
    return digest.hexdigest()


def feature_file(*parts: str, folder: str | os.PathLike | None = None) -> pathlib.Path:
    """The file of an array, by all that its numbers follow from; `folder` None is ``<cache_dir()>/features``."""
    folder = pathlib.Path(folder) if folder is not None else cache_dir() / "features"
    return folder / f"{hashlib.blake2b('|'.join(parts).encode(), digest_size=20).hexdigest()}.npy"


def read_features(file: pathlib.Path, shape: tuple[int, ...], dtype: str) -> np.ndarray | None:
    """Map a file that `writing` made; None where it is missing, incomplete, damaged or of another shape.

    Reads it once, to compare its numbers with their checksum.
    """
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
        with open(file, "rb") as stored:
            stored.seek(-_TRAILER.size, os.SEEK_END)
            end = stored.tell()
            magic, checksum = _TRAILER.unpack(stored.read())
            whole = magic == _MAGIC and found.shape == shape and found.dtype == dtype
            if whole and found.offset + found.nbytes == end:
                stored.seek(found.offset)
                crc = 0
                while left := end - stored.tell():
                    crc = zlib.crc32(stored.read(min(left, _PART)), crc)
                if crc == checksum:
                    os.utime(file)  # says that it is still of use
                    return found
    except FileNotFoundError:
        return None
    except (ValueError, OSError, EOFError, struct.error) as error:
        log.info("`%s` cannot be read (%s)", file, error)
    log.warning("`%s` is damaged or incomplete; it is made again", file)
    return None


class FeatureWriter:
    """Takes the rows of one array in their order. Made by `writing`."""

    def __init__(self, stream, shape: tuple[int, ...], dtype: str):
        self._stream = stream
        self._shape = shape
        self._dtype = np.dtype(dtype)
        self._rows = 0
        self._crc = 0
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)

    def write(self, rows: np.ndarray) -> None:
        """Add some rows.

        Raises:
            OverflowError: if a number is beyond the range of the file's type.
        """
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(rows, dtype=self._dtype)
        if not np.isfinite(stored).all() and np.isfinite(rows).all():
            raise OverflowError(f"{np.abs(rows).max():.3g} in {self._dtype}")
        self._stream.write(stored.data)
        self._crc = zlib.crc32(stored.data, self._crc)
        self._rows += len(stored)

    def close(self) -> None:
        """Add the checksum.

        Raises:
            ValueError: if there were fewer or more rows than the header says.
        """
        if self._rows != self._shape[0]:
            raise ValueError(f"{self._shape[0]} rows were announced and {self._rows} written")
        self._stream.write(_TRAILER.pack(_MAGIC, self._crc))


@contextlib.contextmanager
def writing(files: Sequence[pathlib.Path], shapes, dtypes) -> Iterator[list[FeatureWriter]]:
    """Write several arrays side by side; all get their names when all are whole, none if something fails.

    Raises:
        RunError: if the folder cannot be written (full, read-only, no permission).
    """
    with contextlib.ExitStack() as stack:
        writers = []
        for file, shape, dtype in zip(files, shapes, dtypes, strict=True):
            # Plain writes: on a full disk they raise an error, where a write through a mapping kills the process.
            stream = stack.enter_context(open(stack.enter_context(atomic_path(file)), "wb"))
            writers.append(FeatureWriter(stream, tuple(shape), dtype))
        yield writers
        for writer in writers:
            writer.close()


def view_batches(
    views: Sequence[Sequence[np.ndarray]],
    *,
    batch_size: int,
    dtypes: Sequence[str],
    seed: int = 0,
    first_epoch: int = 0,
    endless: bool = True,
) -> tf.data.Dataset:
    """Batches of the rows of mapped arrays, one view an epoch, in turn.

    The first epoch of each view has its rows in the order in which they lie there; later ones in an order drawn from
    (seed, epoch) alone.

    Args:
        views: each a list of arrays with as many rows; the last array of a view are the labels.
        batch_size: rows a batch; must divide the number of rows if `endless`.
        dtypes: of the tensors, one for each array of a view.
        seed: of the order.
        first_epoch: number of the first epoch, from 0.
        endless: epoch after epoch; False gives the one epoch `first_epoch`.

    Returns:
        ``(features, labels)``; the features are one tensor, or a tuple where a view has several arrays of them.
    """
    count, rows = len(views), len(views[0][0])

    def one_epoch(epoch):
        def order(number):
            if number < count:
                return np.arange(rows)
            return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, int(number)]))).permutation(rows)

        places = python_call(order, [epoch], tf.int64, lambda number: np.zeros(rows, np.int64))
        places = tf.ensure_shape(places, [rows])
        batches = tf.data.Dataset.from_tensor_slices(places).batch(batch_size, drop_remainder=endless)
        return batches.map(lambda batch: (epoch % count, batch))

    def gather(view, batch):
        tensors = []
        for position, dtype in enumerate(dtypes):
            shape, stored = views[0][position].shape[1:], views[0][position].dtype
            rows_of = python_call(
                lambda number, wanted, position=position: np.asarray(views[int(number)][position][wanted]),
                [view, batch],
                tf.as_dtype(stored),
                lambda number, wanted, shape=shape, stored=stored: np.zeros((len(wanted), *shape), stored),
            )
            tensors.append(tf.cast(tf.ensure_shape(rows_of, [batch.shape[0], *shape]), dtype))
        *features, labels = tensors
        return (features[0] if len(features) == 1 else tuple(features)), labels

    last = np.iinfo(np.int64).max if endless else first_epoch + 1
    dataset = tf.data.Dataset.range(first_epoch, last).flat_map(one_epoch)
    dataset = dataset.map(gather, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
    size = tf.data.INFINITE_CARDINALITY if endless else -(-rows // batch_size)
    return untuned(dataset.apply(tf.data.experimental.assert_cardinality(size)))


def make_room(needed: int, *, folder: str | os.PathLike | None = None, keep: Iterable[pathlib.Path] = ()) -> bool:
    """Whether `needed` bytes fit on the disk of the features, after removing those that were not used for longest.

    Args:
        needed: bytes.
        folder: None is ``<cache_dir()>/features``.
        keep: files that stay.
    """
    if not needed:
        return True
    folder = feature_file(folder=folder).parent
    there = next(parent for parent in [folder, *folder.parents] if parent.exists())
    # Names with a dot in front are half written, by another process perhaps.
    old = sorted({*folder.glob("[!.]*.npy")} - {*keep}, key=lambda file: file.stat().st_mtime)
    # Some space is left for the run itself.
    while shutil.disk_usage(there).free < 1.1 * needed + (1 << 28):
        if not old:
            return False
        log.info("features of an earlier run make room: `%s`", old[0])
        old.pop(0).unlink(missing_ok=True)
    return True
