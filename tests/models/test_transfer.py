import keras
import numpy as np
import pytest
from harness import assert_close, enliven, random_images

from leukemia_tf.errors import InputError
from leukemia_tf.models import backbones_of, build_model, describe_model, describe_open, open_layers

SMALL = {"image_size": 32, "weights": None, "backbone": "mobilenetv2"}


def head(model: keras.Model) -> int:
    open_layers(model, "head")
    rows = describe_open(model)
    assert rows[0]["trainable"] == 0
    return rows[-1]["trainable"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone, size, features, published",
    [
        ("efficientnetb0", 32, 1280, 0.328),
        ("inceptionv3", 75, 2048, 0.525),
        ("densenet121", 32, 1024, 0.263),
        ("vgg19", 32, 512, 0.132),
        ("vgg16", 32, 512, 0.132),
        ("xception", 71, 2048, 0.525),
    ],
)
def test_heads_with_average_pooling(backbone, size, features, published):
    """Features x 256 + 256, and 256 x 2 + 2, whatever the image size; system 004 gives the first four in millions."""
    model = build_model("transfer", image_size=size, weights=None, backbone=backbone)
    count = head(model)
    assert count == features * 256 + 256 + 514 and round(count / 1e6, 3) == published


@pytest.mark.slow
def test_resnet_as_published():
    """All 7 x 7 x 2048 numbers of the last map, 25.69 million parameters behind them."""
    model = build_model("transfer", weights=None, pooling="flatten")
    assert model.get_layer("flatten").output.shape == (None, 100_352)
    count = head(model)
    assert count == 100_352 * 256 + 256 + 514 == 25_690_882
    assert model.count_params() == 23_587_712 + count


@pytest.mark.slow
def test_default():
    model = build_model("transfer", image_size=32, weights=None)
    assert model.count_params() == describe_model("transfer")["parameters"] == 23_587_712 + 2048 * 256 + 256 + 514
    assert backbones_of(model)[0].name == "resnet50" and model.output_shape == (None, 2)
    assert model.get_layer("head_dropout").rate == 0.5


@pytest.mark.slow
def test_as_published_feeds_raw_pixels():
    """The default is the published network on pixels in [-1, 1] (MobileNetV2's preprocessing)."""
    keras.utils.set_random_seed(0)
    model, raw = build_model("transfer", **SMALL), build_model("transfer", **SMALL, as_published=True)
    images = random_images(16, 32)
    enliven(model, images)
    raw.set_weights(model.get_weights())
    assert raw.count_params() == model.count_params()
    assert "preprocessing" not in [layer.name for layer in backbones_of(raw)[0].layers]
    expected = model(images, training=False).numpy()
    assert_close(raw(images / 127.5 - 1, training=False), expected)
    assert np.abs(raw(images, training=False) - expected).max() > 0.01
    np.testing.assert_allclose(expected.sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("pooling, features", [("avg", 1280), ("max", 1280), ("flatten", 2 * 2 * 1280)])
def test_pooling(pooling, features):
    model = build_model("transfer", **{**SMALL, "image_size": 64}, pooling=pooling, dense=[])
    assert model.get_layer("logits").kernel.shape == (features, 2)
    kinds = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    last = backbones_of(model)[0].layers[-1]
    assert isinstance(last, kinds[pooling]) if pooling in kinds else last.output.shape[1:] == (2, 2, 1280)


def test_several_dense_layers():
    model = build_model("transfer", **SMALL, num_classes=2, dense=(8, 4), dropout=0.1, two_class_units=1)
    names = [layer.name for layer in model.layers][2:]
    assert names == ["head_dense1", "head_dropout1", "head_dense2", "head_dropout2", "logits", "probabilities"]
    assert head(model) == 1280 * 8 + 8 + 8 * 4 + 4 + 4 + 1 and model.output_shape == (None, 1)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_classes": 0}, "`num_classes` must be"),
        ({"pooling": "mean"}, '`pooling` must be "avg", "max" or "flatten". Received: \'mean\''),
        ({"dense": 256}, "`dense` must be a list of whole numbers above zero.*Received: 256"),
        ({"dense": (256, 0)}, r"`dense` must be.*Received: \(256, 0\)"),
        ({"dropout": 1.0}, "`dropout` must be.*Received: 1.0"),
        ({"two_class_units": 3}, "`two_class_units` must be 1 or 2. Received: 3"),
        ({"backbone": "resnet18"}, "`backbone` must be one of.*Received: 'resnet18'"),
        ({"backbone": "inceptionv3"}, "at least 75 for the backbone `inceptionv3`. Received: 32"),
        ({"weights": "imagenette"}, "`weights` must be.*Received: 'imagenette'"),
    ],
)
def test_refuses(options, words):
    with pytest.raises(InputError, match=words):
        build_model("transfer", **{**SMALL, **options})
