"""Models whose explanations are known by hand."""

from __future__ import annotations

import keras
import numpy as np

SIZE = 8


def random_images(count: int, size: int = SIZE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (count, size, size, 3)).astype("float32")


def pooled(units: int = 3, channels: int = 5) -> keras.Model:
    """A linear map of 4 x 4 pixels, pooled: Grad-CAM is the class's weights times the map."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(channels, 2, strides=2, name="map")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(units, name="logits")(x)
    return keras.Model(inputs, keras.layers.Activation("sigmoid" if units == 1 else "softmax")(x), name="pooled")


def linear(units: int = 3, size: int = SIZE) -> keras.Model:
    """Logits that are a weighted sum of the pixels."""
    keras.utils.set_random_seed(2)
    inputs = keras.Input((size, size, 3), name="image")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dense(units, name="logits")(x)
    return keras.Model(inputs, keras.layers.Activation("sigmoid" if units == 1 else "softmax")(x), name="linear")


def corner(size: int = 16, side: int = 4) -> keras.Model:
    """Looks at brightness in the upper left corner alone, through a map of the size of the image."""
    inputs = keras.Input((size, size, 3), name="image")
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones", name="map")(x)
    x = keras.layers.Dense(1, name="logits")(keras.layers.Flatten()(x))
    model = keras.Model(inputs, keras.layers.Activation("sigmoid")(x), name="corner")
    kernel = np.zeros((size, size))
    kernel[:side, :side] = 10 / (3 * side * side)
    model.get_layer("logits").set_weights([kernel.reshape(-1, 1), np.array([-3.0])])
    return model


def coefficients(model: keras.Model, classes) -> np.ndarray:
    """(N, S, S, 3): what each number of an image is multiplied by in the logit of each image's class of `linear`."""
    kernel = model.get_layer("logits").get_weights()[0]
    kernel = np.concatenate([-kernel, kernel], axis=1) if kernel.shape[1] == 1 else kernel
    return np.stack([kernel[:, one].reshape(model.input_shape[1:]) / 255 for one in classes])
