"""One check all round for a custom layer: shapes, gradients, saving, mixed precision, compilation by XLA."""

from __future__ import annotations

import copy
import json
from typing import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

BATCH = 3


def check_layer(
    make: Callable[..., keras.layers.Layer],
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    tmp_path,
    *,
    low: float = -2.0,
    high: float = 2.0,
    never_learn: Sequence[str] = (),
    half_tolerance: float = 0.02,
) -> None:
    """Check a layer of one input.

    Args:
        make: makes the layer; further arguments (``dtype``) go to its constructor. It must be registered for saving.
        input_shape, output_shape: without the batch.
        tmp_path: a folder for saved models.
        low, high: range of the random input.
        never_learn: ends of the paths of weights whose gradient is zero in theory, such as the bias of the keys of an
            attention: it adds the same number to all scores of a query, which a softmax takes off again.
        half_tolerance: of the output in float16, relative to its largest value.
    """
    inputs = np.random.default_rng(0).uniform(low, high, (BATCH, *input_shape)).astype("float32")
    check_shapes(make, inputs, output_shape)
    check_gradients(make, inputs, never_learn)
    check_saving(make, inputs, tmp_path)
    check_mixed_precision(make, inputs, half_tolerance)
    check_compilation(make, inputs)


def lively(make: Callable[..., keras.layers.Layer], shape: Sequence[int], **options) -> keras.layers.Layer:
    """The layer, built, with random weights, the same each time; zero biases would hide one that is not used."""
    layer = make(**options)
    layer.build((None, *shape))
    rng = np.random.default_rng(1)
    # Vectors are biases, which begin with zeros, and scales, which begin with ones.
    centres = [weight if weight.ndim == 1 else np.zeros_like(weight) for weight in layer.get_weights()]
    layer.set_weights([rng.normal(centre, 0.3).astype("float32") for centre in centres])
    return layer


def without_dropout(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The layer with the rates of its dropouts at zero."""
    for part in layer._flatten_layers(include_self=True, recursive=True):
        if isinstance(part, keras.layers.Dropout):
            part.rate = 0.0
    return layer


def check_shapes(make, inputs, output_shape) -> None:
    """On paper and in fact, with two batch sizes; `build` makes all weights; sizes that are open stay open."""
    shape = inputs.shape[1:]
    layer = make()
    assert tuple(layer.compute_output_shape((None, *shape))) == (None, *output_shape)
    symbolic = layer(keras.Input(shape))
    assert symbolic.shape == (None, *output_shape) and symbolic.dtype == "float32"
    count = len(layer.weights)
    for batch in (1, BATCH):
        assert layer(inputs[:batch]).shape == (batch, *output_shape)
        assert tuple(layer.compute_output_shape((batch, *shape))) == (batch, *output_shape)
    assert len(layer.weights) == count == len(make_built(make, shape).weights)

    open_shape = (*[None] * (len(shape) - 1), shape[-1])
    layer = make()
    assert len(layer(keras.Input(open_shape)).shape) == len(output_shape) + 1
    assert layer(inputs).shape == (BATCH, *output_shape)

    # One image's output does not depend on the images beside it.
    layer = lively(make, shape)
    np.testing.assert_allclose(layer(inputs)[:1], layer(inputs[:1]), rtol=1e-4, atol=1e-5)


def make_built(make, shape) -> keras.layers.Layer:
    layer = make()
    layer.build((None, *shape))
    return layer


def check_gradients(make, inputs, never_learn) -> None:
    """Every weight that trains gets a finite gradient, not zero throughout; so does the input."""
    layer = lively(make, inputs.shape[1:])
    images = tf.constant(inputs)
    direction = np.random.default_rng(2).normal(size=layer(inputs).shape).astype("float32")
    with tf.GradientTape() as tape:
        tape.watch(images)
        error = tf.reduce_sum(layer(images, training=True) * direction)
    to_input, *gradients = tape.gradient(error, [images, *[weight.value for weight in layer.trainable_weights]])
    assert np.isfinite(to_input).all() and np.abs(to_input).max() > 0
    silent = []
    for weight, gradient in zip(layer.trainable_weights, gradients):
        assert gradient is not None, f"no gradient reaches {weight.path}"
        assert np.isfinite(gradient).all(), weight.path
        if np.abs(gradient).max() <= 1e-5 * np.abs(to_input).max():
            silent.append(weight.path)
    assert len(silent) == len(never_learn), silent
    assert all(path.endswith(end) for path, end in zip(silent, never_learn)), silent


def check_saving(make, inputs, tmp_path) -> None:
    """The configuration is plain JSON and makes the same layer; both file formats give the same output."""
    layer = lively(make, inputs.shape[1:], name="the_layer")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    assert config["registered_name"] == f"leukemia_tf>{type(layer).__name__}" and "__" not in json.dumps(config)
    again = keras.saving.deserialize_keras_object(copy.deepcopy(config))
    assert type(again) is type(layer) and again.get_config() == layer.get_config() and again.name == "the_layer"

    model = keras.Sequential([keras.Input(inputs.shape[1:]), layer])
    expected = model.predict_on_batch(inputs)
    model.save(tmp_path / "layer.keras")
    loaded = keras.saving.load_model(tmp_path / "layer.keras")
    assert [weight.path for weight in loaded.weights] == [weight.path for weight in model.weights]
    np.testing.assert_allclose(loaded.predict_on_batch(inputs), expected, rtol=1e-5, atol=1e-6)

    model.export(tmp_path / "saved_model", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved_model")
    np.testing.assert_allclose(served.serve(inputs), expected, rtol=1e-4, atol=1e-5)


def check_mixed_precision(make, inputs, tolerance) -> None:
    """Under mixed_float16 the weights stay float32, the output is float16, and the numbers are about the same."""
    exact = lively(make, inputs.shape[1:])
    layer = lively(make, inputs.shape[1:], dtype="mixed_float16")
    assert {weight.dtype for weight in layer.weights} <= {"float32"}
    symbolic = layer(keras.Input(inputs.shape[1:]))
    output = layer(inputs, training=False)
    assert symbolic.dtype == "float16" and output.dtype == tf.float16
    for part in layer._flatten_layers(include_self=True, recursive=True):
        assert part.compute_dtype == "float16", part.name
    expected = exact(inputs, training=False).numpy()
    np.testing.assert_allclose(output.numpy().astype("float32"), expected, atol=tolerance * np.abs(expected).max())
    layer(inputs, training=True)


def check_compilation(make, inputs) -> None:
    """A step of training and a prediction compiled by XLA give what they give without it; so dropout is off."""
    labels = np.random.default_rng(3).normal(size=(BATCH, 1)).astype("float32")
    results = []
    for jit_compile in (False, True):
        layer = without_dropout(lively(make, inputs.shape[1:]))
        head = keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(seed=4))
        model = keras.Sequential([keras.Input(inputs.shape[1:]), layer, keras.layers.Flatten(), head])
        model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=jit_compile)
        before = model.get_weights()
        model.fit(inputs, labels, batch_size=BATCH, epochs=1, verbose=0)
        assert any(not np.array_equal(was, now) for was, now in zip(before, model.get_weights()))
        results.append([*model.get_weights(), model.predict(inputs, verbose=0)])
    for plain, compiled in zip(*results):
        np.testing.assert_allclose(compiled, plain, rtol=1e-3, atol=1e-4 * max(1.0, np.abs(plain).max()))
