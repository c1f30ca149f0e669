"""Every custom layer through the harness, and what all attention layers promise about their scores."""

import keras
import numpy as np
import pytest

from leukemia_tf import layers
from leukemia_tf.errors import InputError
from tests.layers.harness import check_gradients, check_layer, check_shapes, lively

# The key's bias adds the same to all scores of a query, and a softmax does not see that.
KEY_BIAS = ("attention/key/bias",)

# name -> class, arguments, shape of input, of output and of scores, and further arguments of the harness
CASES = {
    "caffe": ("CaffePreprocessing", {}, (4, 5, 3), (4, 5, 3), None, {"low": 0, "high": 255}),
    "grey_world": ("GreyWorld", {}, (4, 5, 3), (4, 5, 3), None, {"low": 0, "high": 255}),
    "reinhard": (
        "Reinhard",
        {"mean": (60.0, 20.0, -15.0), "std": (15.0, 8.0, 6.0)},
        (4, 5, 3),
        (4, 5, 3),
        None,
        {"low": 0, "high": 255},
    ),
    "tap_projection": ("TapProjection", {"size": (2, 3), "filters": 6}, (4, 5, 8), (2, 3, 6), None, {}),
    "tap_as_it_is": ("TapProjection", {"size": (4, 3)}, (4, 5, 8), (4, 3, 8), None, {}),
    "attention_summary": ("AttentionSummary", {"size": (2, 3)}, (4, 5, 8), (2, 3), None, {}),
    "se": ("SqueezeExcite", {"ratio": 4}, (4, 5, 8), (4, 5, 8), (8,), {}),
    "se_no_bias": ("SqueezeExcite", {"ratio": 4, "use_bias": False}, (3, 3, 8), (3, 3, 8), (8,), {}),
    "cbam": ("ConvBlockAttention", {"ratio": 4, "kernel_size": 3}, (4, 5, 8), (4, 5, 8), (4, 5), {}),
    "filter_tokens": (
        "FilterTokenCrossAttention",
        {"num_tokens": 5, "num_heads": 2, "key_dim": 3, "ffn_dim": 6, "dropout": 0.1},
        (3, 2, 8),
        (5, 8),
        (2, 5, 6),
        {"never_learn": KEY_BIAS},
    ),
    "token_self_attention": (
        "TokenSelfAttention",
        {"num_heads": 2, "key_dim": 3, "ffn_dim": 6, "dropout": 0.1},
        (5, 8),
        (5, 8),
        (2, 5, 5),
        {"never_learn": KEY_BIAS},
    ),
    "spatial_map": (
        "SpatialSelfAttention",
        {"num_heads": 2, "key_dim": 3, "dropout": 0.1},
        (3, 2, 8),
        (3, 2, 8),
        (2, 6, 6),
        {"never_learn": KEY_BIAS},
    ),
    "spatial_tokens": (
        "SpatialSelfAttention",
        {"num_heads": 2, "key_dim": 3, "output": "tokens"},
        (3, 2, 8),
        (6, 8),
        (2, 6, 6),
        {"never_learn": KEY_BIAS},
    ),
}
VARIANTS = {"se_no_bias": "use_bias", "spatial_tokens": "output", "tap_as_it_is": "size"}
WITH_SCORES = [name for name, case in CASES.items() if case[4]]


def maker(name):
    kind, arguments, *_ = CASES[name]
    return lambda **options: getattr(layers, kind)(**arguments, **options)


def random_input(name, batch=3):
    return np.random.default_rng(5).uniform(-1, 1, (batch, *CASES[name][2])).astype("float32")


def test_every_layer_has_a_case():
    exported = {name for name in layers.__all__ if isinstance(getattr(layers, name), type)}
    # The harness feeds one tensor; `MapFusion` takes a list of them and has a test all round of its own.
    assert {case[0] for case in CASES.values()} | {"MapFusion"} == exported


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in VARIANTS])
def test_all_round(name, tmp_path):
    _, _, input_shape, output_shape, _, options = CASES[name]
    check_layer(maker(name), input_shape, output_shape, tmp_path, **options)


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(name):
    """Another form of a layer that went through the whole harness."""
    said = maker(name)().get_config()[VARIANTS[name]]
    assert (tuple(said) if isinstance(said, list) else said) == CASES[name][1][VARIANTS[name]]
    check_shapes(maker(name), random_input(name), CASES[name][3])
    check_gradients(maker(name), random_input(name), CASES[name][5].get("never_learn", ()))


