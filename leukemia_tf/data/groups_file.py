"""Groups of images that show the same, from a file: what an audit found, or what somebody wrote by hand."""

from __future__ import annotations

import os

from leukemia_tf.data.csv_file import read_text_csv
from leukemia_tf.data.names import show
from leukemia_tf.errors import InputError


def read_groups(file: str | os.PathLike) -> dict[str, str]:
    """Read a CSV file with the columns path and group; others, as in ``groups.csv`` of an audit, are ignored.

    Args:
        file: paths are those of the data set's table; rows without a group are left out.

    Returns:
        path -> group, as `split_table` and `make_folds` take them.

    Raises:
        InputError: if the file cannot be read, lacks a column, or puts an image into two groups.
    """
    frame = read_text_csv(file, file)
    if not {"path", "group"} <= set(frame.columns):
        raise InputError(
            f"`{file}` must have the columns path and group; received {show(', '.join(map(str, frame.columns)))}"
        )
    frame = frame.loc[(frame["path"] != "") & (frame["group"] != ""), ["path", "group"]].drop_duplicates()
    twice = frame["path"][frame["path"].duplicated()]
    if len(twice):
        raise InputError(f"`{file}` must name each image once; received `{show(twice.iat[0])}` in two groups")
    return dict(zip(frame["path"], frame["group"]))
