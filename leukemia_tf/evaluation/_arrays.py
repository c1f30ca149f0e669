"""The labelled rows of a predictions frame as arrays, checked once for all that computes from them."""

from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.predictions import PREFIX, check_predictions


class Arrays(NamedTuple):
    """``paths``, ``subjects``: object [N]; ``labels``, ``predictions``: int64 [N]; ``probabilities``: [N, C]."""

    paths: np.ndarray
    subjects: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray


def labelled_arrays(frame: pd.DataFrame, classes: Sequence[str], source: str = "`frame`") -> Arrays:
    """Arrays of the rows of ``frame`` that have a label, in their order.

    Raises:
        InputError: if the frame is malformed or no row has a label.
    """
    classes = tuple(classes)
    check_predictions(frame, classes, source)
    labelled = frame[frame["label"] != ""]
    if not len(labelled):
        raise InputError(f"{source} must hold at least one image with a label; received {len(frame)} without")
    index = {name: position for position, name in enumerate(classes)}
    return Arrays(
        labelled["path"].to_numpy(dtype=object),
        labelled["subject"].to_numpy(dtype=object),
        labelled["label"].map(index).to_numpy(dtype=np.int64),
        labelled["prediction"].map(index).to_numpy(dtype=np.int64),
        labelled[[PREFIX + name for name in classes]].to_numpy(dtype=np.float64),
    )


def check_labels(labels: Sequence[int], probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 [N] and float64 [N, C] of class indices and probabilities; [N] and [N, 1] are those of class 1 of two.

    Raises:
        InputError: if the shapes disagree, nothing is given, a label is no class index or a probability no number in
            [0, 1].
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 1:
        values = np.stack([1.0 - values, values], axis=1)
    if values.ndim != 2 or not len(values):
        raise InputError(
            f"`probabilities` must have shape [N, C] (or [N] for two classes); received {list(np.shape(probabilities))}"
        )
    with np.errstate(invalid="ignore"):
        if not ((values >= 0.0) & (values <= 1.0)).all():
            raise InputError("`probabilities` must be numbers in [0, 1]; received others")
    return check_indices(labels, *values.shape), values


def check_indices(labels: Sequence[int], n_rows: int, n_classes: int) -> np.ndarray:
    """int64 [N] of class indices.

    Raises:
        InputError: if there are not ``n_rows`` whole numbers in [0, ``n_classes``).
    """
    given = np.asarray(labels)
    if given.shape != (n_rows,):
        raise InputError(f"`labels` must have shape [{n_rows}], one an image; received {list(given.shape)}")
    if given.dtype.kind not in "iub" and not (given.dtype.kind == "f" and (given == np.floor(given)).all()):
        raise InputError(f"`labels` must be class indices, whole numbers; received values of type {given.dtype}")
    if not n_rows:
        raise InputError("`labels` must hold one image or more; received none")
    given = given.astype(np.int64)
    if given.min() < 0 or given.max() >= n_classes:
        raise InputError(
            f"`labels` must be class indices from 0 to {n_classes - 1}; received {given.min()} to {given.max()}"
        )
    return given
