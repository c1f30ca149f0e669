"""The recipes by name. Every file of this folder that defines ``RECIPES`` is found; none of them imports TensorFlow."""

from __future__ import annotations

import difflib
import functools
import importlib
import pathlib
import re
from types import ModuleType

from leukemia_tf.errors import InputError
from leukemia_tf.recipes.recipe import Recipe

_DEFINES = re.compile(r"^RECIPES\b", flags=re.MULTILINE)


def list_recipes() -> list[str]:
    """Names of all recipes, sorted."""
    return sorted(_modules())


def get_recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        InputError: for an unknown name, with the closest known ones.
    """
    return _module(name).RECIPES[name]


def describe_recipe(name: str) -> str:
    """The docstring of the recipe's file: command, source, faults corrected.

    Raises:
        InputError: for an unknown name, with the closest known ones.
    """
    return _module(name).__doc__ or ""


def _module(name: str) -> ModuleType:
    modules = _modules()
    if name not in modules:
        close = difflib.get_close_matches(name, modules, n=3)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise InputError(f"`recipe` is one of {', '.join(list_recipes())}; {hint}Received: {name!r}")
    return modules[name]


@functools.cache
def _modules() -> dict[str, ModuleType]:
    """Recipe -> the module of its system."""
    found: dict[str, ModuleType] = {}
    for file in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        # Its text is searched first, because the other files of this folder import TensorFlow.
        if not _DEFINES.search(file.read_text(encoding="utf-8")):
            continue
        module = importlib.import_module(f"leukemia_tf.recipes.{file.stem}")
        for name, recipe in module.RECIPES.items():
            if name in found or name != recipe.name:
                raise ValueError(
                    f"`RECIPES` of {file.name} must map new names to recipes of that name. Received: {name!r} "
                    f"for {recipe.name!r}" + (f", which {found[name].__name__} has already" if name in found else "")
                )
            found[name] = module
    return found
