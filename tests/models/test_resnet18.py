import keras
import numpy as np
import pytest
from harness import random_images
from scipy.signal import correlate

from leukemia_tf.models.resnet18 import STAGE_OUTPUTS, resnet18


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, resnet18(inputs))


@pytest.mark.slow
def test_counts(model):
    """torchvision prints 11,689,512 for 1,000 classes, of which the classifier has 512 x 1000 + 1000."""
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == 11_689_512 - 513_000 and model.count_params() - trainable == 9_600
    inputs = keras.Input((32, 32, 3))
    biases = 64 + 4 * 64 + 5 * (128 + 256 + 512)
    assert keras.Model(inputs, resnet18(inputs, use_bias=True)).count_params() == model.count_params() + biases
    assert biases == 4_800


def test_shapes(model):
    assert model.output_shape == (None, 1, 1, 512)
    widths = [model.get_layer(name).output.shape[1:] for name in STAGE_OUTPUTS]
    assert widths == [(8, 8, 64), (4, 4, 128), (2, 2, 256), (1, 1, 512)]
    norm = model.get_layer("stage1_block1_norm1")
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)


def strided(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A convolution with stride 2 whose first output sits on the first pixel, zeros around: padding on all sides."""
    maps = [correlate(x, kernel[..., channel], mode="same")[..., 1] for channel in range(kernel.shape[-1])]
    return np.stack(maps, axis=-1)[::2, ::2]


@pytest.mark.parametrize("name", ["conv1", "stage2_block1_conv1"])
def test_strided_convolutions_are_padded_on_all_sides(model, name):
    """As in torchvision, computed with SciPy; the padding of Keras's "same" would give other numbers."""
    layer = model.get_layer(name)
    before = layer.input._keras_history.operation.input
    probe = keras.Model(model.input, [before, layer.output])
    x, expected = (output.numpy()[0] for output in probe(random_images(1, 32) / 255))
    kernel = layer.kernel.numpy()[..., :2]
    if x.shape[-1] != 3:
        # SciPy has no middle for many channels, so they are summed by hand.
        parts = [
            strided(
                np.pad(x[..., [channel]], ((0, 0), (0, 0), (1, 1))),
                np.pad(kernel[:, :, [channel]], ((0, 0), (0, 0), (1, 1), (0, 0))),
            )
            for channel in range(x.shape[-1])
        ]
        actual = np.sum(parts, axis=0)
    else:
        actual = strided(x, kernel)
    np.testing.assert_allclose(actual, expected[..., :2], rtol=1e-3, atol=1e-4)


def test_pooling_over_the_border(model):
    """Zeros around a map without negative numbers do not change its maxima."""
    probe = keras.Model(model.input, [model.get_layer(name).output for name in ("conv1_relu", "pool1")])
    x, pooled = (output.numpy()[0] for output in probe(random_images(1, 32) / 255))
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    expected = np.max([padded[i : i + 15 : 2, j : j + 15 : 2] for i in range(3) for j in range(3)], axis=0)
    np.testing.assert_array_equal(pooled, expected)
