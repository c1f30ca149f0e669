"""Load a saved model with everything that leukemia_tf adds to Keras."""

from __future__ import annotations

import os
import pathlib

import keras

from leukemia_tf.errors import InputError
from leukemia_tf.layers import register_layers
from leukemia_tf.losses import register_losses


def load_model(path: str | os.PathLike, *, compile: bool = False) -> keras.Model:
    """Load a ``.keras`` file; the layers and losses of this package are found by name.

    Args:
        path: the file. Code inside it is never run (Keras's safe mode stays on).
        compile: also restore the optimizer, loss and metrics it was compiled with.

    Raises:
        InputError: if the file is missing, has another ending, or Keras cannot read it.
    """
    path = pathlib.Path(path)
    if path.suffix != ".keras" or not path.is_file():
        raise InputError(f"`path` must be a `.keras` file that exists. Received: `{path}`")
    register_layers()
    register_losses()
    try:
        return keras.saving.load_model(path, compile=compile)
    except (ValueError, TypeError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"`{path}` cannot be read as a Keras model: {reason}") from error


def uncompiled(model: keras.Model) -> keras.Model:
    """The same layers and weights as a model that was never compiled, whose files hold no optimizer.

    Saved with its optimizer, a model that was trained with Adam is three times as large, and loading the file warns
    wherever another optimizer waits.

    Args:
        model: functional or sequential, as those of all builders are.
    """
    return keras.Model(model.inputs, model.outputs, name=model.name)
