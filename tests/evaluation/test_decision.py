"""Every part is fitted on validation images, applied to others as a reader would do it by hand, and survives JSON."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.decision import Decision, add_views, fit_decision
from leukemia_tf.evaluation.rules import VerdictRules, parse_operating_point, parse_subgroup

from tests.evaluation.verdict_cases import CLASSES, case, groups


@pytest.fixture(scope="module")
def decision() -> Decision:
    table, probabilities, scores = case()
    return fit_decision(table, probabilities, CLASSES, VerdictRules(), scores)


def test_what_is_decided(decision):
    # Scores of the classes are normal about 1.2 and -1.2 with variance 1 + .6 ** 2, so their log odds are 2 * 1.2 /
    # 1.36 times the score. The probabilities were made with five times.
    assert decision.calibration.parameters["temperature"] == pytest.approx(5 / (2 * 1.2 / 1.36), rel=0.5)
    assert decision.operating_point.rule == "youden" and decision.operating_point.n_positive == 60
    assert decision.abstention.risk <= 0.05
    assert set(decision.strangeness) == {"energy", "mahalanobis"}
    assert 0.9 <= decision.accepted <= 0.95
    assert decision.reasons == {"test_time_augmentation": "not asked for"} and decision.notices() == []


def test_applied_by_hand(decision):
    table, probabilities, scores = case(seed=1)
    frame = decision.apply(table, probabilities, scores, groups(table))
    raw = probabilities[:, 0].astype(np.float64)
    logit = np.log(raw) - np.log(np.maximum(1 - raw, 1e-300))
    expected = 1 / (1 + np.exp(-logit / decision.calibration.parameters["temperature"]))
    np.testing.assert_allclose(frame["prob_all"], expected, atol=1e-9)
    np.testing.assert_array_equal(frame["raw_prob_all"], raw)
    positive = frame["prob_all"].to_numpy() >= decision.threshold
    assert list(frame["prediction"]) == ["all" if one else "hem" for one in positive]
    own = np.where(positive, frame["prob_all"], frame["prob_hem"])
    assert list(frame["abstain"]) == list((own < decision.abstention.threshold).astype(int))
    strange = [
        scores["energy"][row] > decision.strangeness["energy"]
        or scores["mahalanobis"][row] > decision.strangeness["mahalanobis"]
        for row in range(len(frame))
    ]
    assert list(frame["out_of_distribution"]) == [int(one) for one in strange]
    assert list(frame["group_scanner"]) == ["a"] * 60 + ["b"] * 60 and frame["group_age"].iloc[7] == "7"


def test_it_survives_json(decision, tmp_path):
    table, probabilities, scores = case(seed=1)
    views = np.stack([probabilities, probabilities])
    for one in (decision, add_views(decision, table, views, ["identity", "flip"])):
        one.write(tmp_path / "decision.json")
        again = Decision.read(tmp_path / "decision.json")
        assert again.to_dict() == one.to_dict()
        given = (table, probabilities, scores)
        pd.testing.assert_frame_equal(again.apply(*given), one.apply(*given))
    with pytest.raises(InputError, match="version 1. Received: 2"):
        Decision.from_dict({**decision.to_dict(), "version": 2})
    with pytest.raises(InputError, match="of this version"):
        Decision.from_dict({"version": 1})


@pytest.mark.parametrize("method", ["platt", "isotonic", "none"])
def test_other_calibrations(method):
    table, probabilities, _ = case()
    found = fit_decision(table, probabilities, CLASSES, VerdictRules(calibration=method))
    assert (found.calibration.method if found.calibration else "none") == method
    assert Decision.from_dict(json.loads(json.dumps(found.to_dict()))).to_dict() == found.to_dict()


def test_a_fixed_threshold_is_measured_and_kept():
    table, probabilities, _ = case()
    found = fit_decision(table, probabilities, CLASSES, VerdictRules.fixed(0.7))
    right = (probabilities[:, 0] >= 0.7)[table["label"] == "all"]
    assert found.threshold == 0.7 and found.operating_point.sensitivity == right.mean()
    assert found.calibration is None


def test_what_is_not_defined_leaves_its_part_out_and_says_so_once():
    table, probabilities, _ = case()
    constant = fit_decision(table, np.full_like(probabilities, 0.4), CLASSES)
    assert constant.calibration is None and constant.threshold == 0.5 and constant.abstention is None
    (line,) = constant.notices()
    for part in ("calibration:", "operating point:", "the threshold is .5", "abstention:"):
        assert part in line
    perfect = fit_decision(table, (table["label"] == "all").to_numpy(float), CLASSES)
    assert perfect.calibration is None and "all right" in perfect.reasons["calibration"]
    assert perfect.operating_point.sensitivity == perfect.operating_point.specificity == 1.0
    one_class = fit_decision(table[::-1].iloc[:12], probabilities[::-1][:12], CLASSES)
    assert "none of class hem" in one_class.reasons["operating_point"]
    assert one_class.operating_point.specificity is None and one_class.threshold == 0.5
    with pytest.raises(InputError, match="received nan"):
        fit_decision(table, np.full_like(probabilities, np.nan), CLASSES)


def test_above_two_classes_there_is_no_threshold():
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"path": map(str, range(60)), "label": [f"c{i % 3}" for i in range(60)]})
    values = 0.3 * np.eye(3)[np.arange(60) % 3] + generator.dirichlet(np.ones(3), 60)
    found = fit_decision(table, values / values.sum(1, keepdims=True), ["c0", "c1", "c2"])
    assert found.operating_point is None and "most probable" in found.reasons["operating_point"]
    assert found.calibration is not None and found.notices() == []


@pytest.mark.parametrize("learnt", [False, True])
def test_views_are_averaged_and_decided_anew(learnt):
    table, probabilities, _ = case()
    noise = case(seed=5)[1]
    rules = VerdictRules(tta="d4_learnt" if learnt else "d4")
    plain = fit_decision(table, probabilities, CLASSES, rules)
    found = add_views(plain, table, np.stack([probabilities, noise]), ["same", "turned"])
    assert found.views.weights == (0.5, 0.5) or learnt
    assert not learnt or found.views.n_images == 120
    average = found.views.weights[0] * probabilities + found.views.weights[1] * noise
    again = fit_decision(table, average, CLASSES, rules)
    assert found.averaged.threshold == pytest.approx(again.threshold, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calibration": "beta"}, "`verdict.calibration` is one of"),
        ({"operating_point": "fixed"}, "fixed:0.5 .between 0 and 1.. Received: 'fixed'"),
        ({"operating_point": "fixed:1"}, "Received: 'fixed:1'"),
        ({"operating_point": "sensitivity:1.5"}, "any number above 0, at most 1"),
        ({"operating_point": "sensitivity:much"}, "Received: 'sensitivity:much'"),
        ({"operating_point": "youden:0.5"}, "Received: 'youden:0.5'"),
        ({"target_risk": 1.0}, "in .0, 1."),
        ({"subgroups": ("age:1",)}, "with bins as in age:4. Received: 'age:1'"),
    ],
)
def test_wrong_rules(options, message):
    with pytest.raises(InputError, match=message):
        VerdictRules(**options)


def test_an_operating_point_with_its_number():
    table, probabilities, _ = case()
    found = fit_decision(table, probabilities, CLASSES, VerdictRules(operating_point="sensitivity:0.95"))
    assert (found.operating_point.rule, found.operating_point.target) == ("sensitivity", 0.95)
    assert found.operating_point.sensitivity >= 0.95
    assert parse_operating_point("cost:5") == ("cost", 5.0) and parse_operating_point("youden") == ("youden", None)


def test_subgroups_with_bins():
    assert parse_subgroup("age:4") == ("age", 4) and parse_subgroup("source") == ("source", None)
