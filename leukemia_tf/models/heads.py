"""The end that every model has in common: float32 logits, then probabilities."""

from __future__ import annotations

import keras
from keras import layers

from leukemia_tf.errors import InputError

LOGITS = "logits"
"""Name of the last layer with weights. ``model.get_layer(LOGITS).output`` is what gradients, temperatures and
distillation start from; a probability near 0 or 1 has lost what they need."""

PROBABILITIES = "probabilities"
"""Name of the output layer."""


def check_num_classes(num_classes: int) -> int:
    """`num_classes` as an int.

    Raises:
        InputError: if it is no whole number of at least 2.
    """
    if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__") or num_classes < 2:
        raise InputError(f"`num_classes` must be a whole number of at least 2. Received: {num_classes!r}")
    return int(num_classes)


def classify(
    x: keras.KerasTensor,
    num_classes: int,
    *,
    two_class_units: int = 1,
    kernel_initializer="glorot_uniform",
    logits_dropout: float = 0.0,
) -> keras.KerasTensor:
    """Probabilities of the classes, from features.

    Both layers compute in float32 under any precision policy: probabilities near 0 and 1 vanish in float16, and with
    them the loss.

    Args:
        x: features (B, D).
        num_classes: two or more.
        two_class_units: for two classes, 1 gives one sigmoid unit (the probability of class 1) and 2 a softmax over
            both; published systems did either. More classes always give a softmax.
        kernel_initializer: of the dense layer.
        logits_dropout: rate of a dropout on the logits themselves, which system 000 has.

    Returns:
        (B, 1) or (B, num_classes), from a layer called ``probabilities`` after a dense layer called ``logits``.
    """
    units = two_class_units if check_num_classes(num_classes) == 2 else int(num_classes)
    x = layers.Dense(units, kernel_initializer=kernel_initializer, dtype="float32", name=LOGITS)(x)
    if logits_dropout:
        x = layers.Dropout(logits_dropout, dtype="float32", name="logits_dropout")(x)
    return layers.Activation("sigmoid" if units == 1 else "softmax", dtype="float32", name=PROBABILITIES)(x)
