"""Every file of a verdict follows from the ones before it, and a changed digit anywhere is found and named."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.evaluation.verdict_files import verify_files, write_decision, write_verdict_files
from leukemia_tf.evaluation.views_file import read_views
from tests.evaluation.verdict_cases import CLASSES, case, groups

RULES = VerdictRules(tta="d4_learnt", subgroups=("scanner",))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    table, probabilities, scores = case()
    views = (["same", "turned"], np.stack([probabilities, case(seed=7)[1]]))
    decision = write_decision(
        folder, table, probabilities, CLASSES, RULES, scores=scores, groups=groups(table), views=views
    )
    table, probabilities, scores = case(seed=1)
    views = (views[0], np.stack([probabilities, case(seed=8)[1]]))
    frame = decision.apply(table, probabilities, scores, groups(table))
    write_verdict_files(folder, frame, decision, views=views, bootstrap=30, seed=0, stamp="LEAKY")
    return folder


@pytest.fixture
def copy(written, tmp_path):
    shutil.copytree(written, tmp_path / "run")
    return tmp_path / "run"


def test_what_was_written_agrees_with_itself(written):
    assert {file.name for file in written.iterdir()} == {
        "decision.json", "predictions_val.csv", "views_val.csv", "predictions.csv", "views.csv", "metrics.json",
    }  # fmt: skip
    assert verify_files(written, RULES) == []
    assert json.loads((written / "metrics.json").read_text())["stamp"] == "LEAKY"


def change(path, pattern: str, last: bool) -> None:
    """Change the last digit, or the fourth from the end, of what the group of `pattern` matches first."""
    text = path.read_text()
    match = re.search(pattern, text)
    number = match.group(1)
    digits = [index for index, character in enumerate(number.split("e")[0]) if character.isdigit()]
    place = digits[-1] if last or len(digits) < 5 else digits[-4]
    other = str((int(number[place]) + 1) % 10)
    path.write_text(text[: match.start(1)] + number[:place] + other + number[place + 1 :] + text[match.end(1) :])


@pytest.mark.parametrize(
    ("file", "pattern", "named"),
    [
        ("metrics.json", r'"auc": \{\s*"value": ([\d.]+)', "metrics.json: `auc.value` is stored as"),
        ("metrics.json", r'"adaptive_ece": ([\d.e-]+)', "metrics.json: `calibration.before.adaptive_ece`"),
        ("metrics.json", r'"fraction": ([\d.]+)', "metrics.json: `subjects.fractions[0].fraction`"),
        ("metrics.json", r'"weights": \[\s*([\d.]+)', "metrics.json: `test_time_augmentation.weights[0]`"),
        ("decision.json", r'"temperature": ([\d.]+)', "decision.json: `calibration.parameters.temperature`"),
        ("decision.json", r'"threshold": ([\d.]+)', "decision.json: `operating_point.threshold`"),
        ("decision.json", r'"energy": (-?[\d.]+)', "decision.json: `out_of_distribution.thresholds.energy`"),
        ("decision.json", r'"target_risk": ([\d.]+)', "decision.json: `rules.target_risk`"),
        ("predictions.csv", r"\n1/0.png,s0,hem,hem,([\d.]+),", "predictions.csv: row 1: `prob_hem`"),
        ("predictions.csv", r"\n1/2.png,s0,hem,(?:[^,]*,){3}([\d.e-]+),", "predictions.csv: row 3: `prob_hem`"),
        ("predictions.csv", r"([\d.]+),[\d.]+,[01],[01],[ab],\d+\n", "predictions.csv: changed after metrics.json"),
        ("predictions_val.csv", r"\n0/0.png,s0,hem,(?:[^,]*,){3}([\d.e-]+),", "predictions_val.csv: changed after"),
        ("views.csv", r"\n1/0.png,([\d.e-]+)", "views.csv: changed after metrics.json"),
        ("views_val.csv", r"\n0/0.png,([\d.e-]+)", "views_val.csv: changed after decision.json"),
    ],
)  # fmt: skip
def test_a_changed_digit_is_named(copy, file, pattern, named):
    before = (copy / file).read_text()
    change(copy / file, pattern, last=False)
    assert (copy / file).read_text() != before
    lines = verify_files(copy, RULES)
    assert any(line.startswith(named) for line in lines), lines


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("decision.json", r'"temperature": ([\d.]+)'),
        ("predictions.csv", r"\n1/2.png,s0,hem,(?:[^,]*,){3}([\d.e-]+),"),
        ("predictions_val.csv", r"\n0/2.png,s0,hem,(?:[^,]*,){3}([\d.e-]+),"),
    ],
)
def test_a_last_digit_that_changes_no_number_is_found_all_the_same(copy, file, pattern):
    """The 17th digit may round to the same number; the checksum tells that somebody was there."""
    change(copy / file, pattern, last=True)
    assert any(line.startswith(file) for line in verify_files(copy, RULES))


def test_a_label_a_flag_and_a_prediction(copy):
    text = (copy / "predictions.csv").read_text()
    (copy / "predictions.csv").write_text(text.replace("1/0.png,s0,hem,hem", "1/0.png,s0,hem,all"))
    assert any("row 1: `prediction` is stored as 'all'" in line for line in verify_files(copy, RULES))
    (copy / "predictions.csv").write_text(text.replace("1/0.png,s0,hem", "1/0.png,s0,all"))
    assert any(line.startswith("metrics.json: `accuracy") for line in verify_files(copy, RULES))


def test_other_rules_than_those_of_the_recipe(written):
    lines = verify_files(written, VerdictRules(tta="d4_learnt", subgroups=("scanner",), calibration="platt"))
    assert lines == ["decision.json: `rules.calibration` is stored as 'temperature'; recomputed 'platt'"]


def test_the_verdict_on_other_data_has_no_validation(copy):
    for name in ("predictions_val.csv", "views_val.csv"):
        (copy / name).unlink()
    assert verify_files(copy) == []


def test_files_that_are_missing_or_malformed(copy):
    table = [f"1/{i}.png" for i in range(120)]
    with pytest.raises(InputError, match="there is no file"):
        read_views(copy / "none.csv", table, ["same", "turned"], CLASSES)
    with pytest.raises(InputError, match="of the images of the predictions"):
        read_views(copy / "views.csv", table[1:], ["same", "turned"], CLASSES)
    (copy / "decision.json").unlink()
    with pytest.raises(RunError, match="decision.json` is missing"):
        verify_files(copy)
    (copy / "metrics.json").write_text("{}")
    with pytest.raises(RunError, match="resamples and seed. Received: None"):
        verify_files(copy)
