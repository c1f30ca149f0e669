"""The predictions of a run: a table in memory, ``predictions.csv`` on disk, checked in both directions.

Every number of ``metrics.json`` and of the report can be computed again from this one file.
"""

from __future__ import annotations

import csv
import os
import pathlib
from typing import Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError
from leukemia_tf.files import atomic_path

PREFIX = "prob_"
RAW, GROUP = "raw_prob_", "group_"
"""Prefixes of further columns: the probability before calibration, and a column that divides the images."""
SCORES = ("energy", "mahalanobis")
"""Further columns: how strange an image is; see `ood`."""
FLAGS = ("out_of_distribution", "abstain")
"""Further columns: 1 where an image is too strange, or its prediction too unsure; else 0."""
_TEXT_COLUMNS = ["path", "subject", "label", "prediction"]
_MAX_LISTED = 20


def make_predictions(
    table: pd.DataFrame, probabilities: np.ndarray, classes: Sequence[str], *, threshold: float = 0.5
) -> pd.DataFrame:
    """Join a table of images with the probabilities that a model gave them.

    Args:
        table: one row an image, with ``path`` and, where they are known, ``subject`` and ``label`` (class name;
            "" for an image without a label). Row i belongs to ``probabilities[i]``.
        probabilities: float [N, C], rows that sum to 1; or [N, 1] or [N], the sigmoid output of a binary model,
            the probability of ``classes[1]``.
        classes: names in the order of the label index; of two classes the second is the positive one.
        threshold: for two classes, ``classes[1]`` is predicted where its probability is at least this. Above two
            classes the prediction is the most probable class and ``threshold`` must stay 0.5.

    Returns:
        Columns ``path``, ``subject``, ``label``, ``prediction`` (class names) and ``prob_<class>`` for each class
        (float64), in the order of ``table``.

    Raises:
        InputError: if lengths or shapes disagree, a probability is not a number in [0, 1], or a label is unknown.
    """
    classes = _check_classes(classes)
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim == 2 and values.shape[1] == 1 and len(classes) == 2:
        values = np.concatenate([1.0 - values, values], axis=1)
    # A mean of several softmax outputs can miss 0 or 1 by a rounding error; anything more is a fault.
    values = np.where((values > 1.0) & (values <= 1.0 + 1e-6), 1.0, values)
    values = np.where((values < 0.0) & (values >= -1e-6), 0.0, values)
    if values.ndim != 2 or values.shape != (len(table), len(classes)):
        raise InputError(
            f"`probabilities` must have shape [{len(table)}, {len(classes)}] (images, classes"
            + (f", or [{len(table)}, 1] for a sigmoid)" if len(classes) == 2 else ")")
            + f"; received {list(np.shape(probabilities))}"
        )
    if not 0.0 < threshold < 1.0:
        raise InputError(f"`threshold` must lie between 0 and 1; received {threshold!r}")
    if len(classes) > 2 and threshold != 0.5:
        raise InputError(
            f"`threshold` is for two classes; with {len(classes)} the most probable class is predicted; "
            f"received {threshold!r}"
        )
    if len(classes) == 2:
        index = (values[:, 1] >= threshold).astype(np.int64)
    else:
        index = np.argmax(values, axis=1)
    blank = [""] * len(table)
    frame = pd.DataFrame(
        {
            "path": [str(value) for value in table["path"]],
            "subject": _texts(table.get("subject", blank)),
            "label": _texts(table.get("label", blank)),
            "prediction": [classes[i] for i in index],
        },
        dtype=object,
    )
    for column, name in enumerate(classes):
        frame[PREFIX + name] = values[:, column]
    check_predictions(frame, classes, "`probabilities`")
    return frame


def check_predictions(frame: pd.DataFrame, classes: Sequence[str], source: str, first_row: int = 0) -> None:
    """Raise an `InputError` that names ``source`` and each bad row (the first 20), if there is one.

    Args:
        frame: the columns of `make_predictions`.
        classes: the class names.
        source: how to call the input in the message.
        first_row: what to count rows from.
    """
    wanted = _TEXT_COLUMNS + [PREFIX + name for name in classes]
    if list(frame.columns) != wanted:
        raise InputError(f"{source} must have the columns {wanted}; received {list(frame.columns)}")
    values = frame[wanted[4:]].to_numpy(dtype=np.float64)
    faults: list[tuple[int, str]] = []
    with np.errstate(invalid="ignore"):
        outside = ~((values >= 0.0) & (values <= 1.0))
        sums = values.sum(axis=1)
        unequal = ~(np.abs(sums - 1.0) <= 1e-3)
    for row in np.flatnonzero(outside.any(axis=1)):
        column = int(np.argmax(outside[row]))
        number = float(values[row, column])
        faults.append((row, f"`{wanted[4 + column]}` must be a number in [0, 1]; received {number!r}"))
    for row in np.flatnonzero(unequal & ~outside.any(axis=1)):
        faults.append((row, f"the probabilities must sum to 1; received a sum of {float(sums[row]):.6g}"))
    for column, allowed in (("label", {*classes, ""}), ("prediction", set(classes))):
        for row in np.flatnonzero(~frame[column].isin(allowed).to_numpy()):
            accepted = ", ".join(classes) + (' or ""' if "" in allowed else "")
            faults.append((row, f"`{column}` must be one of {accepted}; received {frame[column].iloc[row]!r}"))
    if faults:
        faults.sort(key=lambda fault: fault[0])
        lines = [f"{source}, row {row + first_row}: {what}" for row, what in faults[:_MAX_LISTED]]
        if len(faults) > _MAX_LISTED:
            lines.append(f"{source}: and {len(faults) - _MAX_LISTED} more rows of this kind")
        raise InputError("\n".join(lines))


