"""Comparing runs: the same figures as from the predictions themselves, and one line for what does not fit."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
from PIL import Image
from tiny_runs import SUBJECTS, estimator, register, write_images

from leukemia_tf import cli
from leukemia_tf.errors import InputError
from leukemia_tf.evaluation import compare_predictions, holm, metric_intervals, read_predictions
from leukemia_tf.files import read_json, write_json
from leukemia_tf.recipes import load_run, override
from leukemia_tf.recipes.compare import compare_runs
from leukemia_tf.recipes.evaluate import evaluate
from leukemia_tf.recipes.train_recipe import train_recipe


OTHER = {"blast": "healthy", "healthy": "blast"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs on one split, of which the second calls fewer cells a blast, and one on another split."""
    root = tmp_path_factory.mktemp("compare")
    (root / "cells").mkdir()
    data = write_images(root / "cells")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        for name, power, seed in (("first", 1.0, 0), ("second", 3.0, 0), ("other", 1.0, 5)):
            recipe = override(estimator(data, power, seed=seed), {"data.fractions": (0.4, 0.2, 0.4)})
            train_recipe(recipe, root / name, progress=False)
            evaluate(load_run(root / name), str(data), progress=False)
    return root


def changed(runs, tmp_path, edit):
    """A copy of the first run's predictions, edited."""
    frame = pd.read_csv(runs / "first" / "predictions.csv", keep_default_na=False)
    tmp_path.joinpath("edited").mkdir()
    edit(frame).to_csv(tmp_path / "edited" / "predictions.csv", index=False)
    write_json(tmp_path / "edited" / "metrics.json", {})
    return tmp_path / "edited"


def test_the_figures_are_those_of_the_predictions(runs, tmp_path):
    found = compare_runs([runs / "first", runs / "second"], output=tmp_path, bootstrap=80, seed=3)
    frames = {name: read_predictions(runs / name / "predictions.csv")[0] for name in ("first", "second")}
    classes = read_predictions(runs / "first" / "predictions.csv")[1]
    expected = compare_predictions(frames, classes, bootstrap=80, seed=3)
    pd.testing.assert_frame_equal(found.differences, expected)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "comparison.csv"), expected)
    for name, frame in frames.items():
        intervals = metric_intervals(frame, classes, method="percentile", bootstrap=80, seed=3)
        for row in found.values[found.values["model"] == name].itertuples():
            own = intervals[row.metric]
            assert (row.value, row.low, row.high) == (own.value, own.low, own.high)
    stored = read_json(tmp_path / "comparison.json")
    assert [run["name"] for run in stored["runs"]] == ["first", "second"]
    assert {run["split_hash"] for run in stored["runs"]} == {load_run(runs / "first").info["split_hash"]}
    assert [row["difference"] for row in stored["differences"]] == expected["difference"].tolist()
    assert stored["differences"][1]["p_mcnemar"] is None and stored["notices"] == []
    assert [row["p_holm"] for row in stored["differences"]] == pytest.approx(holm(expected["p_value"]).tolist())
    with Image.open(tmp_path / "comparison.png") as image:
        assert image.width > 800
    page = (tmp_path / "comparison.html").read_text()
    for text in ("Research use only", "Holm", "DeLong", "paired bootstrap", "Greyness"):
        assert text in page
    assert len(re.findall("<img ", page)) == 1 and "http" not in page.split("<main>")[1]


def test_evaluations_of_runs_with_different_splits(runs, tmp_path):
    folders = [runs / name / "evaluations" / "table" for name in ("first", "other")]
    found = compare_runs(folders, metrics=["accuracy"], output=tmp_path, bootstrap=50)
    assert list(found.values["model"]) == ["first/table", "other/table"]
    assert found.differences["n_images"].tolist() == [48] and found.differences["n_units"].tolist() == [SUBJECTS]
    assert len(found.notices) == 1 and "learned from other images" in found.notices[0]
    assert found.lines[-1] == "Multiplicity: one test, nothing to correct."


