"""Phases with something frozen: it works as in prediction, and the features that come out of it can be kept."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import pathlib
from dataclasses import dataclass
from typing import Any, Callable, Iterator

import keras
import numpy as np

from leukemia_tf.data.features import feature_file, make_room, read_features, view_batches, writing
from leukemia_tf.data.progress import track
from leukemia_tf.errors import InputError, RunError
from leukemia_tf.models import network_fingerprint
from leukemia_tf.models.cut import Cut

log = logging.getLogger(__name__)

_VAL_BATCH = 128


class FrozenBackbones(keras.Model):
    """Both halves of a cut model one behind the other, the first always in inference mode.

    In `fit` a frozen layer still drops units and paths: ``trainable = False`` stops batch normalisation only, and a
    functional model hands its own ``training=True`` to the backbones in it. The head would learn from features that it
    never meets in prediction.

    Args:
        cut: of the model; its layers train.
    """

    def __init__(self, cut: Cut):
        super().__init__(name="frozen_backbones")
        self.features = cut.features
        self.head = cut.head
        self.built = True  # all of it is; Keras would look at a batch to find out

    def call(self, images, training=None):
        return self.head(self.features(images, training=False), training=training)


@dataclass(frozen=True)
class FeatureCache:
    """How features of frozen backbones are kept, and what they belong to.

    Args:
        train_key, val_key: name the images, their labels, order and augmentation; see
            `leukemia_tf.data.features.batches_key`.
        train_rows, val_rows: images that an epoch and a validation show.
        batch_size: images a batch of the validation.
        views: augmented views of each image, 1 or more, for phases of the head alone that do not say themselves
            (`Phase.feature_views`): those of the first epochs of the run, in every phase. Epoch e of a phase trains on
            view e modulo `views`.
        dtype: ``"float16"`` or ``"float32"``, of the files. Features beyond the range of float16 go into float32.
        folder: of the files; None is ``<leukemia_tf.data.cache_dir()>/features``.

    Raises:
        InputError: for a value outside of the above.
    """

    train_key: str
    val_key: str
    train_rows: int
    val_rows: int
    batch_size: int
    views: int = 4
    dtype: str = "float16"
    folder: str | os.PathLike | None = None

    def __post_init__(self) -> None:
        for name in ("train_rows", "batch_size", "views"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` is 1 or more. Received: {getattr(self, name)}")
        if self.dtype not in ("float16", "float32"):
            raise InputError(f"`dtype` is 'float16' or 'float32'. Received: {self.dtype!r}")


class _Kept:
    """The files in which the features of a cut lie: a view of the training images each, and the validation images.

    Args:
        cut: its frozen half has the weights that it has in the phase.
        cache: see there.
        views: how many are kept.
        val: whether there are validation images.
    """

    def __init__(self, cut: Cut, cache: FeatureCache, views: int, val: bool):
        self._cache = cache
        tensors = keras.tree.flatten(cut.features.output)
        self.dtypes = [*(keras.backend.standardize_dtype(tensor.dtype) for tensor in tensors), "float32"]
        self._shapes = [*(tuple(tensor.shape[1:]) for tensor in tensors), tuple(cut.head.output.shape[1:])]
        self._prints = []
        for part in cut.frozen:
            fingerprint = network_fingerprint(part)
            self._prints += [f"{fingerprint} {place}" for place in range(len(part.outputs))]
        self._prints.append("labels")
        # The validation images are seen unchanged, once.
        self.rows = {f"epoch {number}": cache.train_rows for number in range(views)}
        if val:
            self.rows["val"] = cache.val_rows

    def parts(self, view: str, dtype: str) -> list[tuple[pathlib.Path, tuple[int, ...], str]]:
        """File, shape and type of each array of features, and in the end of the labels."""
        key = self._cache.val_key if view == "val" else self._cache.train_key
        types = [dtype] * (len(self._prints) - 1) + ["float32"]
        return [
            (feature_file(key, view, fingerprint, kind, folder=self._cache.folder), (self.rows[view], *shape), kind)
            for fingerprint, shape, kind in zip(self._prints, self._shapes, types, strict=True)
        ]

    def read(self, view: str) -> list[np.ndarray] | None:
        """The arrays of a view, features and then labels, or None if one of them is missing."""
        for dtype in dict.fromkeys([self._cache.dtype, "float32"]):
            arrays = []
            for part in self.parts(view, dtype):
                arrays.append(read_features(*part))
                if arrays[-1] is None:
                    break
            else:
                return arrays
        return None

    def files(self, view: str) -> list[pathlib.Path]:
        return [file for file, _, _ in self.parts(view, self._cache.dtype)]

    def all_files(self) -> list[pathlib.Path]:
        return [file for view in self.rows for file in self.files(view)]

    def missing_bytes(self) -> int:
        """What is still to be written."""
        row = np.dtype(self._cache.dtype).itemsize * sum(int(np.prod(shape)) for shape in self._shapes)
        missing = (view for view in self.rows if not all(file.exists() for file in self.files(view)))
        return sum(row * self.rows[view] for view in missing)


class PhaseFeatures:
    """The features of one phase: recorded where they are not there yet, then given in batches.

    Where the next phase opens the top of the backbones and keeps what comes out below, that lies on the way to the
    features of a phase of the head: it is recorded in the same pass, and the next phase finds it.

    Args:
        cut: the model, its frozen half with the weights that it has in this phase.
        cache: see there.
        train: gives the endless batches from an epoch on, counted through all phases, as `fit_phases` takes it. The
            views are the first epochs of the run.
        val: one pass, or None.
        views: how many to keep.
        steps: batches an epoch.
        following: of a phase of the head: the cut of the next phase, and how many views that keeps.
        seed: of the order in which a view is seen again.
        jit_compile: of the pass through the frozen half.
        progress: show a line for each pass.
    """

    def __init__(
        self,
        cut: Cut,
        cache: FeatureCache,
        train: Callable[[int], Any],
        val: Any,
        *,
        views: int,
        steps: int,
        following: tuple[Cut, int] | None = None,
        seed: int = 0,
        jit_compile: bool = False,
        progress: bool = True,
    ):
        self._cut, self._following, self._jit_compile = cut, following, jit_compile
        self._cache, self._train, self._val = cache, train, val
        self._steps, self._seed, self._progress = steps, seed, progress
        self._own = _Kept(cut, cache, views, val is not None)
        self._next = _Kept(following[0], cache, following[1], val is not None) if following else None
        self._views: dict[str, list[np.ndarray]] = {}
        # A data set that has given all batches before an epoch: beginning another one takes a second.
        self._streams: dict[int, Iterator] = {}

    def fit_on_disk(self) -> bool:
        """Whether there is room for what is not there yet; features long unused are removed for it.

        Where there is room for this phase alone, the next one sees to itself.
        """
        keep, needed = self._own.all_files(), self._own.missing_bytes()
        if self._next is not None:
            further = self._next.missing_bytes()
            if make_room(needed + further, folder=self._cache.folder, keep=keep + self._next.all_files()):
                return True
            self._next = None
        return make_room(needed, folder=self._cache.folder, keep=keep)

    def record(self, stop: Callable[[], bool] = lambda: False) -> bool:
        """Make what is missing, each view in one pass.

        Args:
            stop: asked at every batch; True ends the work early, and the views that are whole stay.

        Returns:
            Whether everything is there.

        Raises:
            RunError: if the folder cannot be written (full, read-only, no permission).
        """
        for view in self._own.rows:
            arrays = self._own.read(view)
            if arrays is None:
                try:
                    done = self._pass(view, self._cache.dtype, stop)
                except OverflowError as error:
                    log.warning("features go beyond float16 (%s); they are kept in float32, twice as large", error)
                    done = self._pass(view, "float32", stop)
                if not done:
                    return False
                arrays = self._own.read(view)
                if arrays is None:
                    raise RunError(f"the features of `{view}` could not be read back from `{self._own.files(view)[0]}`")
            self._views[view] = arrays
        self._streams.clear()
        return True

    @functools.cached_property
    def _network(self) -> keras.Model:
        """What a pass goes through: to the features of this phase, and to those of the next one where it keeps some."""
        network = self._cut.features if self._next is None else self._following[0].with_outputs()
        network.compile(jit_compile=self._jit_compile)
        return network

    def _pass(self, view: str, dtype: str, stop: Callable[[], bool]) -> bool:
        """Write the features of a view; False if `stop` ended it."""
        if view == "val":
            batches, total, doing = self._val, -(-self._cache.val_rows // self._cache.batch_size), "of validation"
        else:
            epoch = int(view.split()[1])
            stream = self._streams.pop(epoch, None) or iter(self._train(epoch))
            batches, total = itertools.islice(stream, self._steps), self._steps
            doing = f"of view {epoch + 1} of {len(self._own.rows) - (self._val is not None)}"
        parts, full = self._own.parts(view, dtype), 0
        if self._next is not None and view in self._next.rows and self._next.read(view) is None:
            parts[-1:-1] = self._next.parts(view, dtype)[:-1]  # the labels are the same
        try:
            with writing(*zip(*parts)) as writers:
                for images, labels, *weights in track(batches, total, f"features {doing}, batches", self._progress):
                    if stop():
                        raise _Stopped
                    images, labels = np.asarray(images), np.asarray(labels)
                    if weights:  # what a batch was filled up with weighs nothing
                        real = np.asarray(weights[0]) > 0
                        images, labels = images[real], labels[real]
                    full = max(full, len(images))
                    # XLA compiles anew for a smaller last batch, and TensorFlow traces anew: fill it up.
                    filled = np.concatenate([images, np.repeat(images[-1:], full - len(images), axis=0)])
                    found = keras.tree.flatten(self._network.predict_on_batch(filled))
                    arrays = [*found[: len(parts) - 1], labels]
                    for writer, array in zip(writers, arrays, strict=True):
                        writer.write(np.asarray(array)[: len(images)])
        except _Stopped:
            return False
        if view != "val":
            self._streams[epoch + 1] = stream
        return True

    def train(self, epoch: int):
        """Endless batches of ``(features, labels)`` from `epoch` of this phase on, counted from 0."""
        return view_batches(
            [arrays for view, arrays in self._views.items() if view != "val"],
            batch_size=self._cache.train_rows // self._steps,
            dtypes=self._own.dtypes,
            seed=self._seed,
            first_epoch=epoch,
        )

    @property
    def val(self):
        """One pass of the validation features, in large batches: each costs a call; None without validation."""
        if self._val is None:
            return None
        size = max(self._cache.batch_size, _VAL_BATCH)
        return view_batches([self._views["val"]], batch_size=size, dtypes=self._own.dtypes, endless=False)


class _Stopped(Exception):
    """The pass was ended early; nothing of it stays."""
