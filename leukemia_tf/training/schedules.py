"""How the learning rate moves in a phase: Keras's schedules, and two that published systems took from PyTorch.

All are functions of the number of optimizer steps done so far, from 0, and move with every batch.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from leukemia_tf.errors import InputError
from leukemia_tf.training.phase import Phase

LearningRateSchedule = keras.optimizers.schedules.LearningRateSchedule


def make_schedule(phase: Phase, steps_per_epoch: int | None) -> float | LearningRateSchedule:
    """The learning rate of a phase, as a number or as a schedule over all of its steps.

    - ``"cosine"``: `keras.optimizers.schedules.CosineDecay` to 0, after ``warmup_epochs`` of linear warm-up.
    - ``"one_cycle"``: `OneCycle`.
    - ``"triangular2"``: `Triangular2`, from ``base`` up to the rate in ``step_size_up`` batches.
    - ``"piecewise"``: times ``factor`` from each of ``boundaries`` (shares of the phase) on, with
      `keras.optimizers.schedules.PiecewiseConstantDecay`.

    Args:
        phase: see there.
        steps_per_epoch: batches an epoch; `"constant"` and `"triangular2"` do without.

    Raises:
        InputError: for a schedule over an unknown number of steps.
    """
    rate, numbers = phase.learning_rate, phase.schedule_numbers
    if phase.schedule == "constant":
        return rate
    if phase.schedule == "triangular2":
        return Triangular2(numbers["base"], rate, numbers["step_size_up"])
    if not steps_per_epoch:
        raise InputError(
            f"`schedule` {phase.schedule!r} of phase `{phase.name}` needs `steps_per_epoch`. "
            f"Received: {steps_per_epoch}"
        )
    total = max(1, phase.epochs * steps_per_epoch)
    if phase.schedule == "one_cycle":
        return OneCycle(rate, total, **numbers)
    if phase.schedule == "piecewise":
        # Keras changes the rate after the step of a boundary; here it changes with it.
        boundaries = [round(share * total) - 1 for share in numbers["boundaries"]]
        values = [rate * numbers["factor"] ** power for power in range(len(boundaries) + 1)]
        return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    warmup = round(phase.warmup_epochs * steps_per_epoch)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else rate,
        max(1, total - warmup),
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


@keras.saving.register_keras_serializable(package="leukemia_tf")
class OneCycle(LearningRateSchedule):
    """Up from ``max / div_factor`` to the maximum, then down to almost nothing, both by half a cosine.

    The learning rate of PyTorch's ``OneCycleLR`` (two phases, cosine annealing) with the same names; its cycling of
    the momentum is left out. L. N. Smith and N. Topin, "Super-convergence", arXiv 1708.07120.

    Args:
        max_learning_rate: the peak, reached at step ``pct_start * total_steps - 1``.
        total_steps: steps of the whole cycle. The last of them, and any after it, has the lowest rate.
        pct_start: share of the steps that go up.
        div_factor: the first rate is the maximum divided by this.
        final_div_factor: the last rate is the first one divided by this.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ):
        self.max_learning_rate = max_learning_rate
        self.total_steps = total_steps
        self.pct_start = pct_start
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor

    def __call__(self, step):
        step = ops.cast(step, "float32")
        first = self.max_learning_rate / self.div_factor
        last = first / self.final_div_factor
        top = self.pct_start * self.total_steps - 1
        # A cycle of a few steps may have none that goes up; then it starts on the way down.
        up = ops.clip(step / max(top, 1e-6), 0.0, 1.0)
        down = ops.clip((step - top) / max(self.total_steps - 1 - top, 1e-6), 0.0, 1.0)
        return ops.where(
            step <= top,
            _half_cosine(first, self.max_learning_rate, up),
            _half_cosine(self.max_learning_rate, last, down),
        )

    def get_config(self):
        return {
            "max_learning_rate": self.max_learning_rate,
            "total_steps": self.total_steps,
            "pct_start": self.pct_start,
            "div_factor": self.div_factor,
            "final_div_factor": self.final_div_factor,
        }


@keras.saving.register_keras_serializable(package="leukemia_tf")
class Triangular2(LearningRateSchedule):
    """Triangles between two rates, each half as high as the one before.

    PyTorch's ``CyclicLR`` with ``mode="triangular2"`` and equally long ways up and down, stepped each batch.
    L. N. Smith, "Cyclical learning rates for training neural networks", arXiv 1506.01186.

    Args:
        base: the lowest rate, where each triangle begins and ends.
        max_learning_rate: the top of the first triangle, above `base`.
        step_size_up: steps up, and as many down.
    """

    def __init__(self, base: float, max_learning_rate: float, step_size_up: int):
        self.base = base
        self.max_learning_rate = max_learning_rate
        self.step_size_up = step_size_up

    def __call__(self, step):
        # In whole numbers, because a float32 quotient can fall on the wrong side of a corner.
        step = ops.cast(step, "int32")
        period = 2 * self.step_size_up
        triangle = ops.cast(ops.floor_divide(step, period), "float32")
        position = ops.cast(ops.mod(step, period), "float32")
        share = 1.0 - ops.abs(position / self.step_size_up - 1.0)
        return self.base + (self.max_learning_rate - self.base) * share * ops.power(0.5, triangle)

    def get_config(self):
        return {
            "base": self.base,
            "max_learning_rate": self.max_learning_rate,
            "step_size_up": self.step_size_up,
        }


def _half_cosine(start: float, end: float, share):
    # Written so that both ends are exact in float32, though they may differ by a factor of a million.
    weight = 0.5 * (1.0 + ops.cos(math.pi * share))
    return start * weight + end * (1.0 - weight)
