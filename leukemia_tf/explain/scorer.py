"""One way to ask a model of either kind, Keras or scikit-learn, what it says of images."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from leukemia_tf.errors import InputError
from leukemia_tf.explain.classes import check_classes

_LEAST = 1e-6
"""Probabilities of an estimator nearer to 0 or 1 than this, where they are counted votes, say no more than it."""


class Estimator:
    """A model that gives probabilities and nothing else.

    Args:
        model: an object with ``predict_proba``, uint8 (N, S, S, 3) to (N, C).
    """

    def __init__(self, model: Any):
        self.model = model

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """float32 (N, C) of images (N, S, S, 3) in [0, 255], rounded to whole numbers."""
        pixels = np.clip(np.round(images), 0, 255).astype(np.uint8)
        return np.asarray(self.model.predict_proba(np.ascontiguousarray(pixels)), np.float32)

    def evidence(self, images: np.ndarray, classes: int | Sequence[int]) -> np.ndarray:
        """float32 (N,): the log-odds of each image's class, which is what a sigmoid's logit is."""
        probabilities = self.probabilities(images).astype(np.float64)
        classes = check_classes(classes, *probabilities.shape)
        own = np.clip(probabilities[np.arange(len(classes)), classes], _LEAST, 1 - _LEAST)
        return (np.log(own) - np.log1p(-own)).astype(np.float32)

    def predicted(self, images: np.ndarray) -> np.ndarray:
        """int64 (N,): the most probable class."""
        return self.probabilities(images).argmax(axis=1)


def scorer_of(model: Any):
    """A `Network` for a Keras model, an `Estimator` for an object with ``predict_proba``; one of these as it is.

    Raises:
        InputError: for anything else.
    """
    if isinstance(model, Estimator):
        return model
    if hasattr(model, "predict_proba"):
        return Estimator(model)
    return network_of(model)


def network_of(model: Any):
    """A `Network` of a Keras model, or the one that is given.

    Raises:
        InputError: for a model without gradients, such as scikit-learn's, or anything else.
    """
    from leukemia_tf.explain.network import Network

    if isinstance(model, Network):
        return model
    if isinstance(model, Estimator) or hasattr(model, "predict_proba"):
        raise InputError(
            "`model` must be a Keras model for this method; one of scikit-learn has neither gradients nor feature "
            f"maps, and only `occlusion` explains it. Received: {getattr(model, 'model', model)!r}"
        )
    return Network(model)
