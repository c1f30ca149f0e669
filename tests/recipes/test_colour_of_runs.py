"""Colour handling of whole runs: fitted to training images, in the saved model, the same in every way to ask it."""

from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from leukemia_tf.data import PixelReader, load_pixels, open_data
from leukemia_tf.data.colour import clahe, fit_reinhard
from leukemia_tf.data.table import image_file
from leukemia_tf.errors import InputError
from leukemia_tf.layers import Reinhard
from leukemia_tf.models import list_models, register_model, registry
from leukemia_tf.models.heads import classify
from leukemia_tf.recipes import DataSpec, ModelSpec, Recipe
from leukemia_tf.recipes.colour import fit_colour, model_input, training_input
from leukemia_tf.recipes.evaluate import evaluate
from leukemia_tf.recipes.show import pipelines
from leukemia_tf.recipes.train_recipe import train_recipe
from leukemia_tf.training import Phase

RECIPE = Recipe(
    name="tiny",
    title="Tiny",
    model=ModelSpec("tiny", weights="none"),
    data=DataSpec(image_size=16, batch_size=8, max_train_images=16, max_val_images=10, policy="stain"),
    phases=(Phase("one", epochs=1, learning_rate=1e-2),),
    deterministic="off",
    bootstrap=20,
)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    """A model of a few weights, registered for these tests."""
    list_models()  # so that all others are registered before the copy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
        patch.setattr("leukemia_tf.evaluation.report.save_plots", lambda *arguments, **options: {})

        @register_model("tiny")
        def tiny(num_classes=2, image_size=16, weights=None):
            inputs = keras.Input((image_size, image_size, 3), name="image")
            x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 32)(inputs))
            return keras.Model(inputs, classify(x, num_classes))

        yield


def with_colour(method):
    return dataclasses.replace(RECIPE, data=dataclasses.replace(RECIPE.data, colour=method))


def check_run(run):
    """`predict`, `evaluate` and the figures of the run agree. Returns its table, predictions and raw test pixels."""
    predictions = pd.read_csv(run.path / "predictions.csv")
    columns = [f"prob_{name}" for name in run.classes]
    table = pd.read_csv(run.path / "table.csv", dtype={"index": "Int64"}, keep_default_na=False)
    table["index"] = table["index"].replace("", pd.NA)
    manifest, _ = open_data("sample")
    test = table[table["split"] == "test"]
    assert list(test["path"]) == list(predictions["path"])
    files = [image_file(manifest, path) for path in test["path"]]
    again = run.predict(files)
    np.testing.assert_allclose(again[columns], predictions[columns], atol=1e-5)
    rows = pd.DataFrame({"path": [str(file) for file in files], "label": test["label"]})
    rows.to_csv(run.path.parent / "test.csv", index=False)
    evaluate(run, str(run.path.parent / "test.csv"), output=str(run.path.parent / "again"), progress=False)
    others = pd.read_csv(run.path.parent / "again" / "predictions.csv")
    # Sorted by path in the same way, since all paths have the same folder in front.
    np.testing.assert_allclose(others[columns], predictions[columns], atol=1e-5)
    raw = {
        split: load_pixels(manifest, table[table["split"] == split], 16, progress=False) for split in ("train", "test")
    }
    return predictions[columns].to_numpy(), raw


def serve(run, pixels):
    served = tf.saved_model.load(run.path / "saved_model").signatures["serving_default"]
    return served(images=tf.constant(pixels, tf.float32))["probabilities"].numpy()


def notes(run):
    return json.loads((run.path / "saved_model" / "assets.extra" / "model.json").read_text())["colour"]


@pytest.mark.slow
def test_reinhard_from_training_to_export(tmp_path):
    run = train_recipe(with_colour("reinhard"), tmp_path / "run", progress=False)
    expected, raw = check_run(run)
    np.testing.assert_allclose(serve(run, raw["test"]), expected, atol=1e-5)

    # The state is that of the training images, and the same in run.json, in the model and beside the export.
    state = run.info["colour"]
    fitted = fit_reinhard(raw["train"])
    assert (state["method"], state["mean"], state["std"]) == ("reinhard", fitted["mean"], fitted["std"])
    layer = run.model.layers[1]
    assert isinstance(layer, Reinhard) and (layer.mean, layer.std) == (fitted["mean"], fitted["std"])
    assert notes(run) == {**state, "before_the_model": False}

    # What the saved model does is: the layer, then the network of the checkpoint.
    network = keras.saving.load_model(run.path / "checkpoints" / "best.keras", compile=False)
    by_hand = network.predict(Reinhard(**fitted)(raw["test"]).numpy(), verbose=0)
    np.testing.assert_allclose(by_hand[:, 0], expected[:, 1], atol=1e-5)

    with pytest.raises(InputError, match="colour is 'reinhard' there and 'none' here"):
        train_recipe(RECIPE, run.path, progress=False)


