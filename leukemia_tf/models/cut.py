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
        frozen: for each backbone, from the model's input to what is cut of it: its output, or maps inside of it. Their
            outputs, one after the other, are the features.
        features: from the model's input to all of these, a list or, where there is one only, the tensor itself.
        head: from there to the model's output.
        tops: for each backbone, from its maps to its output; none where it is cut behind its output.
    """

    frozen: tuple[keras.Model, ...]
    features: keras.Model
    head: keras.Model
    tops: tuple[keras.Model, ...] = ()

    def with_outputs(self) -> keras.Model:
        """From the model's input to the outputs of the backbones and then the features: both in one go.

        Raises:
            ValueError: where they are the same.
        """
        if not self.tops:
            raise ValueError("this cut lies behind the backbones, whose outputs are its features")
        maps = keras.tree.flatten(self.features.output)
        rest = iter(maps)
        outputs = [top(_alone([next(rest) for _ in top.inputs])) for top in self.tops]
        return keras.Model(self.features.input, [*outputs, *maps], name="outputs_and_features")


def cut_model(model: keras.Model, top: int = 0) -> Cut | None:
    """Cut a model behind the backbones that are nested in it, or within them.

    Args:
        model: such as those of the builders.
        top: how many of the last layers of each backbone, counted as `open_layers` does, belong to the head; 0 cuts
            behind the backbones, where vectors come out if they pool, else maps.

    Returns:
        Both halves, or None where there are none: a model that is not functional, no backbone, one that is used
        twice, weights in front of one, a head that also reads the images themselves, or a backbone in which no layer
        with weights lies below the cut.
    """
    if not hasattr(model, "_nodes_by_depth"):
        return None
    backbones = backbones_of(model)
    graph = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
    calls = []
    for backbone in backbones:
        # A nested model knows its inner output only; the tensor outside hangs on the node of the call.
        found = [node for node in backbone._inbound_nodes if id(node) in graph]
        if len(found) != 1 or len(found[0].output_tensors) != 1 or len(found[0].input_tensors) != 1:
            return None
        calls += found
    if not calls or len(model.inputs) != 1 or len(model.outputs) != 1:
        return None
    image = model.inputs[0]
    between = [call.output_tensors[0] for call in calls]
    frozen = [keras.Model(image, tensor) for tensor in between]
    features = keras.Model(image, _alone(between), name="features")
    if sum(bool(layer.weights) for layer in features.layers) != len(backbones):
        return None  # a layer in front of a backbone, or between two of them, that would train
    try:
        head = keras.Model(_alone(between), model.outputs[0], name="head")
    except ValueError:
        return None
    if sum(backbone in features.layers for backbone in backbones) != len(backbones) or backbones_of(head):
        return None
    tops: tuple[keras.Model, ...] = ()
    if top:
        halves = [_halves(backbone, top) for backbone in backbones]
        if None in halves:
            return None
        frozen = [keras.Model(image, below(call.input_tensors[0])) for (below, _), call in zip(halves, calls)]
        features = keras.Model(image, _alone([tensor for part in frozen for tensor in part.outputs]), name="features")
        maps = [[keras.Input(batch_shape=one.shape, dtype=one.dtype) for one in part.outputs] for part in frozen]
        tops = tuple(above for _, above in halves)
        outputs = [above(_alone(given)) for above, given in zip(tops, maps)]
        head = keras.Model(_alone(sum(maps, [])), head(_alone(outputs)), name="top_and_head")
    return Cut(tuple(frozen), features, head, tops)


def _halves(backbone: keras.Model, top: int) -> tuple[keras.Model, keras.Model] | None:
    """A backbone below its last `top` layers, and these; None where nothing with weights lies below."""
    above = {id(layer) for layer in backbone.layers[-top:]}
    crossing: dict[int, keras.KerasTensor] = {}
    for depth in sorted(backbone._nodes_by_depth, reverse=True):
        for node in backbone._nodes_by_depth[depth]:
            sources = [id(tensor._keras_history.operation) for tensor in node.input_tensors]
            # Operations such as the sums of ConvNeXt are no layers; they lie above where something below them does.
            if id(node.operation) in above or not above.isdisjoint(sources):
                above.add(id(node.operation))
                pairs = zip(sources, node.input_tensors)
                crossing |= {id(tensor): tensor for source, tensor in pairs if source not in above}
    if not crossing:
        return None
    between = _alone([*crossing.values()])
    below = keras.Model(backbone.inputs[0], between)
    return (below, keras.Model(between, backbone.outputs[0])) if below.weights else None


def _alone(tensors: list):
    """The list, or what is in it if that is one thing."""
    return tensors if len(tensors) > 1 else tensors[0]


def network_fingerprint(network: keras.Model) -> str:
    """Hash of what a functional network computes in inference mode: its layers, their numbers and all of its weights.

    The names of layers, which Keras counts up within a process, leave it as it is.
    """
    config = network.get_config()
    names = {name: f"layer_{index}" for index, name in enumerate(_layer_names(config))}
    digest = hashlib.blake2b(json.dumps(_renamed(config, names), sort_keys=True, default=str).encode(), digest_size=16)
    for weight in network.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return digest.hexdigest()


def _layer_names(config: dict) -> list[str]:
    """Names of the layers of a network's config, and of those in networks within it."""
    names = []
    for layer in config["layers"]:
        names.append(layer["name"])
        if "layers" in layer["config"]:
            names += _layer_names(layer["config"])
    return names


def _renamed(value, names: dict[str, str]):
    """Put the place of a layer for its name, wherever the name stands in a config."""
    if isinstance(value, dict):
        return {key: _renamed(item, names) for key, item in value.items() if key not in ("name", "build_config")}
    if isinstance(value, (list, tuple)):
        return [_renamed(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
