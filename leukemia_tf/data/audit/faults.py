"""Findings about single files and about the table: broken, odd, wrongly named, unbalanced, subjects across splits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from leukemia_tf.data.audit.reading import Reading
from leukemia_tf.data.table import crossing_subjects

_RARE = 0.1
_SMALL = 32
_BLANK = 2.0
_UNBALANCED = 3.0


def file_findings(table: pd.DataFrame, reading: Reading) -> list[dict]:
    """Findings about files: unreadable, truncated, wrong format for the suffix, odd mode or size, blank."""
    facts, findings = reading.facts, []
    usable = (facts["reason"] == "").to_numpy()
    for path, reason in zip(table["path"][~usable], facts["reason"][~usable]):
        kind = "truncated" if reason.startswith("truncated") else "unreadable"
        findings.append(_finding(kind, "error", path, reason))
    named = usable & (facts["other_format"] != "").to_numpy()
    for path, other in zip(table["path"][named], facts["other_format"][named]):
        findings.append(_finding("wrong suffix", "warning", path, f"the file is {other}"))
    findings += _odd(table, usable, facts["kinds"].to_numpy(dtype=object), "odd mode", "8-bit RGB")
    sizes = np.array([f"{width} x {height}" for width, height in zip(facts["width"], facts["height"])], dtype=object)
    findings += _odd(table, usable, sizes, "odd size", "")
    shape = facts[["width", "height"]].to_numpy(float)
    extreme = usable & ((shape.min(1) < _SMALL) | (shape.max(1) > 4 * np.maximum(shape.min(1), 1)))
    if extreme.mean() < 0.5:
        for path, size in zip(table["path"][extreme], sizes[extreme]):
            findings.append(_finding("odd size", "warning", path, f"{size}: very small, or far from square"))
    blank = np.array([picture.std() < _BLANK for picture in reading.thumbnails], bool)
    for path in table["path"][usable & blank]:
        findings.append(_finding("blank", "warning", path, "hardly any contrast; not compared with others"))
    return findings


def missing_findings(skipped: list[dict]) -> list[dict]:
    """Findings about files that a table lists and that were left out when it was opened."""
    return [_finding("unreadable", "error", entry["path"], entry["reason"]) for entry in skipped]


def table_findings(table: pd.DataFrame) -> list[dict]:
    """Findings about the whole: subjects across splits, class imbalance, classes that a split lacks."""
    findings = []
    first = table.drop_duplicates("subject").set_index("subject")["path"]
    for line in crossing_subjects(table):
        subject = line.removeprefix("subject `").rpartition("` lies in ")[0]
        path = first[subject]
        findings.append(_finding("subject across splits", "leak", path, line))
    counts = table["label"].value_counts()
    if len(counts) > 1:
        ratio = counts.max() / counts.min()
        findings.append(
            _finding(
                "class imbalance", "warning" if ratio >= _UNBALANCED else "info", "",
                f"the largest class has {ratio:.1f} times the images of the smallest: "
                + ", ".join(f"{label} {count:,}" for label, count in counts.items()),
                float(ratio),
            )
        )  # fmt: skip
    known = table[table["split"] != ""]
    for split, part in known.groupby("split"):
        lacking = sorted(set(table["label"]) - set(part["label"]))
        if lacking:
            findings.append(
                _finding("class missing from a split", "warning", "", f"{split} has no {', '.join(lacking)}")
            )
    return findings


def _odd(table: pd.DataFrame, usable: np.ndarray, values: np.ndarray, kind: str, plain: str) -> list[dict]:
    """One line each for what is rare beside a usual value; one line for all where there is no usual one."""
    shares = pd.Series(values[usable]).value_counts(normalize=True)
    if len(shares) == 0:
        return []
    usual = str(shares.index[0])
    if len(shares) == 1:
        if kind == "odd mode" and usual:
            return [_finding(kind, "info", "", f"all images are converted to 8-bit RGB ({usual})")]
        return []
    if shares.iloc[0] >= 1 - _RARE:
        odd = np.flatnonzero(usable & (values != usual))
        return [
            _finding(kind, "warning", table["path"].iat[row], f"{values[row] or plain}; {usual or plain} is usual")
            for row in odd
        ]
    parts = [f"{name or plain} {100 * share:.0f} %" for name, share in shares.head(6).items()]
    more = f" and {len(shares) - 6} more" if len(shares) > 6 else ""
    return [_finding(kind, "info", "", f"{len(shares)} different ones: {', '.join(parts)}{more}")]


def _finding(kind: str, severity: str, path: str, detail: str, score: float = np.nan) -> dict:
    return {"kind": kind, "severity": severity, "path": path, "other": "", "detail": detail, "score": score}
