"""A recipe's training: cached features are those of its own pipeline."""

from __future__ import annotations

import types

import numpy as np
import pandas as pd
import pytest

from leukemia_tf import cli
from leukemia_tf.errors import RunError
from leukemia_tf.recipes import fitting
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe
from leukemia_tf.training import Phase
from tests.training.tiny import make_model


@pytest.fixture(scope="module")
def material():
    random = np.random.default_rng(0)
    parts = {
        split: pd.DataFrame({"label": ["a", "b"] * (count // 2), "path": [f"{split}{i}" for i in range(count)]})
        for split, count in (("train", 20), ("val", 10))
    }
    pixels = {split: random.integers(0, 256, (len(part), 8, 8, 3), np.uint8) for split, part in parts.items()}
    return types.SimpleNamespace(classes=("a", "b")), parts, pixels


def fit(tmp_path, material, **changes):
    recipe = Recipe(
        "tiny", "Tiny", ModelSpec("none"),
        phases=(Phase("head", layers="head", epochs=3, learning_rate=1e-3),),
        data=DataSpec(image_size=8, batch_size=8, policy="cells"),
        seed=3, **changes,
    )  # fmt: skip
    run = types.SimpleNamespace(path=tmp_path / str(changes))
    return fitting.fit_network(make_model(), recipe, run, *material, None, False)


def test_cached_features_are_those_of_the_pipeline(tmp_path, material, monkeypatch):
    monkeypatch.setenv("LEUKEMIA_TF_CACHE", str(tmp_path))
    without = fit(tmp_path, material, feature_views=0)
    assert not (tmp_path / "features").exists()
    found = fit(tmp_path, material, feature_views=2)
    assert len(list((tmp_path / "features").glob("*.npy"))) == 6
    # In the first epochs each view is seen for the first time, as without; then the first one comes again.
    for column in ("loss", "val_loss"):
        np.testing.assert_allclose(found[column][:2], without[column][:2], rtol=1e-3)
    assert found["loss"][2] != pytest.approx(without["loss"][2], rel=1e-3)


def test_a_recipe_whose_phases_are_short_reads_no_pixels_for_it(tmp_path, material, monkeypatch):
    monkeypatch.setattr("leukemia_tf.data.features.batches_key", lambda *_, **__: pytest.fail("not needed"))
    monkeypatch.setattr("leukemia_tf.training.fit_phases", lambda *_, **options: options["feature_cache"])
    assert fit(tmp_path, material, feature_views=3) is None


def test_options_of_the_command_reach_the_recipe(tmp_path, monkeypatch):
    seen = []

    def stop(recipe, *_, **__):
        seen.append(recipe)
        raise RunError("enough")

    monkeypatch.setattr("leukemia_tf.recipes.train_recipe.train_recipe", stop)
    monkeypatch.setattr(cli, "_load_tensorflow", lambda *_: None)
    monkeypatch.setattr(cli, "_log_to_stderr", lambda level: None)
    for options in ([], ["--no-feature-cache", "--strategy", "mirrored", "--set", "phases.head.accumulate=4"]):
        assert cli.main(["train", "ensemble", "--run-dir", str(tmp_path), *options]) == 1
    default, changed = seen
    assert (default.feature_views, default.strategy, default.phases[0].accumulate) == (4, "none", 1)
    assert (changed.feature_views, changed.strategy, changed.phases[0].accumulate) == (0, "mirrored", 4)
