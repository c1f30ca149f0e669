import numpy as np
import pytest

from leukemia_tf.layers import SqueezeExcite
from tests.layers.harness import lively
from tests.layers.reference import sigmoid


@pytest.mark.parametrize("use_bias", [True, False])
def test_against_numpy(use_bias):
    layer = lively(lambda: SqueezeExcite(ratio=3, use_bias=use_bias), (4, 5, 6))
    images = np.random.default_rng(0).normal(size=(2, 4, 5, 6)).astype("float32")
    weights = layer.get_weights()
    assert [weight.shape for weight in weights] == ([(6, 2), (2,), (2, 6), (6,)] if use_bias else [(6, 2), (2, 6)])
    squeeze, excite = weights[0], weights[2 if use_bias else 1]
    squeeze_bias, excite_bias = (weights[1], weights[3]) if use_bias else (0, 0)
    output, scores = layer(images, return_attention_scores=True)
    for image, result, factors in zip(images, output.numpy(), scores.numpy()):
        hidden = np.maximum(image.reshape(20, 6).mean(axis=0) @ squeeze + squeeze_bias, 0)
        expected = sigmoid(hidden @ excite + excite_bias)
        np.testing.assert_allclose(factors, expected, rtol=1e-5)
        np.testing.assert_allclose(result, image * expected, rtol=1e-5, atol=1e-6)


def test_zero_weights_halve_the_map():
    layer = SqueezeExcite(ratio=2)
    images = np.random.default_rng(1).normal(size=(1, 2, 2, 4)).astype("float32")
    layer.build(images.shape)
    layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    np.testing.assert_allclose(layer(images), images / 2)


@pytest.mark.parametrize(
    "channels, ratio, use_bias, count",
    # 2 C H without and H + C more with biases; system 001: C 1536, H 96; system 003: 16, 32 and 64 channels.
    [(1536, 16, True, 296_544), (16, 16, True, 49), (32, 16, True, 162), (64, 16, False, 512), (8, 16, True, 25)],
)
def test_counts(channels, ratio, use_bias, count):
    layer = SqueezeExcite(ratio, use_bias)
    layer.build((None, 12, 12, channels))
    assert layer.count_params() == count


def test_where_things_lie_does_not_matter():
    """The factors depend on the averages only: shuffled pixels give the shuffled output."""
    layer = lively(lambda: SqueezeExcite(ratio=2), (2, 3, 4))
    rng = np.random.default_rng(2)
    images, order = rng.normal(size=(2, 6, 4)).astype("float32"), rng.permutation(6)
    output = layer(images.reshape(2, 2, 3, 4)).numpy().reshape(2, 6, 4)
    shuffled = layer(images[:, order].reshape(2, 2, 3, 4)).numpy().reshape(2, 6, 4)
    np.testing.assert_allclose(shuffled, output[:, order], rtol=1e-5, atol=1e-6)
