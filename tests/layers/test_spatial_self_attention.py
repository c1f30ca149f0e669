import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.layers import SpatialSelfAttention
from tests.layers.harness import lively
from tests.layers.reference import multi_head


def maps(height=2, width=3, batch=2):
    return np.random.default_rng(0).normal(size=(batch, height, width, 6)).astype("float32")


@pytest.mark.parametrize("heads", [1, 2])
def test_against_numpy(heads):
    layer = lively(lambda: SpatialSelfAttention(num_heads=heads, key_dim=3), (2, 3, 6))
    output, scores = layer(maps(), return_attention_scores=True)
    for image, result, seen in zip(maps(), output.numpy(), scores.numpy()):
        expected, expected_scores = multi_head(layer.attention, image.reshape(6, 6), image.reshape(6, 6))
        np.testing.assert_allclose(seen, expected_scores, rtol=1e-4)
        np.testing.assert_allclose(result, expected.reshape(2, 3, 6), rtol=1e-4, atol=1e-5)


def test_tokens_are_the_pixels_row_by_row():
    layer = lively(lambda: SpatialSelfAttention(num_heads=2, key_dim=3), (2, 3, 6))
    tokens = lively(lambda: SpatialSelfAttention(num_heads=2, key_dim=3, output="tokens"), (2, 3, 6))
    output = layer(maps()).numpy()
    np.testing.assert_array_equal(tokens(maps())[:, 4], output[:, 1, 1])


def test_order_of_pixels():
    """Without positions, shuffled pixels give the shuffled output."""
    layer = lively(lambda: SpatialSelfAttention(num_heads=2, key_dim=3), (2, 3, 6))
    order = np.random.default_rng(1).permutation(6)
    output, scores = layer(maps(), return_attention_scores=True)
    moved = maps().reshape(2, 6, 6)[:, order].reshape(2, 2, 3, 6)
    again, moved_scores = layer(moved, return_attention_scores=True)
    expected = output.numpy().reshape(2, 6, 6)[:, order]
    np.testing.assert_allclose(again.numpy().reshape(2, 6, 6), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moved_scores, scores.numpy()[:, :, order][..., order], rtol=1e-4)


def test_one_pixel_is_a_linear_map_whose_queries_never_learn():
    """What the published system 004 did: a softmax over one score is 1, whatever the image."""
    layer = lively(lambda: SpatialSelfAttention(num_heads=2, key_dim=3), (1, 1, 6))
    images = tf.constant(maps(1, 1, batch=4))
    with tf.GradientTape() as tape:
        output, scores = layer(images, return_attention_scores=True)
        error = tf.reduce_sum(output**2)
    np.testing.assert_array_equal(scores, 1.0)
    # f(a + b) + f(0) = f(a) + f(b)
    zero = layer(tf.zeros((1, 1, 1, 6))).numpy()
    together = layer(images[:1] + images[1:2]).numpy() + zero
    np.testing.assert_allclose(together, output.numpy()[:1] + output.numpy()[1:2], rtol=1e-4, atol=1e-5)
    gradients = tape.gradient(error, [weight.value for weight in layer.trainable_weights])
    for weight, gradient in zip(layer.trainable_weights, gradients):
        learns = "/query/" not in weight.path and "/key/" not in weight.path
        assert (np.abs(gradient).max() > 0) == learns, weight.path


def test_published_count():
    """Four heads of 1280 on 1280 channels."""
    layer = SpatialSelfAttention(num_heads=4, key_dim=1280, dropout=0.3)
    layer.build((None, 7, 7, 1280))
    assert layer.count_params() == 3 * (1280 * 5120 + 5120) + 5120 * 1280 + 1280 == 26_231_040
