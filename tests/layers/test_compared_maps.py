"""The layers that make the maps of two networks comparable, against NumPy and worked examples."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.errors import InputError
from leukemia_tf.layers import AttentionSummary, MapFusion, TapProjection
from leukemia_tf.layers._maps import resize_map
from tests.layers.reference import sigmoid


def maps(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def rms(x, axis):
    return x / np.sqrt(np.mean(x**2, axis=axis, keepdims=True) + 1e-6)


@pytest.mark.parametrize("source, target", [((16, 12), (8, 4)), ((7, 9), (5, 6)), ((5, 3), (9, 7)), ((4, 4), (4, 4))])
def test_resizing_is_that_of_tensorflow(source, target):
    x = maps(2, *source, 3)
    expected = tf.image.resize(x, target, antialias=True)
    np.testing.assert_allclose(resize_map(tf.constant(x), target), expected, rtol=1e-5, atol=2e-6)


def test_a_projection_by_hand():
    """One pixel (3, 4) through the matrix ((1, 0), (0, 2)) is (3, 8), whose mean square is 36.5."""
    layer = TapProjection((1, 1), filters=2)
    layer.build((None, 1, 1, 2))
    layer.set_weights([np.array([[[[1.0, 0.0], [0.0, 2.0]]]])])
    found = layer(np.array([[[[3.0, 4.0]]]], "float32")).numpy().ravel()
    np.testing.assert_allclose(found, np.array([3.0, 8.0]) / np.sqrt(36.5), rtol=1e-6)


def test_the_error_of_two_projections_is_two_less_two_cosines():
    one, other = maps(3, 4, 4, 6), 5 * maps(3, 4, 4, 6, seed=1)
    layer = TapProjection((4, 4))
    found = np.mean((layer(one).numpy() - layer(other).numpy()) ** 2)
    cosines = np.sum(one * other, -1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)
    assert found == pytest.approx(2 - 2 * cosines.mean(), rel=1e-4)


def test_an_attention_summary_is_the_published_one():
    """Zagoruyko and Komodakis: the squares summed over the channels, divided by the length of the whole map."""
    x = maps(2, 3, 4, 5)
    energy = np.sum(x**2, axis=-1).reshape(2, 12)
    published = energy / np.linalg.norm(energy, axis=1, keepdims=True)
    found = AttentionSummary((3, 4))(x).numpy().reshape(2, 12)
    np.testing.assert_allclose(found / np.sqrt(12), published, rtol=1e-5)
    # so the mean squared error of two summaries is the squared distance of the published maps
    error = np.mean((found[0] - found[1]) ** 2)
    assert error == pytest.approx(np.sum((published[0] - published[1]) ** 2), rel=1e-4)


def test_a_fusion_against_numpy():
    layer = lively_fusion()
    inputs = [maps(3, 4, 4, 4), maps(3, 2, 2, 6, seed=1)]
    parts = []
    for x, (convolution, norm, attention) in zip(inputs, layer.branches):
        y = rms(x, (1, 2, 3)) @ convolution.get_weights()[0][0, 0]
        gamma, beta, mean, variance = norm.get_weights()
        y = np.maximum(gamma * (y - mean) / np.sqrt(variance + norm.epsilon) + beta, 0)
        squeeze, bias, excite, excite_bias = attention.get_weights()
        factors = sigmoid(np.maximum(y.mean((1, 2)) @ squeeze + bias, 0) @ excite + excite_bias)
        y = y * factors[:, None, None]
        parts.append(tf.image.resize(y, (2, 2), antialias=True).numpy())
    expected = rms(np.concatenate(parts, -1) @ layer.fuse.get_weights()[0][0, 0], -1)
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-4, atol=1e-5)


def lively_fusion():
    layer = MapFusion((2, 2), filters=5, ratio=2)
    layer.build([(None, 4, 4, 4), (None, 2, 2, 6)])
    rng = np.random.default_rng(2)
    weights = [rng.normal(0.0, 0.5, weight.shape) for weight in layer.weights]
    layer.set_weights([np.abs(w) + 0.5 if "variance" in at.path else w for w, at in zip(weights, layer.weights)])
    return layer


def test_the_fusion_of_system_000_has_its_size():
    """Maps of 64, 128 and 256 channels: 1x1 convolutions C to C, squeeze and excitation C/16, then 448 to 256."""
    layer = MapFusion((14, 14))
    layer.build([(None, 56, 56, 64), (None, 28, 28, 128), (None, 14, 14, 256)])
    convolutions = 64**2 + 128**2 + 256**2 + 448 * 256
    attention = sum(2 * c * (c // 16) + c // 16 + c for c in (64, 128, 256))
    normalisation = 4 * 448
    assert layer.count_params() == convolutions + attention + normalisation
    assert layer.compute_output_shape([(None, 56, 56, 64)] * 3) == (None, 14, 14, 256)


@pytest.mark.slow
def test_a_fusion_all_round(tmp_path):
    """Gradients to every weight, saving, mixed precision, XLA: what the harness checks of layers of one tensor."""
    inputs = [keras.Input((4, 4, 4)), keras.Input((2, 2, 6))]
    model = keras.Model(inputs, MapFusion((2, 2), filters=5, ratio=2, name="fusion")(inputs))
    model.set_weights(lively_fusion().get_weights())
    images, direction = [maps(3, 4, 4, 4), maps(3, 2, 2, 6, seed=1)], maps(3, 2, 2, 5, seed=3)
    with tf.GradientTape() as tape:
        error = tf.reduce_sum(model([tf.constant(x) for x in images], training=True) * direction)
    for weight, gradient in zip(model.trainable_weights, tape.gradient(error, model.trainable_weights)):
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-6, weight.path
    model.save(tmp_path / "fusion.keras")
    loaded = keras.saving.load_model(tmp_path / "fusion.keras")
    expected = model.predict_on_batch(images)
    np.testing.assert_allclose(loaded.predict_on_batch(images), expected, rtol=1e-5, atol=1e-6)
    compiled = tf.function(model, jit_compile=True)([tf.constant(x) for x in images])
    np.testing.assert_allclose(compiled, expected, rtol=1e-4, atol=1e-5)
    half = MapFusion((2, 2), filters=5, ratio=2, dtype="mixed_float16")
    half.build([x.shape for x in images])
    half.set_weights(model.get_weights())
    assert half(images).dtype == tf.float16
    np.testing.assert_allclose(half(images), expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(None, 4, 4, 8), [(None, 4, 8)], []])
def test_a_fusion_takes_a_list_of_maps(shape):
    with pytest.raises(InputError, match="`MapFusion` takes .*feature map.*Received: shape "):
        MapFusion((2, 2)).build(shape)
