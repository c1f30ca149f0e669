import functools
import json

import keras
import numpy as np
import pytest
from harness import assert_close, enliven, random_images

from leukemia_tf.errors import InputError
from leukemia_tf.models import BACKBONES, build_backbones, get_backbone, last_map

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# The published counts are those of the networks without a top; the first three stand in the notebook of system 002.
PARAMETERS = {
    "efficientnetb3": 10_783_535,
    "resnet152v2": 58_331_648,
    "convnexttiny": 27_820_128,
    "resnet50": 23_587_712,
    "vgg16": 14_714_688,
    "mobilenetv2": 2_257_984,
    "efficientnetb0": 4_049_571,
}
KERAS_MODULE = {
    "resnet50": keras.applications.resnet,
    "resnet152v2": keras.applications.resnet_v2,
    "inceptionv3": keras.applications.inception_v3,
    "xception": keras.applications.xception,
    "vgg16": keras.applications.vgg16,
    "vgg19": keras.applications.vgg19,
    "densenet121": keras.applications.densenet,
    "mobilenetv2": keras.applications.mobilenet_v2,
}
BUILT_IN = {"efficientnetb0": "stem_conv_pad", "efficientnetb3": "stem_conv_pad", "efficientnetv2b3": "stem_conv"}


@functools.lru_cache(maxsize=None)
def built(name: str) -> keras.Model:
    return BACKBONES[name].build(BACKBONES[name].min_size, None, name=f"my_{name}")


def ramp(size: int) -> np.ndarray:
    return np.linspace(0, 255, size * size * 3, dtype="float32").reshape(1, size, size, 3)


def test_catalogue():
    assert set(KERAS_MODULE) | set(BUILT_IN) | {"convnexttiny"} == set(BACKBONES)
    assert all(backbone.name == key == key.lower() for key, backbone in BACKBONES.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_entry_is_true(name):
    """Width, smallest size, taps and pooled layer are what the network has."""
    backbone, model = BACKBONES[name], built(name)
    assert model.name == f"my_{name}" and model.output_shape == (None, backbone.features)
    assert model.count_params() == PARAMETERS.get(name, model.count_params())
    sides = [tap.shape[1] for tap in backbone.tap_outputs(model)]
    assert sides == sorted(sides, reverse=True) and len(backbone.taps) >= 3
    assert last_map(model).shape[1:] == (sides[-1], sides[-1], backbone.features)
    with pytest.raises(ValueError):
        backbone.constructor(weights=None, include_top=False, input_shape=(backbone.min_size - 1,) * 2 + (3,))
    with pytest.raises(InputError, match=f"at least {backbone.min_size}.*`{name}`.*Received: {backbone.min_size - 1}"):
        backbone.build(backbone.min_size - 1, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnetb0", "convnexttiny", "vgg16", "densenet121", "mobilenetv2"])
def test_taps_lie_at_a_quarter_to_a_thirty_second(name):
    backbone = BACKBONES[name]
    assert [tap.shape[1] for tap in backbone.tap_outputs(backbone.build(224, None))] == [56, 28, 14, 7]


@pytest.mark.slow
def test_last_map_is_what_is_pooled():
    """ConvNeXt normalises after pooling; its last tap is the sum that has no name, here too after loading."""
    backbone, model = BACKBONES["convnexttiny"], built("convnexttiny")
    assert backbone.tap_outputs(model)[-1] is last_map(model)
    values = keras.Model(model.input, last_map(model))(random_images(2, 32)).numpy()
    norm = model.layers[-1]
    np.testing.assert_allclose(norm(values.mean(axis=(1, 2))), model(random_images(2, 32)), rtol=1e-4, atol=1e-5)
    again = keras.Model.from_config(model.get_config())
    assert backbone.tap_outputs(again)[-1] is last_map(again)


@pytest.mark.parametrize("name", KERAS_MODULE)
def test_preprocessing_is_that_of_keras(name):
    layer = BACKBONES[name].preprocessing_layer()
    expected = KERAS_MODULE[name].preprocess_input(ramp(16).copy())
    np.testing.assert_allclose(layer(ramp(16)), expected, rtol=1e-5, atol=1e-4)
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    np.testing.assert_array_equal(again(ramp(16)), layer(ramp(16)))


@pytest.mark.parametrize("name", KERAS_MODULE)
def test_preprocessing_stays_exact_in_mixed_precision(name):
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        layer = BACKBONES[name].preprocessing_layer()
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    expected = KERAS_MODULE[name].preprocess_input(ramp(16).copy())
    np.testing.assert_allclose(layer(ramp(16)), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*BUILT_IN, "convnexttiny"])
def test_built_in_preprocessing(name):
    """What arrives at the first convolution is (x / 255 - mean) / deviation of ImageNet, without any weights file."""
    model = built(name)
    assert BACKBONES[name].preprocessing_layer() is None
    stem = model.layers[1].output if name == "convnexttiny" else model.get_layer(BUILT_IN[name]).input
    values = keras.Model(model.input, stem)(ramp(32))
    np.testing.assert_allclose(values, (ramp(32) / 255 - MEAN) / STD, rtol=1e-4, atol=1e-4)


def test_preprocessing_is_part_of_the_model():
    backbone = BACKBONES["mobilenetv2"]
    model = backbone.build(32, None)
    enliven(model, random_images(16, 32))
    plain = backbone.constructor(weights=None, include_top=False, input_shape=(32, 32, 3), pooling="avg")
    plain.set_weights(model.get_weights())
    raw = backbone.build(32, None, preprocess=False)
    raw.set_weights(model.get_weights())
    prepared = keras.applications.mobilenet_v2.preprocess_input(ramp(32).copy())
    assert_close(model(ramp(32)), plain(prepared))
    assert_close(raw(ramp(32)), plain(ramp(32)))
    assert np.abs(model(ramp(32)) - raw(ramp(32))).max() > 0.1
    assert len(raw.layers) == len(plain.layers) == len(model.layers) - 1


@pytest.mark.parametrize("pooling, shape", [("max", (None, 1280)), (None, (None, 2, 2, 1280))])
def test_pooling(pooling, shape):
    assert BACKBONES["mobilenetv2"].build(64, None, pooling=pooling).output_shape == shape


def test_refuses():
    backbone = BACKBONES["mobilenetv2"]
    with pytest.raises(InputError, match='`pooling` must be "avg".*\'mean\''):
        backbone.build(32, None, pooling="mean")
    with pytest.raises(InputError, match="whole number.*32.5"):
        backbone.build(32.5, None)
    with pytest.raises(InputError, match=r"did you mean resnet50.*Received: 'ResNet-50'"):
        get_backbone("ResNet-50")
    with pytest.raises(InputError, match="on_missing_weights.*'ignore'"):
        build_backbones(["mobilenetv2"], 32, None, on_missing="ignore")


def test_names_of_repeats():
    models = build_backbones(["mobilenetv2", "mobilenetv2"], 32, None)
    assert [model.name for model in models] == ["mobilenetv2", "mobilenetv2_2"]
