"""A CSV file among the images that labels those whose names say nothing (C-NMC 2019's preliminary test set)."""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
import re

import pandas as pd

from leukemia_tf.data.csv_file import read_text_csv
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.names import show
from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LabelsCsv:
    """What the CSV said.

    Attributes:
        file: the CSV relative to the root, "" when there is none.
        rows: path -> {"path", "label", "subject", "split"} of each image that it labels and that is there.
        missing: the names that it lists and that are not there.
    """

    file: str = ""
    rows: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    missing: tuple[str, ...] = ()


def read_labels(manifest: Manifest, root: pathlib.Path, images: list[str]) -> LabelsCsv:
    """Read the CSV file that `manifest.labels_csv` describes, and find its images.

    Args:
        manifest: its `labels_csv`, `label_names` and `subject_from` say how.
        root: the folder of the data set.
        images: the paths in it, relative to `root`, that may be meant.

    Raises:
        InputError: for more than one such file, a missing column, an unknown label, or a name that is listed twice or
            fits several images. One line for each.
    """
    rule = manifest.labels_csv
    if not rule:
        return LabelsCsv()
    files = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*.csv")
        if path.is_file()
        and not path.name.startswith(".")
        and pathlib.Path(os.path.realpath(path)).is_relative_to(root)
    )
    files = [file for file in files if re.search(rule["file"], file)]
    if not files:
        return LabelsCsv()
    if len(files) > 1:
        raise InputError(
            f"`{show(str(root))}` must hold one table of labels; received {', '.join(f'`{show(f)}`' for f in files)}"
        )
    (file,) = files
    return _match(manifest, file, _read(root / file, file, rule), images)


def _read(path: pathlib.Path, file: str, rule) -> pd.DataFrame:
    frame = read_text_csv(path, file)
    columns = [rule[key] for key in ("image", "label", "subject") if key in rule]
    lacking = [name for name in columns if name not in frame]
    if lacking:
        raise InputError(
            f"`{file}`: column {', '.join(f'`{name}`' for name in lacking)} is missing; "
            f"received {show(', '.join(map(str, frame.columns)))}"
        )
    return frame[columns].apply(lambda column: column.str.strip())


def _match(manifest: Manifest, file: str, frame: pd.DataFrame, images: list[str]) -> LabelsCsv:
    rule = manifest.labels_csv
    found: dict[str, list[str]] = {}
    for path in images:
        if re.search(rule["images"], path):
            found.setdefault(path.rpartition("/")[2], []).append(path)
    rows, missing, problems, lines = {}, [], [], {}
    for line, cells in enumerate(frame.to_dict("records"), start=2):
        name = cells[rule["image"]]
        label = manifest.label_names.get(cells[rule["label"]], cells[rule["label"]])
        if label not in manifest.classes:
            problems.append(
                f"`{file}` line {line}: the label must be one of {', '.join(manifest.classes)}; "
                f"received `{show(cells[rule['label']])}`"
            )
        if name in lines:
            problems.append(f"`{file}` line {line}: `{show(name)}` is listed twice; first in line {lines[name]}")
            continue
        lines[name] = line
        paths = found.get(name, [])
        if len(paths) > 1:
            problems.append(
                f"`{file}` line {line}: one image must have the name `{show(name)}`; "
                f"received {', '.join(f'`{path}`' for path in paths)}"
            )
        elif not paths:
            missing.append(name)
        else:
            subject = cells[rule["subject"]] if "subject" in rule else ""
            match = re.search(manifest.subject_from, subject) if manifest.subject_from else None
            subject = match["subject"] if match else subject
            split = rule.get("split", "")
            rows[paths[0]] = {"path": paths[0], "label": label, "subject": subject, "split": split}
    if problems:
        raise InputError("\n".join(problems))
    return LabelsCsv(file, rows, tuple(missing))
