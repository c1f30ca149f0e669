"""Metrics against scikit-learn, published confusion matrices and cases worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.evaluation import confusion
from leukemia_tf.evaluation.bootstrap import resample_counts, sampling_units
from leukemia_tf.evaluation.metrics import METRICS, compute_metrics, evaluate_resamples, verify_metrics, write_metrics
from leukemia_tf.evaluation.predictions import make_predictions, write_predictions
from leukemia_tf.evaluation.ranking import Ranking


def frame_of(labels, probabilities, classes, subjects=None):
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(len(labels))],
            "subject": [""] * len(labels) if subjects is None else subjects,
            "label": [classes[i] if i >= 0 else "" for i in labels],
        }
    )
    return make_predictions(table, np.asarray(probabilities), classes)


def random_case(n_classes, n_images=150, n_subjects=12, levels=None, seed=0):
    """Labels, probabilities (with many ties where ``levels`` is given), predictions, subjects."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), generator.integers(0, n_classes, n_images - n_classes)])
    scores = generator.random((n_images, n_classes)) + 0.7 * np.eye(n_classes)[labels]
    if levels:
        scores = np.ceil(scores * levels)
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    subjects = [f"s{i}" for i in generator.integers(0, n_subjects, n_images)]
    return labels, probabilities, probabilities.argmax(axis=1), subjects


def scikit(labels, probabilities, predictions, weights):
    n = probabilities.shape[1]
    keep = weights > 0
    labels, probabilities, predictions, w = labels[keep], probabilities[keep], predictions[keep], weights[keep]
    every = list(range(n))
    common = {"sample_weight": w}
    out = {
        "accuracy": sk.accuracy_score(labels, predictions, **common),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predictions, **common),
        "f1_weighted": sk.f1_score(labels, predictions, labels=every, average="weighted", zero_division=0, **common),
        "f1_macro": sk.f1_score(labels, predictions, labels=every, average="macro", zero_division=0, **common),
    }
    rest = range(n) if n > 2 else [1]
    out["auc"] = np.mean([sk.roc_auc_score(labels == c, probabilities[:, c], **common) for c in rest])
    out["average_precision"] = np.mean(
        [sk.average_precision_score(labels == c, probabilities[:, c], **common) for c in rest]
    )
    out["sensitivity"] = np.mean([sk.recall_score(labels == c, predictions == c, **common) for c in rest])
    out["specificity"] = np.mean([sk.recall_score(labels != c, predictions != c, **common) for c in rest])
    return out


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("levels", [None, 3])
@pytest.mark.parametrize("by_subject", [True, False])
def test_every_resample_agrees_with_scikit_learn(n_classes, levels, by_subject):
    labels, probabilities, predictions, subjects = random_case(n_classes, levels=levels, seed=n_classes)
    unit, units = sampling_units(subjects if by_subject else [""] * len(labels))
    assert unit == ("subject" if by_subject else "image")
    counts = resample_counts(subjects if by_subject else [""] * len(labels), 12, seed=7)
    ours = evaluate_resamples(labels, probabilities, predictions, iter([counts[:5], counts[5:]]), units)
    for row, count in enumerate(counts):
        weights = count[units].astype(float)
        expected = scikit(labels, probabilities, predictions, weights)
        assert {name: ours[name][row] for name in METRICS} == pytest.approx(expected, abs=1e-12)
        expected_matrix = sk.confusion_matrix(labels, predictions, labels=range(n_classes), sample_weight=weights)
        assert np.array_equal(ours["confusion"][row], expected_matrix)
        p, r, f, _ = sk.precision_recall_fscore_support(
            labels, predictions, labels=range(n_classes), sample_weight=weights, zero_division=np.nan
        )
        assert ours["class_precision"][row] == pytest.approx(p, nan_ok=True)
        assert ours["class_recall"][row] == pytest.approx(r)
        assert ours["class_f1"][row] == pytest.approx(f)


def test_multi_class_auc_is_that_of_scikit_learn():
    labels, probabilities, predictions, _ = random_case(4)
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    values = evaluate_resamples(labels, probabilities, predictions, iter([np.ones((1, len(labels)))]))
    expected = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert values["auc"][0] == pytest.approx(expected, abs=1e-12)


