"""Training on all devices of a machine at once, or of several."""

from __future__ import annotations

import contextlib
import logging
from typing import Any, ContextManager

import keras

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.training.workers import this_worker

log = logging.getLogger(__name__)

STRATEGIES = ("none", "mirrored", "multi_worker")


class Strategy:
    """All devices, each of which takes its share of every batch; weights are the same on all.

    Under TensorFlow a `tf.distribute.MirroredStrategy`, under JAX a `keras.distribution.DataParallel`. Build, compile
    and fit a model within `scope`.

    Args:
        name: ``"none"``; ``"mirrored"``: all GPUs of this machine, or where there is none all logical CPUs; or
            ``"multi_worker"``: those of all processes that TF_CONFIG names, under TensorFlow, made before anything else
            of TensorFlow's. It waits until all of them are there.

    Attributes:
        devices: how many, those of all processes together.
        worker: which process this is.

    Raises:
        InputError: for another name, or a backend of Keras that has no such strategy.
    """

    def __init__(self, name: str = "none"):
        if name not in STRATEGIES:
            raise InputError(f"`strategy` is one of {', '.join(STRATEGIES)}. Received: {name!r}")
        self._made: Any = None
        self.devices = 1
        self.worker = this_worker(name)
        backend = keras.backend.backend()
        if name == "none":
            return
        if backend == "jax" and name == "mirrored":
            self._made = keras.distribution.DataParallel()
            self.devices = int(self._made.device_mesh.devices.size)
        elif backend == "tensorflow":
            import tensorflow as tf

            if name == "multi_worker":
                from leukemia_tf.training.multi_worker import MultiWorkerStrategy

                self._made = MultiWorkerStrategy()
                self.devices = self._made.num_replicas_in_sync
                log.info("worker %d of %d; %d devices", self.worker.index, self.worker.count, self.devices)
                return
            found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
            self._made = tf.distribute.MirroredStrategy([device.name for device in found])
            self.devices = self._made.num_replicas_in_sync
        else:
            takes = "TensorFlow or JAX" if name == "mirrored" else "TensorFlow"
            raise InputError(f"`strategy` {name!r} is for Keras on {takes}. Received: {backend}")
        log.info("every batch is shared by %d devices (%s)", self.devices, type(self._made).__name__)

    def scope(self) -> ContextManager:
        """The context in which models belong to all devices."""
        return self._made.scope() if self._made is not None else contextlib.nullcontext()

    def check_agreement(self, text: str) -> None:
        """Wait for all processes, and see that they are about to do the same.

        Raises:
            RunError: if `text` is not the same in all.
        """
        if self.worker.count > 1 and not self._made.agree(text):
            raise RunError(
                "the workers do not begin with the same: give all of them one command, and a --run-dir and data that "
                "all of them see."
            )

    def check_batch(self, size: int) -> None:
        """See that a batch has a share of one size for every device.

        Raises:
            InputError: if it has not.
        """
        if size % self.devices:
            raise InputError(
                f"`data.batch_size` is a multiple of the {self.devices} devices of all workers. Received: {size}"
            )

    def prepare(self, model: keras.Model) -> None:
        """Let batch normalisation see the batch of all devices, so that one device with that batch gives the same.

        JAX's does so anyway.
        """
        if self.devices > 1 and keras.backend.backend() == "tensorflow":
            _synchronize(model, True)

    def gather(self, model: keras.Model) -> keras.Model:
        """The model on one device, for all that comes after training; itself where there was but one."""
        if self.devices == 1:
            return model
        single = keras.models.clone_model(model)
        single.set_weights(model.get_weights())
        _synchronize(single, False)
        return single


def _synchronize(model: keras.Model, value: bool) -> None:
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = value
