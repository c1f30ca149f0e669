import keras
import numpy as np
import pytest
from harness import assert_close, check_builder, enliven, random_images

from leukemia_tf.errors import InputError
from leukemia_tf.models import BACKBONES, backbones_of, build_model, describe_open, open_layers

SMALL = {"image_size": 32, "weights": None, "backbones": ("mobilenetv2", "efficientnetb0")}


@pytest.fixture(scope="module")
def published() -> keras.Model:
    """The three backbones of the notebook; the number of parameters does not depend on the image size."""
    return build_model("ensemble", image_size=32, weights=None, as_published=True)


@pytest.fixture(scope="module")
def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model("ensemble", **SMALL)
    enliven(model, random_images(16, 32))
    return model


def trainable(model) -> int:
    return sum(row["trainable"] for row in describe_open(model))


@pytest.mark.slow
def test_published_numbers(published):
    """The counts that the notebook prints."""
    assert published.count_params() == 99_181_968
    assert [branch.name for branch in backbones_of(published)] == ["efficientnetb3", "resnet152v2", "convnexttiny"]
    assert published.get_layer("features").output.shape == (None, 1536 + 2048 + 768)
    open_layers(published, "top:50", freeze_batchnorm=False)
    assert trainable(published) == 43_314_101
    first = [branch.layers[-50].name for branch in backbones_of(published)]
    assert first[:2] == ["block6e_project_bn", "conv4_block35_out"]
    assert first[2].endswith("stage_2_block_5_pointwise_conv_1")
    # Head by hand: normalisation 2 x 4352, dense 4352 x 512 + 512, output 512 + 1.
    assert describe_open(published)[-1]["trainable"] == 2 * 4352 + 4352 * 512 + 512 + 513


@pytest.mark.slow
def test_default_keeps_batch_normalisation_frozen(published):
    open_layers(published, "top:50")
    assert trainable(published) == 43_264_661
    open_layers(published, "head")
    assert trainable(published) == 2_237_953


@pytest.mark.slow
def test_as_published_feeds_raw_pixels(published):
    resnet = backbones_of(published)[1]
    assert "preprocessing" not in [layer.name for layer in resnet.layers]


def test_default_rescales(small):
    """The branch is the backbone on pixels in [-1, 1]; as published it is the backbone on the pixels themselves."""
    raw = build_model("ensemble", **SMALL, as_published=True)
    assert raw.count_params() == small.count_params()
    branch, raw_branch = backbones_of(small)[0], backbones_of(raw)[0]
    raw_branch.set_weights(branch.get_weights())
    images = random_images(2, 32)
    assert_close(branch(images), raw_branch(images / 127.5 - 1))
    assert np.abs(branch(images) - raw_branch(images)).max() > 0.1


def test_the_model_is_what_it_says(small):
    """The output, computed from the branches and the weights of the head with NumPy."""
    images = random_images(3, 32)
    features = np.concatenate([branch(images).numpy() for branch in backbones_of(small)], axis=1)
    gamma, beta, mean, variance = small.get_layer("head_norm").get_weights()
    x = (features - mean) / np.sqrt(variance + small.get_layer("head_norm").epsilon) * gamma + beta
    kernel, bias = small.get_layer("head_dense").get_weights()
    x = np.maximum(x @ kernel + bias, 0)
    kernel, bias = small.get_layer("logits").get_weights()
    expected = 1 / (1 + np.exp(-(x @ kernel + bias)))
    assert_close(small(images, training=False), expected)
    assert np.ptp(expected) > 0.01


@pytest.mark.slow
def test_one_architecture_twice(tmp_path):
    def build():
        return build_model("ensemble", image_size=32, weights=None, backbones=["vgg16", "vgg16"])

    model = check_builder(build, image_size=32, num_classes=2, tmp_path=tmp_path)
    assert [branch.name for branch in backbones_of(model)] == ["vgg16", "vgg16_2"]
    head = 4 * 1024 + 1024 * 512 + 512 + 513
    assert model.count_params() == 2 * 14_714_688 + head


@pytest.mark.slow
def test_different_backbones_all_round(tmp_path):
    def build():
        return build_model("ensemble", num_classes=4, **SMALL)

    check_builder(build, image_size=32, num_classes=4, tmp_path=tmp_path)


@pytest.mark.slow
def test_fit_keeps_the_statistics_of_the_backbones():
    """In a phase with open layers the batch normalisation of the backbones does not move, and the kernels do."""
    keras.utils.set_random_seed(0)
    model = build_model("ensemble", **SMALL)
    open_layers(model, "top:50")
    model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
    norms = [
        layer
        for branch in backbones_of(model)
        for layer in branch.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    kernel = backbones_of(model)[1].get_layer("top_conv").kernel
    frozen = backbones_of(model)[1].get_layer("stem_conv").kernel
    before = [layer.get_weights() for layer in norms]
    kernel_before, frozen_before = kernel.numpy().copy(), frozen.numpy().copy()
    model.fit(random_images(4, 32), np.array([[0], [1], [0], [1]]), batch_size=2, epochs=1, verbose=0)
    for layer, old in zip(norms, before):
        for was, now in zip(old, layer.get_weights()):
            np.testing.assert_array_equal(was, now, err_msg=layer.name)
    assert not np.array_equal(kernel.numpy(), kernel_before)
    np.testing.assert_array_equal(frozen.numpy(), frozen_before)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_classes": 1}, "`num_classes` must be a whole number of at least 2. Received: 1"),
        ({"num_classes": 2.0}, "`num_classes`.*Received: 2.0"),
        ({"image_size": 31}, "at least 32 for the backbone `mobilenetv2`. Received: 31"),
        ({"backbones": ("mobilenetv2", "inceptionv3")}, "at least 75 for the backbone `inceptionv3`"),
        ({"backbones": ("mobilenetv2",)}, "two to five backbone names"),
        ({"backbones": ("mobilenetv2",) * 6}, "two to five backbone names"),
        ({"backbones": "mobilenetv2"}, "two to five backbone names. Received: 'mobilenetv2'"),
        ({"backbones": ("mobilenetv2", "mobilnetv3")}, "did you mean mobilenetv2.*Received: 'mobilnetv3'"),
        ({"weights": "imagenette"}, "`weights` must be.*Received: 'imagenette'"),
        ({"on_missing_weights": "skip"}, "`on_missing_weights` must be"),
    ],
)
def test_refuses(options, words):
    with pytest.raises(InputError, match=words):
        build_model("ensemble", **{**SMALL, **options})


def test_features_of_the_catalogue_add_up():
    assert sum(BACKBONES[name].features for name in ("efficientnetb3", "resnet152v2", "convnexttiny")) == 4352
