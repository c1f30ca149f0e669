"""A small training on all devices of a process: ``python -m tests.training.two_devices FOLDER`` uses two of the CPU.

Under JAX the environment has to make the second device: ``XLA_FLAGS=--xla_force_host_platform_device_count=2``.
"""

from __future__ import annotations

import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from leukemia_tf.training import FeatureCache, Phase, Strategy, fit_phases
from tests.training.tiny import STEPS, arrays, train_batches

SGD = {"optimizer": "sgd", "learning_rate": 0.1}
PHASES = (Phase("head", layers="head", epochs=3, **SGD), Phase("fine", epochs=2, freeze_batchnorm=False, **SGD))


def make_model() -> keras.Model:
    """Batch normalisation in backbone and head, no dropout, and the same weights whatever the backend."""
    inner = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(inner))
    backbone = keras.Model(inner, layers.GlobalAveragePooling2D()(layers.ReLU()(x)), name="backbone")
    image = keras.Input((8, 8, 3))
    y = layers.Dense(8, activation="relu")(layers.BatchNormalization()(backbone(image)))
    model = keras.Model(image, layers.Dense(1, activation="sigmoid")(y))
    random = np.random.default_rng(0)
    model.set_weights(
        [np.abs(random.normal(0.2, 0.3, weight.shape)) if weight.ndim == 1 else random.normal(0, 0.3, weight.shape)
         for weight in model.get_weights()]
    )  # fmt: skip
    return model


def train(folder: pathlib.Path, strategy: Strategy) -> tuple[list[np.ndarray], np.ndarray]:
    """Weights, and losses an epoch."""
    val = tf.data.Dataset.from_tensor_slices(arrays(16, 7)).batch(8)
    cache = FeatureCache("t", "v", 8 * STEPS, 16, 8, views=2, dtype="float32", folder=folder / "features")
    with strategy.scope():
        model = make_model()
        strategy.prepare(model)
        history = fit_phases(
            model, train_batches, val, PHASES, folder, steps_per_epoch=STEPS, feature_cache=cache, progress=False,
        )  # fmt: skip
    single = strategy.gather(model)
    synchronized = [layer.synchronized for layer in single._flatten_layers() if hasattr(layer, "synchronized")]
    assert synchronized == [False] * 2
    return single.get_weights(), history[["loss", "val_loss", "val_accuracy"]].to_numpy()


if __name__ == "__main__":
    if keras.backend.backend() == "tensorflow":
        halves = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    both = Strategy("mirrored")
    weights, losses = train(pathlib.Path(sys.argv[1]), both)
    np.savez(pathlib.Path(sys.argv[1]) / "found.npz", *weights, losses=losses, devices=both.devices)
