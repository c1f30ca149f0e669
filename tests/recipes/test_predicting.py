"""One way to predict: every row in its place, whatever the batch size, and one compilation under XLA."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest

from leukemia_tf.data import load_manifest
from leukemia_tf.recipes.predicting import predict_table

SIZE, BATCH = 8, 4


class Recorder(keras.layers.Layer):
    """Keeps the batch size of every trace."""

    seen: list = []

    def call(self, images):
        self.seen.append(images.shape[0])
        return images


@pytest.fixture
def model():
    Recorder.seen.clear()
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Flatten()(Recorder()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(keras.layers.Rescaling(1 / 255)(x)))
    Recorder.seen.clear()
    return model


def case(count: int) -> tuple[pd.DataFrame, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)
    return pd.DataFrame({"path": [f"{index}.png" for index in range(count)], "label": ""}), pixels


def by_hand(model, pixels) -> np.ndarray:
    kernel, bias = (weight.numpy() for weight in model.weights)
    return 1 / (1 + np.exp(-(pixels.reshape(len(pixels), -1) / 255 @ kernel + bias)))


def predict(model, count: int, **options) -> tuple[np.ndarray, np.ndarray]:
    table, pixels = case(count)
    found = predict_table(model, load_manifest("sample"), table, pixels, image_size=SIZE, batch_size=BATCH, **options)
    return found, pixels


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("count", [1, 3, 4, 10])
def test_every_row_is_in_its_place(model, count, jit_compile):
    found, pixels = predict(model, count, jit_compile=jit_compile)
    assert found.dtype == np.float32 and found.shape == (count, 1)
    np.testing.assert_allclose(found, by_hand(model, pixels), atol=1e-5)


def test_xla_sees_one_batch_size(model):
    """A shape that is part of the tensor's type: one trace, and so one compilation."""
    predict(model, 10, jit_compile=True)
    predict(model, 3, jit_compile=True)
    assert Recorder.seen == [BATCH]


def test_compilation_is_switched_in_a_model_that_has_predicted_before(model):
    plain, _ = predict(model, 10)
    compiled, _ = predict(model, 10, jit_compile=True)
    again, _ = predict(model, 10)
    assert model.jit_compile is False
    np.testing.assert_allclose(compiled, plain, atol=1e-6)
    np.testing.assert_array_equal(again, plain)


def test_a_model_of_another_kind_gets_the_pixels_themselves():
    class Brightness:
        def predict_proba(self, pixels):
            assert pixels.dtype == np.uint8
            share = pixels.mean((1, 2, 3)) / 255
            return np.stack([1 - share, share], 1)

    found, pixels = predict(Brightness(), 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 1], pixels.reshape(5, -1).mean(1) / 255, rtol=1e-6)