def test_auc_and_average_precision_by_hand():
    # Scores 1 2 2 3, the positives at 2 and 3: pairs won 1 + 1/2 of 2, then 2 of 2, so 3.5 / 4.
    # From the top: 3 is right (precision 1), then the tie adds one of each (precision 2 / 3): (1 + 2/3) / 2.
    ranking = Ranking(np.array([False, True, False, True]), np.array([1.0, 2.0, 2.0, 3.0]))
    auc, average_precision = ranking(np.array([[1, 1, 1, 1], [2, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]))
    assert auc[:2].tolist() == [0.875, 1.0] and np.isnan(auc[2:]).all()
    assert average_precision[0] == pytest.approx(5 / 6) and average_precision[1] == 1.0
    assert np.isnan(average_precision[2:]).all()


# (matrix with true classes as rows, quantity, published value rounded as published); figures recomputed from the
# notebooks' stored matrices, which do not always agree with the systems' own README files.
PUBLISHED = [
    ([[398, 17], [35, 350]], "accuracy", 0.9350, 4),  # three-backbone ensemble, notebook
    ([[398, 17], [35, 350]], "sensitivity", 0.91, 2),
    ([[398, 17], [35, 350]], "specificity", 0.96, 2),
    ([[538, 44], [60, 1684]], "accuracy", 0.9553, 4),  # attention CNN, best epoch on validation
    ([[538, 44], [60, 1684]], "f1_weighted", 0.9555, 4),
    ([[289, 28], [24, 251]], "accuracy", 0.9122, 4),  # filter-token classifier
    ([[964, 18], [26, 1076]], "accuracy", 0.9789, 4),  # successor of the attention CNN
    ([[752, 339], [361, 148]], "accuracy", 0.5625, 4),  # shuffled test generator: no better than chance
]


@pytest.mark.parametrize("matrix, name, value, digits", PUBLISHED)
def test_published_confusion_matrices(matrix, name, value, digits):
    assert round(float(getattr(confusion, name)(np.array(matrix, dtype=float))), digits) == value


def test_published_student_of_nine_classes():
    # 354 of 360 right, 40 a class: accuracy and balanced accuracy are equal. Which six were wrong does not matter.
    labels = np.repeat(np.arange(9), 40)
    predictions = labels.copy()
    predictions[[0, 50, 90, 130, 170, 210]] = (labels[[0, 50, 90, 130, 170, 210]] + 1) % 9
    matrix = confusion.confusion_matrix(labels, predictions, 9)
    assert round(float(confusion.accuracy(matrix)), 4) == 0.9833
    assert confusion.balanced_accuracy(matrix) == pytest.approx(354 / 360)


def test_the_dictionary_of_two_classes():
    labels, probabilities, predictions, subjects = random_case(2)
    result = compute_metrics(frame_of(labels, probabilities, ["hem", "all"], subjects), ["hem", "all"], bootstrap=200)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    expected = scikit(labels, probabilities, predictions, np.ones(len(labels)))
    for name in METRICS:
        assert result[name]["value"] == pytest.approx(expected[name], abs=1e-12)
        assert result[name]["low"] <= result[name]["value"] <= result[name]["high"]
        assert result[name]["left_out"] == 0 and "reason" not in result[name]
    assert result["positive_class"] == "all"
    assert (result["n_images"], result["n_subjects"], result["n_unlabelled"]) == (150, len(set(subjects)), 0)
    assert result["bootstrap"] == {
        "unit": "subject",
        "n_units": len(set(subjects)),
        "resamples": 200,
        "seed": 0,
        "confidence": 0.95,
        "method": "percentile",
    }
    assert result["confusion_matrix"] == sk.confusion_matrix(labels, predictions).tolist()
    assert [row["images"] for row in result["per_class"]] == np.bincount(labels).tolist()
    assert result["per_class"][1]["recall"]["value"] == result["sensitivity"]["value"]


def test_the_interval_is_that_of_a_plain_loop():
    labels, probabilities, predictions, subjects = random_case(3, n_images=60, n_subjects=6)
    classes = ["a", "b", "c"]
    result = compute_metrics(frame_of(labels, probabilities, classes, subjects), classes, bootstrap=50, confidence=0.8)
    names, values = np.array(subjects), []
    for count in resample_counts(subjects, 50, 0):
        rows = np.concatenate(
            [np.repeat(np.flatnonzero(names == name), times) for name, times in zip(sorted(set(subjects)), count)]
        )
        values.append(scikit(labels[rows], probabilities[rows], predictions[rows], np.ones(len(rows))))
    for name in METRICS:
        low, high = np.quantile([value[name] for value in values], [0.1, 0.9])
        assert (result[name]["low"], result[name]["high"]) == pytest.approx((low, high), abs=1e-12)


def test_subjects_widen_the_interval_of_clustered_images():
    generator = np.random.default_rng(0)
    right = np.repeat(generator.random(20) < 0.7, 50)  # all images of a subject are right, or all are wrong
    labels = np.tile([0, 1], 500)
    probability = np.where(right == (labels == 1), 0.9, 0.1)
    subjects = [f"s{i}" for i in np.repeat(np.arange(20), 50)]
    width = {}
    for key, names in (("subject", subjects), ("image", None)):
        metric = compute_metrics(frame_of(labels, probability[:, None], ["n", "p"], names), ["n", "p"])["accuracy"]
        width[key] = metric["high"] - metric["low"]
    assert width["subject"] > 5 * width["image"]  # sqrt(50) = 7 in theory


@pytest.mark.parametrize(
    "probability, accuracy, auc, average_precision",
    [
        ([0.1, 0.2, 0.8, 0.9], 1.0, 1.0, 1.0),
        ([0.9, 0.8, 0.2, 0.1], 0.0, 0.0, (1 / 3 + 2 / 4) / 2),
        ([0.5] * 4, 0.5, 0.5, 0.5),
    ],
    ids=["perfect", "inverted", "constant"],
)
def test_extremes(probability, accuracy, auc, average_precision):
    frame = frame_of([0, 0, 1, 1], np.array(probability)[:, None], ["n", "p"])
    result = compute_metrics(frame, ["n", "p"], bootstrap=300)
    assert result["accuracy"]["value"] == accuracy
    assert result["auc"]["value"] == auc
    assert result["average_precision"]["value"] == pytest.approx(average_precision)
    assert result["bootstrap"]["unit"] == "image"
    # 2 of 16 draws of four of two classes hold one class only; these have no AUC.
    assert result["auc"]["left_out"] / 300 == pytest.approx(2 / 16, abs=0.06)
    assert result["accuracy"]["left_out"] == 0
    if accuracy == 0.5:
        assert result["specificity"]["value"] == 0.0 and result["sensitivity"]["value"] == 1.0
        precision = result["per_class"][0]["precision"]
        assert precision["value"] is None and precision["reason"] == "no image was predicted as `n`"


def test_an_absent_class_is_null_with_a_reason():
    classes = ["a", "b, c", "<d>"]
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.6, 0.2, 0.2], [0.1, 0.6, 0.3]])
    result = compute_metrics(frame_of([0, 1, 0, 1], probabilities, classes), classes, bootstrap=20)
    for name in ("balanced_accuracy", "auc", "average_precision", "f1_macro", "sensitivity", "specificity"):
        assert result[name] == {
            "value": None,
            "low": None,
            "high": None,
            "left_out": 20,
            "reason": "no image of class `<d>`",
        }
    assert result["accuracy"]["value"] == 1.0 and result["f1_weighted"]["value"] == 1.0
    assert result["per_class"][2]["auc"]["reason"] == "no image of class `<d>`"
    assert result["per_class"][0]["auc"]["value"] == 1.0
    json.dumps(result, allow_nan=False)


