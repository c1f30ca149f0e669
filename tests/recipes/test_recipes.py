"""The recipes of all systems: they hold together, and their numbers are the published ones."""

from __future__ import annotations

import dataclasses
import json

import pytest

from leukemia_tf.data.augment import list_policies
from leukemia_tf.models import BACKBONES, describe_model
from leukemia_tf.models.registry import list_models
from leukemia_tf.recipes import Recipe, get_recipe, list_recipes, override
from leukemia_tf.recipes.registry import describe_recipe
from leukemia_tf.recipes.train_recipe import for_source
from leukemia_tf.training.loss import make_loss

NAMES = list_recipes()
TWINS = [name for name in NAMES if name.endswith("_as_published")]
BY_GRADIENTS = [name for name in NAMES if get_recipe(name).phases]
PRETRAINED = [name for name in BY_GRADIENTS if get_recipe(name).model.weights == "imagenet"]


@pytest.fixture(params=NAMES)
def recipe(request) -> Recipe:
    return get_recipe(request.param)


def variants(recipe: Recipe) -> list[Recipe]:
    """As it is, on the sample, in a smoke test of the sample, and in one of other data."""
    return [
        recipe,
        for_source(recipe, "sample"),
        for_source(recipe, "sample", smoke=True),
        for_source(recipe, "folder", smoke=True),
    ]


def test_every_builder_has_a_recipe():
    assert {get_recipe(name).model.builder for name in NAMES} == set(list_models())


def test_its_docstring_tells_the_command_and_what_was_reported(recipe):
    text = describe_recipe(recipe.name)
    assert "python experiments/run.py" in text and "original" in text and "reported" in text


def test_it_survives_json_with_all_overrides(recipe):
    for one in variants(recipe):
        again = Recipe.from_dict(json.loads(json.dumps(one.to_dict())))
        assert again.to_dict() == one.to_dict()


def test_every_override_changes_something_that_exists(recipe):
    for changes in (recipe.on_sample, recipe.on_smoke):
        assert changes
        for field, value in changes.items():
            override(recipe, {field: value})
            names = field.split(".")
            assert names[0] != "model" or names[2] in recipe.model.options, field


def test_a_smoke_test_is_small(recipe):
    smoke = for_source(recipe, "sample", smoke=True)
    assert 32 <= smoke.data.image_size <= 64 and smoke.data.image_size < recipe.data.image_size
    assert smoke.data.batch_size == 8 and smoke.bootstrap == 50
    assert (smoke.data.max_train_images, smoke.data.max_val_images) == (16, 8)
    assert all(phase.epochs == 1 for phase in smoke.phases)
    assert smoke.model.options.get("backbone", "mobilenetv2") == "mobilenetv2"


@pytest.mark.parametrize("name", BY_GRADIENTS)
def test_the_sample_is_cheaper(name):
    sample = for_source(get_recipe(name), "sample")
    assert sample.data.image_size <= 80 and sum(phase.epochs for phase in sample.phases) <= 15


def test_its_policy_exists(recipe):
    assert recipe.data.policy in list_policies()


def test_its_builder_takes_exactly_these_options(recipe):
    entry = describe_model(recipe.model.builder)
    for one in variants(recipe):
        assert set(one.model.options) <= set(entry["options"]) - {"num_classes", "image_size", "weights", "name"}
        named = [one.model.options.get("backbone")] + list(one.model.options.get("backbones", []))
        assert all(name is None or name in BACKBONES for name in named)
    if recipe.phases:
        assert recipe.model.weights == (entry["options"]["weights"] or "none")
    assert recipe.card.system.partition("-")[0] in entry["system"]


@pytest.mark.parametrize("name", BY_GRADIENTS)
def test_keras_knows_its_loss(name):
    recipe = get_recipe(name)
    sigmoid = describe_model(recipe.model.builder)["options"].get("two_class_units", 1) == 1 and (
        recipe.model.builder not in ("attention_cnn", "basic_cnn", "mha_efficientnet")
    )
    for one in (for_source(recipe, "sample"), for_source(recipe, "sample", smoke=True)):
        make_loss(one.loss, one.loss_config, outputs=1 if sigmoid else 2)


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(BY_GRADIENTS)))
def test_without_phases_nothing_is_augmented(name):
    assert get_recipe(name).data.policy == "none"


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_head_alone_comes_first_or_the_original_says_otherwise(name):
    recipe = get_recipe(name)
    assert all(phase.layers != "head" for phase in recipe.phases[1:])
    assert [phase.name for phase in recipe.phases] == list(dict.fromkeys(phase.name for phase in recipe.phases))