def write_predictions(path: str | os.PathLike, frame: pd.DataFrame) -> None:
    """Write predictions as CSV, atomically. Floats are written so that they read back bit for bit.

    Raises:
        RunError: if the folder cannot be written.
    """
    # The csv writer quotes a line feed but not a lone carriage return, which would then read as the end of a row.
    texts = [*_TEXT_COLUMNS, *(column for column in frame if column.startswith(GROUP))]
    returns = any(frame[column].str.contains("\r", regex=False).any() for column in texts)
    with atomic_path(path) as temporary:
        frame.to_csv(
            temporary,
            index=False,
            lineterminator="\n",
            quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL,
            encoding="utf-8",
            errors="surrogateescape",  # file names that are not UTF-8 keep their bytes
        )


def plain_columns(classes: Sequence[str]) -> list[str]:
    """The columns of `make_predictions`, which those of a run's ``predictions.csv`` begin with."""
    return [*_TEXT_COLUMNS, *(PREFIX + name for name in classes)]


def read_predictions(path: str | os.PathLike) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read and check a ``predictions.csv``.

    Returns:
        The frame of `make_predictions`, without the further columns of `read_details`; and the class names in order.

    Raises:
        InputError: if the file is missing or no CSV, columns are missing, a probability is not a number in [0, 1],
            a row does not sum to 1 (within 0.001), or a label is not among the classes. Rows count from 1 after the
            header.
    """
    frame, classes = read_details(path)
    return frame[plain_columns(classes)], classes


def read_details(path: str | os.PathLike) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """As `read_predictions`, with the further columns that `Decision.apply` makes.

    Returns:
        The frame: probabilities before calibration (``raw_prob_<class>``), any of `SCORES` (float64) and `FLAGS`
        (int64), ``group_<column>`` (text); and the class names.

    Raises:
        InputError: as of `read_predictions`, for other columns, and for a score that is no finite number or a flag that
            is neither 0 nor 1.
    """
    path = pathlib.Path(path)
    try:
        frame = pd.read_csv(
            path, dtype=object, keep_default_na=False, encoding="utf-8", encoding_errors="surrogateescape"
        )
    except FileNotFoundError:
        raise InputError(f"`{path}` must be a predictions CSV; received a path where there is no file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"`{path}` must be a predictions CSV; received a file that cannot be read: {error}") from None
    columns = [str(column) for column in frame.columns]
    own = [column for column in columns[4:] if column.startswith(PREFIX)]
    further = columns[4 + len(own) :]
    known = {*(RAW + column.removeprefix(PREFIX) for column in own), *SCORES, *FLAGS}
    if columns[: 4 + len(own)] != [*_TEXT_COLUMNS, *own] or [
        column for column in further if column not in known and not column.startswith(GROUP)
    ]:
        raise InputError(
            f"`{path}` must have the columns {', '.join(_TEXT_COLUMNS)} and then prob_<class> for each class, perhaps "
            f"followed by {RAW}<class>, {', '.join((*SCORES, *FLAGS))} and {GROUP}<column>; "
            f"received {', '.join(columns) or 'none'}"
        )
    classes = _check_classes([column.removeprefix(PREFIX) for column in own], source=f"`{path}`")
    raw = [RAW + name for name in classes]
    if set(raw) & set(further) and not set(raw) <= set(further):
        raise InputError(f"`{path}` must have {RAW}<class> for every class or for none; received others")
    numeric = [column for column in columns[4:] if not column.startswith(GROUP)]
    numbers = {column: _to_floats(path, column, frame[column]) for column in numeric}
    result = frame.astype(object).assign(**numbers)
    check_predictions(result[plain_columns(classes)], classes, f"`{path}`", first_row=1)
    if set(raw) <= set(further):
        before = result[[*_TEXT_COLUMNS, *raw]].rename(columns=dict(zip(raw, plain_columns(classes)[4:])))
        check_predictions(before, classes, f"`{path}` ({RAW}<class>)", first_row=1)
    for column in further:
        values = numbers.get(column)
        wrong = []
        if column in SCORES:
            wrong = np.flatnonzero(~np.isfinite(values))
        elif column in FLAGS:
            wrong = np.flatnonzero(~np.isin(values, (0.0, 1.0)))
        if len(wrong):
            wanted = "a finite number" if column in SCORES else "0 or 1"
            raise InputError(
                f"`{path}`, row {wrong[0] + 1}: `{column}` must be {wanted}; received {values[wrong[0]]!r}"
            )
        if column in FLAGS:
            result[column] = values.astype(np.int64)
    return result, classes


def _to_floats(path: pathlib.Path, column: str, texts: pd.Series) -> np.ndarray:
    try:
        return texts.to_numpy(dtype=object).astype(np.float64)  # Python's float of each
    except ValueError:
        pass  # which row, is said below
    for row, text in enumerate(texts):
        try:
            float(text)
        except ValueError:
            kind = "number" if column in SCORES else "number in [0, 1]"
            raise InputError(f"`{path}`, row {row + 1}: `{column}` must be a {kind}; received {text!r}") from None
    raise AssertionError(f"NumPy read `{column}` otherwise than Python")


def _check_classes(classes: Sequence[str], source: str = "`classes`") -> tuple[str, ...]:
    names = tuple(classes)
    if len(names) < 2 or len(set(names)) != len(names) or not all(isinstance(n, str) and n for n in names):
        raise InputError(f"{source} must name two or more classes, each different and not empty; received {names!r}")
    return names


def _texts(values: Sequence[object]) -> list[str]:
    column = pd.Series(list(values), dtype=object)
    return column.where(column.notna(), "").map(str).tolist()
