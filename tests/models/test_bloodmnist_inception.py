import keras
import pytest

from leukemia_tf.models import build_model, describe_model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_model("bloodmnist_inception")


@pytest.mark.slow
def test_count(model):
    """By hand, and within 0.01 % of the published 10,313,800."""

    def conv(inputs, filters, taps):
        return inputs * filters * taps + filters + 4 * filters

    total, channels = conv(3, 32, 9) + conv(32, 64, 9) + conv(64, 96, 9), 96
    for modules, width, reduction in ((3, 64, 256), (4, 128, 512), (2, 224, None)):
        for _ in range(modules):
            total += 4 * conv(channels, width, 1) + conv(width, width, 9) + 2 * conv(width, width, 5)
            channels = 4 * width
        if reduction:
            total += conv(channels, reduction, 9) + channels * 9 + conv(channels, reduction, 1)
            channels += 2 * reduction
    total += channels * 8 + 8
    assert model.count_params() == total
    assert abs(total - 10_313_800) / 10_313_800 < 1e-4


def test_maps(model):
    names = ["stage1_mixed3", "reduction1", "stage2_mixed4", "reduction2", "stage3_mixed2", "features"]
    shapes = [model.get_layer(name).output.shape[1:] for name in names]
    assert shapes == [(16, 16, 256), (8, 8, 768), (8, 8, 512), (4, 4, 1536), (4, 4, 896), (896,)]
    assert model.get_layer("stage1_mixed1_1x5").kernel.shape == (1, 5, 64, 64)
    assert model.get_layer("stage1_mixed1_5x1").kernel.shape == (5, 1, 64, 64)


def test_said_to_be_a_reconstruction():
    entry = describe_model("bloodmnist_inception")
    assert "reconstruction" in entry["published"] and "reconstruction" in entry["summary"]