@pytest.mark.parametrize("name", BY_GRADIENTS)
def test_only_backbones_are_frozen(name):
    recipe = get_recipe(name)
    if recipe.model.weights == "none":
        assert all(phase.layers == "all" for phase in recipe.phases)


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_differs_and_names_the_faults_it_keeps(name):
    published, corrected = get_recipe(name), get_recipe(name.removesuffix("_as_published"))
    differs = [
        field.name
        for field in dataclasses.fields(Recipe)
        if field.name not in ("name", "title", "card", "on_sample", "on_smoke")
        and getattr(published, field.name) != getattr(corrected, field.name)
    ]
    assert differs
    kept = [fault for fault in published.card.faults if fault.endswith(": kept")]
    assert kept and not [fault for fault in corrected.card.faults if fault.endswith(": kept")]
    # What one keeps the other has corrected, unless the other is of a later version of the system.
    if published.phases and published.card.system == corrected.card.system:
        names = {fault.removesuffix(": corrected") for fault in corrected.card.faults}
        assert {fault.removesuffix(": kept") for fault in kept} <= names


def test_faults_are_either_kept_or_corrected(recipe):
    assert all(fault.endswith((": kept", ": corrected")) for fault in recipe.card.faults)


def test_what_was_reported_comes_with_its_protocol(recipe):
    card = recipe.card
    assert card.system and card.source
    assert bool(card.reported) == bool(card.protocol)


PUBLISHED = {
    # name: (layers, epochs, learning rate, optimizer, batch size, image size) of the last phase
    "ensemble_as_published": ("top:50", 15, 1e-4, "adam", 16, 224),
    "efficientnetb3_max_as_published": ("head", 10, 1e-4, "adamax", 16, 224),
    "mha_efficientnet_as_published": ("all", 100, 1e-5, "adam", 32, 224),
    "transfer_resnet50_004_as_published": ("head", 100, 1e-3, "adam", 32, 224),
    "transfer_inceptionv3_004_as_published": ("head", 100, 1e-3, "adam", 32, 299),
    "transfer_densenet121_004_as_published": ("head", 100, 1e-3, "adam", 32, 224),
    "transfer_vgg19_004_as_published": ("head", 100, 1e-3, "adam", 32, 224),
    "attention_cnn": ("all", 50, 1e-3, "adamw", 8, 384),
    "attention_cnn_paper": ("all", 100, 4e-5, "adamw", 8, 384),
    "attention_cnn_as_published": ("all", 50, 4e-5, "adamw", 16, 224),
    "transfer_vgg16_001_as_published": ("all", 90, 1e-5, "adamw", 16, 224),
    "mlffakd_teacher": ("all", 10, 1e-3, "adam", 32, 224),
    "mlffakd_student_as_published": ("all", 10, 1e-3, "adamw", 32, 224),
    "bloodmnist_cnn_bn": ("all", 20, 1e-3, "adam", 64, 64),
}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_published_numbers_of_training(name):
    recipe = get_recipe(name)
    phase = recipe.phases[-1]
    found = (phase.layers, phase.epochs, phase.learning_rate, phase.optimizer)
    assert (*found, recipe.data.batch_size, recipe.data.image_size) == PUBLISHED[name]


REPORTED = {
    "ensemble": ".9350",
    "filter_token": ".9122",
    "efficientnetb3_max": ".8475",
    "basic_cnn": ".88",
    "mha_efficientnet": ".9406",
    "transfer_resnet50_004": ".8749",
    "transfer_efficientnetb0_004": ".8649",
    "transfer_inceptionv3_004": ".8186",
    "transfer_densenet121_004": ".8518",
    "transfer_vgg19_004": ".8443",
    "attention_cnn": ".9789",
    "attention_cnn_as_published": ".9555",
    "transfer_vgg16_001": ".8683",
    "transfer_vgg19_001": ".5001",
    "transfer_xception_001": ".8933",
    "mlffakd_teacher": ".9861",
    "mlffakd_student": ".9833",
    "bloodmnist_cnn2": ".8895",
    "bloodmnist_cnn3": ".8807",
    "bloodmnist_cnn4": ".8878",
    "bloodmnist_cnn_dropout": ".9190",
    "bloodmnist_cnn_bn": ".9559",
    "bloodmnist_cnn_bn_l2": ".9111",
    "bloodmnist_cnn_se": ".9503",
    "bloodmnist_residual": ".9243",
    "bloodmnist_resnet18": ".9567",
    "bloodmnist_vgg16": ".9503",
    "bloodmnist_vgg16_dropout": ".9643",
    "bloodmnist_vgg16_slim": ".9620",
    "bloodmnist_vgg16_se": ".9170",
    "bloodmnist_vgg16_cbam": ".9331",
    "bloodmnist_inception": ".8802",
}


