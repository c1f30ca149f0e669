"""Any trained run as teacher: found, refused, or trained first; and what a student's run holds."""

from __future__ import annotations

import dataclasses
import json
import logging

import keras
import pandas as pd
import pytest

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.recipes import Recipe, get_recipe, override
from leukemia_tf.recipes.report import verify_report
from leukemia_tf.recipes.teacher import check_teacher, needs_teacher, taught_by
from leukemia_tf.recipes.train_recipe import for_source, train_recipe
from leukemia_tf.training.distillation import Distillation


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leukemia_tf.evaluation.report.save_plots", lambda *arguments, **options: {})
        yield
    keras.backend.clear_session()


def small(name, **changes):
    return override(for_source(get_recipe(name), None, smoke=True), {"deterministic": "off", **changes})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A run whose images are larger than its student's."""
    recipe = small("bloodmnist_cnn_bn", **{"data.image_size": 48, "data.policy": "none"})
    return train_recipe(recipe, tmp_path_factory.mktemp("teacher") / "run", progress=False)


@pytest.fixture(scope="module")
def student(teacher, tmp_path_factory):
    recipe = taught_by(small("bloodmnist_cnn_se", **{"data.policy": "none", "seed": 5}), teacher.path)
    recipe = override(recipe, {"distillation.attention": 0.5, "phases.train.epochs": 2})
    return train_recipe(recipe, tmp_path_factory.mktemp("student") / "run", progress=False)


@pytest.mark.slow
def test_a_student_is_an_ordinary_run(student, teacher):
    assert student.finished and student.recipe.distillation.teacher == str(teacher.path)
    assert student.model.name == "bloodmnist_cnn_se" and student.model.count_params() < 300_000
    history = pd.read_csv(student.path / "history.csv")
    assert {"loss", "val_loss", "logits_loss", "attention_loss", "hard_loss"} < set(history) and len(history) == 2
    assert "val_logits_loss" not in history
    assert (student.path / "saved_model").is_dir()
    assert student.info["teacher"] == {"run": str(teacher.path), "recipe": "bloodmnist_cnn_bn"}


@pytest.mark.slow
def test_agreement_follows_from_both_predictions(student, teacher):
    """The student's seed would give another split; it is judged on the teacher's, whose predictions are on disk."""
    one, other = (pd.read_csv(run.path / "predictions.csv").set_index("path") for run in (student, teacher))
    assert set(one.index) == set(other.index)
    other = other.loc[one.index]
    agreement = json.loads((student.path / "agreement.json").read_text())
    assert agreement == student.agreement and teacher.agreement is None
    equal = (one["prediction"] == other["prediction"]).mean()
    assert agreement["equal_predictions"]["value"] == pytest.approx(equal)
    assert agreement["teacher_accuracy"]["value"] == pytest.approx(teacher.metrics["accuracy"]["value"])
    assert agreement["student_accuracy"]["value"] == pytest.approx(student.metrics["accuracy"]["value"])
    low, high = (agreement["equal_predictions"][end] for end in ("low", "high"))
    assert low <= equal <= high and agreement["equal_predictions"]["unit"] == "subject"


@pytest.mark.slow
def test_agreement_is_in_the_report_and_verified(student, teacher):
    page = (student.path / "report.html").read_text()
    assert "Says what its teacher says" in page and "taught by another one" in page
    assert "Says what its teacher says" not in (teacher.path / "report.html").read_text()
    assert verify_report(student) == []
    file = student.path / "predictions_teacher.csv"
    stored = file.read_text()
    frame = pd.read_csv(file)
    classes = student.classes
    frame["prediction"] = [classes[1 - classes.index(name)] for name in frame["prediction"]]
    frame.to_csv(file, index=False)
    lines = verify_report(student)
    file.write_text(stored)
    assert any(line.startswith("agreement.json: `equal_predictions.value` is stored as") for line in lines)


@pytest.mark.slow
def test_a_teacher_that_knows_the_test_is_refused(teacher, tmp_path):
    """With another fraction of training images the same subjects would be on other sides."""
    recipe = taught_by(small("bloodmnist_cnn_se", **{"data.split_level": "subject", "seed": 5}), teacher.path)
    with pytest.raises(InputError, match="was trained on .* test images of the student.*give --split .*split.csv"):
        train_recipe(recipe, tmp_path / "run", progress=False)


def test_a_student_gets_the_split_of_its_teacher(teacher):
    recipe = taught_by(small("bloodmnist_cnn_se"), teacher.path)
    assert check_teacher(recipe).data.split_file == str(teacher.path / "split.csv")
    own = override(recipe, {"data.split_level": "subject"})
    assert check_teacher(own) == own


