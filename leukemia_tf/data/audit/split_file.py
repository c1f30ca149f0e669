"""A split from a file: which image belongs to train, val and test."""

from __future__ import annotations

import os
import pathlib

import pandas as pd

from leukemia_tf.data.split_file import MARK, read_split
from leukemia_tf.data.table import SPLIT_ALIASES
from leukemia_tf.errors import InputError


def apply_split(table: pd.DataFrame, split: str | os.PathLike | pd.DataFrame) -> pd.DataFrame:
    """Return a copy of a table with the split of a CSV file or frame (columns path and split, others ignored).

    The file may be what `write_split` wrote, of one split; then its hash is checked.

    Images that it does not name get no split.

    Raises:
        InputError: if the file cannot be read, a column is missing, a split is none of train, val and test, a path
            is named twice with different splits, or hardly any path is in the table.
        RunError: if a file of `write_split` was changed.
    """
    name = "split"
    if not isinstance(split, pd.DataFrame):
        name = str(split)
        try:
            if _has_hash(name):
                split = read_split(name)
            else:
                split = pd.read_csv(pathlib.Path(split), dtype="str", keep_default_na=False, encoding="utf-8-sig")
        except InputError:
            raise  # in its own words
        except (OSError, ValueError, pd.errors.ParserError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise InputError(
                f"`--split`: `{name}` must be a CSV file with the columns path and split: {reason}"
            ) from error
    split.columns = [str(column).strip().lower() for column in split.columns]
    missing = [column for column in ("path", "split") if column not in split]
    if missing:
        raise InputError(
            f"`{name}`: column {' and '.join(f'`{column}`' for column in missing)} is missing. "
            f"Received: {', '.join(split.columns)}"
        )
    values = split["split"].astype("str").str.strip().str.lower()
    unknown = sorted(set(values) - set(SPLIT_ALIASES) - {""})
    if unknown:
        raise InputError(f"`{name}`: `split` must be train, val or test. Received: {', '.join(unknown[:5])}")
    wanted = pd.Series(values.map(SPLIT_ALIASES).fillna("").to_numpy(), index=split["path"].astype("str").str.strip())
    wanted = wanted[~wanted.reset_index().duplicated().to_numpy()]
    twice = wanted.index[wanted.index.duplicated()]
    if len(twice):
        raise InputError(f"`{name}`: each path may have one split. Received: `{twice[0]}` with two")
    found = table["path"].map(wanted)
    if found.notna().sum() == 0:
        raise InputError(
            f"`{name}`: its paths must be those of the data set, such as `{table['path'].iat[0]}`. "
            f"Received: `{wanted.index[0] if len(wanted) else ''}`"
        )
    result = table.copy()
    result["split"] = found.fillna("").astype("str")
    return result


def _has_hash(file: str) -> bool:
    with open(file, "rb") as stream:
        return stream.read(len(MARK)) == MARK.encode()
