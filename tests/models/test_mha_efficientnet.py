import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from harness import assert_close, enliven, random_images

from leukemia_tf.errors import InputError
from leukemia_tf.models import backbones_of, build_model, describe_model, describe_open, open_layers
from leukemia_tf.models.attention_maps import attention_maps
from tests.layers.reference import multi_head, softmax

SMALL = {"image_size": 64, "weights": None, "backbone": "mobilenetv2"}


@pytest.fixture(scope="module")
def pair() -> tuple[keras.Model, keras.Model]:
    """The default and the published model with the same weights."""
    keras.utils.set_random_seed(0)
    default = build_model("mha_efficientnet", **SMALL)
    enliven(default, random_images(16, 64))
    published = build_model("mha_efficientnet", **SMALL, as_published=True)
    published.set_weights(default.get_weights())
    return default, published


@pytest.mark.slow
@pytest.mark.parametrize("as_published", [False, True])
def test_published_numbers(as_published):
    model = build_model("mha_efficientnet", weights=None, as_published=as_published)
    assert model.count_params() == describe_model("mha_efficientnet")["parameters"] == 30_643_237
    assert model.input_shape == (None, 224, 224, 3) and model.output_shape == (None, 2)
    assert model.get_layer("efficientnetb0").output.shape == (None, 7, 7, 1280)
    pixels = 1 if as_published else 7
    assert model.get_layer("attention").output.shape == (None, pixels, pixels, 1280)
    open_layers(model, "head")
    # Attention, two dense layers with scale and offset of their normalisation, output.
    head = 26_231_040 + 1280 * 256 + 3 * 256 + 256 * 128 + 3 * 128 + 128 * 2 + 2
    assert describe_open(model)[-1]["trainable"] == head
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.5, 0.3] and model.get_layer("attention").dropout == 0.3


def test_the_model_is_what_it_says(pair):
    """Both outputs, computed from the map of the backbone and the weights of the head with NumPy."""
    images = random_images(2, 64)
    for model, pooled_first in zip(pair, (False, True)):
        [base] = backbones_of(model)
        expected = []
        for image in base(images).numpy():
            tokens = image.reshape(4, 1280)
            tokens = tokens.mean(axis=0, keepdims=True) if pooled_first else tokens
            x = multi_head(model.get_layer("attention").attention, tokens, tokens)[0].mean(axis=0)
            for number in (1, 2):
                kernel, bias = model.get_layer(f"head_dense{number}").get_weights()
                x = x @ kernel + bias
                x = np.where(x > 0, x, 0.1 * x)
                norm = model.get_layer(f"head_norm{number}")
                gamma, beta, mean, variance = norm.get_weights()
                x = (x - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta
            kernel, bias = model.get_layer("logits").get_weights()
            expected.append(softmax(x @ kernel + bias))
        assert_close(model(images), np.array(expected))


def test_same_weights_other_answers(pair):
    default, published = pair
    assert [weight.shape for weight in default.weights] == [weight.shape for weight in published.weights]
    assert [weight.path for weight in default.weights] == [weight.path for weight in published.weights]
    images = random_images(4, 64)
    assert np.abs(default(images).numpy() - published(images).numpy()).max() > 1e-4


def test_scores(pair):
    """The default chooses among pixels; the published one has one score, which is 1."""
    default, published = pair
    scores = attention_maps(default, random_images(3, 64))["attention"]
    assert scores.shape == (3, 4, 4, 4) and np.abs(scores - 1 / 4).max() > 1e-3
    scores = attention_maps(published, random_images(3, 64))["attention"]
    np.testing.assert_array_equal(scores, np.ones((3, 4, 1, 1)))


def test_published_queries_never_learn(pair):
    """Half of the attention's parameters: 2 (1280 x 5120 + 5120)."""
    silent = []
    for model in pair:
        weights = model.get_layer("attention").trainable_weights
        with tf.GradientTape() as tape:
            error = tf.reduce_mean(model(random_images(4, 64))[:, 0] ** 2)
        gradients = tape.gradient(error, [weight.value for weight in weights])
        kernels = [(w, g) for w, g in zip(weights, gradients) if w.path.endswith("kernel")]
        silent.append([weight.path.split("/")[-2] for weight, gradient in kernels if not np.any(gradient)])
    assert silent == [[], ["query", "key"]]
    never = [weight for weight in weights if "/query/" in weight.path or "/key/" in weight.path]
    assert sum(int(np.prod(weight.shape)) for weight in never) == 13_117_440


@pytest.mark.slow
def test_one_pixel_is_said_and_is_the_published_model(caplog):
    options = {**SMALL, "image_size": 32}
    with caplog.at_level(logging.WARNING, logger="leukemia_tf"):
        published = build_model("mha_efficientnet", **options, as_published=True)
        assert not caplog.records
        default = build_model("mha_efficientnet", **options)
    assert "one pixel" in caplog.text
    enliven(default, random_images(16, 32))
    published.set_weights(default.get_weights())
    assert_close(default(random_images(2, 32)), published(random_images(2, 32)), 1e-5)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_classes": True}, "`num_classes`.*Received: True"),
        ({"image_size": 31}, "at least 32 for the backbone `mobilenetv2`. Received: 31"),
        ({"backbone": "efficientnet"}, "`backbone` must be one of.*Received: 'efficientnet'"),
        ({"weights": "imagenette"}, "`weights` must be.*Received: 'imagenette'"),
        ({"on_missing_weights": "skip"}, "`on_missing_weights` must be"),
    ],
)
def test_refuses(options, words):
    with pytest.raises(InputError, match=words):
        build_model("mha_efficientnet", **{**SMALL, **options})
