"""The best weights so far, in a file that is never half written and never gets worse."""

from __future__ import annotations

import json
import math
import pathlib
import tempfile
import zipfile
from typing import Literal

import keras

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

    Args:
        path: a name that ends in ``.keras``; `restore` and `leukemia_tf.models.load_model` read it.
        monitor: a key of the epoch's logs, such as ``"val_loss"``.
        mode: ``"min"`` or ``"max"``.
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
        self.phase = 0  # stored with the weights; the trainer counts it up

    def best(self) -> dict | None:
        """What the file holds: ``{"value", "monitor", "phase", "epoch"}``, or None where there is no file."""
        if not self.path.exists():
            return None
        with zipfile.ZipFile(self.path) as archive:
            return json.loads(archive.read(_MEMBER))

    def restore(self, model: keras.Model) -> None:
        """Load the best weights into `model`, and leave its optimizer as it is."""
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
        with atomic_path(self.path) as temporary:
            uncompiled(student_of(self.model)).save(temporary, overwrite=True)
            facts = {"value": value, "monitor": self.monitor, "phase": self.phase, "epoch": epoch}
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(_MEMBER, json.dumps(facts))

    def is_better(self, value: float, than: float) -> bool:
        """Whether `value` improves on `than`."""
        return value < than if self.mode == "min" else value > than
