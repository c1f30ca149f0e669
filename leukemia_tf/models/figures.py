"""Size and cost of every model and recipe, from ``figures.json``, without building one.

``experiments/benchmarks/zoo_figures.py`` writes the file. An entry has ``parameters``, ``trainable_parameters``,
``gflops`` (floating point operations to classify one image, in billions; a multiplication and an addition are two),
``megabytes`` (the weights as float32, in millions of bytes), ``image_size`` and ``num_classes``. What has no meaning
for a model that is not a network is null.
"""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

FILE = pathlib.Path(__file__).with_name("figures.json")


def model_figures(name: str) -> dict[str, Any]:
    """Figures of a registered model with the options, size and classes of its publication; empty if not known."""
    return dict(_read()["models"].get(name, {}))


def recipe_figures(name: str) -> dict[str, Any]:
    """Figures of a recipe's model at the recipe's image size; empty if not known.

    ``trainable_parameters`` are those that its last phase trains, ``num_classes`` those of the publication.
    """
    return dict(_read()["recipes"].get(name, {}))


@functools.cache
def _read() -> dict[str, dict[str, Any]]:
    return json.loads(FILE.read_text(encoding="utf-8"))
