import keras
import numpy as np
import pytest
from harness import random_images

from leukemia_tf.errors import InputError
from leukemia_tf.models import build_model, describe_model

ALL = ["bloodmnist_vgg16", "bloodmnist_vgg16_slim", "bloodmnist_vgg16_se", "bloodmnist_vgg16_cbam"]


@pytest.fixture(scope="module")
def models() -> dict[str, keras.Model]:
    return {name: build_model(name) for name in ALL}


def convs(model: keras.Model) -> list[int]:
    return [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]


def test_published_counts(models):
    assert models["bloodmnist_vgg16"].count_params() == 5_787_560
    assert models["bloodmnist_vgg16_slim"].count_params() == 4_607_400
    # Two convolutions of 3 x 3 x 256 x 256 + 256.
    assert 5_787_560 - 4_607_400 == 2 * 590_080
    for model in models.values():
        assert model.output_shape == (None, 8) and model.get_layer("flatten").output.shape == (None, 1024)


def test_convolutions(models):
    full = [32] * 2 + [64] * 2 + [128] * 3 + [256] * 3 + [256] * 3
    assert convs(models["bloodmnist_vgg16"]) == full
    assert convs(models["bloodmnist_vgg16_slim"]) == full[:-2]
    assert convs(models["bloodmnist_vgg16_se"]) == convs(models["bloodmnist_vgg16_cbam"]) == full
    names = [layer.name for layer in models["bloodmnist_vgg16_slim"].layers]
    assert "block4_conv2" in names and "block4_conv3" not in names and "block5_conv3" not in names


@pytest.mark.parametrize("name, spatial", [("bloodmnist_vgg16_se", 0), ("bloodmnist_vgg16_cbam", 2 * 7 * 7)])
def test_attention(models, name, spatial):
    """Blocks 1 to 4 by hand, and near the 5,800,994 that are published for CBAM."""
    hand = [2 * width * (width // 16) + width // 16 + width + spatial for width in (32, 64, 128, 256)]
    model = models[name]
    assert [model.get_layer(f"block{block}_attention").count_params() for block in (1, 2, 3, 4)] == hand
    assert model.count_params() == 5_787_560 + sum(hand) == describe_model(name)["parameters"]
    assert abs(model.count_params() - 5_800_994) < 2_100
    names = [layer.name for layer in model.layers]
    assert names.index("block2_attention") == names.index("block2_pool") - 1
    assert "reconstruction" in describe_model(name)["published"] and "reconstruction" in describe_model(name)["summary"]


@pytest.mark.parametrize("name", ALL)
def test_dropout(models, name):
    """Two layers, none by default, and the same names and counts with and without."""
    with_dropout = build_model(name, dropout=0.4)
    assert [models[name].get_layer(f"head_dropout{position}").rate for position in (1, 2)] == [0, 0]
    assert [with_dropout.get_layer(f"head_dropout{position}").rate for position in (1, 2)] == [0.4, 0.4]
    assert with_dropout.count_params() == models[name].count_params()
    assert [layer.name for layer in with_dropout.layers] == [layer.name for layer in models[name].layers]


def test_initial_spread():
    """He's start keeps the signal through 13 convolutions; Glorot's, as published, halves it at each."""
    images = random_images(4, 32)
    deviation = {}
    for initializer in ("he_normal", "glorot_uniform"):
        keras.utils.set_random_seed(0)
        model = build_model("bloodmnist_vgg16", image_size=32, kernel_initializer=initializer)
        kernel = model.get_layer("block4_conv2").kernel.numpy()
        inputs, outputs = 9 * 256, 9 * 256
        variance = 2 / inputs if initializer == "he_normal" else 2 / (inputs + outputs)
        np.testing.assert_allclose(kernel.var(), variance, rtol=0.02)
        last = keras.Model(model.input, model.get_layer("block5_conv3").output)
        deviation[initializer] = float(np.std(last(images)))
    assert deviation["he_normal"] > 20 * deviation["glorot_uniform"]


def test_refuses_an_unknown_initializer():
    with pytest.raises(InputError, match="`kernel_initializer` must be the name.*Received: 'he_norml'"):
        build_model("bloodmnist_vgg16", kernel_initializer="he_norml")
