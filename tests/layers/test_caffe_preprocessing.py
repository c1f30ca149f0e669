import json

import keras
import numpy as np
import pytest

from leukemia_tf.layers import CaffePreprocessing


def ramp() -> np.ndarray:
    return np.linspace(0, 255, 2 * 4 * 4 * 3, dtype="float32").reshape(2, 4, 4, 3)


def test_values_are_those_of_keras():
    expected = keras.applications.resnet.preprocess_input(ramp().copy())
    np.testing.assert_allclose(CaffePreprocessing()(ramp()), expected, atol=1e-4)


def test_values_by_hand():
    red, green, blue = 10.0, 20.0, 30.0
    output = CaffePreprocessing(mean=(1, 2, 3))(np.array([[red, green, blue]], "float32"))
    np.testing.assert_allclose(output, [[29.0, 18.0, 7.0]])


def test_config_round_trip_is_plain_json():
    layer = CaffePreprocessing(mean=np.array([1.5, 2.5, 3.5]), name="input_of_vgg")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert config["registered_name"] == "leukemia_tf>CaffePreprocessing"
    again = keras.saving.deserialize_keras_object(config)
    assert again.name == "input_of_vgg" and again.mean == [1.5, 2.5, 3.5]
    np.testing.assert_array_equal(again(ramp()), layer(ramp()))


def test_symbolic_shape():
    assert CaffePreprocessing()(keras.Input((8, 9, 3))).shape == (None, 8, 9, 3)


@pytest.mark.parametrize("policy, dtype, tolerance", [("mixed_float16", "float16", 0.2), ("float32", "float32", 1e-4)])
def test_precision(policy, dtype, tolerance):
    output = CaffePreprocessing(dtype=policy)(ramp())
    assert keras.backend.standardize_dtype(output.dtype) == dtype
    expected = keras.applications.vgg16.preprocess_input(ramp().copy())
    np.testing.assert_allclose(np.asarray(output, "float32"), expected, atol=tolerance)


def test_wrong_channels():
    with pytest.raises(ValueError, match="3 channels"):
        CaffePreprocessing()(np.zeros((1, 4, 4, 1), "float32"))
