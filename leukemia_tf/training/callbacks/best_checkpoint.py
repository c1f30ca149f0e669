"""The best weights so far, in a file that is never half written and never gets worse."""

from __future__ import annotations

import json
import math
import pathlib
import tempfile
import zipfile
from typing import Iterable, Literal

import keras
import numpy as np

from leukemia_tf.errors import InputError
from leukemia_tf.files import atomic_path, explain_write_errors
from leukemia_tf.models import uncompiled
from leukemia_tf.training.runtime import student_of

_MEMBER = "best.json"


class BestCheckpoint(keras.callbacks.Callback):
    """Save the model whenever the monitored value is better than the one stored in the file.

    `keras.callbacks.ModelCheckpoint` forgets its best value between two `fit` calls and writes in place; here the
    value is a member of the ``.keras`` archive itself, so a resumed run compares with what is really on disk, and the
    file is replaced in one step. (Not ``.weights.h5``: HDF5 ends the whole process when the disk is full.)

    The model must be functional or sequential, as all builders' are, or a `keras.distillation.Distiller`, of which the
    student alone is saved and restored.

    With `live` set, an epoch that may take less than a second is not held up by writing a hundred million frozen
    weights: the live ones go into a small ``.npz`` beside the file, until `write` or a better epoch with all weights.
    Before others can change, `cover` has to be called.

    Args:
        path: a name that ends in ``.keras``; `restore` and `leukemia_tf.models.load_model` read it.
        monitor: a key of the epoch's logs, such as ``"val_loss"``.
        mode: ``"min"`` or ``"max"``.

    Attributes:
        phase: number of the phase, stored with the weights.
        live: None, or the indices into ``model.weights`` of all that can differ from the weights that training began
            with.
    """

    def __init__(self, path, monitor: str = "val_loss", mode: Literal["min", "max"] = "min"):
        super().__init__()
        self.path = pathlib.Path(path)
        if self.path.suffix != ".keras":
            raise InputError(f"`path` ends in '.keras'. Received: {path}")
        if mode not in ("min", "max"):
            raise InputError(f"`mode` is 'min' or 'max'. Received: {mode!r}")
        self.monitor = monitor
        self.mode = mode
        self.phase = 0
        self.live: Iterable[int] | None = None

    @property
    def _small(self) -> pathlib.Path:
        return self.path.with_suffix(".npz")

    def best(self) -> dict | None:
        """What was best: ``{"value", "monitor", "phase", "epoch"}``, or None where there is no file."""
        return self._found()[0]

    def _found(self) -> tuple[dict | None, bool]:
        """What was best, and whether it lies in the small file."""
        whole = small = None
        if self.path.exists():
            with zipfile.ZipFile(self.path) as archive:
                whole = json.loads(archive.read(_MEMBER))
        if self._small.exists():
            with np.load(self._small, allow_pickle=False) as file:
                small = json.loads(file["best"].tobytes())
        # A small file that is no better was left by a run that was killed before it could remove it.
        if small is not None and (whole is None or self.is_better(small["value"], whole["value"])):
            return small, True
        return whole, False

    def clear(self) -> None:
        """Remove the files."""
        self.path.unlink(missing_ok=True)
        self._small.unlink(missing_ok=True)

    def write(self, model: keras.Model) -> None:
        """Make the file whole, where the best weights, which `model` has, lie in the small one."""
        facts, small = self._found()
        if small:
            self._write_whole(model, facts)

    def cover(self, model: keras.Model, live: Iterable[int]) -> None:
        """Make the file whole if the best weights lie in the small one and that lacks some of those that go live now.

        Args:
            model: has, but for what the small file holds, the weights that training began with. It stays as it is.
            live: indices into ``model.weights``.
        """
        facts, small = self._found()
        if not small:
            return
        with np.load(self._small, allow_pickle=False) as file:
            held = {int(name) for name in set(file.files) - {"best"}}
        if held >= set(live):
            return
        now = {index: keras.ops.convert_to_numpy(model.weights[index]) for index in held}
        self.restore(model)
        self._write_whole(model, facts)
        for index, array in now.items():
            model.weights[index].assign(array)

    def restore(self, model: keras.Model) -> None:
        """Load the best weights into `model`, and leave its optimizer as it is.

        A model that is freshly built has the weights that training began with.
        """
        if self._found()[1]:
            with np.load(self._small, allow_pickle=False) as file:
                for name in set(file.files) - {"best"}:
                    model.weights[int(name)].assign(file[name])
            return
        # Keras reads the weights through the archive, seeking to and fro: a minute for 99 million. Unpacked: seconds.
        with explain_write_errors(self.path), tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            with zipfile.ZipFile(self.path) as archive:
                weights = archive.extract("model.weights.h5", folder)
            uncompiled(student_of(model)).load_weights(weights)

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor not in (logs or {}):
            raise InputError(
                f"`monitor` is one of the metrics of training, {sorted(logs or {})}. Received: {self.monitor!r}"
            )
        value = float(logs[self.monitor])
        best = self.best()
        if math.isnan(value) or (best is not None and not self.is_better(value, best["value"])):
            return
        facts = {"value": value, "monitor": self.monitor, "phase": self.phase, "epoch": epoch}
        if self.live is None:
            self._write_whole(self.model, facts)
            return
        arrays = {str(index): keras.ops.convert_to_numpy(self.model.weights[index]) for index in self.live}
        with atomic_path(self._small) as temporary, open(temporary, "wb") as file:
            np.savez(file, best=np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8), **arrays)

    def _write_whole(self, model: keras.Model, facts: dict) -> None:
        with atomic_path(self.path) as temporary:
            uncompiled(student_of(model)).save(temporary, overwrite=True)
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(_MEMBER, json.dumps(facts))
        self._small.unlink(missing_ok=True)

    def is_better(self, value: float, than: float) -> bool:
        """Whether `value` improves on `than`."""
        return value < than if self.mode == "min" else value > than
