"""The methods by name."""

from __future__ import annotations

import functools
from typing import Any, Sequence

import numpy as np

from leukemia_tf.errors import InputError
from leukemia_tf.explain.attention import attention_map
from leukemia_tf.explain.attribution import Attribution
from leukemia_tf.explain.grad_cam_maps import grad_cam
from leukemia_tf.explain.gradients import integrated_gradients
from leukemia_tf.explain.method_names import METHODS
from leukemia_tf.explain.occluding import occlusion

_WITH_LAYER = {"grad_cam": grad_cam, "grad_cam_plus_plus": functools.partial(grad_cam, plus_plus=True)}
_WITH_CLASS = {"occlusion": occlusion, "integrated_gradients": integrated_gradients}


def explain(
    model: Any,
    images: np.ndarray,
    method: str,
    classes: int | Sequence[int] | None = None,
    *,
    layer: str | None = None,
    **options: Any,
) -> Attribution:
    """Explain images by a method's name.

    Args:
        model: a Keras model or its `Network`; for ``occlusion`` also an object with ``predict_proba``.
        images: (N, S, S, 3), RGB in [0, 255], of the size that the model takes.
        method: one of `METHODS`.
        classes: class indices, see the method; ``attention`` knows none.
        layer: for ``grad_cam``, ``grad_cam_plus_plus`` and ``attention``, whose map it is; the others ignore it.
        options: further arguments of the method.

    Raises:
        InputError: for an unknown method, and what the method refuses.
    """
    if method in _WITH_LAYER:
        return _WITH_LAYER[method](model, images, classes, layer=layer, **options)
    if method in _WITH_CLASS:
        return _WITH_CLASS[method](model, images, classes, **options)
    if method == "attention":
        return attention_map(model, images, layer=layer, **options)
    raise InputError(f"`method` must be one of {', '.join(METHODS)}. Received: {method!r}")
