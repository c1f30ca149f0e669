"""The pixels of one image file, or of the images in an array file; and a hash of what they follow from."""

from __future__ import annotations

import collections
import functools
import hashlib
from typing import Iterator

import numpy as np
import pandas as pd
import tensorflow as tf

from leukemia_tf.data.decode import decode_bytes
from leukemia_tf.data.header import BrokenImage, read_header
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.medmnist import read_array, split_reference, to_rgb
from leukemia_tf.data.progress import track
from leukemia_tf.data.regular_file import read_regular
from leukemia_tf.data.resize import resize_images
from leukemia_tf.data.table import image_file

# Change when decoding or resizing changes, so that pixels of an older version are not used.
_VERSION = 1
_CHUNK = 256


def read_one(manifest: Manifest, path: str, sha256: str, size: int) -> np.ndarray | BrokenImage:
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


def array_rows(
    manifest: Manifest, table: pd.DataFrame, rows: np.ndarray, size: int, progress: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (positions, uint8 images) for those `rows` of a table, all of them images in arrays, array by array."""
    paths, groups = table["path"].to_numpy(), collections.defaultdict(list)
    for row in rows:
        groups[split_reference(paths[row])].append(row)
    for (file, name), members in groups.items():
        images = read_array(image_file(manifest, file), name)
        members = np.array(members)
        indices = table["index"].iloc[members].to_numpy(dtype=np.int64)
        chunks = [slice(start, start + _CHUNK) for start in range(0, len(members), _CHUNK)]
        for part in track(chunks, len(chunks), f"resizing {name} to {size} px", progress and images.shape[1] != size):
            chosen = to_rgb(images[indices[part]])
            if chosen.shape[1:3] != (size, size):
                chosen = resize_images(chosen, size).numpy().astype(np.uint8)
            yield members[part], chosen


def pixels_key(manifest: Manifest, table: pd.DataFrame, size: int) -> str:
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


@functools.lru_cache(maxsize=8)
def _traced_resize(size: int):
    """`resize_images` as a graph: threads then wait for each other half as long as with eager operations."""

    def resize(image):
        # tf.image.resize has no GPU kernel with antialiasing; copying there and back would only take time.
        with tf.device("CPU:0"):
            return tf.cast(resize_images(image, size), tf.uint8)

    return tf.function(resize, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
