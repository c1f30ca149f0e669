import keras
import numpy as np
import pytest
from harness import random_images

from leukemia_tf.errors import InputError
from leukemia_tf.layers import (
    ConvBlockAttention,
    FilterTokenCrossAttention,
    SpatialSelfAttention,
    SqueezeExcite,
    TokenSelfAttention,
)
from leukemia_tf.models import attention_grid, load_model, spatial_attention
from leukemia_tf.models.attention_maps import attention_maps
from tests.layers.reference import multi_head

SIZE = 8


def tiny(name="tiny") -> keras.Model:
    """One attention layer of each kind on a map of 4 x 4 pixels."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Rescaling(1 / 50)(inputs)
    x = keras.layers.Conv2D(6, 2, strides=2, name="stem")(x)
    x = SqueezeExcite(2, name="se")(x)
    x = ConvBlockAttention(2, 3, name="cbam")(x)
    x = SpatialSelfAttention(2, 3, dropout=0.5, name="pixels")(x)
    x = FilterTokenCrossAttention(5, 2, 3, 4, name="filters")(x)
    x = TokenSelfAttention(2, 3, 4, dropout=0.5, name="tokens")(x)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(x), name=name)
    # Away from the small numbers at the start, so that no score is uniform.
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(weight, 0.5) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return tiny()


def test_every_kind_in_order(model):
    maps = attention_maps(model, random_images(3, SIZE))
    assert {name: array.shape for name, array in maps.items()} == {
        "se": (3, 6),
        "cbam": (3, 4, 4),
        "pixels": (3, 2, 16, 16),
        "filters": (3, 2, 5, 16),
        "tokens": (3, 2, 5, 5),
    }
    assert list(maps) == ["se", "cbam", "pixels", "filters", "tokens"]
    for name, array in maps.items():
        assert array.dtype == np.float32 and np.ptp(array) > 1e-3, name
        if array.ndim == 4:
            np.testing.assert_allclose(array.sum(axis=-1), 1.0, rtol=1e-5)


def test_scores_are_those_of_the_run(model):
    """The scores of the filter tokens, from the map that they see and the weights, with NumPy."""
    images = random_images(2, SIZE)
    layer = model.get_layer("filters")
    seen = keras.Model(model.input, model.get_layer("pixels").output)(images).numpy()
    tokens = layer.tokens.numpy() + layer.positions.numpy()
    expected = [multi_head(layer.attention, tokens, image.reshape(16, 6))[1] for image in seen]
    np.testing.assert_allclose(attention_maps(model, images)["filters"], expected, rtol=1e-3, atol=1e-6)


def test_the_model_stays_as_it_was(model, tmp_path):
    images = random_images(2, SIZE)
    weights, output, text = model.get_weights(), model(images).numpy(), model.to_json()
    for _ in range(2):
        attention_maps(model, images)
    assert model.to_json() == text
    assert all(len(layer._inbound_nodes) == 1 for layer in model.layers)
    np.testing.assert_array_equal(model(images), output)
    for was, now in zip(weights, model.get_weights()):
        np.testing.assert_array_equal(was, now)


def test_loaded_model_and_many_images(model, tmp_path):
    """More images than a batch holds, and a partial one at the end."""
    model.save(tmp_path / "tiny.keras")
    loaded = load_model(tmp_path / "tiny.keras")
    images = random_images(19, SIZE)
    maps = attention_maps(loaded, images)
    assert {len(array) for array in maps.values()} == {19}
    for name, array in attention_maps(model, images[17:]).items():
        np.testing.assert_allclose(maps[name][17:], array, rtol=1e-4, atol=1e-6)


def test_names_of_the_ones_wanted(model):
    maps = attention_maps(model, random_images(1, SIZE), layers=["tokens", "se"])
    assert set(maps) == {"tokens", "se"}
    with pytest.raises(InputError, match=r"`layers` must be among se, cbam, .*Received: 'head', 'stem'"):
        attention_maps(model, random_images(1, SIZE), layers=["head", "se", "stem"])


def test_nested_and_sequential(model):
    """A model in a model in a sequential one; the names say where."""
    inner = tiny("inner")
    inputs = keras.Input((SIZE, SIZE, 3))
    outer = keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.Model(inputs, inner(inputs), name="outer")])
    images = random_images(2, SIZE)
    maps = attention_maps(outer, images)
    assert list(maps) == [f"outer/inner/{name}" for name in ("se", "cbam", "pixels", "filters", "tokens")]
    for name, array in attention_maps(model, images).items():
        np.testing.assert_allclose(maps[f"outer/inner/{name}"], array, rtol=1e-5)

    keras.utils.set_random_seed(3)
    nested = keras.Sequential([keras.Input((4, 6)), TokenSelfAttention(1, 2, 3, name="again")], name="nested")
    inputs = keras.Input((4, 6))
    assert list(attention_maps(keras.Model(inputs, nested(inputs)), np.ones((1, 4, 6)))) == ["nested/again"]


def test_a_layer_that_runs_twice():
    layer = TokenSelfAttention(2, 3, 4, name="shared")
    inputs = keras.Input((5, 6))
    tokens = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
    maps = attention_maps(keras.Model(inputs, layer(layer(inputs))), tokens)
    first, expected = layer(tokens, return_attention_scores=True)
    second = layer(first, return_attention_scores=True)[1]
    assert list(maps) == ["shared", "shared:2"]
    np.testing.assert_allclose(maps["shared"], expected, rtol=1e-5)
    np.testing.assert_allclose(maps["shared:2"], second, rtol=1e-5)


def test_layer_of_keras_and_one_that_gives_its_scores_already():
    inputs = keras.Input((4, 6))
    x, scores = keras.layers.MultiHeadAttention(2, 3, name="of_keras")(inputs, inputs, return_attention_scores=True)
    x = keras.layers.MultiHeadAttention(2, 3, name="by_name")(query=x, value=inputs)
    model = keras.Model(inputs, [x, scores])
    tokens = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    maps = attention_maps(model, tokens)
    assert list(maps) == ["of_keras", "by_name"]
    np.testing.assert_allclose(maps["of_keras"], model(tokens)[1], rtol=1e-5)


def test_mixed_precision_gives_float32():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        half = tiny()
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    images = random_images(2, SIZE)
    for name, array in attention_maps(half, images).items():
        assert array.dtype == np.float32 and np.isfinite(array).all()
    exact = attention_maps(tiny(), images)["se"]
    np.testing.assert_allclose(attention_maps(half, images)["se"], exact, atol=0.01)


def test_spatial_attention(model):
    """Mean over heads and queries, row by row; layers without pixels to look at are left out."""
    images = random_images(2, SIZE)
    scores, maps = attention_maps(model, images), spatial_attention(model, images)
    assert list(maps) == ["cbam", "pixels", "filters"]
    np.testing.assert_array_equal(maps["cbam"], scores["cbam"])
    for name in ("pixels", "filters"):
        assert maps[name].shape == (2, 4, 4)
        np.testing.assert_allclose(maps[name].sum(axis=(1, 2)), 1.0, rtol=1e-5)
    # Pixel (2, 1) is number 9 of a map that is four wide.
    np.testing.assert_allclose(maps["filters"][1, 2, 1], scores["filters"][1, :, :, 9].mean(), rtol=1e-5)
    assert list(spatial_attention(model, images, layers=["filters"])) == ["filters"]
    with pytest.raises(InputError, match="look at the pixels of a map. Received: 'tokens'"):
        spatial_attention(model, images, layers=["filters", "tokens"])


def test_spatial_attention_of_a_map_that_is_not_square():
    inputs = keras.Input((2, 3, 6))
    model = keras.Model(inputs, SpatialSelfAttention(1, 4, name="pixels")(inputs))
    bright = np.zeros((1, 2, 3, 6), "float32")
    bright[0, 1, 2] = 5
    query, query_bias, key, key_bias, *rest = model.get_weights()
    # Queries of ones, keys that are the channels: the bright pixel has the highest score of all.
    key = np.zeros_like(key)
    key[:4, 0] = np.eye(4)
    model.set_weights([np.zeros_like(query), np.ones_like(query_bias), key, key_bias, *rest])
    [where] = spatial_attention(model, bright)["pixels"]
    # A dark pixel's score is 0, the bright one's 4 * 5 / sqrt(4) = 10.
    expected = np.ones((2, 3))
    expected[1, 2] = np.exp(10)
    np.testing.assert_allclose(where, expected / expected.sum(), rtol=1e-4)


def test_grid_by_hand():
    scores = np.zeros((1, 2, 2, 6))
    scores[0, 0, 0, 4] = scores[0, 0, 1, 4] = scores[0, 1, 0, 4] = 1
    scores[0, 1, 1, 2] = 1
    np.testing.assert_allclose(attention_grid(scores, (2, 3)), [[[0, 0, 0.25], [0, 0.75, 0]]])
    with pytest.raises(InputError, match=r"\(B, heads, queries, 4\) for a grid of 2 x 2. Received: shape \(1, 2, 2, 6"):
        attention_grid(scores, (2, 2))
    with pytest.raises(InputError, match="`scores` must have the shape"):
        attention_grid(scores[0], (2, 3))


def test_refuses(model):
    for images in (random_images(1, SIZE + 1), random_images(1, SIZE)[0], random_images(1, SIZE)[:0]):
        with pytest.raises(InputError, match=r"`images` must have the shape \(None, 8, 8, 3\).*Received: shape"):
            attention_maps(model, images)
    inputs = keras.Input((3,))
    plain = keras.Model(inputs, keras.layers.Dense(1)(inputs), name="plain")
    with pytest.raises(InputError, match="must have an attention layer. Received: `plain`"):
        attention_maps(plain, np.ones((1, 3)))
    tokens = keras.Input((4, 6))
    without_pixels = keras.Model(tokens, TokenSelfAttention(1, 2, 3)(tokens), name="words")
    with pytest.raises(InputError, match="looks at pixels. Received: `words`"):
        spatial_attention(without_pixels, np.ones((1, 4, 6)))

    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(InputError, match="`model` must be functional or sequential"):
        attention_maps(Subclassed(), random_images(1, SIZE))
