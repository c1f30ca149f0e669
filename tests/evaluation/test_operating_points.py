"""Thresholds against all thresholds tried one by one, cases by hand, and what cannot be reached."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.evaluation.operating_points import OperatingPoint, choose_operating_point
from leukemia_tf.evaluation.predictions import make_predictions

CLASSES = ("hem", "all")


def frame_of(labels, scores):
    names = [CLASSES[i] for i in labels]
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(len(labels))], "label": names})
    return make_predictions(table, np.asarray(scores, dtype=float), CLASSES)


def tried(labels, scores):
    """(sensitivity, specificity) of every threshold that calls some images positive and some not."""
    points = []
    for threshold in np.unique(scores)[1:]:
        called = scores >= threshold
        points.append((sk.recall_score(labels, called), sk.recall_score(labels, called, pos_label=0)))
    return points


HAND = frame_of([0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(
    "rule, target, threshold, sensitivity, specificity",
    [
        ("sensitivity", 1.0, 0.25, 1.0, 2 / 3),
        ("sensitivity", 0.6, 0.5, 2 / 3, 1.0),
        ("specificity", 1.0, 0.5, 2 / 3, 1.0),
        ("specificity", 0.5, 0.25, 1.0, 2 / 3),
        ("youden", None, 0.25, 1.0, 2 / 3),  # as good as 0.5, and more sensitive
        ("cost", 3.0, 0.25, 1.0, 2 / 3),
        ("cost", 0.5, 0.5, 2 / 3, 1.0),
    ],
)
def test_by_hand(rule, target, threshold, sensitivity, specificity):
    point = choose_operating_point(HAND, CLASSES, rule, target=target)
    assert point.threshold == pytest.approx(threshold)
    assert (point.sensitivity, point.specificity) == pytest.approx((sensitivity, specificity))
    assert (point.n_positive, point.n_negative, point.target) == (3, 3, target)
    assert point.sensitivity_interval[0] < point.sensitivity <= point.sensitivity_interval[1]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("digits", [1, 6])
def test_no_threshold_is_better(seed, digits):
    generator = np.random.default_rng(seed)
    labels = np.concatenate([[0, 1], generator.integers(0, 2, 50)])
    scores = np.round(np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1), digits)
    frame, points = frame_of(labels, scores), tried(labels, scores)
    point = choose_operating_point(frame, CLASSES)
    assert point.sensitivity + point.specificity == pytest.approx(max(a + b for a, b in points))
    for target in (0.5, 0.8):
        for rule, own, other in (("sensitivity", 0, 1), ("specificity", 1, 0)):
            point = choose_operating_point(frame, CLASSES, rule, target=target)
            reached = [p for p in points if p[own] >= target]
            best = max(p[other] for p in reached)
            expected = (max(p[own] for p in reached if p[other] == best), best)
            assert (point.to_dict()[rule], (point.sensitivity, point.specificity)[other]) == pytest.approx(expected)
    point = choose_operating_point(frame, CLASSES, "cost", target=4.0, prevalence=0.1)
    expected = min(4.0 * 0.1 * (1 - a) + 0.9 * (1 - b) for a, b in points)
    assert 0.4 * (1 - point.sensitivity) + 0.9 * (1 - point.specificity) == pytest.approx(expected)
    # What is stored is what applying it gives.
    called = (point.apply(frame)["prediction"] == "all").to_numpy()
    assert sk.recall_score(labels, called) == pytest.approx(point.sensitivity)
    assert sk.recall_score(labels, called, pos_label=0) == pytest.approx(point.specificity)


def test_equal_probabilities_stay_together():
    frame = frame_of([0, 1, 1, 0, 1], [0.2, 0.5, 0.5, 0.5, 0.9])
    point = choose_operating_point(frame, CLASSES, "sensitivity", target=0.5)
    assert (point.sensitivity, point.specificity) == (1.0, 0.5)  # 0.9 alone finds one of three
    neighbours = [0.5, np.nextafter(0.5, 1)]
    point = choose_operating_point(frame_of([0, 1], neighbours), CLASSES)
    assert (point.sensitivity, point.specificity) == (1.0, 1.0)


def test_targets_that_are_not_reached():
    frame = frame_of([1, 0, 0, 1], [0.1, 0.3, 0.6, 0.5])
    with pytest.raises(InputError, match="at most 0.5; beyond that only calling every image `all` does. Received: 0.9"):
        choose_operating_point(frame, CLASSES, "sensitivity", target=0.9)
    with pytest.raises(InputError, match="at most 0.5; beyond that only calling no image `all` does. Received: 1.0"):
        choose_operating_point(frame, CLASSES, "specificity", target=1.0)


def test_applied_to_other_images_and_json(tmp_path):
    point = choose_operating_point(HAND, CLASSES, "sensitivity", target=1.0)
    test = frame_of([0, 1, 1], [0.24, 0.25, 0.9])
    after = point.apply(test)
    assert after["prediction"].tolist() == ["hem", "all", "all"]
    assert after["prob_all"].equals(test["prob_all"])
    point.write(tmp_path / "operating_point.json")
    assert OperatingPoint.read(tmp_path / "operating_point.json") == point
    with pytest.raises(RunError, match="is missing"):
        OperatingPoint.read(tmp_path / "other.json")
    with pytest.raises(InputError, match="`threshold` must lie between 0 and 1; received 1.5"):
        OperatingPoint.from_dict({**point.to_dict(), "threshold": 1.5})
    with pytest.raises(InputError, match="must hold the keys threshold, rule"):
        OperatingPoint.from_dict({"threshold": 0.5})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rule": "best"}, "`rule` must be one of sensitivity, specificity, youden, cost, fixed; received 'best'"),
        ({"rule": "youden", "target": 0.5}, "`target` must be left out for the rule youden; received 0.5"),
        ({"rule": "sensitivity"}, "`target` must be a sensitivity above 0 and at most 1; received None"),
        ({"rule": "specificity", "target": 1.1}, "`target` must be a specificity above 0 and at most 1; received 1.1"),
        ({"rule": "cost", "target": 0}, "`target` must be the cost ratio, above 0; received 0"),
        ({"rule": "cost", "target": 2.0, "prevalence": 1.0}, "`prevalence` must lie between 0 and 1, .*received 1.0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        choose_operating_point(HAND, CLASSES, **options)


def test_wrong_frames():
    with pytest.raises(InputError, match="`classes` must be two for a threshold; .* Received: 3"):
        choose_operating_point(HAND, ("a", "b", "c"))
    with pytest.raises(InputError, match="must hold images of both classes; received none of class `all`"):
        choose_operating_point(frame_of([0, 0], [0.1, 0.9]), CLASSES)
    with pytest.raises(InputError, match="must hold different probabilities; received 0.5 for every image"):
        choose_operating_point(frame_of([0, 1], [0.5, 0.5]), CLASSES)
