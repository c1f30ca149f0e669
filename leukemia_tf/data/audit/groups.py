"""Groups of images that show the same, and what is wrong with each: copies across splits, classes and subjects."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from leukemia_tf.data.table import SPLITS

# A copy shows at least this share of what two whole pictures could share; less is a neighbouring field.
_WHOLE = 0.7
_LARGEST_OVERLAP = 0.6


def exact_pairs(hashes: pd.Series) -> pd.DataFrame:
    """Pairs (first, second: positions) of equal hashes: each later copy with the first one. "" is no hash."""
    frame = pd.DataFrame({"hash": hashes.to_numpy(), "row": np.arange(len(hashes))})
    frame = frame[frame["hash"] != ""]
    frame["first"] = frame.groupby("hash")["row"].transform("min")
    copies = frame[frame["first"] != frame["row"]]
    return pd.DataFrame(
        {
            "first": copies["first"].to_numpy(), "second": copies["row"].to_numpy(), "kind": "exact", "score": 1.0,
            "overlap": 1.0, "transformation": "identical bytes",
        }
    )  # fmt: skip


def near_pairs(found: pd.DataFrame) -> pd.DataFrame:
    """Give the pairs of `find_copies` a kind: "near" (a whole picture) or "overlap" (neighbouring fields)."""
    share = np.clip(found["overlap"] / _LARGEST_OVERLAP, 0, 1)
    shifted = found["transformation"].str.contains("shifted by")
    kind = np.where(shifted & (share < _WHOLE), "overlap", "near")
    return pd.DataFrame(
        {
            "first": found["first"], "second": found["second"], "kind": kind, "score": found["score"],
            "overlap": share, "transformation": found["transformation"],
        }
    )  # fmt: skip


def number_groups(count: int, pairs: pd.DataFrame) -> np.ndarray:
    """Number the connected components: int [count], 0 for an image in no pair, groups from 1 in order of rows."""
    first, second = pairs["first"].to_numpy(np.int64), pairs["second"].to_numpy(np.int64)
    edges = coo_array((np.ones(len(pairs), np.int8), (first, second)), shape=(count, count))
    labels = connected_components(edges, directed=False)[1]
    sizes = np.bincount(labels, minlength=1)
    alone = sizes[labels] < 2
    result = np.zeros(count, np.int64)
    result[~alone] = pd.factorize(labels[~alone])[0] + 1
    return result


def group_findings(table: pd.DataFrame, pairs: pd.DataFrame, groups: np.ndarray) -> list[dict]:
    """One finding for each group of copies, and further ones where it crosses splits, classes or subjects.

    Args:
        table: path, label, subject and split of each row.
        pairs: first, second, kind, score and transformation.
        groups: of `number_groups` of these pairs.
    """
    columns = {name: table[name].to_numpy() for name in ("path", "label", "subject", "split")}
    pairs = pairs.assign(group=groups[pairs["first"].to_numpy(np.int64)]) if len(pairs) else pairs.assign(group=0)
    members_of = pd.Series(np.arange(len(groups)))[groups > 0].groupby(groups[groups > 0])
    findings = []
    by_group = {number: part for number, part in pairs.groupby("group")}
    for number, members in members_of:
        findings += _one_group(columns, members.to_numpy(), by_group[number])
    return findings


def _one_group(columns: dict[str, np.ndarray], members: np.ndarray, pairs: pd.DataFrame) -> list[dict]:
    labels, subjects, splits = (columns[name][members] for name in ("label", "subject", "split"))
    kinds = set(pairs["kind"])
    name = "exact copies" if kinds == {"exact"} else "overlapping fields" if kinds == {"overlap"} else "near copies"
    known_splits = {split for split in splits if split}
    crossing = len(known_splits) > 1
    found = []

    def add(kind: str, severity: str, column: np.ndarray | None, detail: str) -> None:
        pair = _telling_pair(pairs, column)
        found.append(
            {
                "kind": kind, "severity": severity, "path": columns["path"][int(pair["first"])],
                "other": columns["path"][int(pair["second"])], "detail": detail, "score": float(pair["score"]),
            }
        )  # fmt: skip

    best = _telling_pair(pairs, columns["split"] if crossing else None)
    count = f"{len(members)} images" if len(members) > 2 else "a pair"
    if crossing:
        parts = ", ".join(
            f"{np.count_nonzero(splits == split)} in {split}" for split in SPLITS if split in known_splits
        )
        add(f"{name} across splits", "leak", columns["split"], f"{count}: {parts}; {best['transformation']}")
    else:
        add(name, "warning", None, f"{count}; {best['transformation']}")
    if len(set(labels)) > 1:
        parts = ", ".join(f"{np.count_nonzero(labels == label)} {label}" for label in sorted(set(labels)))
        severity = "warning" if kinds == {"overlap"} else "error"
        add("label conflict", severity, columns["label"], f"{count} of the same picture: {parts}")
    known = sorted({subject for subject in subjects if subject})
    if len(known) > 1:
        add("copies under several subjects", "warning", columns["subject"], f"{count}; subjects {', '.join(known[:8])}")
    return found


def _telling_pair(pairs: pd.DataFrame, column: np.ndarray | None) -> pd.Series:
    """The best pair, of those that differ in `column` if there is one."""
    if column is not None:
        differs = column[pairs["first"].to_numpy(np.int64)] != column[pairs["second"].to_numpy(np.int64)]
        pairs = pairs[differs] if differs.any() else pairs
    return pairs.loc[pairs["score"].idxmax()]
