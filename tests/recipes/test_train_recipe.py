"""What `train_recipe` passes on and refuses, with a network of a few weights."""

from __future__ import annotations

import dataclasses
import json

import keras
import pandas as pd
import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.models import list_models, register_model, registry
from leukemia_tf.models.heads import classify
from leukemia_tf.recipes import DataSpec, ModelSpec, Recipe
from leukemia_tf.recipes.train_recipe import build, train_recipe
from leukemia_tf.training import Phase

RECIPE = Recipe(
    name="tiny",
    title="Tiny",
    model=ModelSpec("tiny", {"units": 2}, weights="none"),
    data=DataSpec(image_size=16, batch_size=8, max_train_images=16, max_val_images=10),
    phases=(
        Phase("one", epochs=2, schedule="one_cycle", learning_rate=1e-2),
        Phase("two", epochs=1, schedule="piecewise", learning_rate=1e-3),
    ),
    loss="categorical_focal_crossentropy",
    loss_config={"alpha": [0.75, 0.25], "gamma": 2.0},
    monitor="val_f1_weighted",
    mode="max",
    deterministic="off",
    bootstrap=20,
)


@pytest.fixture(autouse=True)
def given(monkeypatch):
    """Register the model for one test; the options that it was built with."""
    list_models()  # so that all others are registered before the copy
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.setattr("leukemia_tf.evaluation.report.save_plots", lambda *arguments, **options: {})
    seen = {}

    @register_model("tiny")
    def tiny(num_classes=2, image_size=16, weights=None, units=1):
        seen.update(num_classes=num_classes, image_size=image_size, weights=weights, units=units)
        inputs = keras.Input((image_size, image_size, 3), name="image")
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
        return keras.Model(inputs, classify(x, num_classes, two_class_units=units))

    return seen


def test_loss_schedules_and_metric_of_the_recipe_are_used(tmp_path, given):
    run = train_recipe(RECIPE, tmp_path / "run", progress=False)
    assert given == {"num_classes": 2, "image_size": 16, "weights": "none", "units": 2}
    history = pd.read_csv(run.path / "history.csv")
    assert {"f1_weighted", "val_f1_weighted"} <= set(history.columns)
    # 2 steps an epoch: one cycle of 4 has fallen to 1e-2 / 25 / 1e4 after it; the other has 1e-3, 1e-4 (a half), and
    # after three quarters, rounded to the end, 1e-5.
    assert list(history["learning_rate"].iloc[[1, 2]]) == pytest.approx([4e-8, 1e-5], rel=1e-3)
    # Focal loss of an untrained network: at most alpha (1 - 1/2)^2 log 2 on average, far below the 0.69 of the other.
    assert history["loss"].iloc[0] < 0.4

    # A file that was written before there were these fields means their defaults.
    stored = json.loads((run.path / "recipe.json").read_text())
    assert stored["loss"] == "categorical_focal_crossentropy" and "card" not in stored
    for phase in stored["phases"]:
        del phase["min_delta"]
    (run.path / "recipe.json").write_text(json.dumps(stored))
    assert train_recipe(RECIPE, run.path, progress=False).finished
    with pytest.raises(InputError, match="loss is 'categorical_focal_crossentropy' there and 'auto' here"):
        train_recipe(dataclasses.replace(RECIPE, loss="auto", loss_config={}), run.path, progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "binary_focal"}, "did you mean binary_focal_crossentropy"),
        ({"loss_config": {"alpha": [0.2, 0.3, 0.5]}}, "each of the 2 outputs"),
        ({"mode": "min"}, "is 'max', or the worst epoch is kept"),
        ({"phases": (Phase("p", optimizer="adamm"),)}, "name of a Keras optimizer"),
        ({"model": ModelSpec("tiny", {"unit": 2}, weights="none")}, "did you mean units"),
    ],
)
def test_a_slip_is_found_before_the_images_are_read(changes, message, tmp_path, monkeypatch):
    monkeypatch.setattr("leukemia_tf.data.PixelReader", lambda *_, **__: pytest.fail("images are read"))
    with pytest.raises(InputError, match=message):
        train_recipe(dataclasses.replace(RECIPE, **changes), tmp_path / "run", progress=False)


def test_only_builders_that_load_pretrained_weights_hear_of_missing_ones():
    seen = []

    @register_model("pretrained")
    def pretrained(num_classes=2, image_size=16, weights="imagenet", on_missing_weights="error"):
        seen.append((weights, on_missing_weights))

    build(RECIPE, 2)
    recipe = dataclasses.replace(RECIPE, model=ModelSpec("pretrained"))
    build(recipe, 2)
    build(recipe, 2, synthetic=True)
    assert seen == [("imagenet", "error"), ("imagenet", "random")]
