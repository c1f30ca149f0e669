"""Aggregation to subjects by hand and by plain loops."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.intervals import wilson_interval
from leukemia_tf.evaluation.predictions import check_predictions, make_predictions
from leukemia_tf.evaluation.subjects import aggregate_subjects, blast_fractions, subject_metrics

CLASSES = ("hem", "all")


def frame_of(subjects, labels, probabilities, classes=CLASSES, threshold=0.5):
    table = pd.DataFrame({"path": [f"{i}.png" for i in range(len(labels))], "subject": subjects, "label": labels})
    return make_predictions(table, np.asarray(probabilities, dtype=float), classes, threshold=threshold)


HAND = frame_of(["b", "a", "b", "a", "b"], ["all", "hem", "all", "hem", ""], [0.9, 0.2, 0.6, 0.5, 0.1])


def test_mean_logit_by_hand():
    subjects = aggregate_subjects(HAND, CLASSES)
    check_predictions(subjects, CLASSES, "subjects")
    assert subjects["path"].tolist() == subjects["subject"].tolist() == ["a", "b"]
    assert subjects["label"].tolist() == ["hem", "all"]
    expected = [expit(logit([0.2, 0.5]).mean()), expit(logit([0.9, 0.6, 0.1]).mean())]
    assert subjects["prob_all"].to_numpy() == pytest.approx(expected)


def test_mean_logit_of_many_classes_is_the_geometric_mean():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    frame = frame_of(["s", "s", "t"], ["x", "x", "y"], probabilities, ("x", "y", "z"))
    subjects = aggregate_subjects(frame, ("x", "y", "z"))
    product = np.sqrt(probabilities[0] * probabilities[1])
    assert subjects.iloc[0][["prob_x", "prob_y", "prob_z"]].tolist() == pytest.approx(product / product.sum())
    assert subjects.iloc[1]["prob_y"] == pytest.approx(0.8)


def test_noisy_or_and_blast_fraction_by_hand():
    subjects = aggregate_subjects(HAND, CLASSES, "noisy_or")
    assert subjects["prob_all"].tolist() == pytest.approx([1 - 0.8 * 0.5, 1 - 0.1 * 0.4 * 0.9])
    subjects = aggregate_subjects(HAND, CLASSES, "blast_fraction", threshold=0.6)
    assert subjects["prob_all"].tolist() == pytest.approx([1 / 2, 2 / 3])
    assert subjects["prediction"].tolist() == ["hem", "all"]
    # The cells' own predictions count, whatever threshold they were made at.
    strict = frame_of(HAND["subject"], HAND["label"], HAND["prob_all"], threshold=0.7)
    assert aggregate_subjects(strict, CLASSES, "blast_fraction")["prob_all"].tolist() == pytest.approx([0, 1 / 3])


def test_certain_cells_leave_probabilities_finite():
    frame = frame_of(["a"] * 3, ["all"] * 3, [0.0, 1.0, 1.0])
    assert aggregate_subjects(frame, CLASSES)["prob_all"].tolist() == pytest.approx([expit(logit(1e-7) / -3)], abs=1e-6)
    assert aggregate_subjects(frame, CLASSES, "noisy_or")["prob_all"].tolist() == [1.0]


def test_blast_fractions_have_wilson_intervals():
    fractions = blast_fractions(HAND, CLASSES)
    assert fractions[["subject", "label", "images", "positive"]].to_numpy().tolist() == [
        ["a", "hem", 2, 1],
        ["b", "all", 3, 2],
    ]
    assert (fractions["low"][1], fractions["high"][1]) == wilson_interval(2, 3)
    assert fractions["fraction"].tolist() == pytest.approx([1 / 2, 2 / 3])


def test_metrics_have_one_vote_a_subject():
    metrics = subject_metrics(HAND, CLASSES, "mean_logit", bootstrap=20)
    assert metrics["confusion_matrix"] == [[1, 0], [0, 1]]
    assert (metrics["n_images"], metrics["n_subjects"], metrics["bootstrap"]["unit"]) == (2, 2, "subject")
    assert metrics["aggregation"] == {
        "method": "mean_logit",
        "threshold": 0.5,
        "subject_label": "same",
        "n_images": 5,
    }
    assert subject_metrics(HAND, CLASSES, "noisy_or", bootstrap=0)["confusion_matrix"] == [[0, 1], [0, 1]]


def test_subjects_with_cells_of_both_classes():
    frame = frame_of(["a", "a", "b", "c"], ["all", "hem", "hem", ""], [0.9, 0.2, 0.1, 0.4])
    with pytest.raises(InputError, match=r"must have one label for all images .* several for `a` \(all, hem\)"):
        aggregate_subjects(frame, CLASSES)
    assert aggregate_subjects(frame, CLASSES, subject_label="any")["label"].tolist() == ["all", "hem", ""]


def test_wrong_input():
    unknown = frame_of(["a", "", ""], ["all"] * 3, [0.5] * 3)
    with pytest.raises(InputError, match="must name the subject of every image; received 2 of 3 without"):
        aggregate_subjects(unknown, CLASSES)
    with pytest.raises(InputError, match="must name the subject of every image; received no image"):
        aggregate_subjects(HAND.iloc[:0], CLASSES)
    with pytest.raises(InputError, match="`method` must be one of .*; received 'vote'"):
        aggregate_subjects(HAND, CLASSES, "vote")
    with pytest.raises(InputError, match="`method` noisy_or is for two classes; received 3"):
        aggregate_subjects(HAND, ("a", "b", "c"), "noisy_or")
    with pytest.raises(InputError, match="`subject_label` must be same or any; received 'all'"):
        aggregate_subjects(HAND, CLASSES, subject_label="all")
