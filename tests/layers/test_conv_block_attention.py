import cv2
import numpy as np
import pytest

from leukemia_tf.layers import ConvBlockAttention
from tests.layers.harness import lively
from tests.layers.reference import sigmoid


@pytest.mark.parametrize("kernel_size", [3, 7])
def test_against_numpy_and_opencv(kernel_size):
    layer = lively(lambda: ConvBlockAttention(ratio=2, kernel_size=kernel_size), (5, 6, 4))
    squeeze, squeeze_bias, excite, excite_bias, kernel = layer.get_weights()
    assert squeeze.shape == (4, 2) and kernel.shape == (kernel_size, kernel_size, 2, 1)
    images = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype("float32")
    output, scores = layer(images, return_attention_scores=True)
    for image, result, pixels in zip(images, output.numpy(), scores.numpy()):
        flat = image.reshape(30, 4)
        total = sum(
            np.maximum(pooled @ squeeze + squeeze_bias, 0) @ excite + excite_bias
            for pooled in (flat.mean(axis=0), flat.max(axis=0))
        )
        x = image * sigmoid(total)
        # OpenCV's filter is a correlation, as a Keras convolution is; its border of zeros is "same" padding.
        planes = (x.mean(axis=2), x.max(axis=2))
        filtered = [
            cv2.filter2D(plane, -1, kernel[:, :, index, 0], borderType=cv2.BORDER_CONSTANT)
            for index, plane in enumerate(planes)
        ]
        expected = sigmoid(filtered[0] + filtered[1])
        np.testing.assert_allclose(pixels, expected, rtol=1e-4)
        np.testing.assert_allclose(result, x * expected[:, :, None], rtol=1e-4, atol=1e-6)


def test_zero_weights_quarter_the_map():
    layer = ConvBlockAttention(ratio=2)
    images = np.random.default_rng(1).normal(size=(1, 3, 3, 4)).astype("float32")
    layer.build(images.shape)
    layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    np.testing.assert_allclose(layer(images), images / 4)


@pytest.mark.parametrize("channels, count", [(64, 4 * 64 * 2 + 4 + 64 + 98), (256, 16 * 256 * 2 + 16 + 256 + 98)])
def test_counts(channels, count):
    """Two dense layers with biases, and 7 x 7 x 2 numbers of the convolution."""
    layer = ConvBlockAttention()
    layer.build((None, 8, 8, channels))
    assert layer.count_params() == count


def test_pixels_far_away_do_not_change_a_factor():
    """With the channels' factors switched off, the factor of a pixel depends on its neighbourhood alone."""
    layer = lively(lambda: ConvBlockAttention(ratio=2, kernel_size=3), (6, 6, 4))
    layer.excite.set_weights([np.zeros((2, 4)), np.zeros(4)])
    images = np.random.default_rng(2).normal(size=(1, 6, 6, 4)).astype("float32")
    changed = images.copy()
    changed[0, 5, 5] += 3
    before = layer(images, return_attention_scores=True)[1].numpy()[0]
    after = layer(changed, return_attention_scores=True)[1].numpy()[0]
    moved = np.abs(after - before) > 1e-6
    assert moved[4:, 4:].all() and moved.sum() == 4
