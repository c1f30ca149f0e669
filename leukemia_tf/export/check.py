"""Whether an exported file answers as the Keras model does, on real images."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from leukemia_tf.errors import InputError, RunError

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Bounds:
    """How far an export may be from Keras.

    Args:
        max_difference: of any probability, in (0, 1].
        max_accuracy_loss: share of images, in [0, 1]: accuracy of Keras minus that of the export.
    """

    max_difference: float
    max_accuracy_loss: float

    def __post_init__(self) -> None:
        if not 0.0 < self.max_difference <= 1.0:
            raise InputError(f"`max_difference` lies above 0 and is at most 1. Received: {self.max_difference}")
        if not 0.0 <= self.max_accuracy_loss <= 1.0:
            raise InputError(f"`max_accuracy_loss` lies between 0 and 1. Received: {self.max_accuracy_loss}")


DEFAULT_BOUNDS = {
    "saved_model": Bounds(1e-3, 0.005),
    "litert": Bounds(1e-3, 0.005),
    "litert-int8": Bounds(1.0, 0.005),
    "onnx": Bounds(1e-3, 0.005),
}
"""Of each format. One image near a threshold may move far in 8 bits, so there it is accuracy alone that counts."""


def compare_probabilities(keras: pd.DataFrame, export: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Figures of an export against Keras on the same images.

    Args:
        keras, export: frames with ``path``, ``prediction`` and ``prob_<class>``, the same images in any order.
        classes: names in the order of the label index.

    Returns:
        ``images``; ``max_difference`` and ``mean_difference`` of the probabilities; ``agreement``, the share of equal
        predictions.

    Raises:
        InputError: if the images differ.
    """
    if sorted(keras["path"]) != sorted(export["path"]):
        raise InputError(f"`export` must hold the images of `keras`. Received: {len(export)} and {len(keras)} others")
    pairs = keras.merge(export, on="path", suffixes=("", "_export"), validate="one_to_one")
    columns = [f"prob_{name}" for name in classes]
    differences = np.abs(pairs[columns].to_numpy() - pairs[[f"{name}_export" for name in columns]].to_numpy())
    return {
        "images": len(pairs),
        "max_difference": float(differences.max()),
        "mean_difference": float(differences.mean()),
        "agreement": float((pairs["prediction"] == pairs["prediction_export"]).mean()),
    }


def beyond_bounds(figures: Mapping[str, Any], bounds: Bounds) -> list[str]:
    """What of an export lies beyond `bounds`, a clause each.

    Args:
        figures: with ``max_difference`` and ``accuracy_loss``.
    """
    beyond = []
    # Not "greater": NaN, from a model that overflows, must fail as well.
    for key, bound, option in (
        ("max_difference", bounds.max_difference, "--max-difference"),
        ("accuracy_loss", bounds.max_accuracy_loss, "--max-accuracy-loss"),
    ):
        if not figures[key] <= bound:
            beyond.append(f"{key} is {figures[key]:.3g}, at most {bound:.3g} is accepted ({option})")
    return beyond


def check_bounds(name: str, figures: Mapping[str, Any], bounds: Bounds) -> None:
    """Raise a `RunError` where the figures of an export lie beyond `bounds`.

    Args:
        name: the format.
        figures: with ``images``, ``max_difference`` and ``accuracy_loss``.
    """
    beyond = beyond_bounds(figures, bounds)
    if beyond:
        raise RunError(
            f"`{name}` does not answer as the Keras model does on {figures['images']} validation images: "
            f"{'; '.join(beyond)}. Nothing was written."
        )
