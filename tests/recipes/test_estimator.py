"""A recipe whose model is fitted in one go: the same files and commands, without epochs and exports."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from leukemia_tf.data import open_data
from leukemia_tf.errors import InputError
from leukemia_tf.models import list_models, register_model, registry
from leukemia_tf.recipes import DataSpec, ModelSpec, Recipe, run
from leukemia_tf.recipes.evaluate import evaluate, verify
from leukemia_tf.recipes.train_recipe import train_recipe
from leukemia_tf.training import Phase


class Greyness:
    """Class 1 in the share of how bright an image is among the training images."""

    def __init__(self, power: float = 1.0):
        self.power = power

    def fit(self, train_pixels, train_labels, val_pixels=None, val_labels=None, seed=0):
        assert train_pixels.dtype == np.uint8 and set(train_labels) == {0, 1}
        assert len(val_pixels) == len(val_labels)
        self.seed = seed
        self.lowest, self.highest = np.percentile(train_pixels.mean((1, 2, 3)), (0, 100))
        return self

    def predict_proba(self, pixels):
        share = (pixels.mean((1, 2, 3)) - self.lowest) / (self.highest - self.lowest)
        share = np.clip(share, 0, 1) ** self.power
        return np.stack([1 - share, share], 1)

    def save(self, path):
        path.write_text(json.dumps(vars(self)))


def load(path) -> Greyness:
    model = Greyness()
    vars(model).update(json.loads(path.read_text()))
    return model


RECIPE = Recipe(
    name="greyness",
    title="How bright",
    model=ModelSpec("greyness", {"power": 2.0}, weights="none"),
    data=DataSpec(image_size=16, max_train_images=20, max_val_images=10),
    phases=(),
    deterministic="off",  # the switch stays for the process, and XLA does without
    bootstrap=20,
    seed=3,
)


@pytest.fixture(autouse=True)
def greyness(monkeypatch):
    list_models()  # so that all others are registered before the copy
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.setattr(run, "_load_estimator", load)

    @register_model("greyness", kind="sklearn")
    def build(num_classes=2, image_size=16, power=1.0):
        return Greyness(power)


def test_it_is_fitted_judged_loaded_and_asked_again(tmp_path):
    done = train_recipe(RECIPE, tmp_path / "run", progress=False)
    assert done.finished and done.model_path.name == "model.skops"
    files = {file.name for file in done.path.iterdir()}
    assert {"report.html", "predictions.csv", "metrics.json", "run.json", "table.csv"} <= files
    assert not {"model.keras", "saved_model", "history.csv", "checkpoints"} & files
    assert verify(done) == done.metrics

    again = run.load_run(done.path)
    assert again.model.seed == 3 and again.model.power == 2.0
    stored = pd.read_csv(done.path / "predictions.csv")
    root = open_data("sample")[0].root
    found = again.predict([root / path for path in stored["path"]])
    np.testing.assert_allclose(found["prob_ALL"], stored["prob_ALL"], atol=1e-6)
    assert list(found["prediction"]) == list(stored["prediction"])
    judged = evaluate(again, "sample", output=tmp_path / "other", progress=False)
    assert judged["n_images"] == 600 and judged["accuracy"]["value"] > 0


def test_a_finished_one_is_not_fitted_again(tmp_path, monkeypatch):
    train_recipe(RECIPE, tmp_path, progress=False)
    monkeypatch.setattr(Greyness, "fit", None)
    assert train_recipe(RECIPE, tmp_path, progress=False).finished


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"phases": (Phase("one"),)}, "without phases. Received: 1 phases"),
        ({"loss": "binary_crossentropy", "minutes": 5.0}, "without loss, minutes. Received: binary_crossentropy, 5.0"),
        ({"precision": "mixed_float16"}, "without precision"),
        ({"data": DataSpec(balance="class_weight")}, "without data.balance. Received: class_weight"),
        ({"model": ModelSpec("greyness")}, "'none' for `greyness`, which loads no weights. Received: 'imagenet'"),
    ],
)
def test_what_has_no_meaning_for_it_is_refused(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train_recipe(dataclasses.replace(RECIPE, **changes), tmp_path / "run", progress=False)
