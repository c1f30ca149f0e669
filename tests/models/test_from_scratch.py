import re

import keras
import numpy as np
import pytest
from harness import random_images

from leukemia_tf.errors import InputError
from leukemia_tf.models import build_model, describe_model, list_models, registry
from leukemia_tf.models.from_scratch import check_initializer, check_l2, check_rate, conv_norm_relu, image_input

NAME, SIZE = "bloodmnist_cnn2", 16
FROM_SCRATCH = sorted([*list_models("bloodmnist_*"), "basic_cnn", "mlffakd_student"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of a small model, and files beside them that are something else."""
    path = tmp_path_factory.mktemp("weights")
    keras.utils.set_random_seed(1)
    model = build_model(NAME, image_size=SIZE)
    model.save_weights(path / "own.weights.h5")
    model.save(path / "whole.keras")
    build_model(NAME, image_size=SIZE, num_classes=3).save_weights(path / "three.weights.h5")
    build_model("bloodmnist_cnn3", image_size=22).save_weights(path / "longer.weights.h5")
    (path / "text.weights.h5").write_text("not a weights file", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_own_weights(folder, kind):
    images = random_images(3, SIZE)
    keras.utils.set_random_seed(1)
    expected = build_model(NAME, image_size=SIZE)(images).numpy()
    keras.utils.set_random_seed(2)
    assert np.abs(build_model(NAME, image_size=SIZE, weights="none")(images) - expected).max() > 1e-3
    again = build_model(NAME, image_size=SIZE, weights=kind(folder / "own.weights.h5"))
    np.testing.assert_allclose(again(images), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "file, words",
    [
        ("longer.weights.h5", r"holds 10 arrays where `bloodmnist_cnn2` has 8"),
        ("three.weights.h5", r"does not fit `bloodmnist_cnn2`: the shapes differ.*same `num_classes` and `image_size`"),
        ("text.weights.h5", r"must be a Keras `\.weights\.h5` file.*Received: `.*text\.weights\.h5`"),
        ("whole.keras", r"must be a Keras `\.weights\.h5` file.*Received: `.*whole\.keras`"),
        ("missing.weights.h5", r"`weights` must be \"none\" or a file.*Received: '.*missing\.weights\.h5'"),
        ("", r"`weights` must be \"none\" or a file `FILE\.weights\.h5` that was saved from a `bloodmnist_cnn2`"),
    ],
)
def test_wrong_files(folder, file, words):
    with pytest.raises(InputError, match=words) as caught:
        build_model(NAME, image_size=SIZE, weights=folder / file)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("weights", ["imagenette", "", 5])
def test_wrong_weights(weights):
    with pytest.raises(InputError, match=r"`weights` must be.*Received"):
        build_model(NAME, image_size=SIZE, weights=weights)


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_smallest_image(name):
    """The size that the message names is enough, so that the next message is about the weights; one less is not."""
    with pytest.raises(InputError, match=rf"at least \d+ for the model `{name}`. Received: 1") as caught:
        build_model(name, image_size=1)
    smallest = int(str(caught.value).split("at least ")[1].split()[0])
    with pytest.raises(InputError, match=f"at least {smallest} for the model `{name}`. Received: {smallest - 1}"):
        build_model(name, image_size=smallest - 1)
    with pytest.raises(InputError, match=f"no ImageNet weights for `{name}`, which is.*Received: 'imagenet'"):
        build_model(name, image_size=smallest, weights="imagenet")


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_flat_with_preprocessing_first(name):
    """One flat model; pixels from 0 to 255 reach the first layer as 0..1, in the student of system 000 as -1..1."""
    assert describe_model(name)["options"]["weights"] is None
    model = registry._ENTRIES[name].builder(image_size=48, name="mine")
    assert model.name == "mine" and model.input.name == "image" and model.input.dtype == "float32"
    assert [layer.name for layer in model.layers[:2]] == ["image", "preprocessing"]
    assert [layer.name for layer in model.layers[-2:]] == ["logits", "probabilities"]
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    # Every layer has a name of ours, none that Keras makes from its class.
    counted = re.compile(r"(re_lu|(conv2d|batch_normalization|dense|dropout|add|concatenate|\w*pooling2d)(_\d+)?)")
    assert not [layer.name for layer in model.layers if counted.fullmatch(layer.name)]

    first = keras.Model(model.input, model.get_layer("preprocessing").output)
    pixels = np.linspace(0, 255, 48 * 48 * 3, dtype="float32").reshape(1, 48, 48, 3)
    expected = pixels.astype("float64") / 255
    expected = 2 * expected - 1 if name == "mlffakd_student" else expected
    np.testing.assert_allclose(first(pixels), expected, atol=1e-6)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_classes": 1}, "`num_classes` must be a whole number of at least 2. Received: 1"),
        ({"image_size": 48.0}, "`image_size` must be a whole number of pixels. Received: 48.0"),
        ({"image_size": True}, "`image_size` must be a whole number of pixels. Received: True"),
        ({"dropout": 1}, "`dropout` must be a number from 0 to below 1. Received: 1"),
        ({"dropout": "0.4"}, "`dropout` must be.*Received: '0.4'"),
        ({"dropout": float("nan")}, "`dropout` must be.*Received: nan"),
        ({"l2": -1e-4}, "`l2` must be a number of at least 0. Received: -0.0001"),
        ({"l2": float("inf")}, "`l2` must be a number of at least 0. Received: inf"),
    ],
)
def test_refuses(options, words):
    with pytest.raises(InputError, match=words):
        build_model("bloodmnist_cnn_bn", **{"image_size": 16, **options})


def test_checks_of_options():
    assert check_rate("dropout", 0) == 0.0 and check_rate("dropout", 0.5) == 0.5
    assert check_l2(0) is None and float(check_l2(0.5)(keras.ops.ones(4))) == 2.0
    assert check_initializer("kernel_initializer", "he_normal") == "he_normal"
    for wrong in ("he_norml", None, 3, keras.initializers.HeNormal()):
        with pytest.raises(InputError, match="`kernel_initializer` must be the name of a Keras initializer.*Received"):
            check_initializer("kernel_initializer", wrong)


def test_convolution_unit():
    inputs, x = image_input("toy", 8, 8, scale=2.0, offset=1.0)
    model = keras.Model(inputs, conv_norm_relu(x, 4, "first", kernel_size=(1, 5), strides=2))
    names = ["image", "preprocessing", "first", "first_norm", "first_relu"]
    assert [layer.name for layer in model.layers] == names
    assert model.output_shape == (None, 4, 4, 4) and model.get_layer("first").kernel.shape == (1, 5, 3, 4)
    assert float(model(np.zeros((1, 8, 8, 3), "float32")).numpy().min()) >= 0
