"""Recipes: one file for each published system, and what runs them."""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Card": "card",
        "DataSpec": "recipe",
        "ModelSpec": "recipe",
        "Recipe": "recipe",
        "Run": "run",
        "get_recipe": "registry",
        "list_recipes": "registry",
        "load_run": "run",
        "override": "overrides",
    },
)
