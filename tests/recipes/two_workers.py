"""A recipe with a backbone and batch normalisation: ``python -m tests.recipes.two_workers DATA FOLDER`` trains it.

Of several workers where TF_CONFIG is set, and alone where it is not.
"""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

from leukemia_tf.models import register_model
from leukemia_tf.recipes import DataSpec, ModelSpec, Recipe
from leukemia_tf.recipes.train_recipe import train_recipe
from tests.recipes.tiny_runs import register
from tests.training.two_devices import PHASES, make_model


def train(data: str, folder: pathlib.Path, strategy: str):
    """The run, or None."""
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        register_model("with_backbone")(lambda num_classes=2, image_size=8: make_model())
        recipe = Recipe(
            name="two_workers", title="Two workers", model=ModelSpec("with_backbone", weights="none"), phases=PHASES,
            data=DataSpec(source=data, image_size=8, batch_size=8), feature_views=0, bootstrap=20, strategy=strategy,
            deterministic="off",
        )  # fmt: skip
        return train_recipe(recipe, folder, progress=False)


if __name__ == "__main__":
    run = train(sys.argv[1], pathlib.Path(sys.argv[2]), "multi_worker" if "TF_CONFIG" in os.environ else "none")
    print("wrote", run)
