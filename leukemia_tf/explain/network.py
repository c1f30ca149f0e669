"""The inside of a Keras model: logits of classes, feature maps on the way to them, and gradients."""

from __future__ import annotations

import difflib
import functools
from typing import Sequence

import keras
import numpy as np
import tensorflow as tf

from leukemia_tf.errors import InputError
from leukemia_tf.explain.classes import check_classes
from leukemia_tf.layers import SpatialSelfAttention
from leukemia_tf.models.graph_run import check_images, graph_of, run_graph
from leukemia_tf.models.heads import LOGITS

_NOT_LAST = (
    SpatialSelfAttention,
    keras.layers.AveragePooling2D,
    keras.layers.MaxPooling2D,
)
_SIDE = 224
"""Side in pixels of the image that a model which takes any size is surveyed with."""


class Network:
    """A model that can be asked for more than its output. The model itself is never changed.

    Args:
        model: functional or sequential, with one input, RGB (B, S, S, 3) in [0, 255], and a layer ``logits`` before
            its last activation, as all builders have it. Freshly built or loaded, with or without nested models.
        batch_size: images a step; a quarter of it where gradients go back to the image, for which the maps of all
            layers are kept.

    Raises:
        InputError: if the model is of another kind, or Keras does not run on TensorFlow.
    """

    def __init__(self, model: keras.Model, batch_size: int = 16):
        if keras.backend.backend() != "tensorflow":
            raise InputError(
                f"`KERAS_BACKEND` must be tensorflow to explain a model. Received: {keras.backend.backend()}"
            )
        if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
            raise InputError(f"`batch_size` must be a whole number of at least 1. Received: {batch_size!r}")
        self.model, self.graph, self.batch_size = model, graph_of(model), int(batch_size)

    # --- what there is ---

    @functools.cached_property
    def _survey(self) -> _Survey:
        return _survey(self.graph)

    @property
    def num_classes(self) -> int:
        """Two for one sigmoid unit."""
        return max(2, self._survey.units)

    @property
    def maps(self) -> dict[str, tuple[int, int]]:
        """Path of every layer whose output is a map of more than one pixel -> (h, w), in the order they run."""
        return dict(self._survey.maps)

    @property
    def last_maps(self) -> list[str]:
        """The last map on each way to the logits: one for most models, one a backbone where there are several.

        What comes after attention of every pixel to every other does not count, because there a pixel has lost its
        place; and neither does a pooled map, because the one before it says the same more finely.

        Raises:
            InputError: if there is none.
        """
        if not self._survey.last:
            raise InputError(
                f"`model` must have a feature map of more than one pixel (are the images large enough?). "
                f"Received: `{self.model.name}` for images of {self.graph.input_shape[1]} pixels"
            )
        return list(self._survey.last)

    @property
    def weighted(self) -> list[keras.layers.Layer]:
        """The layers with weights, in the order in which they run; blocks that are layers themselves come whole."""
        return list(self._survey.weighted)

    def find_map(self, layer: str) -> str:
        """Path of a map by the path, or the name alone where only one layer has it.

        Raises:
            InputError: for an unknown or ambiguous name, or a layer whose output is no map.
        """
        known = self.maps
        if layer in known:
            return layer
        found = [path for path in known if path.rsplit("/", 1)[-1] == layer]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"`layer` must say which of {', '.join(found)} is meant. Received: {layer!r}")
        close = difflib.get_close_matches(str(layer), list(known), n=5, cutoff=0.4)
        hint = f"such as {', '.join(dict.fromkeys([*close, *self._survey.last]))}" if known else "and there is none"
        raise InputError(f"`layer` must be a layer whose output is a map of pixels, {hint}. Received: {layer!r}")

    # --- what comes out ---

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """float32 (N, C) of images (N, S, S, 3); of a sigmoid both classes."""
        return self._outputs(images)[1]

    def evidence(self, images: np.ndarray, classes: Sequence[int]) -> np.ndarray:
        """float32 (N,): the logit of each image's class. Of a sigmoid, class 0 has the negative one."""
        logits, _ = self._outputs(images)
        classes = check_classes(classes, len(logits), self.num_classes)
        if logits.shape[1] == 1:
            return np.where(classes == 1, 1, -1).astype(np.float32) * logits[:, 0]
        return logits[np.arange(len(logits)), classes]

    def predicted(self, images: np.ndarray) -> np.ndarray:
        """int64 (N,): the most probable class."""
        return self.probabilities(images).argmax(axis=1)

    # --- gradients ---

    def map_gradients(
        self, images: np.ndarray, classes: Sequence[int], paths: Sequence[str]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For each path the map and the gradient of the class's logit by it, float32 (N, h, w, channels) both.

        Give a batch at a time: nothing is batched here, since maps of many images would not fit into memory.

        Raises:
            InputError: if a logit does not depend on a map.
        """
        classes = check_classes(classes, len(images), self.num_classes)
        maps: dict[str, tf.Tensor] = {}
        found: dict[str, tf.Tensor] = {}
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def watch(operation, path):
                if path not in paths and operation.name != LOGITS:
                    return operation

                def call(*args, **kwargs):
                    output = operation(*args, **kwargs)
                    if path in paths:
                        # From here on the tape records; what lies before needs no memory.
                        tape.watch(output)
                        maps[path] = output
                    if operation.name == LOGITS:
                        found[LOGITS] = output
                    return output

                return call

            run_graph(self.graph, tf.convert_to_tensor(check_images(self.graph, images)), watch)
            target = tf.reduce_sum(_of_class(found[LOGITS], classes))
        gradients = tape.gradient(target, [maps[path] for path in paths])
        for path, gradient in zip(paths, gradients):
            if gradient is None:
                raise InputError(f"`layer` must be one that the logits follow from. Received: {path!r}")
        return {
            path: (maps[path].numpy().astype(np.float32), tf.cast(gradient, tf.float32).numpy())
            for path, gradient in zip(paths, gradients)
        }

    def input_gradients(self, images: np.ndarray, classes: Sequence[int]) -> np.ndarray:
        """float32 (N, S, S, 3): the gradient of each image's logit of its class by the image.

        Raises:
            InputError: if no gradient reaches the image.
        """
        images = check_images(self.graph, images)
        classes = check_classes(classes, len(images), self.num_classes)
        step = max(1, self.batch_size // 4)
        parts = [slice(start, start + step) for start in range(0, len(images), step)]
        return np.concatenate([self._input_gradient(images[part], classes[part]).numpy() for part in parts])

    def _outputs(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits as they are, and probabilities of two classes or more."""
        images = check_images(self.graph, images)
        starts = range(0, len(images), self.batch_size)
        found = [self._forward(images[start : start + self.batch_size]) for start in starts]
        logits, probabilities = (np.concatenate([part.numpy() for part in parts]) for parts in zip(*found))
        if probabilities.shape[1] == 1:
            probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
        return logits, probabilities

    @functools.cached_property
    def _forward(self):
        return tf.function(self._logits_and_output, input_signature=[self._image_spec], autograph=False)

    @functools.cached_property
    def _input_gradient(self):
        def gradient(images, classes):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(images)
                target = tf.reduce_sum(_of_class(self._logits_and_output(images)[0], classes))
            found = tape.gradient(target, images)
            if found is None:
                raise InputError(f"`model` must let gradients through to its images. Received: `{self.model.name}`")
            return found

        signature = [self._image_spec, tf.TensorSpec([None], tf.int64)]
        return tf.function(gradient, input_signature=signature, autograph=False)

    @property
    def _image_spec(self):
        # A batch of any size is traced once.
        return tf.TensorSpec([None, *self.graph.input_shape[1:]], tf.float32)

    def _logits_and_output(self, images):
        found = {}

        def watch(operation, path):
            if operation.name != LOGITS:
                return operation

            def call(*args, **kwargs):
                found[LOGITS] = operation(*args, **kwargs)
                return found[LOGITS]

            return call

        output = run_graph(self.graph, images, watch)
        return tf.cast(found[LOGITS], tf.float32), tf.cast(keras.tree.flatten(output)[0], tf.float32)


class _Survey:
    """What one run of a model showed."""

    def __init__(self):
        self.maps: dict[str, tuple[int, int]] = {}
        self.last: tuple[str, ...] = ()
        self.weighted: list[keras.layers.Layer] = []
        self.units = 0


def _survey(graph: keras.Model) -> _Survey:
    """Run the model on a black image, and follow for every tensor which maps it was made from last."""
    found = _Survey()
    # Tensors are told apart by their identity, so all of them are kept until the end.
    kept: list[tf.Tensor] = []
    origins: dict[int, tuple[str, ...]] = {}

    def watch(operation, path):
        if isinstance(operation, keras.layers.Layer) and operation.weights and operation not in found.weighted:
            found.weighted.append(operation)

        def call(*args, **kwargs):
            output = operation(*args, **kwargs)
            given = [tensor for tensor in keras.tree.flatten((args, kwargs)) if tf.is_tensor(tensor)]
            before = dict.fromkeys(path for tensor in given for path in origins.get(id(tensor), ()))
            for tensor in keras.tree.flatten(output):
                if any(tensor is one for one in given):  # dropout gives what it was given
                    continue
                kept.append(tensor)
                is_map = len(tensor.shape) == 4 and tensor.shape[1] * tensor.shape[2] > 1
                if is_map:
                    found.maps[path] = tuple(tensor.shape[1:3])
                counts = is_map and not (before and isinstance(operation, _NOT_LAST))
                origins[id(tensor)] = (path,) if counts else tuple(before)
                if operation.name == LOGITS and len(tensor.shape) == 2:
                    found.units, found.last = int(tensor.shape[1]), origins[id(tensor)]
            return output

        return call

    sides = [side or _SIDE for side in graph.input_shape[1:3]]
    run_graph(graph, tf.zeros([1, *sides, graph.input_shape[3]]), watch)
    if not found.units:
        raise InputError(
            f"`model` must have a dense layer called `{LOGITS}` before its last activation. Received: `{graph.name}`"
        )
    return found


def _of_class(logits, classes):
    logits = tf.cast(logits, tf.float32)
    if logits.shape[1] == 1:
        return tf.where(tf.equal(classes, 1), logits[:, 0], -logits[:, 0])
    return tf.gather(logits, classes, batch_dims=1)
