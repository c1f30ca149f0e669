"""Python functions inside a tf.data pipeline that cannot hang the interpreter at its exit."""

from __future__ import annotations

import atexit
import threading
import time

import tensorflow as tf

_lock = threading.Lock()
_running = 0
_last_end = 0.0
_closing = False


def python_call(function, tensors, dtype, otherwise):
    """``tf.numpy_function`` for a function without state or side effects.

    A pipeline prepares batches ahead on threads of TensorFlow. A thread that calls Python while the interpreter shuts
    down never comes back, and the interpreter waits for it for ever. Before the shutdown, therefore, calls turn
    into ``otherwise`` (same shape and type, at once), and the exit waits until the pipelines have filled their buffers.

    Args:
        function: takes and returns NumPy arrays.
        tensors: its arguments.
        dtype: of the result.
        otherwise: cheap stand-in for ``function``, used only when the interpreter is about to stop.
    """

    def call(*arrays):
        global _running, _last_end
        with _lock:
            _running += 1
        try:
            return otherwise(*arrays) if _closing else function(*arrays)
        finally:
            with _lock:
                _running -= 1
                _last_end = time.monotonic()

    return tf.numpy_function(call, tensors, dtype, stateful=False)


@atexit.register
def _wait_until_quiet(quiet: float = 0.1, longest: float = 10.0) -> None:
    global _closing
    _closing = True
    if not _last_end and not _running:
        return
    end = time.monotonic() + longest
    while time.monotonic() < end and (_running or time.monotonic() - _last_end < quiet):
        time.sleep(quiet / 10)
