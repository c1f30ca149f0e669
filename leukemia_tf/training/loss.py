"""The loss of a recipe: a name and arguments in, a Keras loss out, checked against the model's outputs."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import keras

from leukemia_tf.errors import InputError
from leukemia_tf.losses import BinaryCrossentropy

LOSSES: dict[str, type[keras.losses.Loss]] = {
    "binary_crossentropy": BinaryCrossentropy,  # Keras's, made repeatable
    "binary_focal_crossentropy": keras.losses.BinaryFocalCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    "categorical_focal_crossentropy": keras.losses.CategoricalFocalCrossentropy,
}
"""Keras's losses of probabilities and one-hot (or 0 and 1) labels, by the names that Keras gives their functions."""

_NOT_FOR_PROBABILITIES = {"from_logits", "axis", "name", "dtype", "reduction"}
"""Arguments that would turn the loss into another than the one of probabilities, averaged over the batch."""


def make_loss(loss: str = "auto", loss_config: dict[str, Any] | None = None, *, outputs: int) -> keras.losses.Loss:
    """The Keras loss of a name.

    Args:
        loss: ``"auto"`` (cross-entropy), or a Keras loss of probabilities such as
            ``"categorical_focal_crossentropy"``. With one output, categorical cross-entropy is the binary one.
        loss_config: its arguments, such as ``{"label_smoothing": 0.1}`` or ``{"gamma": 2.0, "alpha": [0.75, 0.25]}``.
        outputs: width of the model's output: 1 for a sigmoid, else the number of classes.

    Raises:
        InputError: for an unknown loss (with the closest names), an argument that it does not take, a list that does
            not fit `outputs`, or another categorical loss of one output.
    """
    config = dict(loss_config or {})
    if loss == "auto":
        loss = "categorical_crossentropy"
    if outputs == 1 and loss == "categorical_crossentropy":
        loss = "binary_crossentropy"  # the same formula, label smoothing included, where p and 1 - p are one output
    if loss not in LOSSES:
        close = difflib.get_close_matches(loss, LOSSES, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise InputError(f"`loss` is 'auto' or one of {', '.join(LOSSES)}; {hint}Received: {loss!r}")
    if outputs == 1 and loss.startswith("categorical"):
        raise InputError(
            f"`loss` of a model with one sigmoid output is 'binary_crossentropy' or another binary one. "
            f"Received: {loss!r}"
        )
    accepted = [name for name in inspect.signature(LOSSES[loss]).parameters if name not in _NOT_FOR_PROBABILITIES]
    for name, value in config.items():
        if name not in accepted:
            raise InputError(
                f"`loss_config`: {loss!r} takes {', '.join(accepted) or 'no arguments'} (models end in probabilities). "
                f"Received: {name!r}"
            )
        numbers = list(value) if isinstance(value, (list, tuple)) else [value]
        if not all(isinstance(number, (int, float)) for number in numbers):
            raise InputError(f"`loss_config.{name}` is a number, or a list of numbers. Received: {value!r}")
        if isinstance(value, (list, tuple)) and len(value) != outputs:
            raise InputError(
                f"`loss_config.{name}` has one number for each of the {outputs} outputs. Received: {list(value)}"
            )
    if "alpha" in config and "apply_class_balancing" in accepted and not config.get("apply_class_balancing"):
        raise InputError(
            f"`loss_config.alpha` of {loss!r} does nothing unless `apply_class_balancing` is true. Received: {config}"
        )
    return keras.losses.get(LOSSES[loss](**config))
