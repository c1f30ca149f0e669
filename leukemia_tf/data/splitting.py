"""Split a data set and write what `train --split` takes: one file, or one for each fold of a cross-validation."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Sequence

import pandas as pd

from leukemia_tf.data import folds as cross_validation
from leukemia_tf.data.groups_file import read_groups
from leukemia_tf.data.open import open_data
from leukemia_tf.data.scan import scan_table
from leukemia_tf.data.split import split_table
from leukemia_tf.data.split_file import write_split
from leukemia_tf.data.table import SPLITS
from leukemia_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class WrittenSplit:
    """A split file that was written.

    Attributes:
        file: where.
        digest: its hash, as in the first line of the file and in every run that uses it.
        table: the table with `split` filled in.
    """

    file: pathlib.Path
    digest: str
    table: pd.DataFrame

    @property
    def leakage(self) -> bool:
        """Whether it divides known subjects."""
        return bool(self.table.attrs.get("leakage"))

    def line(self) -> str:
        """File, fold, sizes and hash in one line."""
        parts = []
        for split in SPLITS:
            rows = self.table[self.table["split"] == split]
            subjects = rows["subject"][rows["subject"] != ""].nunique()
            if len(rows):
                parts.append(f"{split} {len(rows):,} images" + (f" of {subjects} subjects" if subjects else ""))
        attrs = self.table.attrs
        fold = f"fold {attrs['fold']} of partition {attrs['repeat']}, " if "fold" in attrs else ""
        return f"{self.file}: {fold}by {attrs['split_level']}: {', '.join(parts)}; sha256 {self.digest[:12]}"


def split_data(
    spec: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    folds: int | None = None,
    repeats: int = 1,
    official_folds: bool = False,
    leave_one_source_out: bool = False,
    level: str = "auto",
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    val_fraction: float = 0.2,
    groups_file: str | os.PathLike | None = None,
    allow_leakage: bool = False,
    seed: int = 0,
    skip_broken: bool = False,
    progress: bool = True,
) -> list[WrittenSplit]:
    """Open, scan and split a data set, and write the files.

    Args:
        spec: as `open_data` takes it.
        folder: where the files go: split.csv, or partition<r>_fold<k>.csv.
        folds: so many folds, as `make_folds` makes them; None for one split, as `split_table` makes it.
        repeats: partitions into folds.
        official_folds: the folds that came with the data.
        leave_one_source_out: each value of the table's column source is the test part once. One subject id in two
            sources is one person, and refused.
        level: of `split_table` and `make_folds`.
        fractions: shares of a single split.
        val_fraction: with folds, what val takes of the rest.
        groups_file: CSV file (path, group) of images to keep together.
        allow_leakage: permits level="image" where subjects are known.
        seed: the same seed gives the same files for the same images, on any machine and in any order.
        skip_broken: leave broken images out.
        progress: show progress on a terminal.

    Returns:
        What was written, in order.

    Raises:
        InputError: for wrong or contradicting arguments, or data that cannot be split so.
        RunError: if a subject lies in two official folds or sources, or a file cannot be written.
    """
    if sum([folds is not None, official_folds, leave_one_source_out]) > 1:
        raise InputError(
            "one of `folds`, `official_folds` and `leave_one_source_out` is accepted. "
            f"Received: {folds!r}, {official_folds!r}, {leave_one_source_out!r}"
        )
    if folds is None and repeats != 1:
        raise InputError(f"`repeats` goes with `folds` alone. Received: {repeats!r}")
    if (official_folds or leave_one_source_out) and (level != "auto" or allow_leakage):
        raise InputError(f"`level` goes with a single split or `folds`; here the folds are given. Received: {level!r}")
    manifest, table = open_data(spec, skip_broken=skip_broken)
    table = scan_table(manifest, table, skip_broken=skip_broken, progress=progress)
    groups = read_groups(groups_file) if groups_file else None
    if groups and not set(groups) & set(table["path"]):
        raise InputError(
            f"`groups_file` must name images by their path in the data set, such as `{table['path'].iat[0]}`. "
            f"Received: `{next(iter(groups))}` (none of {len(groups)} is there)"
        )
    common = {"val_fraction": val_fraction, "seed": seed, "groups": groups}
    if official_folds:
        tables = cross_validation.official_folds(manifest, table, **common)
    elif leave_one_source_out:
        # By another name than "source", so that equal ids stay one person: all of them are of one table.
        tables = cross_validation.leave_one_source_out(table.assign(site=table["source"]), "site", **common)
    elif folds is not None:
        tables = cross_validation.make_folds(table, folds, repeats, level=level, allow_leakage=allow_leakage, **common)
    else:
        tables = [
            split_table(
                table, fractions=fractions, seed=seed, level=level, allow_leakage=allow_leakage, groups=groups
            )
        ]  # fmt: skip
    written, numbers = [], {}
    for one in tables:
        name = "split.csv"
        if "fold" in one.attrs:
            numbers[one.attrs["repeat"]] = number = numbers.get(one.attrs["repeat"], -1) + 1
            name = f"partition{one.attrs['repeat']}_fold{number}.csv"
        file = pathlib.Path(folder) / name
        written.append(WrittenSplit(file, write_split(file, one), one))
    return written
