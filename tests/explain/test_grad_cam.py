"""Grad-CAM against sums worked by hand, and on every builder of the registry."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.errors import InputError
from leukemia_tf.explain import Network, grad_cam
from leukemia_tf.explain.attribution import enlarge
from leukemia_tf.layers import GreyWorld
from leukemia_tf.models import build_model, describe_model, list_models, load_model
from leukemia_tf.models.first_layer import with_first_layer
from tests.explain.small import pooled, random_images

CLASSES = np.array([0, 2, 1])
NETWORKS = [name for name in list_models() if describe_model(name)["kind"] == "keras"]
"""All of them; the ensemble has a test of its own."""


def by_hand(model, images, classes):
    """The map of `pooled` and the weight of each channel, in the logit of each image's class."""
    values = keras.Model(model.input, model.get_layer("map").output)(images).numpy()
    kernel = model.get_layer("logits").get_weights()[0]
    kernel = np.concatenate([-kernel, kernel], axis=1) if kernel.shape[1] == 1 else kernel
    return values, kernel[:, classes].T


@pytest.mark.parametrize("units", [1, 3])
def test_grad_cam_by_hand(units):
    model, images = pooled(units), random_images(3)
    classes = CLASSES if units == 3 else np.array([0, 1, 1])
    values, weights = by_hand(model, images, classes)
    expected = np.maximum(np.einsum("nhwc,nc->nhw", values, weights) / 16, 0)
    found = grad_cam(model, images, classes)
    assert list(found.parts) == ["map"] and found.method == "grad_cam" and not found.signed
    np.testing.assert_allclose(found.parts["map"], expected, rtol=1e-4, atol=1e-6)
    assert found.maps.shape == (3, 8, 8)
    large = enlarge(expected, 8)
    assert large.max() > 0
    largest = np.maximum(large.max(axis=(1, 2), keepdims=True), 1e-9)  # nothing speaks for some class
    np.testing.assert_allclose(found.maps, large / largest, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found.classes, classes)


def test_two_sigmoid_classes_are_opposite():
    model, images = pooled(1), random_images(3)
    values, weights = by_hand(model, images, np.ones(3, int))
    signed = np.einsum("nhwc,nc->nhw", values, weights) / 16
    for classes, expected in ((1, signed), (0, -signed)):
        parts = grad_cam(model, images, classes).parts["map"]
        np.testing.assert_allclose(parts, np.maximum(expected, 0), rtol=1e-4, atol=1e-6)


def test_grad_cam_plus_plus_by_hand():
    model, images = pooled(), random_images(3)
    values, weights = by_hand(model, images, CLASSES)
    gradient = weights / 16  # of each of the 16 pixels of a channel
    alpha = gradient**2 / (2 * gradient**2 + values.sum(axis=(1, 2)) * gradient**3)
    channels = 16 * alpha * np.maximum(gradient, 0)
    expected = np.maximum(np.einsum("nhwc,nc->nhw", values, channels), 0)
    found = grad_cam(model, images, CLASSES, plus_plus=True)
    np.testing.assert_allclose(found.parts["map"], expected, rtol=1e-3, atol=1e-6)
    assert found.method == "grad_cam_plus_plus"


def test_the_most_probable_class_is_the_default():
    model, images = pooled(), random_images(5) * np.linspace(0, 1, 5).reshape(5, 1, 1, 1)
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([20 * kernel, bias + [2, 0, 0]])
    expected = model(images).numpy().argmax(axis=1)
    assert len(set(expected)) > 1
    found = grad_cam(model, images)
    np.testing.assert_array_equal(found.classes, expected)
    np.testing.assert_array_equal(found.maps, grad_cam(model, images, expected).maps)


def test_batches_of_any_size_give_the_same():
    model, images = pooled(), random_images(5)
    whole = grad_cam(model, images, 1).parts["map"]
    np.testing.assert_allclose(grad_cam(Network(model, batch_size=2), images, 1).parts["map"], whole, rtol=1e-5)