def test_a_baseline_and_a_stamp(runs, tmp_path):
    leaky = changed(runs, tmp_path, lambda frame: frame.iloc[::-1])
    write_json(leaky / "metrics.json", {"stamp": "LEAKY SPLIT: of a test"})
    folders = [runs / "first", runs / "second", leaky]
    found = compare_runs(folders, metrics=["auc"], baseline=runs / "second", output=tmp_path / "out", bootstrap=50)
    assert list(zip(found.differences["first"], found.differences["second"])) == [
        ("second", "first"),
        ("second", "edited"),
    ]
    assert found.differences["difference"].nunique() == 1  # the edited one is the first in another order
    assert found.notices == ["edited: LEAKY SPLIT: of a test"]
    assert "LEAKY SPLIT" in (tmp_path / "out" / "comparison.html").read_text().split("<main>")[0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda f: f.iloc[1:], "same labelled images; received 0 that only `edited` has and 1 that only `first` has"),
        (lambda f: f.assign(subject="x"), "must have the same subjects; received others in `edited`"),
        (lambda f: f.assign(label=[*f["label"][:-1], OTHER[f["label"].iloc[-1]]]), "must have the same labels"),
        (
            lambda f: f.rename(columns=lambda name: name.replace("blast", "ALL")).replace("blast", "ALL"),
            "must have the same classes",
        ),
    ],
)
def test_what_differs_is_one_line(runs, tmp_path, edit, message):
    edited = changed(runs, tmp_path, edit)
    with pytest.raises(InputError, match=message) as caught:
        compare_runs([runs / "first", edited], output=tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1 and "`RUN`" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_is_no_run(runs, tmp_path):
    for folders, message in (
        ([runs / "first"], "two or more different ones"),
        ([runs / "first", runs / "second" / ".." / "first"], "two or more different ones"),
        ([runs / "first", tmp_path], "a folder without predictions.csv"),
        ([runs / "first", tmp_path / "none"], "no such folder"),
    ):
        with pytest.raises(InputError, match=message):
            compare_runs(folders)
    (tmp_path / "seed-1").mkdir()
    write_json(tmp_path / "group.json", {})
    for expected in ("repeated runs, none finished", "repeated runs: name one of them, seed-1"):
        with pytest.raises(InputError, match=expected):
            compare_runs([runs / "first", tmp_path])
        (tmp_path / "seed-1" / "predictions.csv").touch()
    with pytest.raises(InputError, match="`--baseline` is one of the runs, first, second. Received: third"):
        compare_runs([runs / "first", runs / "second"], baseline="third")
    with pytest.raises(InputError, match="`metrics` must name some of .*; received speed"):
        compare_runs([runs / "first", runs / "second"], metrics=["speed"])


def test_the_command(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [str(runs / "first"), str(runs / "second"), "--metrics", "accuracy,specificity", "--resamples", "50"]
    assert cli.main(["compare", *arguments]) == 0
    shown = capsys.readouterr().out
    for text in ("second - first", "Holm's correction over all 2 tests", "of 6 subjects", "Research use"):
        assert text in shown, shown
    stored = json.loads((tmp_path / "comparisons" / "first_second" / "comparison.json").read_text())
    assert [row["metric"] for row in stored["differences"]] == ["accuracy", "specificity"]
    assert cli.main(["compare", str(runs / "first"), str(runs / "other")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: `RUN`") and len(error.splitlines()) == 1


def test_the_training_command_repeats(runs, tmp_path, monkeypatch, capsys):
    from leukemia_tf.recipes import registry

    register(monkeypatch)
    recipe = estimator(runs / "cells" / "table.csv")
    monkeypatch.setattr(registry, "get_recipe", lambda name: recipe)
    arguments = ["greyness", "--run-dir", str(tmp_path / "group"), "--quiet"]
    assert cli.train_main([*arguments, "--folds", "2"]) == 0
    shown = capsys.readouterr().out
    for text in ("2 of 2 runs are finished", "t interval", "no unbiased estimate", "Research use only"):
        assert text in shown, shown
    assert cli.train_main([*arguments, "--seeds", "2"]) == 2
    assert "--folds is 2 there and None here; --seeds is None there and 2 here" in capsys.readouterr().err