@pytest.mark.parametrize(
    "contents, words",
    [
        (None, "no such folder"),
        ({}, "a folder without a run"),
        ({"recipe.json": "cnn", "run.json": {"status": "training"}}, "training; its own command goes on"),
        ({"recipe.json": "cnn"}, "just begun"),
        ({"recipe.json": "handcrafted", "run.json": {"status": "finished"}, "model.skops": ""}, "scikit-learn"),
    ],
)
def test_a_wrong_teacher_is_one_line(tmp_path, contents, words):
    folder = tmp_path / "teacher"
    if contents is not None:
        folder.mkdir()
    for name, text in (contents or {}).items():
        if name == "recipe.json":
            text = get_recipe("handcrafted" if text == "handcrafted" else "bloodmnist_cnn4").to_dict()
        (folder / name).write_text(text if isinstance(text, str) else json.dumps(text))
    with pytest.raises(InputError, match="`teacher` is .*Received: .*") as caught:
        check_teacher(taught_by(small("bloodmnist_cnn_se"), folder))
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_other_classes_and_colours_are_refused(teacher, tmp_path):
    recipe = taught_by(small("bloodmnist_cnn_se"), teacher.path)
    with pytest.raises(InputError, match="`data.colour` of a student is 'none'"):
        train_recipe(override(recipe, {"data.colour": "grey_world"}), tmp_path / "colour", progress=False)
    # A teacher of other classes: the same run, said to have been trained on others.
    info = json.loads((teacher.path / "run.json").read_text())
    (teacher.path / "run.json").write_text(json.dumps({**info, "classes": ["HEM", "AML"]}))
    try:
        with pytest.raises(InputError, match="classes of the data, HEM, ALL, in this order. Received: .*HEM, AML"):
            train_recipe(recipe, tmp_path / "classes", progress=False)
    finally:
        (teacher.path / "run.json").write_text(json.dumps(info))


def test_a_recipe_without_terms_needs_no_teacher():
    recipe = small("distil_ensemble", **{"distillation.logits": 0.0, "distillation.hard": 1.0})
    assert not needs_teacher(recipe) and check_teacher(recipe) == recipe
    assert needs_teacher(small("mlffakd")) and not needs_teacher(small("mlffakd_student"))


def test_a_recipe_says_what_it_does_without_a_teacher(caplog):
    logging.getLogger("leukemia_tf").propagate = True
    with caplog.at_level(logging.INFO, "leukemia_tf"):
        check_teacher(small("mlffakd_tiny"))
    assert "`bloodmnist_cnn_bn` is trained first, in the folder `teacher`" in caplog.text
    with pytest.raises(InputError, match="`--teacher`.*Received: none"):
        check_teacher(override(small("mlffakd_tiny"), {"distillation.teacher_recipe": ""}))
    with pytest.raises(InputError, match="`strategy` is 'none' where a teacher"):
        check_teacher(override(small("mlffakd_tiny"), {"strategy": "mirrored"}))


@pytest.mark.slow
def test_a_budget_that_ends_with_the_teacher_says_so(tmp_path):
    recipe = small("mlffakd_tiny", **{"minutes": 1e-4})
    with pytest.raises(RunError, match="time budget ended while the teacher was trained; the same command goes on"):
        train_recipe(recipe, tmp_path / "run", progress=False)


def test_the_recipe_goes_through_json():
    recipe = small("mlffakd", **{"distillation.teacher_taps": ["a", "b"], "distillation.student_taps": ["c", "d"]})
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again.distillation == recipe.distillation and again.distillation.teacher_taps == ("a", "b")
    plain = get_recipe("bloodmnist_cnn4")
    stored = plain.to_dict()
    del stored["distillation"]  # a run of an earlier version
    assert Recipe.from_dict(stored).distillation is None


def test_published_numbers():
    """The notebook: half and half, temperature 7, no square; dropout on the logits, smoothing .1, cyclic rate."""
    recipe = get_recipe("mlffakd_as_published")
    expected = Distillation(teacher_recipe="mlffakd_teacher", temperature=7.0, temperature_squared=False)
    assert recipe.distillation == expected and expected.used == ("logits",)
    assert (expected.hard, expected.logits) == (0.5, 0.5)
    assert recipe.model.options == {"as_published": True, "dropout": 0.4}
    assert recipe.loss_config == {"label_smoothing": 0.1} and recipe.data.policy == "none"
    assert (recipe.phases[0].schedule, recipe.phases[0].schedule_config["step_size_up"]) == ("triangular2", 5)
    meant = get_recipe("mlffakd")
    assert set(meant.distillation.used) == {"logits", "features", "attention", "fusion"}
    assert meant.distillation.temperature_squared and not meant.model.options["as_published"]
    assert dataclasses.replace(meant.distillation, features=0.0).used == ("logits", "attention", "fusion")
