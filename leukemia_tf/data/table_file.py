"""A table on disk: ``table.csv``."""

from __future__ import annotations

import os

import pandas as pd

from leukemia_tf.data.table import COLUMNS
from leukemia_tf.errors import RunError
from leukemia_tf.files import atomic_path


def write_table(path: str | os.PathLike, table: pd.DataFrame) -> None:
    """Write a table as CSV (UTF-8), in one step."""
    with atomic_path(path) as temporary:
        table[list(COLUMNS)].to_csv(temporary, index=False, lineterminator="\n")


def read_table(path: str | os.PathLike) -> pd.DataFrame:
    """Read what `write_table` wrote: the same columns, types and order.

    Raises:
        RunError: if the file is missing or is no table.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise RunError(f"`{path}` cannot be read as a table: {error}") from error
    if list(table.columns) != list(COLUMNS):
        raise RunError(f"`{path}` has the columns {', '.join(COLUMNS)}. Received: {', '.join(table.columns)}")
    table["index"] = pd.to_numeric(table["index"].replace("", pd.NA)).astype("Int64")
    return table
