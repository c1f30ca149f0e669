"""Occlusion and integrated gradients of a linear model, which are known exactly, and attention."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.explain import METHODS, Network, attention_map, explain, integrated_gradients, occlusion
from leukemia_tf.explain.attribution import enlarge
from leukemia_tf.explain.baselines import fill_images
from leukemia_tf.layers import ConvBlockAttention, FilterTokenCrossAttention
from leukemia_tf.models import spatial_attention
from tests.explain.small import SIZE, coefficients, linear, pooled, random_images

CLASSES = np.array([0, 2, 1])


@pytest.mark.parametrize("units", [1, 3])
def test_integrated_gradients_of_a_linear_model(units):
    model, images = linear(units), random_images(3)
    classes = CLASSES if units == 3 else np.array([0, 1, 1])
    found = integrated_gradients(model, images, classes, baseline="mean", steps=3)
    from_mean = images - images.mean(axis=(1, 2), keepdims=True)
    expected = (coefficients(model, classes) * from_mean).sum(axis=-1)
    np.testing.assert_allclose(found.maps, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.figures["sum"], expected.sum(axis=(1, 2)), rtol=1e-3)
    np.testing.assert_allclose(found.figures["difference"], found.figures["sum"], rtol=1e-3)
    assert found.figures["gap"].max() < 1e-3 and found.signed


def test_integrated_gradients_of_a_curved_model_add_up():
    """The square of a sum, whose integral is known: with few steps the midpoint rule is exact for it too."""
    model, images = curved(), random_images(3)
    found = integrated_gradients(model, images, 1, baseline="black", steps=2)
    kernel = model.get_layer("sum").get_weights()[0].reshape(SIZE, SIZE, 3) / 255
    total = (kernel * images).sum(axis=(1, 2, 3))
    # Of (sum of k x) squared, from black, a pixel adds k x times the whole sum.
    expected = (kernel * images).sum(axis=-1) * total[:, None, None]
    np.testing.assert_allclose(found.maps, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.figures["difference"], total**2, rtol=1e-3)


def curved() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    x = keras.layers.Dense(1, use_bias=False, name="sum")(x)
    x = keras.layers.Multiply()([x, x])
    x = keras.layers.Dense(1, kernel_initializer="ones", name="logits")(x)
    return keras.Model(inputs, keras.layers.Activation("sigmoid")(x))


@pytest.mark.parametrize("stride", [4, 2, 3])
def test_occlusion_of_a_linear_model(stride):
    """A pixel has the mean, over the patches that cover it, of what the patch adds beyond the fill."""
    model, images = linear(), random_images(3)
    found = occlusion(model, images, CLASSES, patch=4, stride=stride, fill=(10, 20, 30))
    adds = (coefficients(model, CLASSES) * (images - np.array([10, 20, 30]))).sum(axis=-1)
    starts = {4: [0, 4], 2: [0, 2, 4], 3: [0, 3, 4]}[stride]
    expected = np.zeros_like(adds)
    for row in range(SIZE):
        for column in range(SIZE):
            sums = [
                adds[:, top : top + 4, left : left + 4].sum(axis=(1, 2))
                for top in starts
                for left in starts
                if top <= row < top + 4 and left <= column < left + 4
            ]
            expected[:, row, column] = np.mean(sums, axis=0)
    np.testing.assert_allclose(found.maps, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.figures["evidence"], Network(model).evidence(images, CLASSES), rtol=1e-5)


class Brightness:
    """Not a Keras model: probability of class 1 is the brightness of the upper left quarter."""

    def predict_proba(self, pixels):
        assert pixels.dtype == np.uint8
        share = pixels[:, :4, :4].mean((1, 2, 3)) / 255
        return np.stack([1 - share, share], 1)


def test_occlusion_of_a_model_of_another_kind():
    images = np.full((1, SIZE, SIZE, 3), 204.0)
    found = occlusion(Brightness(), images, 1, patch=4, stride=4, fill=(51, 51, 51))
    # Log-odds of .8 are log 4, those of .2 are -log 4; elsewhere nothing is lost.
    np.testing.assert_allclose(found.maps[0, :4, :4], 2 * np.log(4), rtol=1e-4)
    assert found.maps[0, 4:].max() == found.maps[0, :, 4:].max() == 0
    np.testing.assert_array_equal(occlusion(Brightness(), images, patch=4).classes, [1])
    for method in set(METHODS) - {"occlusion"}:
        with pytest.raises(InputError, match="must be a Keras model for this method.*only `occlusion`"):
            explain(Brightness(), images, method, 1)


def test_attention_is_the_mean_of_the_layers():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(6, 2, strides=2)(keras.layers.Rescaling(1 / 255)(inputs))
    x = FilterTokenCrossAttention(5, 2, 3, 4, name="filters")(ConvBlockAttention(2, 3, name="cbam")(x))
    x = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, keras.layers.Activation("softmax")(x))
    images = random_images(3)
    found = attention_map(model, images)
    parts = spatial_attention(model, images)
    assert list(found.parts) == ["cbam", "filters"]
    shares = [enlarge(part, SIZE) for part in parts.values()]
    expected = sum(one / one.mean(axis=(1, 2), keepdims=True) for one in shares) / 2
    np.testing.assert_allclose(found.maps, expected, rtol=1e-4)
    np.testing.assert_allclose(found.maps.mean(axis=(1, 2)), 1, rtol=1e-4)
    only = attention_map(model, images, layer="filters")
    np.testing.assert_allclose(only.maps, shares[1] / shares[1].mean(axis=(1, 2), keepdims=True), rtol=1e-4)
    with pytest.raises(InputError, match="must have an attention layer"):
        attention_map(pooled(), images)


def test_fills():
    images = random_images(2)
    mean = fill_images(images)
    np.testing.assert_allclose(mean[1, 3, 5], images[1].mean(axis=(0, 1)), rtol=1e-5)
    assert fill_images(images, "black").max() == 0
    assert (fill_images(images, (1, 2, 3)) == [1, 2, 3]).all()
    flat = np.full((1, 24, 24, 3), 77.0)
    np.testing.assert_allclose(fill_images(flat, "blur"), flat, rtol=1e-5)
    noise = random_images(1, 96)
    assert fill_images(noise, "blur").std() < 0.1 * noise.std()
    for fill in ("grey", (1, 2), (1, 2, 300)):
        with pytest.raises(InputError, match="`fill` must be mean, black, blur or three numbers from 0 to 255"):
            fill_images(images, fill)


def test_bad_input():
    model, images = linear(), random_images(1)
    with pytest.raises(InputError, match="`patch` must be a whole number of pixels from 1 to 8. Received: 9"):
        occlusion(model, images, 0, patch=9)
    with pytest.raises(InputError, match="`stride` must be a whole number of pixels from 1 to 4. Received: 5"):
        occlusion(model, images, 0, patch=4, stride=5)
    with pytest.raises(InputError, match="`steps` must be a whole number of at least 1. Received: 0"):
        integrated_gradients(model, images, 0, steps=0)
    with pytest.raises(InputError, match="`method` must be one of grad_cam.*Received: 'lime'"):
        explain(model, images, "lime")
