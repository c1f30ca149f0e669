"""The optimizer of a phase, and its update as one pass over the weights."""

from __future__ import annotations

import logging
import math
from typing import Sequence

import keras

from leukemia_tf.errors import InputError
from leukemia_tf.training.phase import Phase
from leukemia_tf.training.schedules import make_schedule

log = logging.getLogger(__name__)

_WORTH_IT = 1e9
"""Weights times steps from which a fused update saves more seconds than XLA takes to compile it."""


def make_optimizer(phase: Phase, steps_per_epoch: int | None) -> keras.optimizers.Optimizer:
    """The optimizer of a phase, with its schedule.

    Raises:
        InputError: for an unknown optimizer or argument, one without effect, or a schedule over an unknown number of
            steps.
    """
    if phase.optimizer_config.get("use_ema") and not phase.optimizer_config.get("ema_overwrite_frequency"):
        raise InputError(
            f"`optimizer_config.use_ema` of phase `{phase.name}` needs `ema_overwrite_frequency`, in batches: without "
            "it no validation and no checkpoint sees the averages. Received: none"
        )
    rate = make_schedule(phase, steps_per_epoch)
    try:
        constructor = type(keras.optimizers.get(phase.optimizer))
        accumulate = {"gradient_accumulation_steps": phase.accumulate} if phase.accumulate > 1 else {}
        return constructor(learning_rate=rate, **accumulate, **phase.optimizer_config)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"`optimizer` of phase `{phase.name}` is the name of a Keras optimizer and `optimizer_config` holds its "
            f"arguments. Received: {phase.optimizer!r}, {phase.optimizer_config} ({str(error).splitlines()[0]})"
        ) from error


def fuse_update(
    optimizer: keras.optimizers.Optimizer, weights: Sequence[keras.Variable], steps: int, *, jit_compile: bool
) -> bool:
    """Let XLA make one pass over the weights of an optimizer's update, where the rest of the step goes without XLA.

    Keras writes an update as a dozen operations, each of which reads and writes arrays as large as the weights: for the
    head of an ensemble on cached features, of 2.4 million weights, Adam then takes longer than the rest of the step.
    XLA, slow at convolutions on a CPU, fuses them into one loop.

    Args:
        optimizer: built; its ``apply`` is replaced.
        weights: what it updates.
        steps: of the whole phase, so that a resumed one decides as the first call did.
        jit_compile: whether the whole step is compiled anyway.

    Returns:
        Whether it was done: with TensorFlow on one device, without XLA for the step, and where it pays.
    """
    if jit_compile or keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.distribute.has_strategy() or steps * sum(math.prod(weight.shape) for weight in weights) < _WORTH_IT:
        return False
    apply = optimizer.apply

    def fused(grads, trainable_variables=None):
        grads = list(grads)
        if not all(isinstance(gradient, tf.Tensor) for gradient in grads):
            return apply(grads, trainable_variables)  # sparse or missing ones
        update = tf.function(
            lambda *given: apply(list(given), trainable_variables), jit_compile=True, autograph=False
        )
        return update(*grads)

    optimizer.apply = fused
    return True