@pytest.fixture(scope="module")
def nested():
    """A backbone within a model, at a size where its map has 2 x 2 pixels."""
    keras.utils.set_random_seed(0)
    return build_model("transfer", backbone="mobilenetv2", weights=None, image_size=64, num_classes=3)


def test_a_nested_backbone_by_another_way(nested):
    """The same from a model with two outputs and the head called layer by layer, with a tape of its own."""
    images = random_images(2, 64)
    backbone = nested.get_layer("mobilenetv2")
    inside = keras.Model(backbone.input, backbone.get_layer("out_relu").output)
    values = inside(images)
    with tf.GradientTape() as tape:
        tape.watch(values)
        x = keras.layers.GlobalAveragePooling2D()(values)
        for name in ("head_dense", "logits"):
            x = nested.get_layer(name)(x)
        target = x[0, 1] + x[1, 2]
    weights = tape.gradient(target, values).numpy().mean(axis=(1, 2))
    expected = np.maximum(np.einsum("nhwc,nc->nhw", values.numpy(), weights), 0)
    found = grad_cam(nested, images, [1, 2])
    assert list(found.parts) == ["mobilenetv2/out_relu"] and expected.max() > 0
    largest = expected.max()
    np.testing.assert_allclose(found.parts["mobilenetv2/out_relu"] / largest, expected / largest, atol=1e-3)


def test_layers_by_name(nested):
    images = random_images(1, 64)
    network = Network(nested)
    assert network.maps["mobilenetv2/block_5_add"] == (8, 8)
    finer = grad_cam(network, images, 0, layer="block_5_add")
    assert list(finer.parts) == ["mobilenetv2/block_5_add"]
    assert finer.parts["mobilenetv2/block_5_add"].shape == (1, 8, 8)
    np.testing.assert_array_equal(grad_cam(network, images, 0, layer="mobilenetv2/block_5_add").maps, finer.maps)
    with pytest.raises(InputError, match=r"`layer` must be a layer whose output is a map.*Received: 'head_dense'"):
        grad_cam(network, images, 0, layer="head_dense")
    with pytest.raises(InputError, match=r"such as mobilenetv2/block_5_add.*Received: 'block_5_ad'"):
        grad_cam(network, images, 0, layer="block_5_ad")


def test_colour_layer_and_reloaded_file(tmp_path):
    """The layer in front changes the images, and neither the place of the map nor a round trip changes anything."""
    inner, images = pooled(), random_images(3)
    branch = keras.Model(inner.input, inner.get_layer("logits").input, name="branch")
    inputs = keras.Input((8, 8, 3), name="image")
    logits = keras.layers.Dense(3, name="logits")(branch(inputs))
    plain = keras.Model(inputs, keras.layers.Activation("softmax")(logits), name="plain")
    model = with_first_layer(plain, GreyWorld(name="colour"))
    model.save(tmp_path / "model.keras")
    found = grad_cam(load_model(tmp_path / "model.keras"), images, CLASSES)
    assert list(found.parts) == ["branch/map"] and found.maps.max() == 1
    expected = grad_cam(plain, GreyWorld()(images).numpy(), CLASSES)
    np.testing.assert_allclose(found.parts["branch/map"], expected.parts["branch/map"], rtol=1e-3, atol=1e-6)
    assert not np.allclose(found.maps, grad_cam(plain, images, CLASSES).maps, atol=1e-2)


def test_the_model_stays_as_it_was(nested):
    text, weights = nested.to_json(), nested.get_weights()
    grad_cam(nested, random_images(1, 64), 0)
    assert nested.to_json() == text
    assert all(len(layer._inbound_nodes) == 1 for layer in nested.layers)
    for was, now in zip(weights, nested.get_weights()):
        np.testing.assert_array_equal(was, now)


