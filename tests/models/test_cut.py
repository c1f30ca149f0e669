"""Models cut behind their backbones: both halves are the model, and their weights are its weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from leukemia_tf.models import backbone_fingerprint, build_model, cut_model

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")


@pytest.fixture(scope="module")
def ensemble():
    keras.utils.set_random_seed(0)
    return build_model("ensemble", image_size=32, weights=None, backbones=["mobilenetv2", "mobilenetv2"])


def test_both_halves_are_the_model(ensemble):
    cut = cut_model(ensemble)
    features = cut.features(IMAGES, training=False)
    assert [tuple(feature.shape) for feature in features] == [(2, 1280), (2, 1280)]
    np.testing.assert_array_equal(cut.head(features, training=False), ensemble(IMAGES, training=False))
    assert {id(weight) for weight in [*cut.features.weights, *cut.head.weights]} == set(map(id, ensemble.weights))
    # The model itself stays what it was.
    np.testing.assert_array_equal(
        keras.Model.from_config(ensemble.get_config()).count_params(), ensemble.count_params()
    )


def test_maps_are_cut_as_well():
    model = build_model("transfer", image_size=32, weights=None, backbone="mobilenetv2", pooling="flatten")
    cut = cut_model(model)
    assert cut.features.output.shape == (None, 1, 1, 1280) and cut.head.input.shape == (None, 1, 1, 1280)


def test_what_cannot_be_cut():
    image = keras.Input((8, 8, 3))
    inner = keras.Input((8, 8, 3))
    base = keras.Model(inner, layers.Conv2D(3, 3, padding="same")(inner))
    flat = layers.Flatten()
    assert cut_model(keras.Model(image, flat(layers.Conv2D(2, 3)(image)))) is None  # no backbone
    assert cut_model(keras.Model(image, flat(base(base(image))))) is None  # twice the same
    front = layers.Conv2D(3, 3, padding="same")(image)
    assert cut_model(keras.Model(image, flat(base(front)))) is None  # weights in front
    past = layers.Concatenate()([base(image), image])
    assert cut_model(keras.Model(image, flat(past))) is None  # the head reads the images too
    assert cut_model(keras.Sequential([base])) is None

    class Own(keras.Model):
        pass

    assert cut_model(Own()) is None


def test_fingerprints_follow_from_what_a_backbone_computes(ensemble):
    first, second = cut_model(ensemble).backbones
    assert backbone_fingerprint(first) != backbone_fingerprint(second)
    second.set_weights(first.get_weights())
    assert backbone_fingerprint(first) == backbone_fingerprint(second)  # names count for nothing
    inner = keras.Input((8, 8, 3))
    one, other = (keras.Model(inner, layers.ReLU(negative_slope=slope)(inner)) for slope in (0.0, 0.1))
    assert backbone_fingerprint(one) != backbone_fingerprint(other)
