"""A tiny model with a nested backbone, and tiny data, for the trainer's tests."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from leukemia_tf.training import Phase

PHASES = (
    Phase("head", layers="head", epochs=2, learning_rate=1e-2, plateau_patience=1),
    Phase("fine", layers="top:3", epochs=3, learning_rate=1e-3, patience=2),
)
STEPS = 4


def make_model(seed: int = 0) -> keras.Model:
    """8x8 RGB -> one sigmoid; a backbone with batch normalisation and dropout inside, a head with both."""
    keras.utils.set_random_seed(seed)
    inner = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="first")(inner)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Conv2D(4, 3, activation="relu", name="last")(x)
    backbone = keras.Model(inner, layers.GlobalAveragePooling2D()(x), name="backbone")
    image = keras.Input((8, 8, 3))
    y = layers.BatchNormalization(name="head_norm")(backbone(image))
    y = layers.Dropout(0.5)(layers.Dense(8, activation="relu")(y))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(y))


def arrays(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, (count, 1)).astype("float32")
    images = random.normal(size=(count, 8, 8, 3)).astype("float32") + labels[:, :, None, None]
    return images, labels


def train_batches(first_epoch: int) -> tf.data.Dataset:
    """Endless batches of 8, a function of the epoch's number alone."""

    def epochs():
        epoch = first_epoch
        while True:
            images, labels = arrays(8 * STEPS, 100 + epoch)
            for step in range(STEPS):
                yield images[8 * step : 8 * step + 8], labels[8 * step : 8 * step + 8]
            epoch += 1

    return tf.data.Dataset.from_generator(epochs, output_signature=(tf.TensorSpec((8, 8, 8, 3)), tf.TensorSpec((8, 1))))


def val_batches() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices(arrays(16, 7)).batch(8)
