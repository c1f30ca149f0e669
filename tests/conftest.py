"""What all tests share: quiet TensorFlow, a fixed float type, and the folder of real images where there is one."""

from __future__ import annotations

import logging
import os
import pathlib
import random
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]


# Where a change is judged, the drawn examples are the same each time; elsewhere every run looks at others.
hypothesis.settings.register_profile("repeatable", derandomize=True, print_blob=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(items):
    """The longest files first: each stays in one process, which would otherwise work alone at the end."""
    items.sort(key=lambda item: item.path.name not in ("test_smoke.py", "test_cli.py"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Every test, with the fixtures it is the first to need, begins with the same random numbers and an open log.

    Otherwise what a test sees depends on the tests before it in the same process, and one in some hundred runs is red.
    A command that ran there has taken the package's log for itself.
    """
    log = logging.getLogger("leukemia_tf")
    log.propagate, log.handlers = True, []
    log.setLevel(logging.NOTSET)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)
    else:
        random.seed(0)
        np.random.seed(0)


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder with real images and ImageNet weights; the test is skipped where it is absent."""
    folder = pathlib.Path(os.environ.get("LEUKEMIA_TF_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip("needs the real images: set LEUKEMIA_TF_SHARED to the folder that holds data/ and weights/")
    return folder


@pytest.fixture(autouse=True)
def no_determinism_left_behind():
    """`set_determinism` switches the whole process, and Keras then does without XLA in the tests that come after.

    TensorFlow has no public way back.
    """
    yield
    config = sys.modules.get("tensorflow.python.framework.config")
    if config is not None and config.is_op_determinism_enabled():
        config.disable_op_determinism()
