"""Imports that leave out what the importing package would load only because it is installed."""

from __future__ import annotations

import contextlib
import sys
from typing import Iterator

OPTIONAL = ("jax", "matplotlib", "sklearn")
"""What TensorFlow and Keras import where it is installed, for converters, plots and wrappers that a prediction never
calls: nearly half of the processor time of ``import tensorflow``."""


@contextlib.contextmanager
def left_out(*packages: str) -> Iterator[None]:
    """Inside the block ``import`` fails for `packages`, as if they were not installed; afterwards it does not.

    What is loaded already stays loaded.

    Args:
        packages: names of top-level packages whose import the importing package guards with ``except ImportError``.
    """
    absent = [name for name in packages if name not in sys.modules]
    # Python's own way: None says that there is no such module.
    sys.modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
