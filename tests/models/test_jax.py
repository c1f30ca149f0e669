"""The same weights file gives the same outputs under Keras's JAX backend."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from harness import enliven, random_images
from leukemia_tf.models import build_model

# One of each kind of architecture; the other models are made of the same layers.
MODELS = {
    "filter_token": {"image_size": 64, "weights": None, "backbone": "mobilenetv2", "num_tokens": 4},
    "mha_efficientnet": {"image_size": 64, "weights": None, "backbone": "vgg16"},
    "attention_cnn": {"image_size": 64, "weights": None, "backbone": "vgg16"},
    "bloodmnist_cnn_se": {"image_size": 32},
    "bloodmnist_vgg16_cbam": {"image_size": 32},
    "mlffakd_student": {"image_size": 32},
}
TOLERANCE = 1e-4

_IN_JAX = """
import json, pathlib, sys
import keras, numpy as np
from leukemia_tf.models import build_model
assert keras.backend.backend() == "jax"
folder = pathlib.Path(sys.argv[1])
for name, options in json.loads((folder / "models.json").read_text()).items():
    model = build_model(name, **options)
    model.load_weights(folder / f"{name}.weights.h5")
    images = np.load(folder / f"{name}.images.npy")
    np.save(folder / f"{name}.jax.npy", model.predict(images, verbose=0))
assert not [module for module in sys.modules if module.split(".")[0] == "tensorflow" and "keras" not in module]
"""


def spread_logits(model: keras.Model, images: np.ndarray) -> None:
    """Scale the last layer so that its outputs for these images lie about 0 and span two units, as after training."""
    logits = model.get_layer("logits")
    values = keras.Model(model.input, logits.output)(images, training=False).numpy()
    kernel, bias = logits.get_weights()
    factor = 2 / np.ptp(values, axis=0).max()
    logits.set_weights([kernel * factor, bias - factor * values.mean(axis=0)])


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax: pip install 'leukemia-tf[test]'")
def test_models_give_the_same_under_jax(tmp_path):
    expected = {}
    for name, options in MODELS.items():
        keras.utils.set_random_seed(0)
        model = build_model(name, **options)
        images = random_images(4, options["image_size"])
        enliven(model, random_images(16, options["image_size"], seed=1))
        spread_logits(model, images)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        np.save(tmp_path / f"{name}.images.npy", images)
        expected[name] = model(images, training=False).numpy()
    (tmp_path / "models.json").write_text(json.dumps(MODELS))
    # Compiling is most of the work.
    settings = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    environment = {**os.environ, "KERAS_BACKEND": "jax", **settings}
    done = subprocess.run(
        [sys.executable, "-c", _IN_JAX, str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for name, probabilities in expected.items():
        found = np.load(tmp_path / f"{name}.jax.npy")
        assert np.ptp(probabilities, axis=0).max() > 0.1, f"{name} gives every image the same"
        np.testing.assert_allclose(found, probabilities, atol=TOLERANCE, rtol=0, err_msg=name)
