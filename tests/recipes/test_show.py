"""What `list` and `show` tell, against what the pipeline and the models really do."""

from __future__ import annotations

import dataclasses

import pytest

from leukemia_tf.models.figures import recipe_figures
from leukemia_tf.recipes import DataSpec, ModelSpec, get_recipe, list_recipes
from leukemia_tf.recipes.show import list_rows, open_layers_by_phase, pipelines
from leukemia_tf.training import Phase


def test_one_row_a_recipe():
    rows = list_rows()
    assert [row["recipe"] for row in rows] == list_recipes()
    (row,) = list_rows(["ensemble"])
    assert row["parameters"] == 99_181_968 and row["megabytes"] == pytest.approx(396.73)
    assert row["gflops"] == recipe_figures("ensemble")["gflops"]
    assert {"system", "source", "reported", "protocol"} <= set(row)


def with_data(**fields):
    return dataclasses.replace(get_recipe("ensemble"), data=DataSpec(**fields), seed=7)


def test_pipelines_side_by_side():
    pairs = pipelines(with_data(image_size=96, batch_size=24, policy="cells", balance="oversample"))
    train, evaluation = zip(*pairs, strict=True)
    assert train[:4] == evaluation[:4] and train[-1] == evaluation[-1] == "prefetch"
    assert "resize to 96 x 96: bilinear, antialiased, rounded" in train
    assert "shuffle, each class equally often (seed 7)" in train and "order of the table" in evaluation
    assert [step for step in train if step.startswith("augment")] == [
        "augment: d4",
        "augment: warp rotation=15.0, zoom=0.1, shear=0.05, translation=0.05",
        "augment: color brightness=0.06, contrast=0.15, saturation=0.15, hue=0.02",
    ]
    assert not any(step.startswith("augment") for step in evaluation)
    assert evaluation[train.index("augment: d4")] == ""


def test_without_augmentation_both_differ_in_the_order_only():
    pairs = pipelines(with_data(policy="none"))
    assert [number for number, (train, evaluation) in enumerate(pairs) if train != evaluation] == [4, 5]


def test_layers_of_each_phase():
    recipe = dataclasses.replace(
        get_recipe("ensemble"),
        model=ModelSpec("ensemble", {"backbones": ["mobilenetv2", "mobilenetv2"]}),
        data=DataSpec(image_size=32),
        phases=(Phase("first", layers="head"), Phase("second", layers="top:5")),
    )
    (first, rows), (second, more) = open_layers_by_phase(recipe)
    assert (first, second) == ("first", "second")
    assert [row["backbone"] for row in rows] == ["mobilenetv2", "mobilenetv2_2", "head"]
    assert [row["trainable"] for row in rows[:2]] == [0, 0]
    # The last five layers of MobileNetV2: one convolution of 320 to 1280 channels among them; its norm stays frozen.
    assert [row["trainable"] for row in more[:2]] == [320 * 1280] * 2
    assert rows[2] == more[2] and rows[2]["trainable"] > 0