@pytest.mark.slow
def test_clahe_is_done_to_the_pixels(tmp_path, caplog):
    run = train_recipe(with_colour("clahe"), tmp_path / "run", progress=False)
    expected, raw = check_run(run)
    np.testing.assert_allclose(serve(run, clahe(raw["test"])), expected, atol=1e-5)
    assert run.info["colour"] == {"method": "clahe", "clip_limit": 2.0, "tiles": 8, "black": 8.0}
    assert notes(run) == {**run.info["colour"], "before_the_model": True}
    warned = [line for line in run.info["notices"] if "CLAHE is not part of the exported model" in line]
    assert len(warned) == 1 and warned[0] in caplog.text


@pytest.mark.slow
def test_other_test_images_do_not_change_what_is_fitted(tmp_path, monkeypatch):
    """The same run with red test and validation images ends with the same numbers and the same network."""
    import leukemia_tf.data

    monkeypatch.setattr("leukemia_tf.recipes.export.write_saved_model", lambda *arguments, **options: None)

    def run_with(change, folder):
        read = []

        class Changed(PixelReader):
            def all(self):
                arrays = super().all()
                for split in ("val", "test") if change else ():
                    arrays[split][..., 0] = 255
                return arrays

        def changed(manifest, table, size, **options):
            pixels = load_pixels(manifest, table, size, **options)
            read.append(set(table["split"]))
            if change and read[-1] != {"train"}:
                pixels[..., 0] = 255
            return pixels

        monkeypatch.setattr(leukemia_tf.data, "PixelReader", Changed)
        monkeypatch.setattr(leukemia_tf.data, "load_pixels", changed)
        run = train_recipe(with_colour("reinhard"), folder, progress=False)
        # Training and validation once more for the verdict, as the saved model takes them.
        assert read == [{"train"}, {"val"}]
        return run

    first, second = run_with(False, tmp_path / "one"), run_with(True, tmp_path / "two")
    assert first.info["colour"] == second.info["colour"]
    assert not np.allclose(
        *(pd.read_csv(run.path / "predictions.csv").filter(like="prob_").to_numpy() for run in (first, second))
    )
    for one, other in zip(first.model.get_weights(), second.model.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_pixels_for_training_are_what_the_layer_gives():
    pixels = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3)).astype(np.uint8)
    state = {"method": "reinhard", "mean": [60.0, 10.0, -5.0], "std": [9.0, 4.0, 3.0], "black": 8.0}
    expected = Reinhard(state["mean"], state["std"])(pixels).numpy()
    assert model_input(pixels, state) is pixels
    result = training_input(pixels.copy(), state)
    assert result.dtype == np.uint8
    np.testing.assert_allclose(result, expected, atol=0.51)


def test_none_leaves_pixels_alone():
    pixels = np.full((2, 8, 8, 3), 7, np.uint8)
    state = fit_colour("none", pixels)
    assert state == {"method": "none"} and model_input(pixels, state) is pixels is training_input(pixels, state)


def test_show_lists_the_step():
    (pair,) = [pair for pair in pipelines(with_colour("grey_world")) if "colour" in pair[0]]
    assert pair == ("colour: grey-world", "colour: grey-world; first layer of the model")
    (pair,) = [pair for pair in pipelines(with_colour("clahe")) if "colour" in pair[0]]
    assert pair[0] == pair[1] == "colour: CLAHE of L in CIE Lab"


def test_wrong_values_are_named(tmp_path):
    with pytest.raises(InputError, match="`data.colour` is .*Received: 'macenko'"):
        with_colour("macenko")
    handcrafted = dataclasses.replace(
        with_colour("reinhard"), model=ModelSpec("handcrafted", weights="none"), phases=()
    )
    with pytest.raises(InputError, match="without data.colour. Received: reinhard"):
        train_recipe(handcrafted, tmp_path / "run", progress=False)
