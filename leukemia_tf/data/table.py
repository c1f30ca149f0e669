"""The table: one row an image, the only form in which data travels through the package."""

from __future__ import annotations

import os
import pathlib
import re
from typing import Any, Iterable, Mapping, Sequence

import pandas as pd

from leukemia_tf.data.manifest import Manifest
from leukemia_tf.errors import InputError

COLUMNS = ("path", "index", "label", "subject", "source", "split", "sha256")
SPLITS = ("train", "val", "test")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")

# What users and data sets call the three parts.
SPLIT_ALIASES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}

# The name of a C-NMC 2019 training image, also inside the name of an augmented copy. H marks a healthy subject.
CNMC_NAME = r"(?:^|[/_-])UID_(?P<subject>[Hh]?\d+)_\d+_\d+_(?P<label>all|hem)(?![A-Za-z])[^/]*$"

_HEALTHY = {
    "hem", "healthy", "normal", "benign", "negative", "control", "controls", "hc", "noncancer", "noncancerous",
    "nonleukemia", "nonleukemic", "noleukemia", "nonmalignant",
}  # fmt: skip


def make_table(rows: Iterable[Mapping[str, Any]], source: str) -> pd.DataFrame:
    """Build a table from rows that hold `path` and `label`, and perhaps `index`, `subject`, `split` and `sha256`.

    Returns:
        A frame with exactly the columns of `COLUMNS`, sorted by path, numbered from 0.
    """
    frame = pd.DataFrame(list(rows), columns=[name for name in COLUMNS if name != "source"])
    frame["source"] = source
    for name in COLUMNS:
        if name != "index":
            frame[name] = frame[name].astype("str").where(frame[name].notna(), "")
    frame["index"] = frame["index"].astype("Int64")
    return frame.loc[:, list(COLUMNS)].sort_values("path", kind="stable").reset_index(drop=True)


def image_file(manifest: Manifest, path: str) -> pathlib.Path:
    """Return where the file of a table's `path` lies: under `manifest.root`, or as it is when absolute."""
    if manifest.root is None:
        raise InputError(
            f"`manifest.root` of {manifest.name!r} is not set: load_manifest(name, root=...) says where its files lie; "
            "received None"
        )
    return manifest.root / path


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is the system's own: `.DS_Store`, `._x.jpg`, `Thumbs.db`, `__MACOSX`."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def relative_path(file: str | os.PathLike, root: pathlib.Path) -> str:
    """Return a path for the table: POSIX and relative to `root`, or absolute when it lies outside."""
    absolute = os.path.abspath(file)
    above = os.path.join(root, "")
    # Text, not pathlib: a table may have millions of paths.
    relative = absolute[len(above) :] if absolute.startswith(above) else absolute
    return relative.replace(os.sep, "/")


def order_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names (numbers by value); of two, the diseased one comes last and so becomes the positive class."""
    ordered = sorted(set(names), key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))
    if len(ordered) == 2 and is_healthy(ordered[1]) and not is_healthy(ordered[0]):
        ordered.reverse()
    return tuple(ordered)


def is_healthy(name: str) -> bool:
    """Tell whether a class name says that nothing is wrong: HEM, healthy, normal, benign, ..."""
    return re.sub(r"[^a-z]", "", name.lower()) in _HEALTHY


def check_classes(table: pd.DataFrame, classes: Sequence[str], where: str) -> None:
    """Check that there are two classes or more, that none is empty, and that train has all that the others have.

    Raises:
        InputError: one line for each thing wrong.
    """
    problems = []
    counts = table["label"].value_counts()
    if len(classes) < 2:
        problems.append(
            f"`{where}`: at least two classes are needed, each in a folder (or with a label) of its own; "
            f"received {len(classes)}: {', '.join(classes) or 'none'}"
        )
    for name in classes:
        if counts.get(name, 0) == 0:
            problems.append(f"`{where}`: class `{name}` has no image (JPEG, PNG, BMP or TIFF); received 0 images")
    train = set(table.loc[table["split"] == "train", "label"])
    for split in ("val", "test"):
        missing = sorted(set(table.loc[table["split"] == split, "label"]) - train)
        if missing:
            problems.append(
                f"`{where}`: every class of {split} must also be in train; "
                f"received {', '.join(f'`{name}`' for name in missing)} in {split} only"
            )
    if problems:
        raise InputError("\n".join(problems))


def crossing_subjects(table: pd.DataFrame) -> list[str]:
    """Return one line for each known subject that lies in two splits or more."""
    known = table.loc[(table["subject"] != "") & (table["split"] != ""), ["subject", "split"]].drop_duplicates()
    known = known[known["subject"].duplicated(keep=False)]
    return [
        f"subject `{subject}` lies in {', '.join(s for s in SPLITS if s in set(group))}"
        for subject, group in known.groupby("subject")["split"]
    ]


def check_subjects(table: pd.DataFrame, where: str) -> None:
    """Check that no known subject lies in two declared splits.

    Raises:
        InputError: names every such subject.
    """
    crossing = crossing_subjects(table)
    if crossing:
        raise InputError(
            "\n".join([f"`{where}`: all images of a subject must lie in one split; received:", *crossing])
        )