@pytest.mark.parametrize("name", sorted(REPORTED))
def test_published_results(name):
    recipe = get_recipe(name)
    assert REPORTED[name] in recipe.card.reported
    if recipe.card.system == "001-A":
        return  # its builder tells of 001-B
    percent = f"{float(REPORTED[name]) * 100:.2f}"
    published = describe_model(recipe.model.builder)["published"]
    # The builder says it too, as a fraction or in per cent.
    assert REPORTED[name] in published or percent in published or percent.rstrip("0").rstrip(".") in published


@pytest.mark.parametrize("right, total, accuracy", [(398 + 350, 800, 0.9350), (289 + 251, 592, 0.9122)])
def test_reported_accuracies_follow_from_their_confusion_matrices(right, total, accuracy):
    assert round(right / total, 4) == accuracy


def test_losses_of_system_001():
    assert get_recipe("attention_cnn_as_published").loss_config == {"alpha": 0.25, "gamma": 2.0}
    assert get_recipe("attention_cnn_paper").loss_config == {"alpha": [0.75, 0.25], "gamma": 2.0}
    corrected = get_recipe("attention_cnn")
    # One alpha for all classes: unlike a list it fits any number of them, and class weights do what it was meant to.
    assert corrected.loss_config == {"alpha": 0.5, "gamma": 2.0} and corrected.data.balance == "class_weight"
    for name in ("attention_cnn", "attention_cnn_paper", "attention_cnn_as_published"):
        recipe = get_recipe(name)
        assert recipe.loss == "categorical_focal_crossentropy"
        assert (recipe.monitor, recipe.mode) == ("val_f1_weighted", "max")
        assert recipe.phases[0].patience == 10 and recipe.phases[0].optimizer_config["weight_decay"] == 1e-5


def test_the_mis_stepped_rate_is_the_first_of_the_cycle():
    cycle = get_recipe("attention_cnn").phases[0]
    assert get_recipe("attention_cnn_paper").phases[0].learning_rate == pytest.approx(
        cycle.learning_rate / cycle.schedule_numbers["div_factor"]
    )


def test_a_threshold_is_chosen_on_validation_unless_published():
    for name in NAMES:
        rules = get_recipe(name).verdict
        if name in TWINS:
            threshold = 0.7 if name == "ensemble_as_published" else 0.5
            assert (rules.operating_point, rules.calibration) == (f"fixed:{threshold}", "none"), name
        else:
            assert (rules.operating_point, rules.calibration) == ("youden", "temperature"), name


def test_a_recipe_that_was_written_before_there_were_rules_had_a_fixed_threshold():
    old = get_recipe("ensemble_as_published").to_dict()
    del old["verdict"]
    assert Recipe.from_dict({**old, "threshold": 0.6}).verdict.operating_point == "fixed:0.6"


def test_the_student_of_system_000():
    corrected, published = get_recipe("mlffakd_student"), get_recipe("mlffakd_student_as_published")
    for recipe in (corrected, published):
        assert recipe.loss_config == {"label_smoothing": 0.1}
        assert recipe.phases[0].optimizer_config == {"weight_decay": 1e-4}
    assert published.phases[0].schedule_numbers == {"base": 1e-5, "step_size_up": 5}
    # One triangle over the whole training, between the same rates.
    numbers = corrected.phases[0].schedule_numbers
    base = corrected.phases[0].learning_rate / numbers["div_factor"]
    assert numbers["pct_start"] == 0.5 and base == pytest.approx(1e-5)
    assert base / numbers["final_div_factor"] == pytest.approx(1e-5)


def test_xception_of_system_001_was_a_resnet50():
    assert get_recipe("transfer_xception_001").model.options["backbone"] == "xception"
    assert get_recipe("transfer_xception_001_as_published").model.options["backbone"] == "resnet50"


def test_only_efficientnet_wanted_the_raw_pixels_of_system_004():
    named = {name for name in TWINS if "_004" in name}
    assert named == {
        f"transfer_{name}_004_as_published" for name in ("resnet50", "inceptionv3", "densenet121", "vgg19")
    }
    assert all(get_recipe(name).model.options["as_published"] is True for name in named)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("bloodmnist_vgg16")])
def test_vgg_starts_gently(name):
    recipe = get_recipe(name)
    assert recipe.model.options["kernel_initializer"] == "he_normal"
    phase = recipe.phases[0]
    assert (phase.schedule, phase.warmup_epochs, phase.learning_rate) == ("cosine", 2, 3e-4)
