"""Data sets whose paths tell label, subject and split, by the regular expressions of their manifest."""

from __future__ import annotations

import logging
import re

import pandas as pd

from leukemia_tf.data.labels_csv import read_labels
from leukemia_tf.data.listing import list_images
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.names import show
from leukemia_tf.data.table import SPLIT_ALIASES, check_classes, check_subjects, make_table
from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)


def open_files(manifest: Manifest) -> tuple[Manifest, pd.DataFrame]:
    """List the images under `manifest.root` and read label, subject and split from each path (layout "files").

    Where `manifest.labels_csv` says so, a CSV file labels images whose names do not; when it gives them a split, the
    others are "train". Files that neither fits are left out, with one log line that gives their number.

    Returns:
        The manifest, `official_split` telling whether this copy has splits, and the table.

    Raises:
        InputError: if no file fits, a label is no class of the manifest, a class has no image, or a subject lies in
            two splits.
    """
    root = manifest.root.resolve()
    images = list_images(root, root)
    rows, other, problems = read_paths(manifest, images)
    labelled = read_labels(manifest, root, other)
    rows += labelled.rows.values()
    left_out = [path for path in other if path not in labelled.rows]
    if problems:
        raise InputError("\n".join(problems))
    if not rows:
        raise InputError(
            f"`{root}` must hold files named like those of {manifest.name}; received {len(left_out)} other images"
        )
    if any(row["split"] for row in labelled.rows.values()):
        rows = [{**row, "split": row["split"] or "train"} for row in rows]
    manifest = manifest.replace(root=root, official_split=any(row["split"] for row in rows))
    if labelled.missing:
        log.warning(
            "`%s`: %s images that `%s` lists are not there; first `%s`",
            root, f"{len(labelled.missing):,}", labelled.file, show(labelled.missing[0]),
        )  # fmt: skip
    _log_left_out(manifest, left_out)
    table = make_table(rows, manifest.name)
    check_classes(table, manifest.classes, str(root))
    check_subjects(table, str(root))
    complete = sum(manifest.class_counts.values())
    if not manifest.official_split and "train" in manifest.split_counts:
        complete = sum(manifest.split_counts["train"].values())
    if complete and complete != len(table):
        log.warning("`%s`: %s images, a complete %s has %s", root, f"{len(table):,}", manifest.name, f"{complete:,}")
    return manifest, table


def read_paths(manifest: Manifest, images: list[str]) -> tuple[list[dict], list[str], list[str]]:
    """Read label, subject and split from paths.

    Returns:
        A row {"path", "label", "subject", "split"} for each path that `label_from` fits, the other paths, and one
        line for each label or split that the manifest does not know.
    """
    rows, other, problems = [], [], []
    for path in images:
        found = re.search(manifest.label_from, path)
        if not found:
            other.append(path)
            continue
        label = manifest.label_names.get(found["label"], found["label"])
        if label not in manifest.classes:
            problems.append(f"`{path}`: the label must be one of {', '.join(manifest.classes)}; received {label!r}")
        subject = re.search(manifest.subject_from, path) if manifest.subject_from else None
        split = re.search(manifest.split_from, path) if manifest.split_from else None
        part = SPLIT_ALIASES.get((split["split"] or "").lower(), "") if split else ""
        if manifest.split_from and not part:
            problems.append(
                f"`{path}`: `split_from` must find train, val or test in every path; "
                f"received {split['split'] if split else None!r}"
            )
        rows.append({"path": path, "label": label, "subject": subject["subject"] if subject else "", "split": part})
    return rows, other, problems


def _log_left_out(manifest: Manifest, left_out: list[str]) -> None:
    unlabelled = [path for path in left_out if manifest.unlabelled_from and re.search(manifest.unlabelled_from, path)]
    others = [path for path in left_out if path not in set(unlabelled)]
    if others:
        log.warning(
            "`%s`: %s images are left out, the paths of %s are not like those of %s; first `%s`",
            manifest.root, f"{len(left_out):,}", f"{len(others):,}", manifest.name, others[0],
        )  # fmt: skip
    elif unlabelled:
        log.info("`%s`: %s images without a public label are left out", manifest.root, f"{len(unlabelled):,}")
