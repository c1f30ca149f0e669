"""Subgroups: each group's figures are those of its images alone, and the worst one is named."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.metrics import compute_metrics
from leukemia_tf.evaluation.predictions import make_predictions
from leukemia_tf.evaluation.subgroups import subgroup_report

CLASSES = ("hem", "all")


def case():
    """Scanner x is always right, y half the time, z never but has only 4 images; two images have no scanner."""
    generator = np.random.default_rng(0)
    n_images = 106
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(n_images)],
            "subject": [f"s{i % 20}" for i in range(n_images)],
            "label": [CLASSES[i % 2] for i in range(n_images)],
            "scanner": ["x"] * 60 + ["y"] * 40 + ["z"] * 4 + ["", None],
            "age": [*range(104), np.nan, np.nan],
        }
    )
    right = np.where(table["scanner"] == "y", generator.random(n_images) < 0.5, table["scanner"] != "z")
    positive = (table["label"] == "all").to_numpy() == right
    scores = np.where(positive, 0.6, 0.1) + 0.3 * generator.random(n_images)
    return make_predictions(table, scores, CLASSES), table.sample(frac=1.0, random_state=1)


def test_groups_and_the_worst():
    frame, table = case()
    report = subgroup_report(frame, CLASSES, table, "scanner", bootstrap=50, min_images=10)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert [entry["group"] for entry in report["groups"]] == ["x", "y", "z", "(unknown)"]
    assert [entry["images"] for entry in report["groups"]] == [60, 40, 4, 2]
    assert report["too_small"] == ["z", "(unknown)"]
    expected = compute_metrics(frame.iloc[60:100].reset_index(drop=True), CLASSES, bootstrap=50)
    entry = report["groups"][1]
    for name in ("accuracy", "balanced_accuracy", "auc"):
        assert {k: entry[name][k] for k in ("value", "low", "high")} == {
            k: expected[name][k] for k in ("value", "low", "high")
        }
    right = (frame["label"] == frame["prediction"]).to_numpy()
    worst = report["worst"]
    assert (worst["group"], worst["metric"], worst["images"]) == ("y", "accuracy", 40)
    assert worst["value"] == pytest.approx(right[60:100].mean())
    assert worst["difference"] == pytest.approx(right[60:100].mean() - right.mean())
    assert entry["subjects"] == 20 and report["groups"][3]["subjects"] == 2


def test_groups_of_one_class_have_no_auc():
    frame, _ = case()
    report = subgroup_report(frame, CLASSES, frame, "label", bootstrap=0)
    assert [entry["auc"]["value"] for entry in report["groups"]] == [None, None]
    assert report["worst"]["group"] in CLASSES
    report = subgroup_report(frame, CLASSES, frame, "label", bootstrap=0, worst_by="auc")
    assert report["worst"] is None


def test_numbers_are_cut_into_groups_of_equal_size():
    frame, table = case()
    report = subgroup_report(frame, CLASSES, table, "age", bins=4, bootstrap=0)
    assert [entry["images"] for entry in report["groups"]] == [26, 26, 26, 26, 2]
    names = [entry["group"] for entry in report["groups"]]
    assert names[1:] == ["(25.75, 51.5]", "(51.5, 77.25]", "(77.25, 103.0]", "(unknown)"]


def test_wrong_input():
    frame, table = case()
    for arguments, message in (
        ({"column": "colour"}, "`column` must be one of path, .*; received 'colour'"),
        ({"worst_by": "f1_macro"}, "`worst_by` must be one of the `metrics` accuracy, .*; received 'f1_macro'"),
        ({"min_images": 0}, "`min_images` must be 1 or more; received 0"),
        ({"bins": 3}, "`bins` must be for a column of numbers; `scanner` is none; received 3"),
        ({"table": table.iloc[1:]}, "`table` must hold every image of `frame`; received none for 1, such as `"),
        ({"table": pd.concat([table, table.iloc[:1]])}, "`table` must have each path once; received `"),
    ):
        with pytest.raises(InputError, match=message):
            subgroup_report(**{"frame": frame, "classes": CLASSES, "table": table, "column": "scanner", **arguments})
