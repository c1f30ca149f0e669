"""The audit of a table: read, look for copies, measure shortcuts, and put the findings together."""

from __future__ import annotations

import logging
import os
from typing import Sequence

import cv2
import numpy as np
import pandas as pd

from leukemia_tf.data.audit import faults
from leukemia_tf.data.audit.copies import find_copies
from leukemia_tf.data.audit.groups import exact_pairs, group_findings, near_pairs, number_groups
from leukemia_tf.data.audit.overlay import GRID, Print, frequency, recurring_prints
from leukemia_tf.data.audit.reading import Reading, read_table_images
from leukemia_tf.data.audit.result import FINDINGS, Audit
from leukemia_tf.data.audit.shortcuts import COLUMNS, encoder_sources, measure_shortcuts
from leukemia_tf.data.audit.split_file import apply_split
from leukemia_tf.data.manifest import Manifest

log = logging.getLogger(__name__)

_ORDER = {"leak": 0, "error": 1, "warning": 2, "info": 3}
_TELLS = 0.9


def audit_table(
    manifest: Manifest,
    table: pd.DataFrame,
    *,
    split: str | os.PathLike | pd.DataFrame | None = None,
    shortcuts: bool = True,
    max_shortcut_images: int = 3000,
    progress: bool = True,
    seed: int = 0,
) -> Audit:
    """Audit a data set: every file is read and decoded once, nothing is changed.

    Args:
        manifest: gives the folder of the table's paths.
        table: as `open_data` returns it.
        split: a CSV file or frame with the columns path and split (a run's `table.csv` is one); it replaces the
            table's own split. Without any split, copies are warnings; across splits they are leaks.
        shortcuts: measure how well file size, resolution, encoder, border, corners, colour and print tell the class.
        max_shortcut_images: sample for that.
        progress: show progress on a terminal, log lines otherwise.
        seed: of samples and folds. The same seed gives the same audit.

    Returns:
        The audit; `audit.leaks` says whether a copy or a subject lies in two splits.

    Raises:
        InputError: for a split file that does not fit, or an array file that cannot be read. Broken images are
            findings, not errors.
    """
    skipped = list(table.attrs.get("skipped", []))
    table = apply_split(table, split) if split is not None else table.copy()
    table = table.reset_index(drop=True)
    reading = read_table_images(manifest, table, progress=progress)
    return judge(
        manifest, table, reading, skipped=skipped, shortcuts=shortcuts, max_shortcut_images=max_shortcut_images,
        progress=progress, seed=seed,
    )  # fmt: skip


def judge(
    manifest: Manifest,
    table: pd.DataFrame,
    reading: Reading,
    *,
    skipped: Sequence[dict] = (),
    shortcuts: bool = True,
    max_shortcut_images: int = 3000,
    progress: bool = True,
    seed: int = 0,
) -> Audit:
    """The audit of a table whose images were read.

    Args:
        manifest, shortcuts, max_shortcut_images, progress, seed: as of `audit_table`.
        table: numbered from 0, with the split that is judged.
        reading: of `read_table_images`.
        skipped: {"path", "reason"} of files that were left out when the table was opened.
    """
    table = table.assign(sha256=reading.facts["sha256"].astype("str"))
    usable = (reading.facts["reason"] == "").to_numpy()

    exact = exact_pairs(table["sha256"].where(usable, ""))
    # Of identical files one is enough to compare with the others.
    alone = np.flatnonzero(usable & ~np.isin(np.arange(len(table)), exact["second"].to_numpy()))
    found = find_copies(reading.thumbnails, alone, progress=progress, seed=seed)
    pairs = pd.concat([exact, near_pairs(found)], ignore_index=True) if len(found) else exact
    groups = number_groups(len(table), pairs)

    findings = faults.missing_findings(list(skipped)) + faults.file_findings(table, reading)
    findings += group_findings(table, pairs, groups) + faults.table_findings(table)
    prints, shown = _prints(reading, table, usable)
    findings += [_print_finding(table, number, one, shown) for number, one in enumerate(prints)]
    measured = pd.DataFrame(columns=list(COLUMNS))
    if shortcuts:
        measured = _shortcuts(reading, table, usable, groups, prints, max_shortcut_images, seed)
        findings += [_shortcut_finding(row) for row in measured.to_dict("records") if row["low"] >= 0.75]
    frame = pd.DataFrame(findings, columns=list(FINDINGS))
    frame = frame.sort_values("severity", key=lambda column: column.map(_ORDER), kind="stable").reset_index(drop=True)
    sources = encoder_sources(reading.facts, table["label"])
    audit = Audit(
        manifest=manifest, table=table, facts=reading.facts, findings=frame, pairs=_named(table, pairs),
        groups=_members(table, pairs, groups), shortcuts=measured, sources=sources,
        print_map=_print_map(reading, usable), prints=tuple(prints), usable=usable,
        compared=int(len(alone)),
    )  # fmt: skip
    for line in audit.lines():
        log.info("%s", line)
    return audit


def _prints(reading: Reading, table: pd.DataFrame, usable: np.ndarray) -> tuple[list[Print], np.ndarray]:
    if "print" not in reading.cues:
        return [], np.zeros((len(table), 0), bool)
    prints, hits = recurring_prints(_of(reading.cues["print"], usable), table["label"].to_numpy()[usable])
    shown = np.zeros((len(table), len(prints)), bool)
    shown[usable] = hits
    return prints, shown


