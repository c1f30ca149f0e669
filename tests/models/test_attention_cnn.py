import keras
import numpy as np
import pytest
from harness import assert_close, enliven, random_images

from leukemia_tf.errors import InputError
from leukemia_tf.models import backbones_of, build_model, describe_model, describe_open, open_layers
from leukemia_tf.models.attention_maps import attention_maps
from tests.layers.reference import sigmoid, softmax

SMALL = {"image_size": 64, "weights": None, "backbone": "mobilenetv2"}


@pytest.fixture(scope="module")
def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model("attention_cnn", **SMALL)
    enliven(model, random_images(16, 64))
    return model


@pytest.fixture(scope="module")
def published_size() -> keras.Model:
    return build_model("attention_cnn", weights=None)


def drop_rates(model) -> list[float]:
    base = model.get_layer("efficientnetv2b3")
    return [layer.rate for layer in base.layers if isinstance(layer, keras.layers.Dropout)]


@pytest.mark.slow
def test_published_numbers(published_size):
    """Backbone 12.93 M, attention 0.297 M, head 0.92 M."""
    model = published_size
    assert model.count_params() == describe_model("attention_cnn")["parameters"] == 14_149_024
    assert model.input_shape == (None, 384, 384, 3) and model.output_shape == (None, 2)
    assert model.get_layer("attention").output.shape == (None, 12, 12, 1536)
    assert model.get_layer("efficientnetv2b3").count_params() == 12_930_622
    assert model.get_layer("attention").count_params() == 2 * 1536 * 96 + 96 + 1536 == 296_544
    open_layers(model, "head")
    dense = 1536 * 512 + 512 + 512 * 256 + 256 + 256 * 2 + 2
    assert describe_open(model)[-1]["trainable"] == 296_544 + dense + 2 * (512 + 256)


@pytest.mark.slow
def test_stochastic_depth_of_the_backbone(published_size):
    """0.2 i / 32 in block i of 32, in those with a residual; none in the first repository."""
    blocks = np.array(drop_rates(published_size)) * 32 / 0.2
    np.testing.assert_allclose(blocks, np.round(blocks), atol=1e-6)
    # The first block of each of the six stages has no residual, but for stage 1, whose block 0 has a rate of zero.
    assert blocks.round().astype(int).tolist() == [1, *(3, 4), *(6, 7), *range(9, 13), *range(14, 20), *range(21, 32)]
    again = keras.Model.from_config(published_size.get_config())
    assert drop_rates(again) == drop_rates(published_size)


@pytest.mark.slow
def test_first_repository():
    model = build_model("attention_cnn", image_size=224, weights=None, as_published=True)
    assert model.count_params() == 12_930_622 + 1536 * 512 + 512 + 512 * 256 + 256 + 256 * 2 + 2 == 13_849_408
    assert not any(drop_rates(model))
    kinds = [type(layer).__name__ for layer in model.layers[3:-1]]
    assert kinds == ["Dropout", "Dense", "ReLU", "Dropout", "Dense", "ReLU", "Dense"]
    with pytest.raises(InputError, match="must have an attention layer. Received: `attention_cnn`"):
        attention_maps(model, random_images(1, 224))


def test_order_of_the_layers(small):
    names = [layer.name for layer in small.layers]
    assert names == [
        *("image", "mobilenetv2", "map_dropout", "attention", "pool"),
        *("head_dropout1", "head_dense1", "head_norm1", "head_relu1"),
        *("head_dropout2", "head_dense2", "head_norm2", "head_relu2", "logits", "probabilities"),
    ]
    rates = {layer.name: layer.rate for layer in small.layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {"map_dropout": 0.3, "head_dropout1": 0.3, "head_dropout2": 0.2}
    assert small.get_layer("map_dropout").noise_shape is None  # single elements, not whole channels


def test_the_model_is_what_it_says(small):
    """The output, computed from the map of the backbone and the weights of the head with NumPy."""
    images = random_images(3, 64)
    [base] = backbones_of(small)
    squeeze, squeeze_bias, excite, excite_bias = small.get_layer("attention").get_weights()
    assert squeeze.shape == (1280, 80)
    expected = []
    for image in base(images).numpy():
        features = image.mean(axis=(0, 1))
        x = features * sigmoid(np.maximum(features @ squeeze + squeeze_bias, 0) @ excite + excite_bias)
        for number in (1, 2):
            kernel, bias = small.get_layer(f"head_dense{number}").get_weights()
            norm = small.get_layer(f"head_norm{number}")
            gamma, beta, mean, variance = norm.get_weights()
            x = (x @ kernel + bias - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta
            x = np.maximum(x, 0)
        kernel, bias = small.get_layer("logits").get_weights()
        expected.append(softmax(x @ kernel + bias))
    assert_close(small(images), np.array(expected))
    assert np.ptp(expected, axis=0).max() > 1e-3


def test_attention_depends_on_the_image(small):
    scores = attention_maps(small, random_images(3, 64))["attention"]
    assert scores.shape == (3, 1280) and np.ptp(scores, axis=0).max() > 1e-3


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_classes": 0}, "`num_classes`.*Received: 0"),
        ({"image_size": 384.0}, "`image_size` must be a whole number of pixels. Received: 384.0"),
        ({"backbone": "efficientnetv2b4"}, "did you mean efficientnetv2b3.*Received: 'efficientnetv2b4'"),
        ({"weights": "imagenette"}, "`weights` must be.*Received: 'imagenette'"),
        ({"on_missing_weights": "skip"}, "`on_missing_weights` must be"),
    ],
)
def test_refuses(options, words):
    with pytest.raises(InputError, match=words):
        build_model("attention_cnn", **{**SMALL, **options})
