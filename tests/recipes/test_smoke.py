"""Every recipe, from images to the report, as ``--smoke`` runs it."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from leukemia_tf.data import load_pixels, open_data
from leukemia_tf.recipes import get_recipe, list_recipes, load_run, override
from leukemia_tf.recipes.predicting import predict_table
from leukemia_tf.recipes.train_recipe import for_source, train_recipe

# Deterministic kernels are a switch of the process, which would stay for the tests after these.
FOR_TESTS = {"model.weights": "none", "deterministic": "off"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Plots are a good part of such a run, the same for every recipe, and tested with the command."""
    monkeypatch.setattr("leukemia_tf.evaluation.report.save_plots", lambda *arguments, **options: {})
    yield
    keras.backend.clear_session()


@pytest.mark.slow
@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_runs(name, tmp_path):
    recipe = override(for_source(get_recipe(name), None, smoke=True), FOR_TESTS)
    if recipe.model.options.get("backbone") == "mobilenetv2":
        # The smallest to download, with six times the layers to trace of this one. The ensembles keep it.
        recipe = override(recipe, {"model.options.backbone": "vgg16"})
    train_recipe(recipe, tmp_path / "run", progress=False)
    run = load_run(tmp_path / "run")
    assert run.finished
    assert all(math.isfinite(number) for number in numbers(json.loads((run.path / "metrics.json").read_text())))
    assert run.recipe.to_dict() == recipe.to_dict()
    for phase in recipe.phases:
        assert (pd.read_csv(run.path / "history.csv")["phase"] == phase.name).sum() == phase.epochs

    stored = pd.read_csv(run.path / "predictions.csv")
    manifest, table = open_data("sample")
    test = table.set_index("path").loc[stored["path"]].reset_index()
    size = recipe.data.image_size
    pixels = load_pixels(manifest, test, size, progress=False)
    found = predict_table(run.model, manifest, test, pixels, image_size=size, batch_size=recipe.data.batch_size)
    np.testing.assert_allclose(found[:, -1], stored["raw_prob_ALL"], atol=1e-4)
    if recipe.phases:  # a network, which is exported as well
        serve = tf.saved_model.load(str(run.path / "saved_model")).signatures["serving_default"]
        exported = serve(images=tf.constant(pixels[:4], tf.float32))["probabilities"].numpy()
        np.testing.assert_allclose(exported[:, -1], stored["prob_ALL"][:4], atol=1e-4)


def numbers(value) -> list[float]:
    """All numbers in a JSON value."""
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [float(value)] if isinstance(value, (int, float)) else []
