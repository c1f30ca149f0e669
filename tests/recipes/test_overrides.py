"""`--set`: dotted names, checked types, and errors that name the field."""

from __future__ import annotations

import json

import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.recipes import Recipe, get_recipe, list_recipes, override
from leukemia_tf.recipes.overrides import parse_assignments
from leukemia_tf.recipes.train_recipe import for_source


def changed(*assignments: str) -> Recipe:
    return override(get_recipe("ensemble"), parse_assignments(list(assignments)))


def test_values_take_the_type_of_their_field():
    recipe = changed(
        "data.image_size=96",
        "data.fractions=0.5,0.25,0.25",
        "phases.0.learning_rate=1e-3",
        "phases.fine-tune.layers=top:20",
        "phases.1.optimizer_config={clipnorm: 1.0}",
        "model.options.backbones=resnet50,mobilenetv2",
        "model.options.as_published=true",
        "loss=categorical_focal_crossentropy",
        "loss_config.gamma=1.5",
        "phases.1.plateau_patience=0",
        "phases.1.schedule=piecewise",
        "phases.1.schedule_config={boundaries: [0.3, 0.6]}",
        "minutes=30",
        "title=1984",
    )
    assert recipe.data.image_size == 96 and isinstance(recipe.data.image_size, int)
    assert recipe.data.fractions == (0.5, 0.25, 0.25)
    assert recipe.phases[0].learning_rate == 0.001
    assert recipe.phases[1].layers == "top:20"
    assert recipe.phases[1].optimizer_config == {"clipnorm": 1.0}
    assert recipe.model.options["backbones"] == ["resnet50", "mobilenetv2"]
    assert recipe.model.options["as_published"] is True
    assert recipe.loss_config == {"gamma": 1.5}
    assert recipe.phases[1].schedule_numbers == {"boundaries": [0.3, 0.6], "factor": 0.1}
    assert recipe.minutes == 30.0 and isinstance(recipe.minutes, float)
    assert recipe.title == "1984"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("data.polcy=d4", "did you mean policy"),
        ("date.policy=d4", "did you mean data"),
        ("phases.haed.epochs=3", "did you mean head"),
        ("phases.7.epochs=3", "Received: '7'"),
        ("data.image_size=big", "wants a whole number. Received: 'big'"),
        ("data.image_size=1.5", "wants a whole number"),
        ("data.skip_broken=3", "wants true or false"),
        ("phases.0.learning_rate=fast", "wants a number"),
        ("data.fractions=a,b,c", "wants a number"),
        ("data.fractions=0.5,0.5", "three shares"),
        ("data.image_size=0", "1 or more"),
        ("data=x", "fields of its own"),
        ("phases=x", "fields of its own"),
        ("model.options.backbone=x", "did you mean backbones"),
        ("data.policy.name=x", "Received: 'name'"),
        ("verdict.operating_point=fixed:1.5", "between 0 and 1"),
        ("data.policy", "FIELD=VALUE"),
        ("card.system=x", "Received: 'card'"),
        ("on_smoke.seed=1", "Received: 'on_smoke'"),
        ("loss_config.gamma=2", "not of 'auto'. Received: {'gamma': 2}"),
        ("phases.0.schedule_config.pct_start=0.5", "'constant' takes no numbers. Received: 'pct_start'"),
        ("phases.0.layers=some", "'head', 'top:N' or 'all'"),
    ],
)
def test_a_wrong_assignment_is_named(assignment, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")) as caught:
        changed(assignment)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_survives_json_and_its_own_overrides(name):
    recipe = get_recipe(name)
    smoke = for_source(recipe, "sample", smoke=True)
    for one in (recipe, smoke):
        again = Recipe.from_dict(json.loads(json.dumps(one.to_dict())))
        assert again.to_dict() == one.to_dict()
    assert smoke.data.image_size < recipe.data.image_size


def test_the_sample_overrides_are_only_for_the_sample():
    assert for_source(get_recipe("ensemble"), "folder").data.image_size == 224
    assert for_source(get_recipe("ensemble"), None).data.image_size < 224


def test_an_unknown_recipe_gets_the_closest_names():
    with pytest.raises(InputError, match="did you mean ensemble"):
        get_recipe("ensembel")
