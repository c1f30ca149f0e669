"""What `leukemia-tf list` and `leukemia-tf show` tell of a recipe, as values; the command prints them."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, Sequence

from leukemia_tf.models.figures import recipe_figures
from leukemia_tf.recipes.colour import IN_THE_MODEL, TITLES
from leukemia_tf.recipes.recipe import Recipe
from leukemia_tf.recipes.registry import get_recipe, list_recipes


def list_rows(names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """One row a recipe, without TensorFlow: what it is, what it costs, and what its authors reported.

    Args:
        names: of recipes; None takes all.

    Returns:
        Rows with the keys recipe, title, model, the figures of `recipe_figures` (None where they are not known),
        system, source, reported and protocol.
    """
    rows = []
    for name in list_recipes() if names is None else names:
        recipe, figures = get_recipe(name), recipe_figures(name)
        rows.append(
            {
                "recipe": name,
                "title": recipe.title,
                "model": recipe.model.builder,
                **{key: figures.get(key) for key in FIGURES},
                "system": recipe.card.system,
                "source": recipe.card.source,
                "reported": recipe.card.reported,
                "protocol": recipe.card.protocol,
            }
        )
    return rows


FIGURES = ("parameters", "trainable_parameters", "gflops", "megabytes", "image_size", "num_classes")


def pipelines(recipe: Recipe) -> list[tuple[str, str]]:
    """The steps of the training and of the evaluation pipeline, side by side; "" where one of them has none."""
    from leukemia_tf.data.augment import get_policy
    from leukemia_tf.models import describe_model

    data = recipe.data
    read = [
        "header check: format, at most 100 megapixels",
        "decode to RGB, 8 bits",
        f"resize to {data.image_size} x {data.image_size}: bilinear, antialiased, rounded",
        "cache as uint8, in memory or in a mapped file",
    ]
    train_colour, evaluation_colour = _describe_colour(data.colour)
    if describe_model(recipe.model.builder)["kind"] != "keras":
        return [*((step, step) for step in [*read, *train_colour]), ("fit to all images at once", "all images at once")]
    order = {
        "none": f"shuffle, anew each epoch (seed {recipe.seed})",
        "class_weight": f"shuffle, anew each epoch (seed {recipe.seed}); classes weighted in the loss",
        "oversample": f"shuffle, each class equally often (seed {recipe.seed})",
    }
    policy = get_policy(data.policy, data.image_size)
    train = [
        *read,
        *train_colour,
        order[data.balance],
        f"batches of {data.batch_size}, the last partial one left out",
        "float32, 0 to 255",
        *(f"augment: {_describe_step(step)}" for step in policy.steps),
        "prefetch",
    ]
    evaluation = [
        *read,
        *evaluation_colour,
        "order of the table",
        f"batches of {data.batch_size}, the last partial one kept",
        "float32, 0 to 255",
        *[""] * len(policy.steps),
        "prefetch",
    ]
    return list(itertools.zip_longest(train, evaluation, fillvalue=""))


def open_layers_by_phase(recipe: Recipe) -> list[tuple[str, list[dict[str, Any]]]]:
    """What trains in each phase: the phase's name and the rows of `leukemia_tf.models.describe_open`.

    The model is built with random weights, at the recipe's image size, for the classes of the publication.
    """
    from leukemia_tf.models import describe_model, describe_open, open_layers
    from leukemia_tf.recipes.train_recipe import build

    if not recipe.phases:
        return []
    random = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, weights="none"))
    model = build(random, describe_model(recipe.model.builder)["options"]["num_classes"])
    found = []
    for phase in recipe.phases:
        open_layers(model, phase.layers, freeze_batchnorm=phase.freeze_batchnorm)
        found.append((phase.name, describe_open(model)))
    return found


def _describe_colour(method: str) -> tuple[list[str], list[str]]:
    """The step in the pipeline of training, and in that of the evaluation: one row or none."""
    if method == "none":
        return [], []
    step = f"colour: {TITLES[method]}"
    return [step], [f"{step}; first layer of the model" if method in IN_THE_MODEL else step]


def _describe_step(step) -> str:
    """The step with the numbers that are not what they would be anyway."""
    defaults = {field.name: field.default for field in dataclasses.fields(step)}
    numbers = {key: value for key, value in dataclasses.asdict(step).items() if value != defaults[key]}
    return " ".join([step.name, ", ".join(f"{key}={value}" for key, value in numbers.items())]).strip()
