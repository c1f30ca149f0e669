"""Where the attention layers of a model look."""

from __future__ import annotations

from typing import Any

import numpy as np

from leukemia_tf.explain.attribution import Attribution, enlarge
from leukemia_tf.explain.scorer import network_of
from leukemia_tf.models.attention_maps import spatial_attention


def attention_map(model: Any, images: np.ndarray, *, layer: str | None = None) -> Attribution:
    """The mean of a model's spatial attention maps, each as a multiple of what even attention would give a pixel.

    Attention knows no class: the same map stands for all of them, and what is looked at may speak for either.
    ``classes`` holds the predicted ones.

    Args:
        model: a Keras model with an attention layer that looks at pixels, or its `Network`.
        images: (N, S, S, 3), RGB in [0, 255], of the size that the model takes.
        layer: the only one wanted, by its name in `leukemia_tf.models.spatial_attention`.

    Returns:
        Maps whose mean over an image is one: a model that prefers no place has ones everywhere. ``parts`` holds each
        layer's map as `spatial_attention` gives it.

    Raises:
        InputError: if the model has no such layer.
    """
    network = network_of(model)
    parts = spatial_attention(network.model, images, None if layer is None else [layer])
    size = np.shape(images)[1]
    maps = [enlarge(part, size) for part in parts.values()]
    mean = np.mean([one / one.mean(axis=(1, 2), keepdims=True) for one in maps], axis=0)
    return Attribution("attention", mean.astype(np.float32), network.predicted(images), "times even attention", parts)