def test_several_backbones_add_up():
    model = Network(tiny("ensemble"))
    found = grad_cam(model, random_images(2, 64), 1)
    assert list(found.parts) == ["mobilenetv2/out_relu", "mobilenetv2_2/out_relu"]
    total = enlarge(sum(found.parts.values()), 64)
    np.testing.assert_allclose(found.maps, total / total.max(axis=(1, 2), keepdims=True), atol=1e-4)
    assert grad_cam(model, random_images(1, 64), 1, layer="mobilenetv2_2/out_relu").parts.keys() == {
        "mobilenetv2_2/out_relu"
    }
    with pytest.raises(InputError, match=r"must say which of mobilenetv2/out_relu, mobilenetv2_2/out_relu is meant"):
        grad_cam(model, random_images(1, 64), 1, layer="out_relu")


def tiny(name: str) -> keras.Model:
    """A builder with the smallest backbone, at 64 pixels."""
    options = describe_model(name)["options"]
    small = {"image_size": 64, "weights": None, "backbone": "mobilenetv2", "backbones": ("mobilenetv2",) * 2}
    small["num_tokens"] = 4
    keras.utils.set_random_seed(0)
    return build_model(name, **{key: value for key, value in small.items() if key in options})


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"ensemble"}))
def test_every_builder(name):
    """A map of more than one pixel is found on the way to the logits, and gives a map of the image."""
    model = tiny(name)
    network, images = Network(model), random_images(2, 64)
    assert network.num_classes == describe_model(name)["options"]["num_classes"]
    (path,) = network.last_maps
    assert min(network.maps[path]) > 1
    assert path.endswith("/out_relu") or "mobilenetv2" not in path
    _, gradient = network.map_gradients(images, [1, 0], [path])[path]
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    attribution = grad_cam(network, images, [1, 0])
    assert attribution.maps.shape == (2, 64, 64) and np.isfinite(attribution.maps).all()
    assert (attribution.maps >= 0).all() and set(attribution.maps.max(axis=(1, 2)).round(5)) <= {0, 1}


def test_steps_without_a_layer():
    """ConvNeXt adds its blocks up by operations that are no layers, and the last sum is its map."""
    model = build_model("transfer", backbone="convnexttiny", weights=None, image_size=64)
    network = Network(model)
    (path,) = network.last_maps
    assert network.maps[path] == (2, 2) and path.startswith("convnexttiny/")
    expected = keras.Model(model.get_layer("convnexttiny").input, _before_pooling(model.get_layer("convnexttiny")))
    images = random_images(1, 64)
    values, _ = network.map_gradients(images, 0, [path])[path]
    np.testing.assert_allclose(values, expected(images), rtol=1e-3, atol=1e-4)


def _before_pooling(backbone):
    return [layer for layer in backbone.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)][-1].input


def test_mixed_precision():
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        half = pooled()
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    images = random_images(3)
    half.set_weights(pooled().get_weights())
    found = grad_cam(half, images, CLASSES)
    assert found.maps.dtype == np.float32
    np.testing.assert_allclose(found.maps, grad_cam(pooled(), images, CLASSES).maps, atol=0.02)


def test_bad_input():
    model = pooled()
    with pytest.raises(InputError, match=r"`images` must have the shape \(None, 8, 8, 3\)"):
        grad_cam(model, random_images(1, 9), 0)
    with pytest.raises(InputError, match=r"`classes` must be class indices from 0 to 2. Received: 3 to 3"):
        grad_cam(model, random_images(1), 3)
    with pytest.raises(InputError, match="`classes` must be one class index, or one for each of 2 images"):
        grad_cam(model, random_images(2), [0])
    inputs = keras.Input((8, 8, 3))
    other = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(keras.layers.Flatten()(inputs)))
    with pytest.raises(InputError, match="`model` must have a dense layer called `logits`"):
        grad_cam(other, random_images(1), 0)
    flat = keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(inputs))
    with pytest.raises(InputError, match="`model` must have a feature map of more than one pixel"):
        grad_cam(keras.Model(inputs, keras.layers.Activation("softmax")(flat)), random_images(1), 0)
    with pytest.raises(InputError, match="must be functional or sequential"):
        grad_cam(object(), random_images(1), 0)
