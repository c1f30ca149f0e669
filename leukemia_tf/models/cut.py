"""A model cut in two behind its backbones: what makes the features, and the head that reads them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import keras
import numpy as np

from leukemia_tf.models.freeze import backbones_of


@dataclass(frozen=True)
class Cut:
    """Both halves of a model. They are made of its own layers, so what trains in them trains in the model.

    Attributes:
        backbones: the backbones, in the order of the features.
        features: from the model's input to the list of their outputs (vectors where they pool, else maps); with one
            backbone, to its output itself.
        head: from there to the model's output.
    """

    backbones: tuple[keras.Model, ...]
    features: keras.Model
    head: keras.Model


def cut_model(model: keras.Model) -> Cut | None:
    """Cut a model behind the backbones that are nested in it.

    Args:
        model: such as those of the builders.

    Returns:
        Both halves, or None where there are none: a model that is not functional, no backbone, one that is used
        twice, weights in front of one, or a head that also reads the images themselves.
    """
    if not hasattr(model, "_nodes_by_depth"):
        return None
    backbones = backbones_of(model)
    graph = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    found = []
    for backbone in backbones:
        # A nested model knows its inner output only; the tensor outside hangs on the node of the call.
        calls = [node for node in backbone._inbound_nodes if id(node) in graph]
        if len(calls) != 1 or len(calls[0].output_tensors) != 1:
            return None
        found.append(calls[0].output_tensors[0])
    if not found or len(model.inputs) != 1 or len(model.outputs) != 1:
        return None
    between = found if len(found) > 1 else found[0]
    features = keras.Model(model.inputs[0], between, name="features")
    if sum(bool(layer.weights) for layer in features.layers) != len(backbones):
        return None  # a layer in front of a backbone, or between two of them, that would train
    try:
        head = keras.Model(between, model.outputs[0], name="head")
    except ValueError:
        return None
    if sum(backbone in features.layers for backbone in backbones) != len(backbones) or backbones_of(head):
        return None
    return Cut(tuple(backbones), features, head)


def backbone_fingerprint(backbone: keras.Model) -> str:
    """Hash of what a backbone computes in inference mode: its layers, their numbers and all of its weights.

    The names of layers, which Keras counts up within a process, leave it as it is.
    """
    config = backbone.get_config()
    names = {layer["name"]: f"layer_{index}" for index, layer in enumerate(config["layers"])}
    digest = hashlib.blake2b(json.dumps(_renamed(config, names), sort_keys=True, default=str).encode(), digest_size=16)
    for weight in backbone.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return digest.hexdigest()


def _renamed(value, names: dict[str, str]):
    """Put the place of a layer for its name, wherever the name stands in a config."""
    if isinstance(value, dict):
        return {key: _renamed(item, names) for key, item in value.items() if key not in ("name", "build_config")}
    if isinstance(value, (list, tuple)):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
