"""Loss functions beyond those of Keras, written with ``keras.ops`` and registered as ``leukemia_tf``."""

import importlib
import pkgutil

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"BinaryCrossentropy": "binary_crossentropy"})


def register_losses() -> None:
    """Import every loss file, so that Keras knows the classes by name when it loads a saved model."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
