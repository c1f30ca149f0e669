"""What the machine decides: XLA or not, and how far a seed reaches."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Iterator, Literal

import keras
import numpy as np

from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)


def has_accelerator() -> bool:
    """Whether Keras's backend sees a GPU or TPU."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"))
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() != "cpu"
    return False


def resolve_jit_compile(jit_compile: bool | Literal["auto"] = "auto") -> bool:
    """Decide about XLA: ``"auto"`` is on with a GPU or TPU and off on a CPU, where XLA is 2 to 13 times slower.

    JAX always compiles, so there ``"auto"`` is True.

    Raises:
        InputError: if `jit_compile` is none of True, False, "auto".
    """
    if jit_compile not in (True, False, "auto"):
        raise InputError(f"`jit_compile` is True, False or 'auto'. Received: {jit_compile!r}")
    if jit_compile != "auto":
        return bool(jit_compile)
    return keras.backend.backend() == "jax" or has_accelerator()


def set_determinism(seed: int, *, ops: bool | Literal["auto"] = "auto") -> bool:
    """Seed Python, NumPy and the backend, and ask TensorFlow for deterministic kernels.

    Args:
        seed: the seed, 0 or more.
        ops: deterministic kernels. ``"auto"`` asks for them on a CPU, where they cost next to nothing, and not on a
            GPU, where they can halve the speed.

    Returns:
        Whether deterministic kernels were asked for.

    What this does not cover: another number of cores, another version of TensorFlow or another kind of processor may
    sum in another order; a GPU without deterministic kernels; data pipelines that are not made by `make_pipeline`.
    The setting stays for the process: TensorFlow has a switch for it, but a program that compiled functions under
    one setting should not mix them with the other.
    """
    keras.utils.set_random_seed(seed)
    wanted = not has_accelerator() if ops == "auto" else bool(ops)
    if wanted and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Under determinism TensorFlow makes no global generator by itself, and keras-cv's layers ask for one.
        tf.random.set_global_generator(tf.random.Generator.from_seed(seed))
        tf.config.experimental.enable_op_determinism()
    return wanted


def reseed(model: keras.Model, *numbers: int) -> None:
    """Set each random state in `model` (dropout, stochastic depth) to a value that follows from `numbers` alone.

    Called at the start of each epoch with (seed, phase, epoch), it makes an epoch repeatable without the epochs
    before it: a run that was killed and resumed drops the same units as one that was not.
    """
    weights = {id(weight) for weight in model.weights}
    states = [variable for variable in model.variables if id(variable) not in weights and variable.shape == (2,)]
    for index, state in enumerate(states):
        word = np.random.SeedSequence([*numbers, index]).generate_state(1)[0] >> 1
        state.assign(np.array([word, 0]).astype(state.dtype))


@contextlib.contextmanager
def graphs_released() -> Iterator[None]:
    """Let go, at the end, of the graphs that were traced meanwhile.

    TensorFlow 2.21 keeps the gradient function of each `tf.custom_gradient` that a graph was traced with for as long as
    the process lives, and with it the graph, its weights and its optimizer: every training would leave a copy of them
    behind, gigabytes after some folds of an ensemble. There is no public way to remove them.
    """
    before = set(_custom_gradients())
    try:
        yield
    finally:
        kept = _custom_gradients()
        for name in set(kept) - before:
            if name.startswith("CustomGradient-"):
                del kept[name]


def _custom_gradients() -> dict:
    ops = sys.modules.get("tensorflow.python.framework.ops")
    return getattr(getattr(ops, "gradient_registry", None), "_registry", {})


def student_of(model: keras.Model) -> keras.Model:
    """The model that a training is for: the student of a `keras.distillation.Distiller`, any other model itself."""
    return model.student if isinstance(model, keras.distillation.Distiller) else model
