"""A CSV file that lists images: path, label, and perhaps subject, split and source."""

from __future__ import annotations

import logging
import os
import pathlib

import pandas as pd

from leukemia_tf.data.csv_file import read_text_csv
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.names import name_problem, show
from leukemia_tf.data.table import (
    SPLIT_ALIASES,
    check_classes,
    check_subjects,
    make_table,
    order_classes,
    relative_path,
)
from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)

_REQUIRED = ("path", "label")
_OPTIONAL = ("subject", "split", "source")


def open_csv(file: str | os.PathLike, *, skip_broken: bool = False) -> tuple[Manifest, pd.DataFrame]:
    """Open a CSV file with the columns path, label[, subject][, split][, source]; paths are relative to its folder.

    Other columns are ignored. A split column makes the split official: its values are train, val (or valid,
    validation) and test, in every row. A source is where an image was made: a hospital, a scanner, a data set.

    Args:
        file: the CSV file (UTF-8, commas).
        skip_broken: leave out rows whose file is missing, instead of an error; `table.attrs["skipped"]` lists them.

    Raises:
        InputError: for missing columns, empty labels, unknown split names, images listed twice, missing files, fewer
            than two classes, or a subject in two splits. One line for each.
    """
    file = pathlib.Path(os.path.abspath(file))
    frame = _read(file)
    problems = _check_cells(frame, file.name)
    rows, skipped, lines, sources = [], [], {}, {}
    # Column by column: a dictionary for each row would need a kilobyte each.
    for number, values in enumerate(zip(*(frame[name].tolist() for name in frame)), start=2):
        row = dict(zip(frame, values))
        if not row["path"]:
            continue
        unusable = name_problem(row["path"])
        if unusable:
            problems.append(f"`{file.name}` line {number}: rename `{show(row['path'])}`; received {unusable}")
            continue
        path = os.path.join(file.parent, row["path"])
        if "\\" in row["path"] and not os.path.exists(path):
            path = os.path.join(file.parent, row["path"].replace("\\", "/"))
        shown = relative_path(path, file.parent)
        if shown in lines:
            problems.append(
                f"`{file.name}` line {number}: each image may be listed once; "
                f"received `{shown}`, as in line {lines[shown]}"
            )
        elif not os.path.isfile(path):
            skipped.append({"path": shown, "reason": "the file does not exist"})
        else:
            split = SPLIT_ALIASES.get(row.get("split", "").lower(), "")
            rows.append({"path": shown, "label": row["label"], "subject": row.get("subject", ""), "split": split})
            sources[shown] = row.get("source", "") or file.stem
        lines.setdefault(shown, number)
    if not skip_broken:
        problems += [f"`{file.name}`: `{entry['path']}` does not exist" for entry in skipped]
        if skipped:
            problems.append("paths are relative to the CSV file's folder; --skip-broken leaves missing files out")
    if problems:
        raise InputError("\n".join(problems))
    if skipped:
        log.warning("`%s`: %d missing files are left out; first `%s`", file, len(skipped), skipped[0]["path"])
    manifest = Manifest(
        name=file.stem,
        title=f"Table {file.name}",
        licence="not stated",
        citation="not stated",
        homepage="not stated",
        # From all rows, so that a class whose files are all missing is an error and not forgotten.
        classes=order_classes(frame["label"]),
        layout="table",
        official_split=bool("split" in frame and frame["split"].ne("").any()),
        root=file.parent,
    )
    table = make_table(rows, manifest.name)
    table["source"] = table["path"].map(sources).astype("str")
    check_classes(table, manifest.classes, str(file))
    check_subjects(table, str(file))
    table.attrs["skipped"] = skipped
    return manifest, table


def _read(file: pathlib.Path) -> pd.DataFrame:
    frame = read_text_csv(file, file)
    frame.columns = [str(name).strip().lower() for name in frame.columns]
    missing = [name for name in _REQUIRED if name not in frame]
    if missing:
        raise InputError(
            f"`{file}`: column {' and '.join(f'`{name}`' for name in missing)} is missing; the columns are path, label"
            f"[, subject][, split][, source]; received {show(', '.join(frame.columns))}"
        )
    if not frame.columns.is_unique:
        raise InputError(f"`{file}`: each column may occur once; received {show(', '.join(frame.columns))}")
    if frame.empty:
        raise InputError(f"`{file}` must list at least one image; received 0 rows")
    kept = [name for name in (*_REQUIRED, *_OPTIONAL) if name in frame]
    return frame[kept].apply(lambda column: column.str.strip())


def _check_cells(frame: pd.DataFrame, name: str) -> list[str]:
    """Return one line for each cell that cannot stand."""
    problems = []
    for column in _REQUIRED:
        problems += [f"`{name}` line {row + 2}: `{column}` is empty" for row in frame.index[frame[column] == ""]]
    for column in _OPTIONAL:
        if column in frame and frame[column].ne("").any():
            problems += [
                f"`{name}` line {row + 2}: `{column}` is empty while other rows have one: fill in all or none"
                for row in frame.index[frame[column] == ""]
            ]
    for column in ("label", "subject", "source"):
        if column in frame:
            for row, unusable in frame[column].map(lambda text: text and name_problem(text)).items():
                if unusable:
                    shown = show(frame[column].iat[row])
                    problems.append(f"`{name}` line {row + 2}: `{column}` must be plain text; `{shown}` has {unusable}")
    if "split" in frame:
        for row, split in frame["split"].items():
            if split and split.lower() not in SPLIT_ALIASES:
                problems.append(
                    f"`{name}` line {row + 2}: `split` must be train, val or test; received {show(split)!r}"
                )
    return problems
