"""The eight views of a table: each row in its place, turned as NumPy turns it, for both kinds of model."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd

from leukemia_tf.data import load_manifest
from leukemia_tf.data.augment.d4 import D4_NAMES
from leukemia_tf.evaluation import equal_views
from leukemia_tf.recipes.views import predict_views

SIZE = 8


def case(count: int) -> tuple[pd.DataFrame, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return pd.DataFrame({"path": [f"{index}.png" for index in range(count)], "label": ""}), pixels


def turned(pixels) -> list[np.ndarray]:
    return [
        np.stack([np.rot90(np.fliplr(image) if mirrored else image, turns) for image in pixels])
        for mirrored in (False, True)
        for turns in range(4)
    ]


def test_views_of_a_keras_model():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(x))
    kernel, bias = (weight.numpy() for weight in model.weights)
    table, pixels = case(5)
    found = predict_views(model, load_manifest("sample"), table, pixels, image_size=SIZE, batch_size=2)
    assert found.names == D4_NAMES and found.probabilities.shape == (8, 5, 1) and len(found.seconds) == 8
    for probabilities, view in zip(found.probabilities, turned(pixels)):
        expected = 1 / (1 + np.exp(-(view.reshape(5, -1) / 255 @ kernel + bias)))
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    mean = equal_views(("a", "b"), found.names).apply(found.probabilities)
    np.testing.assert_allclose(mean[:, 1], found.probabilities.mean(axis=0)[:, 0], rtol=1e-6)


def test_views_of_a_model_of_another_kind():
    class Corner:
        """Sees the upper left pixel alone."""

        def predict_proba(self, pixels):
            assert pixels.flags.c_contiguous
            share = pixels[:, 0, 0, 0] / 255
            return np.stack([1 - share, share], 1)

    table, pixels = case(3)
    found = predict_views(Corner(), load_manifest("sample"), table, pixels, image_size=SIZE, batch_size=2)
    expected = [view[:, 0, 0, 0] / 255 for view in turned(pixels)]
    np.testing.assert_allclose(found.probabilities[..., 1], expected, rtol=1e-6)
