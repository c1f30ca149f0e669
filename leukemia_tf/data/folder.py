"""Folders of images: class folders, official train/val/test folders, and known data sets by their file names."""

from __future__ import annotations

import logging
import os
import pathlib
import re

import pandas as pd

from leukemia_tf.data.manifest import Manifest, load_manifest
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
# What lies beside images by right, and is not worth a line.
_DOCUMENTS = (".txt", ".md", ".csv", ".json", ".xml", ".yaml", ".yml", ".pdf", ".html", ".docx", ".xlsx")


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
    if "training_data" in folders and any(_FOLD.fullmatch(n) for n in _subfolders(folders["training_data"], root)):
        log.info("`%s` is laid out like C-NMC 2019: its labelled training part is used", root)
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
            images = list_images(class_folder, root)
            rows += [{"path": path, "label": label, "split": split} for path in images]
            # One fold may lack a class, a split or the whole may not.
            if not images and not folds:
                problems.append(f"class folder `{class_folder}` must hold JPEG, PNG, BMP or TIFF images; received none")
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


def open_files(manifest: Manifest) -> tuple[Manifest, pd.DataFrame]:
    """List the images under `manifest.root` and read label and subject from each path (layout "files").

    Files that `label_from` does not fit are left out, with one log line that gives their number.

    Raises:
        InputError: if no file fits, a label is no class of the manifest, or a class has no image.
    """
    root = manifest.root.resolve()
    manifest = manifest.replace(root=root)
    rows, left_out, problems = [], [], []
    for path in list_images(root, root):
        found = re.search(manifest.label_from, path)
        if not found:
            left_out.append(path)
            continue
        label = manifest.label_names.get(found["label"], found["label"])
        if label not in manifest.classes:
            problems.append(f"`{path}`: the label must be one of {', '.join(manifest.classes)}; received {label!r}")
        subject = re.search(manifest.subject_from, path) if manifest.subject_from else None
        rows.append({"path": path, "label": label, "subject": subject["subject"] if subject else ""})
    if problems:
        raise InputError("\n".join(problems))
    if not rows:
        raise InputError(
            f"`{root}` must hold files named like those of {manifest.name}; received {len(left_out)} other images"
        )
    if left_out:
        log.warning(
            "`%s`: %s images are left out, their paths are not like those of %s; first `%s`",
            root, f"{len(left_out):,}", manifest.name, left_out[0],
        )  # fmt: skip
    table = make_table(rows, manifest.name)
    check_classes(table, manifest.classes, str(root))
    complete = sum(manifest.class_counts.values())
    if complete and complete != len(table):
        log.warning("`%s`: %s images, a complete %s has %s", root, f"{len(table):,}", manifest.name, f"{complete:,}")
    return manifest, table


def list_images(folder: pathlib.Path, root: pathlib.Path) -> list[str]:
    """List the JPEG, PNG, BMP and TIFF files in `folder` at any depth, as sorted POSIX paths relative to `root`.

    Raises:
        InputError: if a folder cannot be listed.
    """
    images, outside, other = [], [], []
    for parent, folders, files in os.walk(folder, onerror=_cannot_list):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        for name in folders:
            if os.path.islink(os.path.join(parent, name)):
                outside.append(os.path.join(parent, name))  # os.walk does not follow it
        for name in files:
            path = pathlib.Path(parent, name)
            if is_hidden(name):
                continue
            if path.suffix.lower() not in SUFFIXES:
                if path.suffix.lower() not in _DOCUMENTS:
                    other.append(path)
            elif path.is_symlink() and not path.resolve().is_relative_to(root):
                outside.append(path)
            else:
                images.append(path.relative_to(root).as_posix())
    if outside:
        log.warning(
            "`%s`: %d links to folders, or out of `%s`, are not followed; first `%s`",
            folder, len(outside), root, outside[0],
        )  # fmt: skip
    if other:
        log.info("`%s`: %d files are not JPEG, PNG, BMP or TIFF and left out; first `%s`", folder, len(other), other[0])
    return sorted(images)


def _cannot_list(error: OSError) -> None:
    raise InputError(f"folder `{error.filename}` cannot be listed; received: {error.strerror}") from error


def _subfolders(folder: pathlib.Path, root: pathlib.Path, tell: bool = False) -> dict[str, pathlib.Path]:
    """Return the visible folders in a folder by name, without links; `tell` logs what lies beside them."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        _cannot_list(error)
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
