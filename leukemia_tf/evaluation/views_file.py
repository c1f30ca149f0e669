"""The probabilities of every view of every image as CSV: what test-time augmentation can be computed from again."""

from __future__ import annotations

import os
from typing import Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.predictions import PREFIX
from leukemia_tf.files import atomic_path


def write_views(
    path: str | os.PathLike, paths: Sequence[str], names: Sequence[str], classes: Sequence[str], values: np.ndarray
) -> None:
    """Write ``path`` and ``<view>_prob_<class>``, atomically; floats read back bit for bit.

    Args:
        path: of the file.
        paths: of the images, in order.
        names: of the views.
        classes: names in the order of the columns.
        values: float [V, N, C]; of two classes also [V, N, 1].
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape[2] == 1:
        values = np.concatenate([1.0 - values, values], axis=2)
    columns = {"path": list(paths)}
    for view, of_view in zip(names, values, strict=True):
        columns |= {f"{view}_{PREFIX}{name}": of_view[:, column] for column, name in enumerate(classes)}
    with atomic_path(path) as temporary:
        pd.DataFrame(columns).to_csv(
            temporary, index=False, lineterminator="\n", encoding="utf-8", errors="surrogateescape"
        )


def read_views(
    path: str | os.PathLike, paths: Sequence[str], names: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """float64 [V, N, C] of what `write_views` wrote.

    Raises:
        InputError: if the file is missing, or has other images, views or classes.
    """
    wanted = ["path", *(f"{view}_{PREFIX}{name}" for view in names for name in classes)]
    try:
        frame = pd.read_csv(path, dtype=object, keep_default_na=False, encoding_errors="surrogateescape")
    except FileNotFoundError:
        raise InputError(f"`{path}` must hold the views. Received: a path where there is no file") from None
    except ValueError as error:
        raise InputError(f"`{path}` must be a CSV of views. Received: {error}") from error
    if list(frame.columns) != wanted or list(frame["path"]) != list(paths):
        raise InputError(f"`{path}` must hold the views of the images of the predictions. Received: others")
    try:
        values = frame[wanted[1:]].to_numpy(dtype=object).astype(np.float64)
    except ValueError as error:
        raise InputError(f"`{path}` must hold numbers. Received: {error}") from error
    return values.reshape(len(frame), len(names), len(classes)).transpose(1, 0, 2)
