"""Whether an exported file answers as the Keras model does, on real images."""

from __future__ import annotations

import dataclasses
from typing import Any, Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError, RunError


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


def compare_exports(
    keras: pd.DataFrame, export: pd.DataFrame, classes: Sequence[str], *, bootstrap: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Figures of an export against Keras on the same labelled images.

    Args:
        keras, export: predictions frames of `leukemia_tf.evaluation.make_predictions`, the same images in any order.
        classes: names in the order of the label index.
        bootstrap: resamples, of subjects where they are known, else of images; the same ones for both.
        seed: of the resampling.

    Returns:
        ``images``; ``max_difference`` and ``mean_difference`` of the probabilities; ``agreement``, the share of equal
        predictions; ``accuracy_keras``, ``accuracy``; ``accuracy_loss`` with its 95 % interval ``loss_low``,
        ``loss_high``, and ``unit``, what was resampled.

    Raises:
        InputError: if a frame is malformed or images differ.
    """
    from leukemia_tf.evaluation import compare_predictions

    row = compare_predictions(
        {"keras": keras, "export": export}, classes, metrics=["accuracy"], bootstrap=bootstrap, seed=seed
    ).iloc[0]
    pairs = keras.merge(export, on="path", suffixes=("", "_export"), validate="one_to_one")
    columns = [f"prob_{name}" for name in classes]
    differences = np.abs(pairs[columns].to_numpy() - pairs[[f"{name}_export" for name in columns]].to_numpy())
    return {
        "images": len(pairs),
        "max_difference": float(differences.max()),
        "mean_difference": float(differences.mean()),
        "agreement": float((pairs["prediction"] == pairs["prediction_export"]).mean()),
        "accuracy_keras": float(row["value_first"]),
        "accuracy": float(row["value_second"]),
        "accuracy_loss": float(row["value_first"] - row["value_second"]),
        "loss_low": 0.0 - float(row["high"]),
        "loss_high": 0.0 - float(row["low"]),
        "unit": row["unit"],
    }


def check_bounds(name: str, figures: dict[str, Any], bounds: Bounds) -> None:
    """Raise a `RunError` where `figures` of `compare_exports` lie beyond `bounds`; `name` is the format."""
    beyond = []
    # Not "greater": NaN, from a model that overflows, must fail as well.
    for key in ("max_difference", "accuracy_loss"):
        bound = bounds.max_difference if key == "max_difference" else bounds.max_accuracy_loss
        if not figures[key] <= bound:
            option = "--max-difference" if key == "max_difference" else "--max-accuracy-loss"
            beyond.append(f"{key} is {figures[key]:.3g}, at most {bound:.3g} is accepted ({option})")
    if beyond:
        raise RunError(
            f"`{name}` does not answer as the Keras model does on {figures['images']} validation images: "
            f"{'; '.join(beyond)}. Nothing was written."
        )
