"""A cleaned table as a CSV file that `open_data` opens, with a list of what was left out and why."""

from __future__ import annotations

import os
import pathlib

import pandas as pd

from leukemia_tf.data.audit.result import Audit
from leukemia_tf.data.table import image_file
from leukemia_tf.errors import InputError
from leukemia_tf.files import atomic_path


def write_cleaned(audit: Audit, file: str | os.PathLike) -> pd.DataFrame:
    """Write path, label[, subject][, split] of `audit.cleaned()`, and `<file>.dropped.csv` with path and reason.

    Paths are relative to the CSV's folder where the images lie below it, else absolute. Images of an array have no
    file of their own: their paths stay as the table has them.

    Returns:
        The cleaned table.

    Raises:
        InputError: if the name does not end in .csv.
        RunError: if it cannot be written.
    """
    file = pathlib.Path(os.path.abspath(file))
    if file.suffix.lower() != ".csv":
        raise InputError(f"`--clean` must be the name of a .csv file. Received: {str(file)!r}")
    table = audit.cleaned()
    columns = ["path", "label"] + [name for name in ("subject", "split") if len(table) and table[name].ne("").all()]
    frame = table[columns].copy()
    if not table["index"].notna().any():
        frame["path"] = [_relative(image_file(audit.manifest, path), file.parent) for path in table["path"]]
    with atomic_path(file) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
    with atomic_path(file.with_name(file.stem + ".dropped.csv")) as temporary:
        pd.DataFrame(table.attrs["dropped"], columns=["path", "reason"]).to_csv(
            temporary, index=False, lineterminator="\n"
        )
    return table


def _relative(path: pathlib.Path, folder: pathlib.Path) -> str:
    path = pathlib.Path(os.path.abspath(path))
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
