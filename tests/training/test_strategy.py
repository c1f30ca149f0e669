"""Two devices with a global batch train as one device with that batch."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.training import Strategy
from tests.training.two_devices import train

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(tmp_path_factory.mktemp("alone"), Strategy())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_train_as_one(tmp_path, alone, backend):
    pytest.importorskip(backend)
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    settings = {"KERAS_BACKEND": backend, "XLA_FLAGS": flags}
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.two_devices", str(tmp_path)],
        cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(tmp_path / "found.npz")
    assert found["devices"] == 2
    weights, losses = alone
    np.testing.assert_allclose(found["losses"], losses, rtol=2e-4)
    for index, weight in enumerate(weights):
        np.testing.assert_allclose(found[f"arr_{index}"], weight, atol=2e-4)


def test_one_device_needs_no_strategy():
    assert Strategy().devices == 1 and Strategy().gather(model := object()) is model
    with pytest.raises(InputError, match="`strategy` is one of none, mirrored, multi_worker. Received: 'horovod'"):
        Strategy("horovod")
