"""A layer in front of a model: what comes out, and that everything is found where it was."""

import keras
import numpy as np
import pytest

from harness import enliven, random_images
from leukemia_tf.layers import GreyWorld
from leukemia_tf.models import backbones_of, build_model, open_layers
from leukemia_tf.models.first_layer import with_first_layer
from leukemia_tf.models.loading import uncompiled

IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = build_model("mlffakd_teacher", num_classes=3, image_size=32, weights=None, backbone="mobilenetv2")
    enliven(model, random_images(16, 32, seed=1))
    return model


def inner(model: keras.Model, layer: str) -> keras.Model:
    return keras.Model(model.inputs[0], model.get_layer(layer).output)


def test_the_layer_comes_first(model):
    layer = keras.layers.Rescaling(-1.0, offset=255.0, name="negative")
    for before in (model, uncompiled(model)):
        after = with_first_layer(before, layer)
        np.testing.assert_allclose(after(IMAGES), model(255 - IMAGES), atol=1e-5)
        # Probabilities may be saturated, so that the layer is seen in the logits.
        assert np.abs(inner(after, "logits")(IMAGES) - inner(model, "logits")(IMAGES)).max() > 0.1
        names = [one.name for one in before.layers]
        assert [one.name for one in after.layers] == [names[0], "negative", *names[1:]] and after.name == model.name
        assert [weight.path for weight in after.weights] == [weight.path for weight in model.weights]


def test_backbones_and_inner_outputs_are_found(model, tmp_path):
    after = with_first_layer(model, GreyWorld(name="colour"))
    assert [one.name for one in backbones_of(after)] == [one.name for one in backbones_of(model)]
    after.save(tmp_path / "model.keras")
    for one in (after, keras.saving.load_model(tmp_path / "model.keras")):
        open_layers(one, "head")
        assert not any(backbone.trainable_weights for backbone in backbones_of(one)) and one.trainable_weights
        balanced = inner(model, "logits")(GreyWorld()(IMAGES))
        np.testing.assert_allclose(inner(one, "logits")(IMAGES), balanced, atol=1e-4)


def test_both_are_independent(model):
    after = with_first_layer(model, GreyWorld(name="colour"))
    logits = after.get_layer("logits")
    logits.set_weights([weight + 1 for weight in logits.get_weights()])
    assert not np.array_equal(logits.get_weights()[1], model.get_layer("logits").get_weights()[1])
