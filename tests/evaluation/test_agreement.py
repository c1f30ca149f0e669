"""Agreement of a student with its teacher, worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation import make_predictions, measure_agreement

CLASSES = ["a", "b"]


def frame(probabilities, labels=("a", "b", "b", "b"), subjects=("",) * 4):
    table = pd.DataFrame({"path": list("wxyz"), "label": list(labels), "subject": list(subjects)})
    return make_predictions(table, np.array(probabilities)[:, None], CLASSES)


def test_by_hand():
    teacher = frame([0.25, 0.75, 0.75, 0.25])  # a b b a: 3 of 4 right
    student = frame([0.50, 0.75, 0.25, 0.25])  # b b a a: 1 of 4 right
    found = measure_agreement(student, teacher, CLASSES, bootstrap=200)
    assert found["equal_predictions"]["value"] == 0.5
    one = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    other = 0.75 * np.log(0.75 / 0.25) + 0.25 * np.log(0.25 / 0.75)
    assert found["kl_divergence"]["value"] == pytest.approx((one + other) / 4)
    assert found["teacher_accuracy"]["value"] == 0.75 and found["student_accuracy"]["value"] == 0.25
    assert found["accuracy_kept"] == pytest.approx(1 / 3) and found["n_images"] == 4
    low, high = (found["equal_predictions"][end] for end in ("low", "high"))
    assert 0 <= low < 0.5 < high <= 1
    assert found["equal_predictions"]["unit"] == "image"


def test_the_same_model_agrees_in_full_and_subjects_are_resampled():
    model = frame([0.0, 1.0, 0.6, 0.3], subjects=("s", "s", "t", "t"))
    found = measure_agreement(model, model, CLASSES, bootstrap=50)
    assert found["equal_predictions"]["value"] == found["equal_predictions"]["low"] == 1.0
    assert found["kl_divergence"]["value"] == 0.0
    assert found["equal_predictions"]["unit"] == "subject" and found["equal_predictions"]["n_units"] == 2


def test_a_certain_student_that_is_wrong_has_a_finite_divergence():
    found = measure_agreement(frame([1.0] * 4), frame([0.0] * 4), CLASSES, bootstrap=10)
    assert found["kl_divergence"]["value"] == pytest.approx(np.log(1e7), rel=1e-3)


def test_without_labels_there_is_no_accuracy():
    unlabelled = frame([0.2, 0.4, 0.6, 0.8], labels=("",) * 4)
    found = measure_agreement(unlabelled, unlabelled, CLASSES, bootstrap=10)
    assert "teacher_accuracy" not in found and "accuracy_kept" not in found


def test_other_images_are_refused():
    with pytest.raises(InputError, match="same images in the same order.*Received: 3 and 4 rows"):
        measure_agreement(frame([0.1] * 4).iloc[:3], frame([0.1] * 4), CLASSES)
