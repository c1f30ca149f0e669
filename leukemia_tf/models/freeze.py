"""Which layers of a model train: the head, the last layers of its backbones, or everything.

``layer.trainable`` is the only switch that works inside ``fit``: calling a backbone with ``training=False`` does not
freeze its batch normalisation there. Whoever changes it has to compile the model afterwards, or nothing happens.
"""

from __future__ import annotations

import re

import keras

from leukemia_tf.errors import InputError


def backbones_of(model: keras.Model) -> list[keras.Model]:
    """The models with weights that are nested directly in ``model``, in the order of its layers."""
    return [layer for layer in model.layers if isinstance(layer, keras.Model) and layer.weights]


def open_layers(model: keras.Model, which: str, *, freeze_batchnorm: bool = True) -> None:
    """Choose the layers that train. Call ``compile`` afterwards.

    Every layer outside the backbones (the head) trains always. The choice does not depend on the ones before it.

    Args:
        model: a model, freshly built or loaded from a ``.keras`` file.
        which: ``"head"`` (backbones frozen), ``"top:N"`` (and the last N layers of each backbone, counted in
            ``backbone.layers``, pooling included; all of them if it has fewer) or ``"all"``.
        freeze_batchnorm: keep the batch normalisation inside backbones frozen: its statistics come from millions of
            photographs, and a small batch of cells makes them worse. ``False`` opens it with the layers around it, as
            the published systems did.

    Raises:
        InputError: if ``which`` is none of the above, or is ``"head"`` or ``"top:N"`` where the model has no backbone.
    """
    count = layers_from_the_top(which)
    backbones = backbones_of(model)
    if count is not None and not backbones:
        raise InputError(
            f"the model `{model.name}` has no backbone, so nothing can be frozen: `which` must be \"all\". "
            f"Received: {which!r}"
        )
    _set_trainable(model, True)
    for backbone in backbones:
        if count == 0:
            _set_trainable(backbone, False)
            continue
        if count is not None:
            for layer in backbone.layers[:-count]:
                _set_trainable(layer, False)
        if freeze_batchnorm:
            for layer in _all_layers(backbone):
                if isinstance(layer, keras.layers.BatchNormalization):
                    _set_trainable(layer, False)


def describe_open(model: keras.Model) -> list[dict]:
    """What trains now: one row for each backbone and a last one, ``"head"``, for the rest of the model.

    Returns:
        Rows with the keys ``backbone`` (name), ``layers`` (number of layers), ``open`` (of these, how many have a
        weight that trains), ``parameters`` and ``trainable`` (numbers of parameters).
    """
    backbones = backbones_of(model)
    rows = [_row(backbone.name, backbone.layers, backbone) for backbone in backbones]
    head = [layer for layer in model.layers if layer not in backbones]
    parameters = model.count_params() - sum(row["parameters"] for row in rows)
    trainable = _size(model.trainable_variables) - sum(row["trainable"] for row in rows)
    return [*rows, {**_row("head", head, None), "parameters": parameters, "trainable": trainable}]


def layers_from_the_top(which: str) -> int | None:
    """0 for "head", N for "top:N", None for "all"."""
    if which == "all":
        return None
    if which == "head":
        return 0
    match = re.fullmatch(r"top:([1-9]\d*)", which) if isinstance(which, str) else None
    if not match:
        raise InputError(
            '`which` must be "head", "top:N" with a whole number N above zero (such as "top:50"), or "all". '
            f"Received: {which!r}"
        )
    return int(match[1])


def _set_trainable(layer: keras.layers.Layer, value: bool) -> None:
    # On TensorFlow, setting an attribute to the value it has is skipped, so a model that says True already would not
    # pass True on to the layers inside it that were frozen one by one. Hence the detour over the other value.
    layer.trainable = not value
    layer.trainable = value


def _all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    # Keras has no public walk that also enters blocks which are layers themselves (ConvNeXt's stem, for one).
    return list(model._flatten_layers(include_self=False, recursive=True))


def _row(name: str, layers: list, model: keras.Model | None) -> dict:
    return {
        "backbone": name,
        "layers": len(layers),
        "open": sum(bool(layer.trainable_variables) for layer in layers),
        "parameters": model.count_params() if model else 0,
        "trainable": _size(model.trainable_variables) if model else 0,
    }


def _size(variables: list) -> int:
    total = 0
    for variable in variables:
        size = 1
        for length in variable.shape:
            size *= int(length)
        total += size
    return total