def test_only_one_class_present_of_two():
    result = compute_metrics(frame_of([1, 1, 1], np.array([[0.9], [0.8], [0.2]]), ["n", "p"]), ["n", "p"], bootstrap=20)
    assert result["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert result["specificity"]["reason"] == result["auc"]["reason"] == "no image of class `n`"


def test_one_subject_only_is_resampled_by_image():
    result = compute_metrics(frame_of([0, 1] * 10, np.full((20, 1), 0.7), ["n", "p"], ["s"] * 20), ["n", "p"])
    assert result["bootstrap"]["unit"] == "image" and result["n_subjects"] == 1
    assert result["accuracy"]["low"] < 0.5 < result["accuracy"]["high"]


def test_a_single_image_has_no_interval():
    result = compute_metrics(frame_of([1], np.array([[0.9]]), ["n", "p"]), ["n", "p"])
    assert result["accuracy"] == {
        "value": 1.0,
        "low": None,
        "high": None,
        "left_out": 0,
        "reason": "one image has no interval",
    }


def test_no_resamples_and_unlabelled_images():
    frame = frame_of([0, 1, -1], np.array([[0.1], [0.9], [0.4]]), ["n", "p"], ["s1", "s2", ""])
    result = compute_metrics(frame, ["n", "p"], bootstrap=0)
    assert (result["n_images"], result["n_unlabelled"], result["n_subjects"]) == (2, 1, 2)
    assert result["accuracy"]["low"] is None and result["accuracy"]["reason"] == "no resamples were asked for"
    with pytest.raises(InputError, match="at least one image with a label; received 1 without"):
        compute_metrics(frame.iloc[2:], ["n", "p"])


def test_wrong_options():
    frame = frame_of([0, 1], np.array([[0.1], [0.9]]), ["n", "p"])
    with pytest.raises(InputError, match="`confidence`"):
        compute_metrics(frame, ["n", "p"], confidence=95)
    with pytest.raises(InputError, match="`n_resamples`"):
        compute_metrics(frame, ["n", "p"], bootstrap=-1)
    with pytest.raises(InputError, match="`frame` must have the columns"):
        compute_metrics(frame, ["n", "q"])
    frame.loc[0, "prob_p"] = np.nan
    with pytest.raises(InputError, match="`frame`, row 0: `prob_p` must be a number in .0, 1.; received nan"):
        compute_metrics(frame, ["n", "p"])


@pytest.mark.parametrize("n_classes", [2, 4])
def test_metrics_are_verified_to_the_last_digit(tmp_path, n_classes):
    labels, probabilities, _, subjects = random_case(n_classes)
    classes = ["plain", 'a "b", c', "<script>", "d"][:n_classes]
    frame = frame_of(labels, probabilities, classes, subjects)
    csv, stored = tmp_path / "predictions.csv", tmp_path / "metrics.json"
    write_predictions(csv, frame)
    metrics = compute_metrics(frame, classes, bootstrap=100, seed=5, confidence=0.9)
    write_metrics(stored, metrics)
    assert verify_metrics(csv, stored) == []

    metrics["accuracy"]["high"] = float(np.nextafter(metrics["accuracy"]["high"], 2))
    metrics["confusion_matrix"][0][1] += 1
    metrics["extra"] = 1
    del metrics["n_images"]
    write_metrics(stored, metrics)
    lines = verify_metrics(csv, stored)
    assert len(lines) == 4
    assert lines[0] == "`n_images` is not stored; recomputed 150"
    assert lines[1].startswith("`accuracy.high` is stored as 0.")
    assert lines[2].startswith("`confusion_matrix[0][1]` is stored as ")
    assert lines[3] == "`extra` is stored as 1; it does not follow from the predictions"


def test_verify_names_a_file_that_is_not_metrics(tmp_path):
    frame = frame_of([0, 1], np.array([[0.1], [0.9]]), ["n", "p"])
    write_predictions(tmp_path / "p.csv", frame)
    with pytest.raises(RunError, match="missing"):
        verify_metrics(tmp_path / "p.csv", tmp_path / "m.json")
    for value in ([], {"bootstrap": 3}, {"bootstrap": {"resamples": "x", "seed": 0, "confidence": 0.9}}):
        (tmp_path / "m.json").write_text(json.dumps(value))
        with pytest.raises(RunError, match="m.json.*`bootstrap` must hold|must hold `bootstrap`"):
            verify_metrics(tmp_path / "p.csv", tmp_path / "m.json")
