"""What an audit found, and what can be done with it: write it, count it, clean the table."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np
import pandas as pd

from leukemia_tf import __version__
from leukemia_tf.data.audit.overlay import Print
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.files import atomic_path, write_json

FINDINGS = ("kind", "severity", "path", "other", "detail", "score")
_KEPT_FIRST = {"test": 0, "val": 1, "train": 2, "": 3}


@dataclasses.dataclass(frozen=True)
class Audit:
    """The result of `audit_table`.

    Attributes:
        manifest: of the data set.
        table: the audited table, with `sha256` and the split that was judged.
        facts: one row an image: reason (why it is broken, "" if not), bytes, width, height, format, kinds,
            other_format, encoder.
        findings: columns kind, severity ("leak", "error", "warning", "info"), path, other, detail, score; gravest
            first. One line for each broken or odd file and for each group of copies.
        pairs: pairs of images that show the same: path, other, their labels, splits and subjects, kind ("exact",
            "near", "overlap" for neighbouring fields that share a part), score (correlation of edges, 0 to 1),
            overlap (share of the picture that both show), transformation (in words), leak.
        groups: one row for each image with a copy: group (number), kind, path, label, subject, split, sha256.
        shortcuts: of `measure_shortcuts`.
        sources: of `encoder_sources`.
        print_map: float32 [GRID, GRID], share of the images with a thin stroke at each place.
        prints: print that recurs at one place.
        usable: bool [N], images that could be read.
        compared: number of images that were compared with each other (of identical files, one).
    """

    manifest: Manifest
    table: pd.DataFrame
    facts: pd.DataFrame
    findings: pd.DataFrame
    pairs: pd.DataFrame
    groups: pd.DataFrame
    shortcuts: pd.DataFrame
    sources: pd.DataFrame
    print_map: np.ndarray | None
    prints: tuple[Print, ...]
    usable: np.ndarray
    compared: int

    @property
    def leaks(self) -> bool:
        """Whether a copy of an image, a part of one, or a subject lies in two splits."""
        return bool((self.findings["severity"] == "leak").any())

    @property
    def summary(self) -> dict[str, Any]:
        """Counts as JSON values."""
        exact = self.pairs[self.pairs["kind"] == "exact"]
        counts = self.findings["severity"].value_counts()
        by_kind = self.findings.groupby(["kind", "severity"]).size()
        strongest = self.shortcuts[self.shortcuts["target"] == "label"]
        return {
            "leukemia_tf": __version__,
            "data": self.manifest.name,
            "synthetic": self.manifest.synthetic,
            "images": len(self.table),
            "usable": int(self.usable.sum()),
            "classes": {str(label): int(n) for label, n in self.table["label"].value_counts().items()},
            "splits": {str(split): int(n) for split, n in self.table["split"].value_counts().items()},
            "subjects": int(self.table["subject"][self.table["subject"] != ""].nunique()),
            "leaks": self.leaks,
            "severities": {name: int(counts.get(name, 0)) for name in ("leak", "error", "warning", "info")},
            "findings": [{"kind": k, "severity": s, "count": int(n)} for (k, s), n in by_kind.items()],
            "exact_copies": len(exact),
            "exact_groups": int(self.table["sha256"][self.usable].duplicated(keep=False).sum() - len(exact)),
            "near_pairs": int((self.pairs["kind"] == "near").sum()),
            "overlap_pairs": int((self.pairs["kind"] == "overlap").sum()),
            "groups": int(self.groups["group"].nunique()),
            "images_in_groups": len(self.groups),
            "groups_across_classes": int((self.groups.groupby("group")["label"].nunique() > 1).sum()),
            "prints": [{"share": round(one.share, 4), "box": list(one.box)} for one in self.prints],
            "shortcuts": {
                row["cue"]: [round(row["auc"], 4), round(row["low"], 4), round(row["high"], 4)]
                for row in strongest.to_dict("records")
            },
        }

    def lines(self) -> list[str]:
        """The result in a few lines."""
        found = self.summary
        severities = found["severities"]
        lines = [
            f"{found['images']:,} images, {found['images'] - found['usable']:,} of them broken; "
            f"{severities['leak']} leaks, {severities['error']} errors, {severities['warning']} warnings",
            f"copies: {found['exact_groups']} groups of identical files ({found['exact_copies']} surplus), "
            f"{found['near_pairs']} near or augmented pairs, {found['overlap_pairs']} pairs of overlapping fields; "
            f"{found['groups_across_classes']} groups under more than one class",
        ]
        if found["shortcuts"]:
            cues = ", ".join(f"{cue} {auc:.3f}" for cue, (auc, _, _) in found["shortcuts"].items())
            lines.append(f"AUC of guessing the class from: {cues}")
        return lines

    def cleaned(self) -> pd.DataFrame:
        """Return the table without broken files, without contradictory labels, and with one of each group of copies.

        Of copies the one in test stays, else in val, else in train; then the one with most pixels; then the first.
        Groups with two labels go altogether. Overlapping fields stay while they lie in one split; across splits the
        one that is not in test (or val) goes. Subjects are left alone.

        Returns:
            A new table with `sha256`; `attrs["dropped"]` lists {"path", "reason"} of what was left out.
        """
        dropped: dict[str, str] = {}
        for path, reason in zip(self.table["path"][~self.usable], self.facts["reason"][~self.usable]):
            dropped[path] = reason
        copies = self.pairs[self.pairs["kind"] != "overlap"]
        place = pd.Series(self.table.index, index=self.table["path"].to_numpy())
        for members in _components(copies):
            rows = self.table.loc[np.sort(place.loc[members].to_numpy())]
            if rows["label"].nunique() > 1:
                dropped |= {path: "copies of it have another label" for path in rows["path"]}
                continue
            kept = self._first_choice(rows)
            dropped |= {path: f"copy of `{kept}`" for path in rows["path"] if path != kept}
        overlapping = self.pairs[(self.pairs["kind"] == "overlap") & self.pairs["leak"]]
        for path, other in zip(overlapping["path"], overlapping["other"]):
            if path in dropped or other in dropped:
                continue
            kept = self._first_choice(self.table.loc[np.sort(place.loc[[path, other]].to_numpy())])
            gone = other if kept == path else path
            dropped[gone] = f"shows a part of `{kept}`, which lies in another split"
        result = self.table[~self.table["path"].isin(dropped)].reset_index(drop=True)
        result.attrs = {
            **self.table.attrs,
            "dropped": [{"path": path, "reason": dropped[path]} for path in self.table["path"] if path in dropped],
        }
        return result

    def _first_choice(self, rows: pd.DataFrame) -> str:
        pixels = self.facts.loc[rows.index, "width"] * self.facts.loc[rows.index, "height"]
        order = rows.assign(rank=rows["split"].map(_KEPT_FIRST), pixels=-pixels)
        return order.sort_values(["rank", "pixels", "path"], kind="stable")["path"].iat[0]

    def write(self, folder: str | os.PathLike) -> pathlib.Path:
        """Write audit.json, findings.csv, pairs.csv, groups.csv, shortcuts.csv, sources.csv and report.html.

        Returns:
            Path of the report.

        Raises:
            RunError: if the folder cannot be written.
        """
        from leukemia_tf.data.audit.report import write_report

        folder = pathlib.Path(folder)
        for name in ("findings", "pairs", "groups", "shortcuts", "sources"):
            with atomic_path(folder / f"{name}.csv") as temporary:
                frame = getattr(self, name)
                frame.to_csv(temporary, index=False, lineterminator="\n", float_format="%.4f", errors="replace")
        write_json(folder / "audit.json", self.summary)
        return write_report(self, folder / "report.html")


def _components(pairs: pd.DataFrame) -> list[np.ndarray]:
    """The paths of each set that is connected by pairs."""
    from leukemia_tf.data.audit.groups import number_groups

    codes, paths = pd.factorize(pd.concat([pairs["path"], pairs["other"]], ignore_index=True))
    frame = pd.DataFrame({"first": codes[: len(pairs)], "second": codes[len(pairs) :]})
    numbers = number_groups(len(paths), frame)
    order = np.argsort(numbers, kind="stable")
    ends = np.flatnonzero(np.diff(numbers[order])) + 1
    return [paths[rows].to_numpy() for rows in np.split(order, ends) if len(rows)]
