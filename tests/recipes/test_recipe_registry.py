"""Recipes are found by their files, without TensorFlow, and describe what there is."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from leukemia_tf import recipes
from leukemia_tf.errors import InputError
from leukemia_tf.models import describe_model
from leukemia_tf.recipes import Card, get_recipe, list_recipes
from leukemia_tf.recipes import registry


def test_every_file_with_recipes_is_found():
    folder = pathlib.Path(recipes.__file__).parent
    files = {file.stem for file in folder.glob("*.py") if "\nRECIPES = " in file.read_text(encoding="utf-8")}
    assert "ensemble" in files and "ensemble" in list_recipes()
    assert {registry._modules()[name].__name__.rpartition(".")[2] for name in list_recipes()} == files


def test_all_recipes_load_without_tensorflow():
    code = (
        "import sys; from leukemia_tf.recipes import get_recipe, list_recipes\n"
        "assert [get_recipe(name) for name in list_recipes()]\n"
        "print(sorted({'tensorflow', 'keras', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_fits_its_builder(name):
    recipe = get_recipe(name)
    model = describe_model(recipe.model.builder)
    assert set(recipe.model.options) <= set(model["options"])
    assert isinstance(recipe.card, Card) and "card" not in recipe.to_dict()
    assert bool(recipe.phases) == (model["kind"] == "keras")
    if name.endswith("_as_published"):
        assert name.removesuffix("_as_published") in list_recipes()


def test_a_name_is_given_once(monkeypatch):
    registry._modules.cache_clear()
    module = registry._modules()["ensemble"]
    monkeypatch.setattr(module, "RECIPES", {**module.RECIPES, "other": module.RECIPES["ensemble"]})
    registry._modules.cache_clear()
    with pytest.raises(ValueError, match="ensemble.py must map new names.*Received: 'other' for 'ensemble'"):
        list_recipes()
    registry._modules.cache_clear()


def test_an_unknown_recipe_gets_the_closest_names():
    with pytest.raises(InputError, match="did you mean ensemble"):
        get_recipe("ensembel")
