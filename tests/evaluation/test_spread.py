"""Spread of repeated runs by hand, and pooled predictions of several cross-validations by a plain loop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn import metrics as sk

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.bootstrap import resample_counts
from leukemia_tf.evaluation.metrics import METRICS, compute_metrics
from leukemia_tf.evaluation.plots_analysis import save_figure
from leukemia_tf.evaluation.plots_comparison import plot_spread
from leukemia_tf.evaluation.predictions import make_predictions
from leukemia_tf.evaluation.spread import pooled_intervals, summarize_spread

CLASSES = ("a", "b")


def frame_of(seed: int, subjects: bool = True) -> pd.DataFrame:
    labels = np.arange(60) % 2
    table = pd.DataFrame(
        {
            "path": [f"{i:02d}.png" for i in range(60)],
            "subject": [f"s{i // 6}" if subjects else "" for i in range(60)],
            "label": [CLASSES[i] for i in labels],
        }
    )
    scores = np.clip(np.random.default_rng(seed).normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    return make_predictions(table, scores, CLASSES)


def test_spread_by_hand():
    # Mean .8, deviations -.1, 0, .1: sd .1; t of 2 degrees and 97.5 % is 4.302653 (any table), times .1 / sqrt 3.
    found = summarize_spread([0.7, 0.8, None, 0.9])
    assert found["n"] == 3 and (found["min"], found["max"]) == (0.7, 0.9)
    assert (found["mean"], found["sd"]) == pytest.approx((0.8, 0.1))
    assert (found["low"], found["high"]) == pytest.approx((0.8 - 0.248414, 0.8 + 0.248414), abs=1e-6)


def test_spread_of_too_few():
    one = summarize_spread([0.5, np.nan])
    assert one == {"n": 1, "mean": 0.5, "sd": None, "min": 0.5, "max": 0.5, "low": None, "high": None}
    assert summarize_spread([None]) == dict.fromkeys(("mean", "sd", "min", "max", "low", "high")) | {"n": 0}
    with pytest.raises(InputError, match="`confidence` must lie between 0 and 1; received 1"):
        summarize_spread([0.5], 1)


@pytest.mark.parametrize("subjects", [True, False])
def test_one_cross_validation_is_one_set_of_predictions(subjects):
    frame = frame_of(0, subjects)
    expected = compute_metrics(frame, CLASSES, bootstrap=40, seed=2)
    found = pooled_intervals([frame], CLASSES, bootstrap=40, seed=2)
    assert (found["unit"], found["n_units"]) == (("subject", 10) if subjects else ("image", 60))
    for name in METRICS:
        assert found[name] == {key: expected[name][key] for key in ("value", "low", "high")}


def test_several_are_averaged_under_the_same_draws():
    frames = [frame_of(seed) for seed in (0, 1)]
    found = pooled_intervals(frames, CLASSES, metrics=["auc"], bootstrap=50, seed=4)
    labels = (frames[0]["label"] == "b").to_numpy()
    values = []
    for count in resample_counts(list(frames[0]["subject"]), 50, 4):
        weights = count[np.arange(60) // 6].astype(float)
        values.append(np.mean([sk.roc_auc_score(labels, f["prob_b"], sample_weight=weights) for f in frames]))
    expected = np.mean([sk.roc_auc_score(labels, frame["prob_b"]) for frame in frames])
    assert found["auc"]["value"] == pytest.approx(expected)
    assert (found["auc"]["low"], found["auc"]["high"]) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_others_than_the_same_images_are_refused():
    with pytest.raises(InputError, match="same labelled images"):
        pooled_intervals([frame_of(0), frame_of(1).iloc[1:]], CLASSES)
    with pytest.raises(InputError, match="each image once"):
        pooled_intervals([pd.concat([frame_of(0), frame_of(0)])], CLASSES)


def test_plot_shows_runs_mean_and_pooled(tmp_path):
    runs = pd.DataFrame({"accuracy": [0.7, 0.8, 0.9], "auc": [0.9, np.nan, np.nan]})
    spread = {name: summarize_spread(runs[name]) for name in runs}
    pooled = {"unit": "subject", "accuracy": {"value": 0.81, "low": 0.6, "high": 0.95}}
    pooled["auc"] = {"value": None, "low": None, "high": None}
    figure = plot_spread(runs, spread, pooled, list(runs))
    (axes,) = figure.axes
    ends = [tuple(line.get_segments()[0][:, 0]) for line in axes.collections]
    # The area has one run, hence no interval; accuracy stands above it.
    assert ends == [(spread["accuracy"]["low"], spread["accuracy"]["high"]), (0.6, 0.95)]
    assert axes.get_lines()[-1].get_xdata().tolist() == [0.81]
    save_figure(tmp_path / "spread.png", figure)
    with Image.open(tmp_path / "spread.png") as image:
        assert image.width > 600
