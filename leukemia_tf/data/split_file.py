"""A split on disk: which image is in which part, with a hash that tells whether two runs were judged alike.

The file is a CSV with one line before it::

    # leukemia_tf split: sha256=<64 digits> level=subject leakage=no
    path,split,fold
    fold_0/all/UID_11_10_1_all.bmp,train,

`fold` is empty for a single split, and <repeat>.<fold> for each table of a cross-validation. The hash is `split_hash`
of a single split; with folds, the same over the lines path<TAB>split<TAB>fold.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
from typing import Sequence

import pandas as pd

from leukemia_tf.data.csv_file import read_text_csv
from leukemia_tf.data.names import name_problem, show
from leukemia_tf.data.split import LEVELS, assert_disjoint
from leukemia_tf.data.table import SPLITS
from leukemia_tf.errors import InputError, RunError
from leukemia_tf.files import atomic_path

MARK = "# leukemia_tf split"
"""How a split file begins."""

_COLUMNS = ["path", "split", "fold"]
_HEADER = re.compile(r"# leukemia_tf split: sha256=([0-9a-f]{64}) level=(\w+) leakage=(yes|no)")
_NAMED = 20


def write_split(file: str | os.PathLike, tables: pd.DataFrame | Sequence[pd.DataFrame]) -> str:
    """Write the split of a table, or of each table of a cross-validation, in one step.

    Args:
        file: the CSV file.
        tables: a table with `split` filled in, or what `make_folds` returned.

    Returns:
        The hash.

    Raises:
        InputError: if an image has no split.
    """
    single = isinstance(tables, pd.DataFrame)
    tables = [tables] if single else list(tables)
    parts = [
        table[["path", "split"]].assign(fold="" if single else f"{table.attrs['repeat']}.{table.attrs['fold']}")
        for table in tables
    ]
    frame = pd.concat(parts).sort_values(["fold", "path"], kind="stable")
    if not frame["split"].isin(SPLITS).all():
        count = int((~frame["split"].isin(SPLITS)).sum())
        raise InputError(f"`split` must be train, val or test for every image; received {count} without")
    attrs = tables[0].attrs
    header = f"sha256={_hash(frame)} level={attrs.get('split_level', 'official')} "
    header += f"leakage={'yes' if attrs.get('leakage') else 'no'}"
    with atomic_path(file) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as stream:
            stream.write(f"# leukemia_tf split: {header}\n")
            frame.to_csv(stream, index=False, lineterminator="\n")
    return _hash(frame)


def read_split(file: str | os.PathLike) -> pd.DataFrame:
    """Read a split file.

    Returns:
        Columns path, split, fold; `attrs` "split_hash", "split_level" and "leakage".

    Raises:
        InputError: if the file is missing or is no split file.
        RunError: if the hash does not fit: it was changed after it was written.
    """
    file = pathlib.Path(file)
    try:
        with open(file, encoding="utf-8", newline="") as stream:
            first = stream.readline(300).rstrip("\r\n")
            header = _HEADER.fullmatch(first)
            if not header:
                raise InputError(
                    f"`{file}` must be a split file, whose first line begins with '# leukemia_tf split'; "
                    f"received {show(first, 80)!r}"
                )
            frame = read_text_csv(stream, file, skip_spaces=False)
    except OSError as error:
        raise InputError(f"`{file}` cannot be read; received: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"`{file}` must be a CSV file in UTF-8; received: {show(str(error))}") from error
    problems = _problems(frame, header[2])
    if problems:
        raise InputError("\n".join(f"`{file}`: {problem}" for problem in problems))
    if _hash(frame) != header[1]:
        raise RunError(f"`{file}` was changed after it was written: its lines hash to {_hash(frame)}, not {header[1]}")
    frame.attrs = {"split_hash": header[1], "split_level": header[2], "leakage": header[3] == "yes"}
    return frame


def apply_split(
    table: pd.DataFrame, file: str | os.PathLike, *, allow_leakage: bool = False
) -> pd.DataFrame | list[pd.DataFrame]:
    """Give a table the split of a file: the table, or with folds one for each, as `make_folds` returned them.

    Args:
        table: its images must be those of the file, in any order.
        file: what `write_split` wrote.
        allow_leakage: permits a split by image where subjects are known.

    Raises:
        InputError: if the images differ (the first 20 are named), or subjects are known and the file divides them.
        RunError: if the file was changed, or a subject or an image lies in two splits.
    """
    frame = read_split(file)
    result = []
    for fold, rows in sorted(frame.groupby("fold"), key=lambda item: fold_order(item[0])):
        _check_same(set(table["path"]), set(rows["path"]), pathlib.Path(file).name)
        part = table.copy()
        part["split"] = table["path"].map(dict(zip(rows["path"], rows["split"]))).astype("str")
        part.attrs = {**table.attrs, "split_level": frame.attrs["split_level"], "leakage": frame.attrs["leakage"]}
        if fold:
            repeat, _, number = fold.partition(".")
            same = frame["fold"][frame["fold"].str.startswith(f"{repeat}.")]
            part.attrs.update(repeat=int(repeat), fold=number, folds=same.nunique())
        if part.attrs["split_level"] == "image" and table["subject"].ne("").any():
            if not allow_leakage:
                raise InputError(
                    f"`{file}` is a split by image, and the subjects of these images are known; --allow-leakage "
                    f"(allow_leakage=True) uses it and marks the report; received "
                    f"{table['subject'][table['subject'] != ''].nunique()} subjects"
                )
            part.attrs["leakage"] = True
        assert_disjoint(part)
        result.append(part)
    return result[0] if len(result) == 1 and not frame["fold"].iat[0] else result


def fold_order(fold: str) -> tuple[int, int, str]:
    """Sort key of <repeat>.<fold>: "0.2" comes before "0.10", as the folds were made."""
    repeat, _, number = fold.partition(".")
    return int(repeat or 0), len(number), number


def _hash(frame: pd.DataFrame) -> str:
    rows = zip(frame["path"], frame["split"], frame["fold"])
    lines = sorted(f"{path}\t{split}\t{fold}\n" if fold else f"{path}\t{split}\n" for path, split, fold in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _problems(frame: pd.DataFrame, level: str) -> list[str]:
    if list(frame.columns) != _COLUMNS:
        return [f"the columns must be {', '.join(_COLUMNS)}; received {show(', '.join(map(str, frame.columns)))}"]
    problems = []
    if level not in LEVELS:
        problems.append(f"the level must be one of {', '.join(LEVELS)}; received {level!r}")
    if frame.empty:
        problems.append("at least one image must be listed; received none")
    wrong = sorted(set(frame["split"]) - set(SPLITS))
    if wrong:
        problems.append(f"`split` must be train, val or test; received {show(', '.join(wrong))!r}")
    folds = sorted(set(frame["fold"]))
    if "" in folds and len(folds) > 1 or not all(re.fullmatch(r"(\d+\..+)?", fold) for fold in folds):
        problems.append(f"`fold` must be <repeat>.<fold>, or empty in every row; received {show(', '.join(folds))!r}")
    if frame.duplicated(["path", "fold"]).any():
        twice = frame["path"][frame.duplicated(["path", "fold"])].iat[0]
        problems.append(f"each image may be listed once in a fold; received `{show(twice)}` twice")
    unusable = [path for path in frame["path"] if name_problem(path)]
    if unusable:
        problems.append(f"`path`: received {name_problem(unusable[0])} in `{show(unusable[0])}`")
    return problems


def _check_same(have: set[str], listed: set[str], file: str) -> None:
    if have == listed:
        return
    lines = []
    for paths, what in ((listed - have, "is in the file and not in the data"), (have - listed, "is not in the file")):
        lines += [f"`{show(path)}` {what}" for path in sorted(paths)[:_NAMED]]
        lines += [f"... and {len(paths) - _NAMED:,} more" for _ in range(len(paths) > _NAMED)]
    raise InputError("\n".join([f"`{file}` must list exactly the images of the data; received:", *lines]))
