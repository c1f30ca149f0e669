import inspect

import pytest

from leukemia_tf.models.handcrafted import handcrafted
from leukemia_tf.models.handcrafted.extract import FAMILIES
from leukemia_tf.recipes import get_recipe, override

NAMES = ("handcrafted", "handcrafted_fusion", "handcrafted_as_published")


@pytest.mark.parametrize("name", NAMES)
def test_recipe_fits_the_builder(name):
    recipe = override(get_recipe(name), get_recipe(name).on_smoke)
    assert recipe.phases == () and recipe.model.builder == "handcrafted" and recipe.data.policy == "none"
    assert set(recipe.model.options) <= set(inspect.signature(handcrafted).parameters)
    options = {**recipe.model.options, "weights": None, "image_size": recipe.data.image_size}
    model = handcrafted(**options)
    assert model.families == tuple(FAMILIES)
    assert model.cnn_features == ("mobilenetv2" if name == "handcrafted_fusion" else None)
    assert model.classifier == ("mlp" if name == "handcrafted_as_published" else "vote")


def test_builder_and_families_agree():
    """The builder spells the names out, so that listing the models imports neither OpenCV nor scikit-learn."""
    assert inspect.signature(handcrafted).parameters["families"].default == tuple(FAMILIES)
