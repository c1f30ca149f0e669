"""One pass gives what two give; a model without logits, or with a map before them, has no features."""

from __future__ import annotations

import keras
import numpy as np

from leukemia_tf.models.features import with_features
from leukemia_tf.models.heads import classify


def test_features_logits_and_probabilities_belong_together():
    inputs = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(keras.layers.Conv2D(5, 3)(inputs))
    model = keras.Model(inputs, classify(pooled, 3))
    images = np.random.default_rng(0).random((4, 8, 8, 3)).astype(np.float32)
    found = with_features(model).predict(images, verbose=0)
    kernel, bias = (weight.numpy() for weight in model.get_layer("logits").weights)
    assert found["features"].shape == (4, 5)
    np.testing.assert_allclose(found["logits"], found["features"] @ kernel + bias, atol=1e-6)
    np.testing.assert_allclose(found["probabilities"], model.predict(images, verbose=0), atol=1e-6)
    # A model that was saved and loaded, or made of a list, gives a list of outputs.
    again = with_features(keras.Model([inputs], [model.output]))
    np.testing.assert_allclose(again.predict(images, verbose=0)["probabilities"], found["probabilities"], atol=1e-6)


def test_models_that_have_none():
    inputs = keras.Input((8, 8, 3))
    dense = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(inputs))
    assert with_features(keras.Model(inputs, dense)) is None
    on_a_map = keras.layers.GlobalAveragePooling2D()(keras.layers.Dense(2, name="logits")(inputs))
    assert with_features(keras.Model(inputs, on_a_map)) is None
