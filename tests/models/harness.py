"""One check all round for anything that builds a model: shapes, gradients, saving, mixed precision."""

from __future__ import annotations

import json
import math
from typing import Callable

import keras
import numpy as np
import tensorflow as tf

from leukemia_tf.models.freeze import backbones_of, open_layers
from leukemia_tf.models.loading import load_model


def random_images(batch: int, size: int, seed: int = 0) -> np.ndarray:
    """What the pipeline gives, RGB float32 in [0, 255]: patches of colour, so that pooled images differ, and noise."""
    rng = np.random.default_rng(seed)
    patches = rng.uniform(0, 200, (batch, 2, 2, 3)).repeat(size // 2 + 1, axis=1).repeat(size // 2 + 1, axis=2)
    return (patches[:, :size, :size] + rng.uniform(0, 55, (batch, size, size, 3))).astype("float32")


def enliven(model: keras.Model, images: np.ndarray) -> None:
    """Give a random network outputs that depend on its input.

    With fresh statistics the signal shrinks at every normalisation (MobileNetV2's features are 1e-12), and two models
    that have nothing in common would look equal. So the statistics of ``images`` (16 or more) are put in.
    """
    norms = [
        layer
        for layer in model._flatten_layers(include_self=False, recursive=True)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    before = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(images, training=True)
    if backbones_of(model):
        # Once more for the head alone: without their dropout the backbones give it something else.
        open_layers(model, "head")
        model(images, training=True)
        open_layers(model, "all", freeze_batchnorm=False)
    for layer, momentum in zip(norms, before):
        layer.momentum = momentum


def assert_close(actual, expected, tolerance: float = 1e-3) -> None:
    """The difference of two arrays is small beside the second (in the Euclidean norm), which is not zero.

    Element by element would be too strict: a hundred layers amplify the rounding of the first one here and there.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape and np.linalg.norm(expected) > 1e-3
    assert np.linalg.norm(actual - expected) <= tolerance * np.linalg.norm(expected)


def check_builder(build: Callable[[], keras.Model], *, image_size: int, num_classes: int, tmp_path) -> keras.Model:
    """Check a builder and return the model that it built.

    Args:
        build: makes a tiny model with random weights, the same numbers of classes and pixels each time.
        image_size, num_classes: what ``build`` was told.
        tmp_path: a folder for the saved model.
    """
    keras.utils.set_random_seed(0)
    model = build()
    # For two classes a model ends in one sigmoid unit or in a softmax over both.
    units = model.output_shape[-1]
    assert units == num_classes or (units, num_classes) == (1, 2)
    images = random_images(3, image_size)
    enliven(model, random_images(16, image_size, seed=1))
    assert np.ptp(model(images, training=False).numpy(), axis=0).max() > 1e-4

    # Shapes: on paper, and with two batch sizes; probabilities of several classes add up to one.
    assert model.output_shape == (None, units)
    for batch in (1, 3):
        probabilities = model(images[:batch], training=False).numpy()
        assert probabilities.shape == (batch, units) and probabilities.dtype == np.float32
        assert np.isfinite(probabilities).all() and (probabilities >= 0).all() and (probabilities <= 1).all()
        if units > 1:
            np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)

    check_gradients(build, model, image_size)
    check_saving(model, images, tmp_path)
    check_mixed_precision(build, images)
    return model


def check_gradients(build: Callable[[], keras.Model], model: keras.Model, image_size: int) -> None:
    """Every weight that trains in the head gets a gradient that is finite and, with some start, not zero throughout."""
    images = random_images(3, image_size)
    unreached = weights_without_gradient(model, images)
    for seed in range(1, 6):
        if not unreached:
            return
        # A bottleneck of one or two ReLU units may be off for all images by chance, but not with every start.
        keras.utils.set_random_seed(seed)
        other = build()
        enliven(other, random_images(16, image_size, seed=1))
        unreached = unreached & weights_without_gradient(other, images)
    paths = [variable.path for variable in model.trainable_variables]
    assert not unreached, f"no useful gradient in {', '.join(paths[index] for index in sorted(unreached))}"


def weights_without_gradient(model: keras.Model, images: np.ndarray) -> set[int]:
    """The positions among the weights that train in the head of those whose gradient is zero throughout."""
    open_layers(model, "head" if backbones_of(model) else "all")
    units = model.output_shape[-1]
    labels = np.eye(max(units, 2))[np.arange(len(images)) % max(units, 2)][:, -units:]
    with tf.GradientTape() as tape:
        error = tf.reduce_mean((model(images, training=True) - labels) ** 2)
    gradients = tape.gradient(error, [variable.value for variable in model.trainable_variables])
    found = set()
    for index, (variable, gradient) in enumerate(zip(model.trainable_variables, gradients)):
        assert gradient is not None, f"no gradient reaches {variable.path}"
        values = tf.convert_to_tensor(gradient).numpy()
        assert np.isfinite(values).all(), f"the gradient of {variable.path} is not finite"
        if not np.abs(values).max() > 0:
            found.add(index)
    return found


def check_saving(model: keras.Model, images: np.ndarray, tmp_path) -> None:
    """A ``.keras`` file gives the same outputs, and its configuration is plain numbers without Lambda layers."""
    text = model.to_json()
    for word in ("__tensor__", "__numpy__", "Lambda"):
        assert word not in text
    assert all(math.isfinite(number) for number in _numbers(json.loads(text)))
    path = tmp_path / "model.keras"
    model.save(path)
    again = load_model(path)
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    expected = model.predict_on_batch(images)
    np.testing.assert_allclose(again.predict_on_batch(images), expected, rtol=1e-5, atol=1e-6)


def check_mixed_precision(build: Callable[[], keras.Model], images: np.ndarray) -> None:
    """Under mixed_float16 the weights and the output are float32 and the numbers are finite."""
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = build()
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    assert any(layer.compute_dtype == "float16" for layer in model.layers)
    assert model.output.dtype == "float32" and {variable.dtype for variable in model.trainable_variables} == {"float32"}
    output = model(images, training=False).numpy()
    assert output.dtype == np.float32 and np.isfinite(output).all()


def _numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, (int, float)):
        yield value
