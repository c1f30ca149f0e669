"""The recipes by name."""

from __future__ import annotations

import difflib
import importlib

from leukemia_tf.errors import InputError
from leukemia_tf.recipes.recipe import Recipe

_MODULES = {
    "ensemble": "ensemble",
    "ensemble_as_published": "ensemble",
}
"""Recipe -> the file of its system."""


def list_recipes() -> list[str]:
    """Names of all recipes, sorted."""
    return sorted(_MODULES)


def get_recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        InputError: for an unknown name, with the closest known ones.
    """
    if name not in _MODULES:
        close = difflib.get_close_matches(name, _MODULES, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise InputError(f"`recipe` is one of {', '.join(list_recipes())}; {hint}Received: {name!r}")
    module = importlib.import_module(f"leukemia_tf.recipes.{_MODULES[name]}")
    return module.RECIPES[name]


def describe_recipe(name: str) -> str:
    """The docstring of the recipe's file: command, source, faults corrected."""
    get_recipe(name)
    return importlib.import_module(f"leukemia_tf.recipes.{_MODULES[name]}").__doc__ or ""
