"""Predictions for the tests of decisions and verdicts: two classes, subjects, and scores that mean something."""

from __future__ import annotations

import numpy as np
import pandas as pd

CLASSES = ("hem", "all")


def case(n_subjects: int = 10, per_subject: int = 12, seed: int = 0, sharpness: float = 5.0):
    """A table, probabilities of the second class that are too sure, and scores; images of a subject are alike."""
    generator = np.random.default_rng(seed)
    subjects = np.repeat(np.arange(n_subjects), per_subject)
    labels = subjects % 2
    truth = 1.2 * (2 * labels - 1) + 0.6 * generator.normal(size=n_subjects)[subjects]
    logits = truth + generator.normal(size=len(subjects))
    table = pd.DataFrame(
        {
            "path": [f"{seed}/{i}.png" for i in range(len(subjects))],
            "subject": [f"s{i}" for i in subjects],
            "label": [CLASSES[i] for i in labels],
        },
        dtype=object,
    )
    probabilities = (1 / (1 + np.exp(-sharpness * logits))).astype(np.float32)[:, None]
    scores = {"energy": generator.normal(size=len(labels)), "mahalanobis": generator.chisquare(5, size=len(labels))}
    return table, probabilities, scores


def groups(table: pd.DataFrame) -> pd.DataFrame:
    """A scanner for each half of the images and an age for each."""
    n = len(table)
    return pd.DataFrame({"scanner": ["a"] * (n // 2) + ["b"] * (n - n // 2), "age": np.arange(n) % 50})
