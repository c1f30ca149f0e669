"""All figures of a verdict against what scikit-learn, and hand-made cases, say; degenerate predictions included."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.decision import add_views, fit_decision
from leukemia_tf.evaluation.intervals import wilson_interval
from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.evaluation.verdict import CURVE_POINTS, compute_verdict

from tests.evaluation.verdict_cases import CLASSES, case, groups

RULES = VerdictRules(subgroups=("scanner", "subject", "age:4", "label"), tta="d4")


@pytest.fixture(scope="module")
def judged():
    table, probabilities, scores = case()
    views = np.stack([probabilities, case(seed=7)[1]])
    decision = add_views(fit_decision(table, probabilities, CLASSES, RULES, scores), table, views, ["same", "turned"])
    table, probabilities, scores = case(seed=1)
    frame = decision.apply(table, probabilities, scores, groups(table))
    test_views = np.stack([probabilities, case(seed=8)[1]])
    two = np.concatenate([1 - test_views.astype(float), test_views.astype(float)], axis=2)
    return decision, frame, two, compute_verdict(frame, decision, views=two, bootstrap=200)


def test_it_is_json_without_nan(judged):
    json.dumps(judged[3], allow_nan=False)


def test_calibration_before_and_after(judged):
    _, frame, _, verdict = judged
    positive = frame["label"] == "all"
    for when, column in (("before", "raw_prob_all"), ("after", "prob_all")):
        found = verdict["calibration"][when]
        assert found["brier"]["value"] == pytest.approx(brier_score_loss(positive, frame[column]))
        assert found["brier"]["low"] < found["brier"]["value"] < found["brier"]["high"]
        assert found["brier"]["unit"] == "subject"
    assert verdict["calibration"]["after"]["nll"] < verdict["calibration"]["before"]["nll"]
    assert roc_auc_score(positive, frame["raw_prob_all"]) == pytest.approx(verdict["auc"]["value"])


def test_the_operating_point_on_images_that_did_not_choose_it(judged):
    decision, frame, _, verdict = judged
    right = (frame["prob_all"] >= decision.threshold)[frame["label"] == "all"]
    found = verdict["operating_point"]
    assert found["test"]["sensitivity"]["value"] == right.mean()
    assert found["test"]["sensitivity_counts"] == [right.sum(), 60]
    # Twelve images a subject are not independent, so there is no Wilson interval.
    assert "sensitivity_wilson" not in found["test"] and "does not apply" in found["note"]
    alone = compute_verdict(frame.assign(subject=""), decision, bootstrap=0)["operating_point"]
    low, high = wilson_interval(int(right.sum()), 60)
    assert (alone["test"]["sensitivity_wilson"]["low"], alone["test"]["sensitivity_wilson"]["high"]) == (low, high)


def test_one_vote_a_subject(judged):
    decision, frame, _, verdict = judged
    logit = np.log(frame["prob_all"] / frame["prob_hem"]).groupby(frame["subject"]).mean()
    labels = frame.groupby("subject")["label"].first() == "all"
    found = verdict["subjects"]
    assert found["methods"]["mean_logit"]["auc"]["value"] == pytest.approx(roc_auc_score(labels, logit))
    called = 1 / (1 + np.exp(-logit)) >= decision.threshold
    assert found["wilson"]["accuracy"]["value"] == (called == labels).mean() and found["n_subjects"] == 10
    share = (frame["prediction"] == "all").groupby(frame["subject"]).mean()
    assert [row["fraction"] for row in found["fractions"]] == pytest.approx(list(share.sort_index()))
    assert set(found["methods"]["noisy_or"]) == {"auc", "average_precision"}


def test_subgroups_and_the_worst_of_each(judged):
    _, frame, _, verdict = judged
    by_column = {report["column"]: report for report in verdict["subgroups"]}
    assert list(by_column) == ["scanner", "subject", "age", "label"]
    right = frame["label"] == frame["prediction"]
    columns = {"scanner": "group_scanner", "subject": "subject", "label": "label"}
    for column, values in ((name, frame[own]) for name, own in columns.items()):
        lowest = right.groupby(values).mean()
        assert by_column[column]["worst"]["value"] == pytest.approx(lowest.min())
        assert lowest[by_column[column]["worst"]["group"]] == lowest.min()
    assert len(by_column["age"]["groups"]) == 4


def test_selective_prediction_and_strange_images(judged):
    decision, frame, _, verdict = judged
    kept = frame["abstain"] == 0
    wrong = frame["label"] != frame["prediction"]
    found = verdict["selective"]
    assert found["test"]["coverage"] == kept.mean() and found["test"]["risk"] == pytest.approx(wrong[kept].mean())
    assert len(found["curve"]) <= CURVE_POINTS and found["curve"][-1]["coverage"] == 1.0
    assert found["curve"][-1]["risk"] == pytest.approx(wrong.mean())
    strange = verdict["out_of_distribution"]
    flagged = frame["out_of_distribution"] == 1
    assert strange["share"] == flagged.mean() and strange["by_score"]["energy"] <= strange["share"]
    assert strange["accuracy"]["flagged"]["value"] == pytest.approx((~wrong)[flagged].mean())


def test_views_beside_the_plain_result(judged):
    decision, frame, views, verdict = judged
    average = views.mean(axis=0)[:, 1]
    found = verdict["test_time_augmentation"]
    assert found["auc"]["value"] == pytest.approx(roc_auc_score(frame["label"] == "all", average))
    assert found["cost"] == 2 and found["auc"]["value"] != verdict["auc"]["value"]
    assert verdict["test_time_augmentation"]["threshold"] == decision.averaged.threshold


# ---- predictions that no real model makes ------------------------------------------------------------------------


def judge(table, probabilities, decision=None, **options):
    decision = decision or fit_decision(table, probabilities, CLASSES)
    return compute_verdict(decision.apply(table, probabilities), decision, bootstrap=50, **options)


def test_perfect_predictions():
    table, _, _ = case()
    found = judge(table, (table["label"] == "all").to_numpy(float))
    for name in ("accuracy", "auc", "sensitivity", "specificity", "f1_macro"):
        assert (found[name]["value"], found[name]["low"], found[name]["high"]) == (1, 1, 1), name
    assert found["selective"]["area"] == {"aurc": 0, "optimal": 0, "excess": 0, "risk": 0}
    assert found["calibration"]["before"]["ece"] == 0 and found["calibration"]["after"] is None
    assert found["subjects"]["wilson"]["accuracy"]["value"] == 1 > found["subjects"]["wilson"]["accuracy"]["low"]


def test_inverted_predictions():
    table, _, _ = case()
    inverted = (table["label"] == "hem").to_numpy(float)
    found = judge(table, inverted, fit_decision(table, inverted, CLASSES, VerdictRules.fixed()))
    assert [found[name]["value"] for name in ("accuracy", "auc", "sensitivity", "specificity")] == [0, 0, 0, 0]
    assert found["selective"]["area"]["risk"] == 1 and found["selective"]["test"] is None
    assert found["calibration"]["before"]["ece"] == 1


def test_constant_predictions():
    table, probabilities, _ = case()
    found = judge(table, np.full(len(table), 0.4))
    assert found["auc"]["value"] == 0.5 and found["sensitivity"]["value"] == 0 and found["specificity"]["value"] == 1
    assert len(found["selective"]["curve"]) == 1
    assert found["calibration"]["before"]["ece"] == pytest.approx(0.1)


def test_random_predictions():
    table, _, _ = case(n_subjects=40, per_subject=25)
    random = np.random.default_rng(3).random(len(table))
    found = judge(table, random, fit_decision(table, random, CLASSES, VerdictRules.fixed()))
    for name in ("accuracy", "auc", "sensitivity", "specificity"):
        # Standard deviation of a share of 500 is below .023; four of them.
        assert abs(found[name]["value"] - 0.5) < 0.09, name
    assert found["selective"]["area"]["aurc"] == pytest.approx(0.5, abs=0.15)


def test_one_class_absent_from_the_test():
    table, probabilities, _ = case()
    decision = fit_decision(table, probabilities, CLASSES)
    only = (table["label"] == "all").to_numpy()
    found = judge(table[only], probabilities[only], decision)
    assert found["specificity"]["value"] is None and "`hem`" in found["specificity"]["reason"]
    assert found["auc"]["value"] is None and found["sensitivity"]["value"] is not None
    assert "specificity_wilson" not in found["operating_point"]["test"]
    assert set(found["subjects"]["wilson"]) == {"accuracy", "sensitivity"}
    json.dumps(found, allow_nan=False)


def test_one_subject_only():
    table, probabilities, _ = case()
    decision = fit_decision(table, probabilities, CLASSES)
    found = judge(table[:12], probabilities[:12], decision)
    assert found["bootstrap"]["unit"] == "image" and found["n_subjects"] == 1
    assert found["subjects"]["n_subjects"] == 1
    assert found["subjects"]["methods"]["mean_logit"]["accuracy"]["low"] is None
    assert found["subgroups"] == []


def test_subjects_with_cells_of_both_classes_have_no_verdict_of_their_own():
    table, probabilities, _ = case()
    mixed = table.assign(label=[CLASSES[i % 2] for i in range(len(table))])
    found = judge(mixed, probabilities, fit_decision(table, probabilities, CLASSES))
    assert "several for s0" in found["subjects"]["reason"]


@pytest.mark.parametrize("wrong", [math.nan, -0.5, 1.5])
def test_probabilities_that_are_none(wrong):
    table, probabilities, _ = case()
    decision = fit_decision(table, probabilities, CLASSES)
    broken = probabilities.copy()
    broken[3] = wrong
    with pytest.raises(InputError, match="row 3: `prob_hem` must be a number in .0, 1."):
        decision.apply(table, broken)
    frame = decision.apply(table, probabilities)
    frame.loc[3, "prob_all"] = wrong
    with pytest.raises(InputError, match="row 3"):
        compute_verdict(frame, decision)


def test_scores_that_are_not_finite():
    table, probabilities, scores = case()
    decision = fit_decision(table, probabilities, CLASSES, scores=scores)
    with pytest.raises(InputError, match="finite. Received: another `energy`"):
        decision.apply(table, probabilities, {"energy": np.full(len(table), np.inf)})


def test_without_labels_or_scores():
    table, probabilities, _ = case()
    decision = fit_decision(table, probabilities, CLASSES)
    with pytest.raises(InputError, match="at least one image with a label"):
        compute_verdict(decision.apply(table.assign(label=""), probabilities), decision)
    assert "no scores" in judge(table, probabilities)["out_of_distribution"]["reason"]
    bare = dataclasses.replace(decision, reasons={"out_of_distribution": "cannot be had: x"})
    assert judge(table, probabilities, bare)["out_of_distribution"]["reason"] == "cannot be had: x"
    assert isinstance(decision.apply(table, probabilities), pd.DataFrame)
