"""What a teacher says of every training image, asked once instead of in every epoch."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import pathlib
import shutil

import keras
import numpy as np

from leukemia_tf.data.augment.d4 import apply_d4
from leukemia_tf.data.cache import cache_dir as default_cache_dir
from leukemia_tf.data.progress import track
from leukemia_tf.files import atomic_path
from leukemia_tf.training.callbacks.resume_state import weights_fingerprint
from leukemia_tf.training.distillation.distiller import TapDistiller

log = logging.getLogger(__name__)

LIMIT = 4_000_000_000
"""Bytes of outputs that "auto" keeps at most. A fixed number: what is kept must not depend on what else runs."""

_BATCH = 64
_VERSION = 1


def outputs_to_keep(model: TapDistiller, images: int, views: int | None, epochs: int, cache: str) -> bool:
    """Whether asking the teacher once is wanted and possible; the reason is logged.

    Args:
        model: with the teacher.
        images: in the training split.
        views: of the policy, see `Policy.views`; None where every epoch shows other pixels.
        epochs: of all phases.
        cache: ``"on"``, ``"off"`` or ``"auto"``, as of `Distillation`.
    """
    if cache == "off":
        return False
    if views is None:
        log.info("the teacher runs in every step: the policy shows it other pixels each time (`none` and `d4` do not)")
        return False
    needed = 4 * images * views * sum(math.prod(shape) for shape in _shapes(model).values())
    if cache == "auto" and (views >= epochs or needed > LIMIT):
        why = f"{views} views an image and {epochs} epochs" if views >= epochs else f"{needed / 1e9:.1f} GB"
        log.info("the teacher runs in every step: keeping its outputs would not pay (%s)", why)
        return False
    size = needed / 1e9
    log.info("the teacher runs once for each image and view, %d times; its outputs take %.2f GB", images * views, size)
    return True


def teacher_outputs(
    model: TapDistiller,
    pixels: np.ndarray,
    views: int,
    *,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = False,
) -> dict[str, np.ndarray]:
    """`TapDistiller.teacher_outputs` of all images, as they are or under all eight symmetries.

    Args:
        model: with the teacher.
        pixels: uint8 (N, S, S, 3).
        views: 1, or 8 in the order of `leukemia_tf.data.augment.d4.apply_d4`.
        cache_dir: folder where outputs are kept for the next run of the same teacher on the same images, under a hash,
            if the disk has room for twice as much; None takes `leukemia_tf.data.cache_dir()`.
        progress: show progress on a terminal, log one line otherwise.

    Returns:
        Name -> float32 (N, views, ...).
    """
    import tensorflow as tf

    shape = {name: (len(pixels), views, *rest) for name, rest in _shapes(model).items()}
    folder = pathlib.Path(default_cache_dir() if cache_dir is None else cache_dir) / "teacher"
    file = folder / f"{_key(model, pixels, views)}.npz"
    if file.exists():
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in shape}

    @tf.function(autograph=False)
    def ask(images, view):
        turned = apply_d4(images, tf.fill([tf.shape(images)[0]], view))
        return model.teacher_outputs(tf.ensure_shape(turned, [None, *pixels.shape[1:]]))

    found = {name: np.empty(size, np.float32) for name, size in shape.items()}
    starts = [(start, view) for start in range(0, len(pixels), _BATCH) for view in range(views)]
    for start, view in track(starts, len(starts), "asking the teacher, batches", progress):
        rows = slice(start, start + _BATCH)
        images = tf.cast(np.asarray(pixels[rows]), tf.float32)
        for name, values in ask(images, tf.constant(view)).items():
            found[name][rows, view] = values
    folder.mkdir(parents=True, exist_ok=True)
    if sum(2 * values.nbytes for values in found.values()) <= shutil.disk_usage(folder).free:
        with atomic_path(file) as temporary, open(temporary, "wb") as out:
            np.savez(out, **found)
    return found


def _shapes(model: TapDistiller) -> dict[str, tuple[int, ...]]:
    """Name -> shape of one image's output."""
    outputs = model.teacher_outputs(np.zeros((1, *model.teacher.input_shape[1:]), np.float32))
    return {name: tuple(values.shape[1:]) for name, values in outputs.items()}


def _key(model: TapDistiller, pixels: np.ndarray, views: int) -> str:
    names = f"{_VERSION} {views} {pixels.shape} {model.teacher_taps} {sorted(_shapes(model).items())}"
    digest = hashlib.sha256(f"{names} {keras.config.dtype_policy().name}\n".encode())
    for network in (model.teacher, model.teacher_readings):
        digest.update(weights_fingerprint(network).encode())
    for start in range(0, len(pixels), 1024):
        digest.update(np.ascontiguousarray(pixels[start : start + 1024]).data)
    return digest.hexdigest()