def _print_map(reading: Reading, usable: np.ndarray) -> np.ndarray | None:
    return frequency(_of(reading.cues["print"], usable)) if "print" in reading.cues else None


def _print_finding(table: pd.DataFrame, number: int, one: Print, shown: np.ndarray) -> dict:
    shares = pd.Series(shown[:, number]).groupby(table["label"]).mean()
    left, top, right, bottom = (f"{100 * value:.0f}" for value in one.box)
    example = table["path"].iloc[int(np.flatnonzero(shown[:, number])[0])]
    detail = (
        f"text or a scale bar from {left} to {right} % of the width and {top} to {bottom} % of the height, in "
        f"{100 * one.share:.0f} % of the images: "
        + ", ".join(f"{label} {100 * share:.0f} %" for label, share in shares.items())
    )
    return {
        "kind": "burned-in print", "severity": "warning", "path": example, "other": "", "detail": detail,
        "score": one.share,
    }  # fmt: skip


def _shortcuts(
    reading: Reading,
    table: pd.DataFrame,
    usable: np.ndarray,
    groups: np.ndarray,
    prints: list[Print],
    max_images: int,
    seed: int,
) -> pd.DataFrame:
    cues = {name: _of(values, usable) for name, values in reading.cues.items() if name != "print" or prints}
    if prints:
        cues["print"] = _PrintCue(cues["print"], prints)
    # A subject, or where none is known a group of copies, never lies on both sides of a fold.
    unit = np.where(groups > 0, -groups, np.arange(len(table))).astype(str)
    known = table["subject"].ne("").all()
    units = (table["subject"].to_numpy() if known else unit)[usable]
    parts = [
        measure_shortcuts(
            cues, table["label"].to_numpy()[usable], units, max_images=max_images, seed=seed
        )
    ]  # fmt: skip
    if table["source"][usable].nunique() > 1:
        sources = table["source"].to_numpy()[usable]
        parts.append(measure_shortcuts(cues, sources, units, target="source", max_images=max_images, seed=seed))
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


def _of(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """The rows of usable images; where all are, the array itself and not a copy, which may be larger than memory."""
    return values if usable.all() else values[usable]


class _PrintCue:
    """Strokes at and near the prints, two by two grid cells together, of the images that are asked for."""

    def __init__(self, masks: np.ndarray, prints: list[Print]):
        self._masks = masks
        area = np.any([one.mask for one in prints], axis=0).astype(np.uint8)
        area = cv2.dilate(area, np.ones((7, 7), np.uint8)).reshape(GRID // 2, 2, GRID // 2, 2).max((1, 3))
        self._area = area.astype(bool)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), features]."""
        parts = []
        for start in range(0, len(rows), 1024):
            masks = self._masks[rows[start : start + 1024]]
            strokes = np.unpackbits(masks, axis=1).reshape(-1, GRID // 2, 2, GRID // 2, 2)
            parts.append(strokes.sum((2, 4))[:, self._area].astype(np.float32))
        return np.concatenate(parts)


def _shortcut_finding(row: dict) -> dict:
    severity = "warning" if row["low"] >= _TELLS else "info"
    target = "class" if row["target"] == "label" else "source"
    detail = (
        f"{row['cue']} alone tells the {target} with an AUC of {row['auc']:.3f} "
        f"[{row['low']:.3f}, {row['high']:.3f}] ({row['what']})"
    )
    return {
        "kind": "shortcut", "severity": severity, "path": "", "other": "", "detail": detail, "score": row["auc"]
    }  # fmt: skip


def _named(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Pairs with paths, labels and splits in the place of positions; leaks first."""
    first, second = pairs["first"].to_numpy(np.int64), pairs["second"].to_numpy(np.int64)
    columns = {"path": table["path"].to_numpy()[first], "other": table["path"].to_numpy()[second]}
    for name in ("label", "split", "subject"):
        values = table[name].to_numpy()
        columns[name], columns[f"other_{name}"] = values[first], values[second]
    frame = pd.DataFrame(columns).assign(
        kind=pairs["kind"].to_numpy(), score=pairs["score"].to_numpy(float), overlap=pairs["overlap"].to_numpy(float),
        transformation=pairs["transformation"].to_numpy(),
    )  # fmt: skip
    frame["leak"] = (frame["split"] != frame["other_split"]) & (frame["split"] != "") & (frame["other_split"] != "")
    return frame.sort_values(["leak", "score"], ascending=False, kind="stable").reset_index(drop=True)


def _members(table: pd.DataFrame, pairs: pd.DataFrame, groups: np.ndarray) -> pd.DataFrame:
    """One row for each image that is in a group: group, kind (the strongest of its pairs), path, label, ..."""
    kinds = pd.Series("", index=range(len(table)), dtype="str")
    for kind in ("overlap", "near", "exact"):
        part = pairs[pairs["kind"] == kind]
        kinds.iloc[np.unique(part[["first", "second"]].to_numpy(np.int64))] = kind
    rows = np.flatnonzero(groups)
    frame = table.loc[rows, ["path", "label", "subject", "split", "sha256"]]
    frame = frame.assign(group=groups[rows], kind=kinds.iloc[rows].to_numpy())
    frame = frame[["group", "kind", "path", "label", "subject", "split", "sha256"]]
    return frame.sort_values(["group", "path"], kind="stable").reset_index(drop=True)
