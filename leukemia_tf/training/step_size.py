"""How many batches one call of the graph trains on, by a measurement of the step."""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, Literal

import keras

from leukemia_tf.errors import InputError
from leukemia_tf.training.runtime import student_of

log = logging.getLogger(__name__)

CALL_SECONDS = 1e-3
"""What a call of the graph costs beside its steps: Keras's loop, the callbacks, the wait for the loss. Measured with
`experiments/benchmarks/train_step.py` on two CPU cores."""
_SHARE = 0.02
"""Of the steps' time, which the calls may cost."""
_MOST = 64


def resolve_steps_per_execution(
    steps_per_execution: int | Literal["auto"],
    steps_per_epoch: int | None,
    step_seconds: Callable[[], float] = lambda: float("inf"),
) -> int:
    """How many batches Keras trains on in one call of the graph.

    An epoch must end where a call ends, so it is a divisor of the steps of an epoch. ``"auto"`` measures: the smallest
    divisor with which the calls cost less than a fiftieth of the steps. A larger one gains nothing, and with it a time
    budget or a NaN is seen later. An epoch of a prime number of steps goes step by step.

    Args:
        steps_per_execution: 1 or more, of which the largest divisor up to it is taken, or ``"auto"``.
        steps_per_epoch: batches an epoch; None, where it is not known, gives 1.
        step_seconds: measures a step; asked for ``"auto"`` alone.

    Raises:
        InputError: if `steps_per_execution` is neither.
    """
    whole = isinstance(steps_per_execution, int) and not isinstance(steps_per_execution, bool)
    if steps_per_execution != "auto" and not (whole and steps_per_execution >= 1):
        raise InputError(f"`steps_per_execution` is 1 or more, or 'auto'. Received: {steps_per_execution!r}")
    epoch = steps_per_epoch or 1
    divisors = [size for size in range(1, epoch + 1) if epoch % size == 0]
    if steps_per_execution != "auto":
        return max(size for size in divisors if size <= steps_per_execution)
    few = [size for size in divisors if size <= _MOST]
    if len(few) == 1:
        return 1
    seconds = step_seconds()
    if seconds == float("inf"):
        return 1
    wanted = CALL_SECONDS / (_SHARE * seconds)
    size = next((size for size in few if size >= wanted), few[-1])
    log.info("steps_per_execution=%d of %d (a step takes about %.3g s)", size, epoch, seconds)
    return size


def step_seconds(model: keras.Model, batches: Any, steps: int, *, cached: bool = False) -> float:
    """About how long a step takes: three times a batch of zeros through the model in inference mode.

    A step itself would change weights, and be traced a second time with the number that is chosen: more than the calls
    of a short phase cost. Here nothing is traced, and nothing of model or data changes.

    Args:
        model: built.
        batches: its data set; the shapes are read, not the data.
        steps: of the whole phase.
        cached: whether the head alone is fitted, on cached features.

    Returns:
        Seconds, or infinity where it is not worth a measurement: the calls of a phase cost less than it, a distiller,
        or shapes that are not known.
    """
    if student_of(model) is not model or not (cached or steps * CALL_SECONDS > 2):
        return float("inf")
    specs = batches.element_spec[0]
    if not all(spec.shape.is_fully_defined() for spec in keras.tree.flatten(specs)):
        return float("inf")
    inputs = keras.tree.map_structure(lambda spec: keras.ops.zeros(tuple(spec.shape), spec.dtype.name), specs)
    taken: list[float] = []
    # The first call also loads kernels, but where it takes long there is nothing to gain. Others on the machine make
    # some calls longer, none shorter.
    while not taken or (taken[0] < 1 and len(taken) < 20 and sum(taken[1:]) < 0.1):
        began = time.perf_counter()
        keras.tree.map_structure(keras.ops.convert_to_numpy, model(inputs, training=False))
        taken.append(time.perf_counter() - began)
    return 3 * min(taken)