@pytest.mark.parametrize("name", WITH_SCORES)
def test_scores(name):
    """With the scores comes the same output; their shape is the one on paper, in float16 too."""
    shape, scores_shape = CASES[name][2], CASES[name][4]
    layer, images = lively(maker(name), CASES[name][2]), random_input(name)
    output, scores = layer(images, return_attention_scores=True)
    np.testing.assert_allclose(output, layer(images), rtol=1e-5, atol=1e-6)
    assert scores.shape == (3, *scores_shape)
    assert (scores.numpy() > 0).all() and (scores.numpy() < 1).all() and np.ptp(scores) > 1e-3
    if len(scores_shape) == 3:
        np.testing.assert_allclose(scores.numpy().sum(axis=-1), 1.0, rtol=1e-5)

    for dtype in ("float32", "mixed_float16"):
        on_paper = maker(name)(dtype=dtype)(keras.Input(shape), return_attention_scores=True)
        assert [tensor.shape for tensor in on_paper] == [(None, *output.shape[1:]), (None, *scores_shape)]
        assert {tensor.dtype for tensor in on_paper} == {"float32" if dtype == "float32" else "float16"}
    open_shape = (*[None] * (len(shape) - 1), shape[-1])
    assert len(maker(name)()(keras.Input(open_shape), return_attention_scores=True)[1].shape) == len(scores_shape) + 1


@pytest.mark.parametrize("name", WITH_SCORES)
def test_scores_in_a_saved_model(name, tmp_path):
    """A model that gives the scores out is saved and loaded with them."""
    inputs = keras.Input(CASES[name][2])
    model = keras.Model(inputs, maker(name)()(inputs, return_attention_scores=True))
    model.save(tmp_path / "scores.keras")
    loaded = keras.saving.load_model(tmp_path / "scores.keras")
    images = random_input(name)
    for again, before in zip(loaded.predict_on_batch(images), model.predict_on_batch(images)):
        np.testing.assert_allclose(again, before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["filter_tokens", "token_self_attention", "spatial_map"])
def test_dropout_works_in_training_only(name):
    layer, images = lively(maker(name), CASES[name][2]), random_input(name)
    np.testing.assert_array_equal(layer(images), layer(images, training=False))
    np.testing.assert_array_equal(layer(images), layer(images))
    assert not np.array_equal(layer(images, training=True), layer(images, training=True))


@pytest.mark.parametrize(
    "kind, arguments, words",
    [
        ("SqueezeExcite", {"ratio": 0}, "`ratio` must be a whole number above zero. Received: 0"),
        ("SqueezeExcite", {"ratio": 2.5}, "`ratio`.*Received: 2.5"),
        ("ConvBlockAttention", {"kernel_size": True}, "`kernel_size`.*Received: True"),
        ("ConvBlockAttention", {"ratio": "16"}, "`ratio`.*Received: '16'"),
        ("FilterTokenCrossAttention", {"num_tokens": 0}, "`num_tokens`.*Received: 0"),
        ("FilterTokenCrossAttention", {"num_heads": -1}, "`num_heads`.*Received: -1"),
        ("FilterTokenCrossAttention", {"dropout": 1.0}, "`dropout` must be a number of at least 0 and below 1"),
        ("TokenSelfAttention", {"num_heads": 2, "key_dim": 4, "ffn_dim": None}, "`ffn_dim`.*Received: None"),
        ("TapProjection", {"size": (4, 4), "filters": 0}, "`filters` must be a whole number above zero. Received: 0"),
        ("AttentionSummary", {"size": (4, 0.5)}, "`size`.*Received: 0.5"),
        ("MapFusion", {"size": (4, 4), "ratio": 0}, "`ratio`.*Received: 0"),
        ("SpatialSelfAttention", {"dropout": "half"}, "`dropout`.*Received: 'half'"),
        ("SpatialSelfAttention", {"dropout": float("nan")}, "`dropout`.*Received: nan"),
        ("SpatialSelfAttention", {"output": "pixels"}, '`output` must be "map" or "tokens". Received: \'pixels\''),
    ],
)
def test_refuses_arguments(kind, arguments, words):
    with pytest.raises(InputError, match=words):
        getattr(layers, kind)(**arguments)


@pytest.mark.parametrize("name", WITH_SCORES)
def test_refuses_shapes(name):
    what = "tokens" if name == "token_self_attention" else "feature map"
    for shape in [(None, 8), (None, *[2] * (len(CASES[name][2]) - 1), None), (None, 2, 2, 2, 8)]:
        with pytest.raises(InputError, match=f"`{CASES[name][0]}` takes .*{what}.*Received: shape "):
            maker(name)().build(shape)
