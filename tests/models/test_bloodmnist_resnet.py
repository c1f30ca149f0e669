import keras
import numpy as np
import pytest
from harness import assert_close, enliven, random_images

from leukemia_tf.models import build_model
from leukemia_tf.models.resnet18 import STAGE_OUTPUTS


@pytest.fixture(scope="module")
def resnet() -> keras.Model:
    return build_model("bloodmnist_resnet18")


@pytest.mark.slow
def test_published_counts(resnet):
    assert resnet.count_params() == 11_195_016
    assert sum(int(np.prod(weight.shape)) for weight in resnet.non_trainable_weights) == 9_600
    assert resnet.input_shape == (None, 64, 64, 3) and resnet.output_shape == (None, 8)


def test_layers(resnet):
    """21 convolutions with a bias, of which three on shortcuts, in stages 2 to 4; Keras's normalisation."""
    convs = [layer for layer in resnet.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convs) == 20 and all(layer.use_bias for layer in convs)
    shortcuts = [layer.name for layer in convs if layer.name.endswith("shortcut")]
    assert shortcuts == [f"stage{stage}_block1_shortcut" for stage in (2, 3, 4)]
    norms = [layer for layer in resnet.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 20 and {(layer.momentum, layer.epsilon) for layer in norms} == {(0.99, 1e-3)}
    shapes = [resnet.get_layer(name).output.shape[1:] for name in STAGE_OUTPUTS]
    assert shapes == [(16, 16, 64), (8, 8, 128), (4, 4, 256), (2, 2, 512)]


def test_residual_count():
    """By hand: k x k x in x out + out for a convolution, 4 x out for a normalisation."""

    def conv(inputs, filters, kernel=3):
        return kernel * kernel * inputs * filters + filters + 4 * filters

    total = conv(3, 16) + 2 * conv(128, 128) + 128 * 8 + 8
    for inputs, filters in ((16, 32), (32, 64), (64, 128)):
        total += conv(inputs, filters) + conv(filters, filters) + conv(inputs, filters, 1)
    model = build_model("bloodmnist_residual")
    assert model.count_params() == total == 602_152
    assert model.get_layer("features").output.shape == (None, 128)
    assert model.get_layer("head_dropout").rate == 0.4
    assert build_model("bloodmnist_residual", dropout=0).count_params() == total


def test_residual_adds_its_input():
    """With the second normalisation of a block at zero, the block is the ReLU of its input."""
    keras.utils.set_random_seed(0)
    model = build_model("bloodmnist_residual", image_size=16)
    images = random_images(16, 16)
    enliven(model, images)
    probe = keras.Model(model.input, [model.get_layer(name).output for name in ("pool3", "block4_out")])
    before, after = (output.numpy() for output in probe(images))
    assert np.abs(after - before).max() > 0.1
    norm = model.get_layer("block4_conv2_norm")
    norm.gamma.assign(keras.ops.zeros(128))
    norm.beta.assign(keras.ops.zeros(128))
    before, after = probe(images)
    assert_close(after, np.maximum(before, 0), 1e-6)
