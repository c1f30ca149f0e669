"""The order in which an epoch shows its images, with classes balanced or not, and balanced class weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.utils.class_weight import compute_class_weight

from leukemia_tf.errors import InputError

BALANCES = ("none", "oversample")


def label_indices(table: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """int64 ``[N]``: the position of each row's label in ``classes``.

    Raises:
        InputError: a label is not one of the classes; names every such label.
    """
    found = pd.Index(classes).get_indexer(table["label"])
    if (found < 0).any():
        unknown = table["label"][found < 0].value_counts()
        raise InputError(
            f"`table` must hold only the labels {', '.join(classes)}, got "
            + ", ".join(f"{label!r} in {count} rows" for label, count in unknown.items())
        )
    return found.astype(np.int64)


def class_weights(table: pd.DataFrame, classes: Sequence[str]) -> dict[int, float]:
    """Weight of each class, inverse to its frequency, for ``Model.fit(class_weight=...)``.

    ``N / (number of classes in the table * images of the class)``, as scikit-learn's "balanced"; the mean over
    the images is 1. A class without an image is left out, for there is nothing to weigh.

    Args:
        table: rows with a ``label`` column of class names; the training split.
        classes: class names in label order.

    Raises:
        InputError: the table is empty or holds an unknown label.
    """
    if not len(table):
        raise InputError("`table` must hold at least one row, got an empty table")
    labels = label_indices(table, classes)
    present = np.unique(labels)
    weights = compute_class_weight("balanced", classes=present, y=labels)
    return {int(index): float(weight) for index, weight in zip(present, weights)}


def epoch_length(labels: np.ndarray, balance: str = "none") -> int:
    """How many images an epoch shows: all once, or, balanced, each class as often as the largest has images."""
    if balance not in BALANCES:
        raise InputError(f"`balance` must be one of {', '.join(BALANCES)}, got {balance!r}")
    if balance == "none":
        return len(labels)
    counts = np.unique(labels, return_counts=True)[1]
    return int(len(counts) * counts.max())


def epoch_order(labels: np.ndarray, seed: int, epoch: int, balance: str = "none") -> np.ndarray:
    """The shuffled row numbers of one epoch, a function of the arguments alone.

    Args:
        labels: int ``[N]``, class index of each row.
        seed, epoch: not negative.
        balance: "none" shows every row once. "oversample" shows every class equally often: every row of the
            largest class once, and the rows of a smaller class in cycles, all of them before one is shown again.

    Returns:
        int64 ``[epoch_length(labels, balance)]``.
    """
    length = epoch_length(labels, balance)
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, epoch])))
    if balance == "none":
        return random.permutation(length)
    names, counts = np.unique(labels, return_counts=True)
    draws = []
    for name in names:
        rows = np.flatnonzero(labels == name)
        cycles = [random.permutation(rows) for _ in range(-(-counts.max() // len(rows)))]
        draws.append(np.concatenate(cycles)[: counts.max()])
    return random.permutation(np.concatenate(draws))
