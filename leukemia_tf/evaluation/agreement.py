"""How far a student says what its teacher says, right or wrong."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.intervals import mean_interval

_SMALLEST = 1e-7


def measure_agreement(
    student: pd.DataFrame, teacher: pd.DataFrame, classes: Sequence[str], *, bootstrap: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Agreement of two models on the same images, with bootstrap intervals.

    Args:
        student, teacher: predictions of `make_predictions`, of the same images in the same order.
        classes: names in the order of the label index.
        bootstrap, seed: as of `mean_interval`; subjects are resampled where all are known.

    Returns:
        ``equal_predictions`` (share of images with the same predicted class), ``kl_divergence`` (mean
        Kullback-Leibler divergence of the student's probabilities from the teacher's, in nats; 0 for equal ones),
        ``student_accuracy`` and ``teacher_accuracy`` (of the images with a label), each as an `Interval`'s dict;
        ``accuracy_kept`` (the student's accuracy divided by the teacher's) and ``n_images``.

    Raises:
        InputError: if the images differ.
    """
    if list(student["path"]) != list(teacher["path"]) or not len(student):
        raise InputError(
            "`student` and `teacher` hold the same images in the same order, one or more. "
            f"Received: {len(student)} and {len(teacher)} rows"
        )
    columns = [f"prob_{name}" for name in classes]
    asked, said = (np.clip(frame[columns].to_numpy(np.float64), _SMALLEST, 1.0) for frame in (teacher, student))
    values = {
        "equal_predictions": (student["prediction"] == teacher["prediction"]).to_numpy(float),
        "kl_divergence": np.sum(asked * np.log(asked / said), axis=1),
    }
    labelled = (student["label"] != "").to_numpy()
    options = {"bootstrap": bootstrap, "seed": seed}
    subjects = student["subject"].to_numpy()
    found: dict[str, Any] = {
        name: mean_interval(numbers, subjects, **options).to_dict() for name, numbers in values.items()
    }
    if labelled.any():
        for name, frame in (("student", student), ("teacher", teacher)):
            right = (frame["prediction"] == frame["label"]).to_numpy(float)[labelled]
            found[f"{name}_accuracy"] = mean_interval(right, subjects[labelled], **options).to_dict()
        below = found["teacher_accuracy"]["value"]
        found["accuracy_kept"] = found["student_accuracy"]["value"] / below if below else None
    return {**found, "n_images": len(student)}
