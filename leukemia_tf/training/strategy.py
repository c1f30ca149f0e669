"""Training on all devices of a machine at once."""

from __future__ import annotations

import contextlib
import logging
from typing import Any, ContextManager

import keras

from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)

STRATEGIES = ("none", "mirrored")


class Strategy:
    """All devices of this machine, each of which takes its share of every batch; weights are the same on all.

    Under TensorFlow a `tf.distribute.MirroredStrategy`, under JAX a `keras.distribution.DataParallel`. Build, compile
    and fit a model within `scope`.

    Args:
        name: ``"none"`` or ``"mirrored"``: all GPUs, or where there is none all logical CPUs.

    Attributes:
        devices: how many.

    Raises:
        InputError: for another name, or a backend of Keras that has no such strategy.
    """

    def __init__(self, name: str = "none"):
        if name not in STRATEGIES:
            raise InputError(f"`strategy` is one of {', '.join(STRATEGIES)}. Received: {name!r}")
        self._made: Any = None
        self.devices = 1
        backend = keras.backend.backend()
        if name == "none":
            return
        if backend == "jax":
            self._made = keras.distribution.DataParallel()
            self.devices = int(self._made.device_mesh.devices.size)
        elif backend == "tensorflow":
            import tensorflow as tf

            found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
            self._made = tf.distribute.MirroredStrategy([device.name for device in found])
            self.devices = self._made.num_replicas_in_sync
        else:
            raise InputError(f"`strategy` {name!r} is for Keras on TensorFlow or JAX. Received: {backend}")
        log.info("every batch is shared by %d devices (%s)", self.devices, type(self._made).__name__)

    def scope(self) -> ContextManager:
        """The context in which models belong to all devices."""
        return self._made.scope() if self._made is not None else contextlib.nullcontext()

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
