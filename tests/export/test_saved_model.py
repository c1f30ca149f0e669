"""The SavedModel in a fresh process that has nothing but TensorFlow."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.export import export_saved_model

SIZE = 16
READ = """
import json, pathlib, sys
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
files = sys.argv[2:]
from_bytes = loaded.signatures["serve_bytes"](encoded=tf.constant([pathlib.Path(f).read_bytes() for f in files]))
single = []
for f in files:
    batch = tf.cast(np.load(f + ".npy"), tf.float32)[None]
    single.append(loaded.signatures["serving_default"](images=batch)["probabilities"].numpy()[0].tolist())
assert not [name for name in sys.modules if name.startswith("leukemia_tf")]
print(json.dumps({
    "bytes": from_bytes["probabilities"].numpy().tolist(),
    "images": single,
    "classes": [name.decode() for name in from_bytes["classes"].numpy()],
}))
"""


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(image))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_saved_model(
        model, tmp_path_factory.mktemp("export") / "saved_model", classes=["HEM", "ALL"], image_size=SIZE, notice="n"
    )


def test_a_process_with_tensorflow_alone_gets_the_same(model, exported, tmp_path):
    from leukemia_tf.data import read_image, resize_images

    random = np.random.default_rng(0)
    files = []
    for index, (suffix, shape) in enumerate([(".png", (40, 30)), (".jpg", (16, 16)), (".bmp", (9, 50))]):
        files.append(tmp_path / f"{index}{suffix}")
        cv2.imwrite(str(files[-1]), random.integers(0, 256, (*shape, 3), np.uint8))
        np.save(f"{files[-1]}.npy", read_image(files[-1]))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(exported), *map(str, files)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["classes"] == ["HEM", "ALL"]
    pixels = np.stack([np.asarray(resize_images(read_image(file), SIZE)) for file in files])
    positive = model.predict(pixels, verbose=0)[:, 0]
    expected = np.stack([1 - positive, positive], axis=1)
    np.testing.assert_allclose(found["bytes"], expected, atol=1e-5)
    np.testing.assert_allclose(found["images"], expected, atol=1e-5)


def test_an_older_export_is_replaced_whole(model, exported):
    (exported / "leftover").write_text("old")
    export_saved_model(model, exported, classes=["a", "b"], image_size=SIZE)
    assert not (exported / "leftover").exists()
    assert json.loads((exported / "assets.extra" / "model.json").read_text())["classes"] == ["a", "b"]
    assert [item.name for item in exported.parent.iterdir()] == ["saved_model"]


def test_classes_must_fit(model, tmp_path):
    with pytest.raises(InputError, match="`classes`"):
        export_saved_model(model, tmp_path / "x", classes=["a", "b", "c"], image_size=SIZE)


def test_a_folder_that_cannot_be_written_is_one_line(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write"):
        export_saved_model(model, pathlib.Path(tmp_path / "file" / "saved_model"), classes=["a", "b"], image_size=SIZE)
