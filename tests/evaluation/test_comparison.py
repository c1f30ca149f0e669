"""Comparison of models: paired by a plain loop, tests that suit the unit, and frames that do not match."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics as sk

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.bootstrap import resample_counts
from leukemia_tf.evaluation.comparison import COLUMNS, compare_predictions
from leukemia_tf.evaluation.paired_tests import delong_test, holm, mcnemar_exact
from leukemia_tf.evaluation.plots_analysis import save_figure
from leukemia_tf.evaluation.plots_comparison import plot_comparison
from leukemia_tf.evaluation.predictions import make_predictions


def case(n_models=2, n_images=80, n_classes=2, subjects=True, seed=0):
    """The later models are better."""
    generator = np.random.default_rng(seed)
    classes = ("a", "b", "c")[:n_classes]
    labels = np.arange(n_images) % n_classes
    table = pd.DataFrame(
        {
            "path": [f"{i:03d}.png" for i in range(n_images)],
            "subject": [f"s{i // 6}" if subjects else "" for i in range(n_images)],
            "label": [classes[i] for i in labels],
        }
    )
    frames = {}
    for number in range(n_models):
        scores = generator.random((n_images, n_classes)) + (0.3 + 0.4 * number) * np.eye(n_classes)[labels]
        frames[f"model{number}"] = make_predictions(table, scores / scores.sum(axis=1, keepdims=True), classes)
    return frames, classes


@pytest.mark.parametrize("subjects", [True, False])
def test_differences_are_those_of_a_plain_loop(subjects):
    frames, classes = case(subjects=subjects)
    table = compare_predictions(frames, classes, bootstrap=60, seed=2)
    first, second = frames.values()
    labels = (first["label"] == "b").to_numpy()
    names = first["subject"].to_numpy() if subjects else first["path"].to_numpy()
    unique = sorted(set(names))
    values = []
    for count in resample_counts(list(names), 60, 2):
        drawn = dict(zip(unique, count))
        weights = np.array([drawn[name] for name in names], dtype=float)

        def auc(frame):
            return sk.roc_auc_score(labels, frame["prob_b"], sample_weight=weights)

        def accuracy(frame):
            return sk.accuracy_score(frame["label"], frame["prediction"], sample_weight=weights)

        values.append((accuracy(second) - accuracy(first), auc(second) - auc(first)))
    for column, metric in enumerate(("accuracy", "auc")):
        row = table[table["metric"] == metric].iloc[0]
        differences = np.array(values)[:, column]
        assert (row["low"], row["high"]) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])))
        share = min((differences <= 1e-12).sum(), (differences >= -1e-12).sum())
        assert row["p_bootstrap"] == pytest.approx(min(1.0, 2 * (share + 1) / 61))
        assert row["difference"] == pytest.approx(row["value_second"] - row["value_first"])
    assert table["unit"].eq("subject" if subjects else "image").all()
    assert list(table.columns) == list(COLUMNS)


def test_tests_that_suit_the_unit():
    for subjects, expected in (
        (True, ["bootstrap", "bootstrap", "delong"]),
        (False, ["mcnemar", "bootstrap", "delong"]),
    ):
        frames, classes = case(subjects=subjects)
        table = compare_predictions(frames, classes, bootstrap=100)
        first, second = frames.values()
        assert table["test"].tolist() == expected
        right = [(frame["label"] == frame["prediction"]).to_numpy() for frame in (first, second)]
        assert table["p_mcnemar"][0] == mcnemar_exact(*right).p_value
        names = first["subject"] if subjects else None
        delong = delong_test(first["label"] == "b", first["prob_b"], second["prob_b"], names)
        assert table["p_delong"][2] == pytest.approx(delong.p_value)
        assert table["p_holm"].tolist() == pytest.approx(holm(table["p_value"]).tolist())
        assert table["p_mcnemar"].isna().tolist() == [False, True, True]


def test_all_pairs_or_a_baseline():
    frames, classes = case(n_models=3, n_classes=3)
    table = compare_predictions(frames, classes, bootstrap=30, metrics=["accuracy", "f1_macro", "auc"])
    assert len(table) == 9 and table["p_delong"].isna().all()
    assert list(zip(table["first"], table["second"]))[:3] == [
        ("model0", "model1"),
        ("model0", "model2"),
        ("model1", "model2"),
    ]
    table = compare_predictions(frames, classes, bootstrap=30, metrics=["accuracy"], baseline="model2")
    assert list(zip(table["first"], table["second"])) == [("model2", "model0"), ("model2", "model1")]
    assert (table["difference"] < 0).all()


def test_the_order_of_the_images_does_not_matter():
    frames, classes = case()
    expected = compare_predictions(frames, classes, bootstrap=30)
    frames["model1"] = frames["model1"].sample(frac=1.0, random_state=4)
    pd.testing.assert_frame_equal(compare_predictions(frames, classes, bootstrap=30), expected)


def test_a_model_against_itself():
    frames, classes = case()
    table = compare_predictions({"a": frames["model0"], "b": frames["model0"]}, classes, bootstrap=30)
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)
    assert (table["p_holm"] == 1.0).all()


def test_pairing_narrows_the_interval():
    frames, classes = case(n_images=240)
    twin = frames["model1"].copy()
    flipped = twin.index[:6]
    twin.loc[flipped, "prediction"] = twin.loc[flipped, "label"].map({"a": "b", "b": "a"})
    table = compare_predictions({"model": frames["model1"], "twin": twin}, classes, metrics=["accuracy"], bootstrap=400)
    # Six images of one subject differ; the models' own intervals are several times as wide.
    assert table["high"][0] - table["low"][0] < 0.08 and table["difference"][0] < 0


def test_frames_that_do_not_match():
    frames, classes = case()
    first, second = frames.values()
    changed = second.copy()
    changed.loc[3, "label"] = "a"
    moved = second.copy()
    moved.loc[3, "subject"] = "other"
    for other, message in (
        (second.iloc[1:], "same labelled images; received 0 that only `y` has and 1 that only `x` has, such as `000"),
        (changed, "must have the same labels; received others in `y` than in `x` for 1 images, such as `003.png`"),
        (moved, "must have the same subjects; received others in `y` than in `x` for 1 images, such as `003.png`"),
        (pd.concat([second, second.iloc[:1]]), "model `y` must have each image once; received `000.png` again"),
    ):
        with pytest.raises(InputError, match=message):
            compare_predictions({"x": first, "y": other}, classes)
    with pytest.raises(InputError, match="`frames` must hold two models or more; received 1"):
        compare_predictions({"x": first}, classes)
    with pytest.raises(InputError, match="`baseline` must be one of model0, model1; received 'z'"):
        compare_predictions(frames, classes, baseline="z")
    with pytest.raises(InputError, match="`metrics` must name some of .*; received speed"):
        compare_predictions(frames, classes, metrics=["speed"])
    with pytest.raises(InputError, match="`confidence` must lie between 0 and 1; received 2"):
        compare_predictions(frames, classes, confidence=2)


def test_plot_shows_the_intervals(tmp_path):
    frames, classes = case(n_models=3)
    table = compare_predictions(frames, classes, bootstrap=50)
    figure = plot_comparison(table)
    assert [axes.get_title() for axes in figure.axes] == ["accuracy", "balanced accuracy", "auc"]
    segment = figure.axes[0].collections[0].get_segments()[0]
    assert segment[:, 0].tolist() == pytest.approx([table["low"][0], table["high"][0]])
    save_figure(tmp_path / "comparison.png", figure)
    with Image.open(tmp_path / "comparison.png") as image:
        assert image.format == "PNG" and image.width > 400
