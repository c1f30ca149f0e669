import keras
import numpy as np
import pytest
from harness import assert_close, enliven, random_images

from leukemia_tf.errors import InputError
from leukemia_tf.models import backbones_of, build_model, describe_open, open_layers

SMALL = {"image_size": 32, "weights": None, "backbone": "mobilenetv2"}


@pytest.fixture(scope="module")
def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model("efficientnetb3_max", **SMALL)
    enliven(model, random_images(16, 32))
    return model


@pytest.mark.slow
def test_published_numbers():
    """The counts that the notebook prints; they do not depend on the image size."""
    model = build_model("efficientnetb3_max", image_size=32, weights=None)
    assert model.count_params() == 11_183_408
    open_layers(model, "head")
    assert sum(row["trainable"] for row in describe_open(model)) == 396_801
    (branch,) = backbones_of(model)
    assert branch.name == "efficientnetb3" and branch.output_shape == (None, 1536)


def test_the_model_is_what_it_says(small):
    """The output, computed with NumPy from the last map of the backbone and the weights of the head."""
    images = random_images(3, 32)
    branch = backbones_of(small)[0]
    maps = keras.Model(branch.input, branch.layers[-2].output)(images).numpy()
    assert maps.ndim == 4
    gamma, beta, mean, variance = small.get_layer("head_norm").get_weights()
    x = (maps.max(axis=(1, 2)) - mean) / np.sqrt(variance + small.get_layer("head_norm").epsilon) * gamma + beta
    kernel, bias = small.get_layer("head_dense").get_weights()
    x = np.maximum(x @ kernel + bias, 0)
    kernel, bias = small.get_layer("logits").get_weights()
    assert_close(small(images, training=False), 1 / (1 + np.exp(-(x @ kernel + bias))))


def test_three_penalties(small):
    """L2 1e-4 on the kernel, L1 1e-5 on the bias, L1 1e-5 on the output (by the number of images)."""
    images = random_images(3, 32)
    dense = small.get_layer("head_dense")
    before = dense.bias.numpy().copy()
    dense.bias.assign(np.linspace(-1, 1, 256, dtype="float32"))
    probe = keras.Model(small.input, dense.output)
    output = probe(images, training=False).numpy().astype("float64")
    small(images, training=False)
    kernel, bias = (weight.astype("float64") for weight in dense.get_weights())
    expected = [1e-4 * np.square(kernel).sum(), 1e-5 * np.abs(bias).sum(), 1e-5 * np.abs(output).sum() / 3]
    np.testing.assert_allclose(sorted(float(loss) for loss in small.losses), sorted(expected), rtol=1e-4)
    assert min(expected) > 1e-4
    dense.bias.assign(before)


@pytest.mark.slow
def test_trains_under_mixed_precision():
    """The penalties can be added to the loss there too."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = build_model("efficientnetb3_max", **SMALL)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    open_layers(model, "head")
    model.compile("adam", "binary_crossentropy")
    history = model.fit(random_images(4, 32), np.array([[0], [1], [0], [1]]), batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_classes": 1}, "`num_classes` must be"),
        ({"image_size": 31}, "at least 32 for the backbone `mobilenetv2`. Received: 31"),
        ({"backbone": "mobilnetv2"}, "did you mean mobilenetv2.*Received: 'mobilnetv2'"),
        ({"dropout": -0.1}, "`dropout` must be a number from 0 to below 1. Received: -0.1"),
        ({"on_missing_weights": "skip"}, "`on_missing_weights` must be"),
    ],
)
def test_refuses(options, words):
    with pytest.raises(InputError, match=words):
        build_model("efficientnetb3_max", **{**SMALL, **options})
