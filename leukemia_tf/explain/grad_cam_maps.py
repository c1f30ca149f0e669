"""Grad-CAM (Selvaraju et al., ICCV 2017) and Grad-CAM++ (Chattopadhay et al., WACV 2018), on logits."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from leukemia_tf.explain.attribution import Attribution, enlarge, up_to_one
from leukemia_tf.explain.classes import check_classes
from leukemia_tf.explain.scorer import network_of


def grad_cam(
    model: Any,
    images: np.ndarray,
    classes: int | Sequence[int] | None = None,
    *,
    layer: str | None = None,
    plus_plus: bool = False,
) -> Attribution:
    """Which places of a feature map speak for a class.

    The channels A of a map are added up with weights w, and what is below 0 is cut off. In Grad-CAM, w is the mean
    over the pixels of the gradient g of the class's logit; in Grad-CAM++ the sum of its positive part, weighted by
    ``g^2 / (2 g^2 + sum(A) g^3)``, so that a small or a second object counts as much as a large one.

    A model with several backbones has a map of each. What they add to the logit for each unit of area (the map times
    its number of pixels) is added up.

    Args:
        model: a Keras model, or its `Network`.
        images: (N, S, S, 3), RGB in [0, 255], of the size that the model takes.
        classes: index of the class that is explained, one or one an image; None takes the most probable.
        layer: name or path of the layer whose map is taken; None takes the last map on every way to the logits.
        plus_plus: Grad-CAM++.

    Returns:
        Maps from 0 to 1, the largest of an image being 1 (or all 0, where nothing speaks for the class); ``parts``
        holds the map of each layer as it is.

    Raises:
        InputError: for a model without feature maps or ``logits``, an unknown layer, or images of another shape.
    """
    network = network_of(model)
    images = np.asarray(images)
    paths = network.last_maps if layer is None else [network.find_map(layer)]
    classes = network.predicted(images) if classes is None else classes
    classes = check_classes(classes, len(images), network.num_classes)
    weigh = _plus_plus_weights if plus_plus else _weights
    parts: dict[str, list[np.ndarray]] = {path: [] for path in paths}
    for start in range(0, len(images), network.batch_size):
        chosen = slice(start, start + network.batch_size)
        found = network.map_gradients(images[chosen], classes[chosen], paths)
        for path, (values, gradients) in found.items():
            weights = weigh(values, gradients)
            parts[path].append(np.maximum(np.einsum("nhwc,nc->nhw", values, weights), 0))
    joined = {path: np.concatenate(maps).astype(np.float32) for path, maps in parts.items()}
    total = sum(enlarge(maps, images.shape[1]) * maps[0].size for maps in joined.values())
    method = "grad_cam_plus_plus" if plus_plus else "grad_cam"
    return Attribution(method, up_to_one(total), classes, "share of the largest", joined)


def _weights(values: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    return gradients.mean(axis=(1, 2))


def _plus_plus_weights(values: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """The paper's closed form for a score that is the exponential of the logit, whose factor cancels in the map.

    Gradients are divided by their largest first, and maps multiplied, which changes nothing and keeps the third power
    away from the end of float32.
    """
    largest = np.abs(gradients).max(axis=(1, 2, 3), keepdims=True)
    scale = np.where(largest > 0, largest, 1)
    unit = gradients / scale
    total = values.sum(axis=(1, 2), keepdims=True) * scale
    denominator = 2 * unit**2 + total * unit**3
    alpha = np.divide(unit**2, denominator, out=np.zeros_like(unit), where=np.abs(denominator) > 1e-12)
    return (alpha * np.maximum(gradients, 0)).sum(axis=(1, 2))
