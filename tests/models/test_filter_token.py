import keras
import numpy as np
import pytest
from harness import assert_close, enliven, random_images

from leukemia_tf.errors import InputError
from leukemia_tf.models import backbones_of, build_model, describe_model, describe_open, open_layers
from leukemia_tf.models.attention_maps import attention_maps
from tests.layers.reference import encoder_block, sigmoid

SMALL = {"image_size": 64, "weights": None, "backbone": "mobilenetv2", "num_tokens": 6}


@pytest.fixture(scope="module")
def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model("filter_token", **SMALL)
    enliven(model, random_images(16, 64))
    return model


@pytest.mark.slow
def test_published_numbers():
    """The total that the widths of the description add up to, by hand for the head."""
    model = build_model("filter_token", weights=None)
    assert model.count_params() == describe_model("filter_token")["parameters"] == 10_794_148
    assert model.input_shape == (None, 224, 224, 3) and model.output_shape == (None, 1)
    assert model.get_layer("efficientnetb0").output.shape == (None, 7, 7, 1280)
    assert model.get_layer("filter_tokens").output.shape == (None, 64, 1280)
    open_layers(model, "head")
    block = 1_312_768 + 2 * 1280 * 256 + 256 + 1280 + 4 * 1280
    head = 3 * block + 2 * 64 * 1280 + 1280 * 512 + 512 + 513
    assert describe_open(model)[-1]["trainable"] == head == 10_794_148 - 4_049_571
    for name in ("filter_tokens", "self_attention1", "self_attention2"):
        layer = model.get_layer(name)
        assert (layer.num_heads, layer.key_dim, layer.ffn_dim, layer.dropout) == (8, 32, 256, 0.1)


def test_the_model_is_what_it_says(small):
    """The output, computed from the map of the backbone and the weights of the head with NumPy."""
    images = random_images(2, 64)
    [base] = backbones_of(small)
    expected = []
    for image in base(images).numpy():
        filters = small.get_layer("filter_tokens")
        tokens = filters.tokens.numpy() + filters.positions.numpy()
        x, _ = encoder_block(filters, tokens, image.reshape(4, 1280))
        for name in ("self_attention1", "self_attention2"):
            x, _ = encoder_block(small.get_layer(name), x, x)
        kernel, bias = small.get_layer("head_dense").get_weights()
        x = np.maximum(x.mean(axis=0) @ kernel + bias, 0)
        kernel, bias = small.get_layer("logits").get_weights()
        expected.append(sigmoid(x @ kernel + bias))
    assert_close(small(images), np.array(expected))
    assert np.ptp(expected) > 1e-4


def test_tokens_choose_among_pixels(small):
    scores = attention_maps(small, random_images(2, 64))
    assert {name: array.shape[1:] for name, array in scores.items()} == {
        "filter_tokens": (8, 6, 4),
        "self_attention1": (8, 6, 6),
        "self_attention2": (8, 6, 6),
    }
    assert np.abs(scores["filter_tokens"] - 1 / 4).max() > 1e-5


def test_blocks_are_an_option():
    options = {**SMALL, "self_attention_blocks": 0, "num_heads": 2, "key_dim": 4, "ffn_dim": 8}
    names = [layer.name for layer in build_model("filter_token", **options).layers]
    assert names[1:5] == ["mobilenetv2", "filter_tokens", "pool", "head_dense"]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_classes": 1}, "`num_classes`.*Received: 1"),
        ({"image_size": 31}, "at least 32 for the backbone `mobilenetv2`. Received: 31"),
        ({"backbone": "mobilnetv2"}, "did you mean mobilenetv2.*Received: 'mobilnetv2'"),
        ({"num_tokens": 0}, "`num_tokens` must be a whole number above zero. Received: 0"),
        ({"num_heads": 1.5}, "`num_heads`.*Received: 1.5"),
        ({"self_attention_blocks": -1}, "`self_attention_blocks` must be.*at least 0. Received: -1"),
        ({"self_attention_blocks": 1.0}, "`self_attention_blocks`.*Received: 1.0"),
        ({"weights": "imagenette"}, "`weights` must be.*Received: 'imagenette'"),
        ({"on_missing_weights": "skip"}, "`on_missing_weights` must be"),
    ],
)
def test_refuses(options, words):
    with pytest.raises(InputError, match=words):
        build_model("filter_token", **{**SMALL, **options})
