"""Models cut behind their backbones: both halves are the model, and their weights are its weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from leukemia_tf.models import backbones_of, build_model, cut_model, network_fingerprint, open_layers

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


def test_within_the_backbones_what_is_open_lies_above(ensemble):
    open_layers(ensemble, "top:16", freeze_batchnorm=False)
    cut = cut_model(ensemble, 16)
    # the map that goes on, and the one that is added to it
    assert [tuple(tensor.shape[1:]) for tensor in cut.features.outputs] == [(1, 1, 960), (1, 1, 160)] * 2
    features = cut.features(IMAGES, training=False)
    np.testing.assert_array_equal(cut.head(features, training=False), ensemble(IMAGES, training=False))
    assert {id(weight) for weight in [*cut.features.weights, *cut.head.weights]} == set(map(id, ensemble.weights))
    assert {id(weight) for weight in cut.head.trainable_weights} == set(map(id, ensemble.trainable_weights))
    assert not cut.features.trainable_weights
    assert cut_model(ensemble, 1000) is None
    # What a cut behind the backbones gives lies on the way.
    *outputs, maps_a, sums_a, maps_b, sums_b = cut.with_outputs()(IMAGES, training=False)
    for one, other in zip([maps_a, sums_a, maps_b, sums_b], features, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(outputs, cut_model(ensemble).features(IMAGES, training=False), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="are its features"):
        cut_model(ensemble).with_outputs()


def test_sums_that_are_no_layers_lie_where_their_parts_do():
    """A residual block that adds by an operator, as ConvNeXt's do: its sum above an open layer is no feature."""
    inner = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same", name="below")(inner)
    x = x + layers.Conv2D(3, 3, padding="same", name="one")(x)
    x = x + layers.Conv2D(3, 3, padding="same", name="two")(x)
    image = keras.Input((8, 8, 3))
    base = keras.Model(inner, layers.GlobalAveragePooling2D(name="pool")(x))
    model = keras.Model(image, layers.Dense(1)(base(image)))
    open_layers(model, "top:3")
    cut = cut_model(model, 3)
    assert [layer.name for layer in cut.frozen[0].layers[-1].layers if layer.weights] == ["below"]
    assert len(cut.features.outputs) == 1 and not cut.features.trainable_weights
    np.testing.assert_array_equal(cut.head(cut.features(IMAGES[:, :8, :8])), model(IMAGES[:, :8, :8]))


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
    first, second = backbones_of(ensemble)
    assert network_fingerprint(first) != network_fingerprint(second)
    second.set_weights(first.get_weights())
    assert network_fingerprint(first) == network_fingerprint(second)  # names count for nothing
    inner = keras.Input((8, 8, 3))
    one, other = (keras.Model(inner, layers.ReLU(negative_slope=slope)(inner)) for slope in (0.0, 0.1))
    assert network_fingerprint(one) != network_fingerprint(other)
    # what lies in front of a backbone, and where within it the cut is
    image = keras.Input((8, 8, 3))
    plain, scaled = (keras.Model(image, one(front)) for front in (image, layers.Rescaling(2.0)(image)))
    assert network_fingerprint(plain) != network_fingerprint(scaled)
    cuts = [cut_model(ensemble, top).frozen[0] for top in (0, 12, 13)]
    assert len({network_fingerprint(part) for part in cuts}) == 3
