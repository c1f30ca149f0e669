"""What a run ran on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import Any

_PACKAGES = (
    "leukemia-tf",
    "tensorflow",
    "keras",
    "keras-cv",
    "numpy",
    "pandas",
    "opencv-python-headless",
    "scikit-learn",
    "pillow",
)


def describe_environment(**further: Any) -> dict[str, Any]:
    """Versions, processor and accelerators, as JSON-able values, with `further` added."""
    import keras

    devices = []
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        for device in tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(device)
            devices.append(details.get("device_name", device.name))
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "accelerators": devices,
        "keras_backend": keras.backend.backend(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "executable": os.path.basename(sys.executable),
        **further,
    }


def peak_memory_mb() -> int | None:
    """The most memory that this process has held so far, in MB; None where the system does not tell (Windows)."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
