"""Feature maps inside a model: which ones to look at, and how to read them while the model runs."""

from __future__ import annotations

import inspect
import re
from typing import Iterator, Sequence

import keras

from leukemia_tf.errors import InputError
from leukemia_tf.layers._attention import AttentionLayer
from leukemia_tf.models.backbones import BACKBONES
from leukemia_tf.models.heads import PROBABILITIES

TAPS = 3
"""How many maps `default_taps` gives at most, as many as system 000 fuses."""

_LAST_WORDS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.ELU,
    keras.layers.Add,
    keras.layers.Concatenate,
    AttentionLayer,
)
"""Layers that end a block. What comes after them (padding, the next convolution) is no map to compare."""


def default_taps(model: keras.Model) -> tuple[str, ...]:
    """Names of the maps that stand for a model: the last of each resolution, from a quarter of the input down.

    In a nested backbone of the catalogue they are those of `Backbone.taps`; elsewhere the outputs of the last
    activation, addition, concatenation or attention layer at each resolution. At most `TAPS`, the finest first; where
    there are fewer so far down, finer ones are taken too.

    Args:
        model: functional. A tap in a nested model is called ``model/layer``.

    Raises:
        InputError: if the model has no feature map.
    """
    for layer in model.layers:
        known = BACKBONES.get(re.sub(r"_\d+$", "", layer.name))
        if known and isinstance(layer, keras.Model):
            tensors = known.tap_outputs(layer)[:TAPS]
            return tuple(f"{layer.name}/{tensor._keras_history.operation.name}" for tensor in tensors)
    side = model.input_shape[1]
    last = {}
    for name, operation in _operations(model):
        ends = isinstance(operation, _LAST_WORDS) or (
            isinstance(operation, keras.layers.Conv2D) and operation.activation is not keras.activations.linear
        )
        if ends and len(operation.output.shape) == 4 and operation.output.shape[1] >= 2:
            last[operation.output.shape[1]] = name
    sizes = sorted(last, reverse=True)
    coarse = [size for size in sizes if 4 * size <= side + 3][:TAPS]
    chosen = sizes[-TAPS:] if len(coarse) < TAPS else coarse
    if not chosen:
        raise InputError(f"`model` must have feature maps of 2 x 2 pixels or more. Received: `{model.name}`")
    return tuple(last[size] for size in chosen)


def tap_shapes(model: keras.Model, taps: Sequence[str]) -> list[tuple[int, int, int]]:
    """(h, w, C) of each tap.

    Raises:
        InputError: names a tap that the model has not, or that is no feature map, with those that it has.
    """
    known = dict(_operations(model))
    shapes = []
    for tap in taps:
        shape = tuple(known[tap].output.shape) if tap in known else ()
        if len(shape) != 4:
            maps = [name for name, operation in known.items() if len(getattr(operation.output, "shape", ())) == 4]
            raise InputError(
                f"`taps` are layers of `{model.name}` with a feature map, such as {', '.join(default_taps(model))} "
                f"({len(maps)} in all). Received: {tap!r}"
            )
        shapes.append(shape[1:])
    return shapes


def run_with_taps(model: keras.Model, images, taps: Sequence[str], *, training: bool):
    """Run a model once and keep some of its maps.

    Args:
        model: functional, with one input and one output.
        images: (B, S, S, 3) in [0, 255].
        taps: names as of `default_taps`.
        training: as of a call of the model.

    Returns:
        The model's output; its logits (what the layer ``probabilities`` got; where a model has no such layer, the
        logarithm of its output, which is the same up to a number for each image); and tap -> map.
    """
    found: dict[str, object] = {}
    output = _run(model, images, {*taps, PROBABILITIES}, found, "", training)
    logits = found.pop(PROBABILITIES, None)
    if logits is None:
        logits = _log(output)
    return output, logits, {tap: found[tap] for tap in taps}


def _log(probabilities):
    small = keras.config.epsilon()
    kept = keras.ops.clip(probabilities, small, 1.0 - small)
    logits = keras.ops.log(kept)
    return logits - keras.ops.log1p(-kept) if probabilities.shape[-1] == 1 else logits


def _run(graph, images, wanted, found, prefix, training):
    def watched(operation):
        if isinstance(operation, keras.Sequential):
            operation = operation._functional
        name = prefix + operation.name

        def call(*args, **kwargs):
            inside = hasattr(operation, "_run_through_graph") and any(tap.startswith(f"{name}/") for tap in wanted)
            if inside:
                output = _run(operation, args[0], wanted, found, f"{name}/", training)
            else:
                layer = isinstance(operation, keras.layers.Layer)
                if layer and "training" in inspect.signature(operation.call).parameters:
                    kwargs = {**kwargs, "training": training}
                output = operation(*args, **kwargs)
            if name in wanted:
                # Of the probabilities it is the input that says all.
                found[name] = args[0] if name == PROBABILITIES else output
            return output

        return call

    return graph._run_through_graph(images, operation_fn=watched)


def _operations(model: keras.Model, prefix: str = "") -> Iterator[tuple[str, keras.Operation]]:
    """Every operation that runs once, by name, in order; those of nested models as ``model/layer``."""
    for operation in model.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        if isinstance(operation, keras.Model):
            yield from _operations(operation, f"{prefix}{operation.name}/")
        elif len(operation._inbound_nodes) == 1:
            yield prefix + operation.name, operation
