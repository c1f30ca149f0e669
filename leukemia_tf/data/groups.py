"""Rows that must lie in one split: same subject, same bytes, nearly the same picture, and chains of these."""

from __future__ import annotations

import logging
from typing import Mapping

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

log = logging.getLogger(__name__)


def group_rows(table: pd.DataFrame, by_subject: bool, together: Mapping[str, str | int] | None = None) -> np.ndarray:
    """Number the sets of rows that must stay together: same subject, same bytes, same group, and chains of these.

    Args:
        table: the rows.
        by_subject: whether the images of a subject stay together.
        together: path -> group, of images that show the same; paths it lacks are on their own.

    Returns:
        int [N], numbered in the order of the rows.
    """
    columns = {"sha256": table["sha256"]}
    if by_subject:
        columns["subject"] = table["subject"]
    if together:
        columns["group"] = table["path"].map(lambda path: str(together.get(path, "")))
    rows, nodes, count = [], [], len(table)
    for column in columns.values():
        known = np.flatnonzero(column.ne("").to_numpy())
        codes, values = pd.factorize(column.iloc[known])
        rows.append(known)
        nodes.append(codes + count)
        count += len(values)
    row, node = np.concatenate(rows), np.concatenate(nodes)
    edges = coo_array((np.ones(len(row)), (row, node)), shape=(count, count))
    return connected_components(edges, directed=False)[1][: len(table)]


def tell_crossing_groups(table: pd.DataFrame, together: Mapping[str, str | int]) -> None:
    """Log how many groups a split that is not ours (official folds, one site left out) divides; ours divide none."""
    named = table["path"].map(lambda path: str(together.get(path, "")))
    crossing = table["split"][named != ""].groupby(named[named != ""]).nunique()
    if (crossing > 1).any():
        log.warning(
            "%d groups of nearly identical images lie in more than one part of this split; first `%s`",
            int((crossing > 1).sum()), crossing.index[crossing > 1][0],
        )  # fmt: skip
