"""Abstention: curves by hand and by trying every threshold."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.intervals import wilson_interval
from leukemia_tf.evaluation.plots_analysis import plot_risk_coverage, save_figure
from leukemia_tf.evaluation.predictions import make_predictions
from leukemia_tf.evaluation.selective import (
    Abstention,
    area_under_risk_coverage,
    choose_abstention,
    confidences,
    risk_coverage_curve,
)

CLASSES = ("a", "b", "c")


def frame_of(labels, probabilities, classes=CLASSES, **options):
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(len(labels))], "label": labels})
    return make_predictions(table, np.asarray(probabilities, dtype=float), classes, **options)


def random_frame(seed, n_images=60, digits=2):
    generator = np.random.default_rng(seed)
    labels = np.arange(n_images) % 3
    scores = generator.random((n_images, 3)) + 0.5 * np.eye(3)[labels]
    probabilities = np.round(scores / scores.sum(axis=1, keepdims=True), digits)
    probabilities[:, 2] = 1.0 - probabilities[:, :2].sum(axis=1)
    return frame_of([CLASSES[i] for i in labels], probabilities)


# Confidences .9 right, .8 wrong, .7 right, .7 wrong, .6 right; the last image has no label.
HAND = frame_of(["b", "a", "b", "a", "a", ""], [0.9, 0.8, 0.7, 0.7, 0.4, 0.99], ("a", "b"))


def test_curve_by_hand():
    curve = risk_coverage_curve(HAND, ("a", "b"))
    assert curve["threshold"].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert curve["kept"].tolist() == [1, 2, 4, 5]
    assert curve["errors"].tolist() == [0, 1, 2, 2]
    assert curve["risk"].tolist() == pytest.approx([0, 1 / 2, 2 / 4, 2 / 5])
    assert curve["coverage"].tolist() == pytest.approx([0.2, 0.4, 0.8, 1.0])


def test_area_by_hand():
    area = area_under_risk_coverage(HAND, ("a", "b"))
    assert area["aurc"] == pytest.approx((0 + 1 / 2 + 1 / 2 + 1 / 2 + 2 / 5) / 5)
    assert area["optimal"] == pytest.approx((1 / 4 + 2 / 5) / 5)
    assert area["excess"] == pytest.approx(area["aurc"] - area["optimal"])
    assert area["risk"] == 2 / 5


@pytest.mark.parametrize("seed", range(4))
def test_area_by_the_definition(seed):
    frame = random_frame(seed)
    confidence = frame.filter(like="prob_").max(axis=1).to_numpy()
    wrong = (frame["label"] != frame["prediction"]).to_numpy()
    expected = np.mean([wrong[confidence >= threshold].mean() for threshold in confidence])
    assert area_under_risk_coverage(frame, CLASSES)["aurc"] == pytest.approx(expected)
    assert confidences(frame, CLASSES) == pytest.approx(confidence)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bounded", [False, True])
def test_the_chosen_coverage_is_the_highest(seed, bounded):
    frame = random_frame(seed, n_images=150)
    confidence = confidences(frame, CLASSES)
    wrong = (frame["label"] != frame["prediction"]).to_numpy()

    def risk(threshold):
        kept = confidence >= threshold
        return wilson_interval(wrong[kept].sum(), kept.sum())[1] if bounded else wrong[kept].mean()

    target = np.quantile([risk(threshold) for threshold in confidence], 0.3)
    coverage = max((confidence >= threshold).mean() for threshold in confidence if risk(threshold) <= target)
    rule = choose_abstention(frame, CLASSES, target, bounded=bounded)
    assert rule.coverage == pytest.approx(coverage) == rule.keep(frame).mean()
    assert rule.risk == pytest.approx(wrong[rule.keep(frame)].mean()) and rule.risk <= target
    assert rule.n_images == 150


def test_applied_to_other_images_and_json(tmp_path):
    rule = choose_abstention(HAND, ("a", "b"), 0.4)
    assert (rule.coverage, rule.risk, rule.threshold) == pytest.approx((1.0, 0.4, 0.6))
    rule = choose_abstention(HAND, ("a", "b"), 0.1)
    test = frame_of(["a", "b", "b", ""], [0.05, 0.95, 0.5, 0.99], ("a", "b"))
    assert rule.keep(test).tolist() == [True, True, False, True]
    low, high = wilson_interval(0, 2)
    assert rule.evaluate(test) == {
        "coverage": 2 / 3, "kept": 2, "n_images": 3, "errors": 0, "risk": 0.0, "risk_low": low, "risk_high": high,
    }  # fmt: skip
    none = rule.evaluate(test.iloc[2:3])
    assert none["risk"] is None and json.loads(json.dumps(none))["coverage"] == 0.0
    rule.write(tmp_path / "abstention.json")
    assert Abstention.read(tmp_path / "abstention.json") == rule
    with pytest.raises(InputError, match=r"`threshold` must lie in \[0, 1\]; received 2"):
        Abstention.from_dict({**rule.to_dict(), "threshold": 2})


def test_confidence_is_that_of_the_prediction():
    frame = frame_of(["a", "b"], [0.6, 0.8], ("a", "b"), threshold=0.7)
    assert confidences(frame, ("a", "b")) == pytest.approx([0.4, 0.8])


def test_targets_that_are_not_reached():
    frame = frame_of(["a", "a"], [0.9, 0.6], ("a", "b"))
    with pytest.raises(InputError, match="the lowest risk is 1. Received: 0.2"):
        choose_abstention(frame, ("a", "b"), 0.2)
    with pytest.raises(InputError, match="the lowest upper end of the risk's interval is 0.7.*Received: 0.01"):
        choose_abstention(HAND, ("a", "b"), 0.01, bounded=True)
    with pytest.raises(InputError, match=r"`target_risk` must lie in \[0, 1\); received 1.0"):
        choose_abstention(frame, ("a", "b"), 1.0)


def test_plot_shows_the_curve(tmp_path):
    curve = risk_coverage_curve(random_frame(0), CLASSES)
    figure = plot_risk_coverage({"model": curve})
    assert np.array_equal(figure.axes[0].lines[0].get_ydata(), curve["risk"])
    save_figure(tmp_path / "risk_coverage.png", figure)
    with Image.open(tmp_path / "risk_coverage.png") as image:
        assert image.format == "PNG" and np.asarray(image.convert("L")).std() > 1
