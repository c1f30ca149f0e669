"""figures.json against models that are built here, and figures that are worked out by hand or published."""

from __future__ import annotations

import importlib.util
import json
import pathlib

import keras
import pytest

from leukemia_tf.models import build_model, describe_model, list_models
from leukemia_tf.models.figures import FILE, model_figures, recipe_figures
from leukemia_tf.recipes import get_recipe, list_recipes

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHEAP = [
    "basic_cnn",
    "bloodmnist_cnn3",
    "bloodmnist_cnn4",
    "bloodmnist_cnn_bn",
    "bloodmnist_cnn_se",
    "bloodmnist_vgg16",
]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("zoo_figures", ROOT / "experiments" / "benchmarks" / "zoo_figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_model_and_recipe_has_figures_and_nothing_else_has():
    found = json.loads(FILE.read_text())
    assert sorted(found["models"]) == list_models()
    assert sorted(found["recipes"]) == list_recipes()


@pytest.mark.parametrize("name", list_models())
def test_parameters_are_the_published_ones(name):
    figures, described = model_figures(name), describe_model(name)
    assert figures["image_size"] == described["options"]["image_size"]
    assert figures["num_classes"] == described["options"]["num_classes"]
    if described["kind"] == "keras":
        assert described["parameters"] in (None, figures["parameters"])
        assert figures["megabytes"] == round(figures["parameters"] * 4 / 1e6, 2)
        assert 0 < figures["trainable_parameters"] <= figures["parameters"]
    else:
        assert figures["parameters"] is None and figures["gflops"] is None


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_has_the_figures_of_its_model_at_its_size(name):
    recipe, figures = get_recipe(name), recipe_figures(name)
    assert figures["image_size"] == recipe.data.image_size
    model, defaults = model_figures(recipe.model.builder), describe_model(recipe.model.builder)["options"]
    same = all(
        list(map(str, _list(defaults[key]))) == list(map(str, _list(value)))
        for key, value in recipe.model.options.items()
    )
    if same and figures["image_size"] == model["image_size"]:
        assert (figures["parameters"], figures["gflops"]) == (model["parameters"], model["gflops"])


def _list(value) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


@pytest.mark.parametrize("name", CHEAP)
def test_cheap_models_are_still_what_the_file_says(name, script):
    model = build_model(name, weights=None)
    assert script.of_network(model, model_figures(name)["num_classes"]) == model_figures(name)


def test_the_last_phase_decides_what_trains():
    # The README of the ensemble: 43,314,101 train as published, 43,264,661 with batch normalisation frozen.
    assert recipe_figures("ensemble_as_published")["trainable_parameters"] == 43_314_101
    assert recipe_figures("ensemble")["trainable_parameters"] == 43_264_661


def test_operations_are_counted_by_hand(script):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, use_bias=False)(inputs)  # 6 x 6 x 4 outputs of 27 products each
    x = keras.layers.Flatten()(x)
    outputs = keras.layers.Dense(5, use_bias=False)(x)  # 144 x 5
    assert script.count_flops(keras.Model(inputs, outputs)) == 2 * (6 * 6 * 4 * 27 + 144 * 5)


def test_products_of_attention_are_counted(script):
    tokens, width, heads, depth = 16, 64, 4, 8
    inputs = keras.Input((tokens, width))
    outputs = keras.layers.MultiHeadAttention(heads, depth, use_bias=False)(inputs, inputs)
    projections = 4 * tokens * width * heads * depth  # query, key, value, output
    attention = 2 * heads * tokens * tokens * depth  # scores, and the sum that they weigh
    counted = script.count_flops(keras.Model(inputs, outputs))
    # The scaling by 1 / sqrt(depth) and the softmax come on top, a few for each score.
    assert 2 * (projections + attention) <= counted <= 2 * (projections + attention) + 8 * heads * tokens * tokens


def test_published_costs(script):
    """Multiply-adds of MobileNetV2 (300 M, arXiv 1801.04381); the profiler also counts elementwise operations."""
    model = keras.applications.MobileNetV2(weights=None)
    assert script.count_flops(model) == pytest.approx(2 * 300e6, rel=0.03)
