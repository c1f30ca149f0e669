import keras
import numpy as np
import pytest
from harness import assert_close, enliven, random_images

from leukemia_tf.models import BACKBONES, backbones_of, build_model
from leukemia_tf.models.mlffakd import STUDENT_TAPS


@pytest.fixture(scope="module")
def student() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model("mlffakd_student")


@pytest.mark.slow
def test_teacher():
    model = build_model("mlffakd_teacher", weights=None)
    assert model.count_params() == 10_797_368
    assert model.input_shape == (None, 224, 224, 3) and model.output_shape == (None, 9)
    (branch,) = backbones_of(model)
    shapes = [tap.shape[1:] for tap in BACKBONES["efficientnetb3"].tap_outputs(branch)]
    assert shapes == [(56, 56, 32), (28, 28, 48), (14, 14, 136), (7, 7, 384)]


@pytest.mark.slow
def test_student(student):
    """ResNet-18 of torchvision, 11,176,512 without its classifier, 9,600 moving statistics, 512 x 9 + 9."""
    assert student.count_params() == 11_190_729 == 11_176_512 + 9_600 + 4_617
    assert student.input_shape == (None, 224, 224, 3) and student.output_shape == (None, 9)
    shapes = [student.get_layer(name).output.shape[1:] for name in STUDENT_TAPS]
    assert shapes == [(56, 56, 64), (28, 28, 128), (14, 14, 256)]
    # The fused map of the published sketch has as many channels as these three together.
    assert sum(shape[-1] for shape in shapes) == 448
    assert not any(layer.use_bias for layer in student.layers if isinstance(layer, keras.layers.Conv2D))


def test_taps_give_a_model_of_maps():
    model = build_model("mlffakd_student", image_size=32)
    taps = keras.Model(model.input, [*(model.get_layer(name).output for name in STUDENT_TAPS), model.output])
    outputs = taps(random_images(2, 32), training=False)
    assert [tuple(output.shape) for output in outputs] == [(2, 8, 8, 64), (2, 4, 4, 128), (2, 2, 2, 256), (2, 9)]
    assert all(float(keras.ops.min(output)) >= 0 for output in outputs)


@pytest.mark.slow
def test_where_the_dropout_is(tmp_path):
    """On the features, and as published on the logits: in training four of ten are zero and the others larger."""
    keras.utils.set_random_seed(0)
    model = build_model("mlffakd_student", image_size=32)
    enliven(model, random_images(16, 32))
    model.save_weights(tmp_path / "student.weights.h5")
    published = build_model(
        "mlffakd_student", image_size=32, as_published=True, weights=tmp_path / "student.weights.h5"
    )
    assert published.count_params() == model.count_params()
    images = random_images(3, 32)
    assert_close(published(images, training=False), model(images, training=False), 1e-6)
    names = [layer.name for layer in model.layers]
    assert names[-4:] == ["features", "head_dropout", "logits", "probabilities"]
    names = [layer.name for layer in published.layers]
    assert names[-4:] == ["features", "logits", "logits_dropout", "probabilities"]
    assert model.get_layer("head_dropout").rate == published.get_layer("logits_dropout").rate == 0.4
    probe = keras.Model(
        published.input, [published.get_layer("logits").output, published.get_layer("logits_dropout").output]
    )
    logits, dropped = (output.numpy() for output in probe(np.repeat(images, 20, axis=0), training=True))
    kept = dropped != 0
    assert 0.5 < kept.mean() < 0.7
    np.testing.assert_allclose(dropped[kept], logits[kept] / 0.6, rtol=1e-5)
