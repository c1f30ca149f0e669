"""Which maps stand for a model, and what a run with taps gives."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from harness import enliven, random_images
from leukemia_tf.errors import InputError
from leukemia_tf.layers import GreyWorld
from leukemia_tf.models import build_model, get_backbone
from leukemia_tf.models.first_layer import with_first_layer
from leukemia_tf.models.mlffakd import STUDENT_TAPS
from leukemia_tf.models.taps import default_taps, run_with_taps, tap_shapes


@pytest.fixture(scope="module")
def nested():
    """A backbone of the catalogue inside, with the preprocessing that it wants."""
    model = build_model("mlffakd_teacher", num_classes=3, image_size=64, weights=None, backbone="mobilenetv2")
    enliven(model, random_images(16, 64))
    return model


@pytest.mark.parametrize(
    "name, options, taps, shapes",
    [
        ("mlffakd_student", {"image_size": 224}, STUDENT_TAPS, [(56, 56, 64), (28, 28, 128), (14, 14, 256)]),
        (
            "mlffakd_tiny_student",
            {},
            ("stage1_out", "stage2_out", "stage3_out"),
            [(56, 56, 36), (28, 28, 72), (14, 14, 144)],
        ),
        # Only one map is as small as a quarter, so finer ones are taken too.
        (
            "bloodmnist_cnn_se",
            {},
            ("attention1", "attention2", "attention3"),
            [(64, 64, 16), (32, 32, 32), (16, 16, 64)],
        ),
        ("bloodmnist_cnn2", {}, ("conv1", "conv2"), [(62, 62, 16), (29, 29, 32)]),
    ],
)
def test_default_taps(name, options, taps, shapes):
    model = build_model(name, **options)
    assert default_taps(model) == taps
    assert tap_shapes(model, taps) == shapes


def test_a_nested_backbone_has_those_of_the_catalogue(nested):
    taps = tuple(f"mobilenetv2/{tap}" for tap in get_backbone("mobilenetv2").taps[:3])
    assert default_taps(nested) == taps
    assert [shape[:2] for shape in tap_shapes(nested, taps)] == [(16, 16), (8, 8), (4, 4)]


def test_a_run_gives_output_logits_and_maps(nested):
    images = random_images(3, 64)
    taps = default_taps(nested)
    output, logits, maps = run_with_taps(nested, images, taps, training=False)
    np.testing.assert_allclose(output, nested.predict_on_batch(images), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(output, keras.ops.softmax(logits), rtol=1e-5)
    backbone = nested.get_layer("mobilenetv2")
    direct = keras.Model(backbone.input, get_backbone("mobilenetv2").tap_outputs(backbone)[:3]).predict_on_batch(images)
    for tap, expected in zip(taps, direct, strict=True):
        np.testing.assert_allclose(maps[tap], expected, rtol=1e-3, atol=1e-4)


def test_a_layer_in_front_and_a_file_change_nothing(nested, tmp_path):
    """As in a run with a colour method: the saved model begins with its layer."""
    with_first_layer(nested, GreyWorld(name="colour")).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert default_taps(loaded) == default_taps(nested)
    images = random_images(2, 64)
    output, _, _ = run_with_taps(loaded, images, default_taps(loaded), training=False)
    np.testing.assert_allclose(output, loaded.predict_on_batch(images), rtol=1e-4, atol=1e-6)


def test_maps_that_are_sums_without_a_name_have_one():
    model = build_model("transfer", num_classes=2, image_size=32, weights=None, backbone="convnexttiny")
    taps = default_taps(model)
    _, _, maps = run_with_taps(model, random_images(1, 32), taps, training=False)
    backbone = model.get_layer("convnexttiny")
    direct = keras.Model(backbone.input, get_backbone("convnexttiny").tap_outputs(backbone)[:3])(random_images(1, 32))
    for tap, expected in zip(taps, direct, strict=True):
        np.testing.assert_allclose(maps[tap], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("units", [1, 3])
def test_a_model_of_another_make_has_logits_too(units):
    """Without a layer called ``probabilities`` they follow from the output, up to a number for each image."""
    inputs = keras.Input((4, 4, 3))
    dense = keras.layers.Dense(units, activation="sigmoid" if units == 1 else "softmax")
    model = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    images = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype("float32")
    output, logits, _ = run_with_taps(model, images, (), training=False)
    again = keras.ops.sigmoid(logits) if units == 1 else keras.ops.softmax(logits)
    np.testing.assert_allclose(again, output, rtol=1e-4)


def test_dropout_follows_training(nested):
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(keras.layers.Flatten()(inputs)))
    images = np.ones((2, 4, 4, 3), "float32")
    assert (np.asarray(run_with_taps(model, images, (), training=True)[0]) == 0).any()
    assert (np.asarray(run_with_taps(model, images, (), training=False)[0]) == 1).all()


def test_unknown_taps_are_named(nested):
    with pytest.raises(InputError, match="such as mobilenetv2/block_2_add.*Received: 'block_2_add'"):
        tap_shapes(nested, ["block_2_add"])
    with pytest.raises(InputError, match="Received: 'logits'"):
        tap_shapes(nested, ["logits"])
    inputs = keras.Input((4, 4, 3))
    with pytest.raises(InputError, match="`model` must have feature maps"):
        default_taps(keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs))))
