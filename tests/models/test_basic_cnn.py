import keras
import numpy as np
import pytest
from harness import random_images

from leukemia_tf.models import build_model, describe_model


@pytest.mark.slow
def test_published_numbers():
    model = build_model("basic_cnn")
    assert model.count_params() == 8_294_753
    assert model.input_shape == (None, 224, 224, 3) and model.output_shape == (None, 2)
    assert [model.get_layer(f"conv{position}").filters for position in (1, 2, 3)] == [32, 64, 95]
    # By hand: 224 -> 222 -> 111 -> 109 -> 54 -> 52 -> 26.
    assert model.get_layer("flatten").output.shape == (None, 26 * 26 * 95)


def test_softmax_over_two_units():
    model = build_model("basic_cnn", image_size=32)
    probabilities = model(random_images(3, 32)).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-6)
    assert isinstance(model.get_layer("probabilities"), keras.layers.Activation)
    assert model.get_layer("head_dropout").rate == 0.5
    assert build_model("basic_cnn", image_size=32, dropout=0).count_params() == model.count_params()


def test_no_variant_where_the_fault_is_in_the_loss():
    assert "as_published" not in describe_model("basic_cnn")["options"]
