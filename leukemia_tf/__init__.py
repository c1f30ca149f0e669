"""leukemia_tf: a Keras 3 / TensorFlow model zoo for leukemia and white-blood-cell images.

Research use only: nothing here is a medical device.

Importing the package loads neither TensorFlow nor pandas; the public names load on first use.
"""

from leukemia_tf._lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "build_model": "models",
        "list_models": "models",
        "fit_phases": "training",
        "make_pipeline": "data",
        "open_data": "data",
        "load_run": "recipes",
    },
)
