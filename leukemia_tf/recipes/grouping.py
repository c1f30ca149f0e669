"""The columns by which a run's figures are broken down: of its table, and of a file beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.rules import VerdictRules

if TYPE_CHECKING:
    import pandas as pd

_IN_EVERY_FRAME = ("subject", "label")


def group_columns(rules: VerdictRules, table: pd.DataFrame, *, all_images: bool = True) -> pd.DataFrame:
    """The columns of ``rules.subgroups`` besides subject and label, one row for each of the table.

    Args:
        rules: of the recipe.
        table: images with their paths.
        all_images: whether the file has to know every image.

    Raises:
        InputError: for a column that neither the table nor the file has, a file without paths, one that lists an image
            twice, or does not list all of them.
    """
    import pandas as pd

    from leukemia_tf.data.csv_file import read_text_csv

    wanted = [name for name in rules.columns if name not in _IN_EVERY_FRAME]
    beside = pd.DataFrame({"path": table["path"]})
    file = rules.subgroup_file
    if file:
        beside = read_text_csv(file, file)
        if "path" not in beside or beside["path"].duplicated().any():
            raise InputError(f"`verdict.subgroup_file` has a column path with each image once. Received: {file}")
        missing = set(table["path"]) - set(beside["path"])
        if missing and all_images:
            raise InputError(
                f"`verdict.subgroup_file` lists every image. Received: {file}, without {len(missing)}, such as "
                f"`{min(missing)}`"
            )
    unknown = [name for name in wanted if name not in beside and name not in table]
    if unknown:
        known = sorted({*table.columns, *beside.columns} - {"path"})
        raise InputError(f"`verdict.subgroups` names columns: {', '.join(known)}. Received: {', '.join(unknown)}")
    rows = beside.set_index("path").reindex(table["path"]).reset_index(drop=True)
    return pd.DataFrame(
        {name: rows[name] if name in rows else table[name].reset_index(drop=True) for name in wanted},
        index=range(len(table)),
    )
