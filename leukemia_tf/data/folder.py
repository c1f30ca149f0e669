"""Folders of images: class folders, official train/val/test folders, and known data sets by their file names."""

from __future__ import annotations

import logging
import os
import pathlib
import re

import pandas as pd

from leukemia_tf.data.listing import cannot_list, list_images
from leukemia_tf.data.manifest import Manifest, load_manifest
from leukemia_tf.data.named_files import open_files
from leukemia_tf.data.names import check_names
from leukemia_tf.data.table import (
    CNMC_NAME,
    SPLIT_ALIASES,
    SUFFIXES,
    check_classes,
    check_subjects,
    is_hidden,
    make_table,
    order_classes,
)
from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)

_FOLD = re.compile(r"fold[ _-]?\d+", re.IGNORECASE)
# C-NMC 2019's training part, as the challenge and as the archive name its folder.
_CNMC_TRAINING = re.compile(r"(?:c-nmc_)?training_data", re.IGNORECASE)


def open_folder(folder: str | os.PathLike) -> tuple[Manifest, pd.DataFrame]:
    """Open a folder of class folders, or train/val/test folders with class folders below (an official split).

    Class folders are searched at any depth. Hidden files are ignored; links that lead out of the folder, and links
    to folders, are not followed. Folders named `fold_0`, `fold_1`, ... are seen through: classes lie below them. When
    every file is named like those of C-NMC 2019, the subjects are read from the names.

    Raises:
        InputError: if there are fewer than two classes, a class folder without an image, a class in val or test that
            train lacks, or a subject in two official splits.
    """
    root = pathlib.Path(folder).resolve()
    base, folders = _descend(root)
    training = next((path for name, path in folders.items() if _CNMC_TRAINING.fullmatch(name)), None)
    if training is not None and any(_FOLD.fullmatch(name) for name in _subfolders(training, root)):
        log.info("`%s` is laid out like C-NMC 2019: its labelled parts are used", root)
        return open_files(load_manifest("cnmc2019", root=root))
    parts = {name: SPLIT_ALIASES[name.lower()] for name in folders if name.lower() in SPLIT_ALIASES}
    if "train" in parts.values() and len(folders) > 1:
        _check_parts(base, folders, parts)
        sources = [(split, folders[name]) for name, split in parts.items()]
    elif folders and all(_FOLD.fullmatch(name) for name in folders):
        log.info("`%s` holds folds: they are joined, and do not count as a train/val/test split", base)
        sources = [("", path) for path in folders.values()]
    else:
        sources = [("", base)]

    rows, names, problems = [], set(), []
    folds = len(sources) > 1 and not sources[0][0]
    for split, source in sources:
        for label, class_folder in _subfolders(source, root, tell=True).items():
            names.add(label)
            images = list_images(class_folder, root, check=False)
            rows += [{"path": path, "label": label, "split": split} for path in images]
            # One fold may lack a class, a split or the whole may not.
            if not images and not folds:
                problems.append(f"class folder `{class_folder}` must hold JPEG, PNG, BMP or TIFF images; received none")
    check_names([row["path"] for row in rows], str(root))
    if problems:
        raise InputError("\n".join(problems))
    classes = order_classes(names)
    official = bool(sources[0][0])
    manifest = Manifest(
        name=root.name,
        title=f"Folder {root.name}",
        licence="not stated",
        citation="not stated",
        homepage="not stated",
        classes=classes,
        layout="folders",
        official_split=official,
        root=root,
    )
    manifest, rows = _subjects_from_names(manifest, rows)
    table = make_table(rows, manifest.name)
    check_classes(table, classes, str(base))
    if official:
        check_subjects(table, str(base))
    return manifest, table


def _subfolders(folder: pathlib.Path, root: pathlib.Path, tell: bool = False) -> dict[str, pathlib.Path]:
    """Return the visible folders in a folder by name, without links; `tell` logs what lies beside them."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        cannot_list(error)
    folders = {path.name: path for path in entries if path.is_dir() and not is_hidden(path.name)}
    links = [path for path in folders.values() if path.is_symlink()]
    beside = [path for path in entries if path.suffix.lower() in SUFFIXES and path.is_file()]
    beside = [path for path in beside if not is_hidden(path.name)]
    if tell and links:
        log.warning("`%s`: %d links to folders are not followed; first `%s`", folder, len(links), links[0])
    if tell and beside and folders:
        log.warning("`%s`: %d images lie in no class folder, left out; first `%s`", folder, len(beside), beside[0])
    return {name: path for name, path in folders.items() if path not in links}


def _descend(root: pathlib.Path) -> tuple[pathlib.Path, dict[str, pathlib.Path]]:
    """Go down while a folder holds one folder that itself holds folders: `archive/Original/{Benign,Early}`."""
    base, folders = root, _subfolders(root, root)
    while len(folders) == 1:
        (below,) = folders.values()
        next_folders = _subfolders(below, root)
        if not next_folders:
            break
        base, folders = below, next_folders
    if not folders:
        raise InputError(
            f"`{base}` must hold a folder of images for each class (or train, val and test folders with class folders "
            f"in them); received {len(list_images(base, root))} images and no folder"
        )
    return base, folders


def _check_parts(base: pathlib.Path, folders: dict[str, pathlib.Path], parts: dict[str, str]) -> None:
    problems = []
    others = [name for name in folders if name not in parts]
    if others:
        problems.append(
            f"`{base}`: beside train, val and test there must be no other folder: move them away; "
            f"received {', '.join(f'`{name}`' for name in others)}"
        )
    for split in set(parts.values()):
        names = [name for name, part in parts.items() if part == split]
        if len(names) > 1:
            problems.append(f"`{base}`: one folder for {split} is accepted; received {', '.join(names)}")
    if problems:
        raise InputError("\n".join(sorted(problems)))


def _subjects_from_names(manifest: Manifest, rows: list[dict]) -> tuple[Manifest, list[dict]]:
    """Read subjects from file names where all are named like C-NMC's, and check the labels in the names."""
    found = [re.search(CNMC_NAME, row["path"]) for row in rows]
    fitting = sum(match is not None for match in found)
    if fitting and fitting < len(rows):
        log.warning(
            "`%s`: only %s of %s files are named like those of C-NMC 2019, so no subject is known; first other `%s`",
            manifest.root, f"{fitting:,}", f"{len(rows):,}",
            next(row["path"] for row, match in zip(rows, found) if match is None),
        )  # fmt: skip
    if not rows or fitting < len(rows):
        return manifest, rows
    if {name.lower() for name in manifest.classes} == {"all", "hem"}:
        wrong = [row for row, match in zip(rows, found) if match["label"] != row["label"].lower()]
        if wrong:
            raise InputError(
                "\n".join(
                    f"`{row['path']}`: folder and file name must say the same class; received folder {row['label']!r}"
                    for row in wrong
                )
            )
    rows = [{**row, "subject": match["subject"]} for row, match in zip(rows, found)]
    log.info(
        "`%s`: all files are named like those of C-NMC 2019 (UID_<subject>_...): %d subjects are read from the names",
        manifest.root, len({row["subject"] for row in rows}),
    )  # fmt: skip
    return manifest.replace(subject_from=CNMC_NAME), rows
