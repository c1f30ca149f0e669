"""Run a model layer by layer, nested models included, with somebody watching each layer."""

from __future__ import annotations

from typing import Any, Callable

import keras
import numpy as np

from leukemia_tf.errors import InputError


def graph_of(model: keras.Model) -> keras.Model:
    """The graph of a model with one input, as a functional model of the same layers.

    Raises:
        InputError: if the model is neither functional nor sequential, or has more than one input.
    """
    try:
        graph = keras.Model(model.inputs, model.outputs, name=model.name)
        tuple(graph.input_shape)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"`model` must be functional or sequential, with one input. Received: {model!r}") from error
    return graph


def check_images(graph: keras.Model, images: np.ndarray) -> np.ndarray:
    """``images`` as float32, if there are any and the model takes them.

    Raises:
        InputError: if it does not.
    """
    images = np.asarray(images, "float32")
    expected = tuple(graph.input_shape)
    fits = len(images.shape) == len(expected) and all(
        side in (None, given) for side, given in zip(expected[1:], images.shape[1:])
    )
    if not fits or not len(images):
        raise InputError(f"`images` must have the shape {expected}, None being any. Received: shape {images.shape}")
    return images


def run_graph(graph: keras.Model, inputs: Any, watch: Callable[[Any, str], Callable], prefix: str = "") -> Any:
    """The output of a functional model, computed layer by layer, as in inference.

    Calling the layers on tensors leaves no trace in them. A second symbolic call would add a node to each, for every
    image that somebody looks at.

    Args:
        graph: of `graph_of`.
        inputs: tensors, what the model takes.
        watch: gets each operation and its path, and returns what is called in its place: the operation itself, or a
            function of the same arguments. The layers of a nested model come one by one; their path is
            ``model/layer``. Blocks that are layers themselves come whole.
        prefix: goes before every path.
    """

    def watched(operation):
        if isinstance(operation, keras.Sequential):
            operation = keras.Model(operation.inputs, operation.outputs, name=operation.name)
        if hasattr(operation, "_run_through_graph"):
            return lambda inputs, **_: run_graph(operation, inputs, watch, f"{prefix}{operation.name}/")
        return watch(operation, prefix + operation.name)

    return graph._run_through_graph(inputs, operation_fn=watched)
