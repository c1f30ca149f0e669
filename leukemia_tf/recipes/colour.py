"""Colour handling of a run: fitted to its training images, kept in ``run.json``, and part of the model that it saves.

Grey-world and Reinhard's method normalise the pixels of training and validation once, before any augmentation: behind
it they would take back what the augmentation changed, and would no longer know a black background. The network is
trained on these pixels, and the saved model is the layer with the network behind it, which takes pixels as they were
read. The checkpoints of a training hold the network alone. CLAHE has no TensorFlow operation; it is done to the pixels
wherever images are read, and never is part of the model.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import numpy as np

log = logging.getLogger(__name__)

NONE = {"method": "none"}
TITLES = {
    "grey_world": "grey-world",
    "reinhard": "Reinhard in CIE Lab, fitted to the training images",
    "clahe": "CLAHE of L in CIE Lab",
}
IN_THE_MODEL = ("grey_world", "reinhard")

CLAHE_NOTICE = (
    "CLAHE is not part of the exported model: whoever serves it has to do `leukemia_tf.data.colour.clahe` to the "
    "resized pixels first. `leukemia-tf predict` and `evaluate` do."
)


def fit_colour(method: str, train_pixels: np.ndarray) -> dict[str, Any]:
    """What a method needs to know, as JSON has it.

    Args:
        method: ``"none"``, ``"grey_world"``, ``"reinhard"`` or ``"clahe"``.
        train_pixels: uint8 (N, S, S, 3) of the training split, which alone is looked at.

    Returns:
        ``{"method": ..., number: value}``: the arguments of the layer, or of `leukemia_tf.data.colour.clahe`.
    """
    from leukemia_tf.data.colour import BLACK, CLIP_LIMIT, TILES, fit_reinhard

    if method == "reinhard":
        return {"method": method, **fit_reinhard(train_pixels), "black": BLACK}
    if method == "grey_world":
        return {"method": method, "black": BLACK}
    if method == "clahe":
        log.warning(CLAHE_NOTICE)
        return {"method": method, "clip_limit": CLIP_LIMIT, "tiles": TILES, "black": BLACK}
    return dict(NONE)


def model_input(pixels: np.ndarray, colour: dict[str, Any]) -> np.ndarray:
    """What a run's saved model takes, from pixels as they were read: only CLAHE changes them.

    Args:
        pixels: uint8 (N, S, S, 3); an array in memory is changed in place.
        colour: as `fit_colour` gave it.
    """
    from leukemia_tf.data.colour import clahe
    from leukemia_tf.data.pixels import change_pixels

    if colour["method"] != "clahe":
        return pixels
    numbers = {key: value for key, value in colour.items() if key != "method"}
    return change_pixels(pixels, lambda images: clahe(images, **numbers), json.dumps(colour, sort_keys=True))


def training_input(pixels: np.ndarray, colour: dict[str, Any], *, progress: bool = False) -> np.ndarray:
    """What the network behind the colour layer is trained on: that layer's output, rounded.

    Args:
        pixels: uint8 (N, S, S, 3) as `model_input` gave them; an array in memory is changed in place.
        colour: as `fit_colour` gave it.
        progress: show progress on a terminal, log one line otherwise.
    """
    layer = colour_layer(colour)
    if layer is None:
        return pixels
    import numpy as np
    import tensorflow as tf

    from leukemia_tf.data.pixels import change_pixels

    shape = [None, *pixels.shape[1:]]
    normalise = tf.function(layer, input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)

    def change(images: np.ndarray) -> np.ndarray:
        return normalise(tf.cast(images, tf.float32)).numpy().round().astype(np.uint8)

    tag = json.dumps(colour, sort_keys=True)
    return change_pixels(pixels, change, tag, doing="normalising colours, parts", progress=progress)


def with_colour(model: keras.Model, colour: dict[str, Any]) -> keras.Model:
    """The model that a run saves: the colour layer, with the trained network behind it.

    Returns:
        A copy, with the same ``jit_compile``; or `model` itself where the method has no layer.
    """
    from leukemia_tf.models.first_layer import with_first_layer

    layer = colour_layer(colour)
    if layer is None:
        return model
    jit_compile = model.jit_compile
    model = with_first_layer(model, layer)
    model.jit_compile = jit_compile
    return model


def colour_layer(colour: dict[str, Any]) -> keras.layers.Layer | None:
    """A new layer ``colour`` of the numbers that were fitted, or None for a method that is no layer."""
    if colour["method"] not in IN_THE_MODEL:
        return None
    from leukemia_tf.layers import GreyWorld, Reinhard

    numbers = {key: value for key, value in colour.items() if key != "method"}
    return {"grey_world": GreyWorld, "reinhard": Reinhard}[colour["method"]](**numbers, name="colour")
