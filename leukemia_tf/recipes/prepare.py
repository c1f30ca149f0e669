"""The table that a run trains and is judged on: read or restored, checked, split."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.recipes.recipe import Recipe
from leukemia_tf.recipes.run import READING, RESEARCH_USE, Run

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.data import Manifest

log = logging.getLogger(__name__)


def prepare_table(recipe: Recipe, run: Run, progress: bool) -> tuple[Manifest, pd.DataFrame]:
    """The table with its split: from the run's own ``table.csv`` where there is one, else from the images.

    A new table is checked, split, cut to the recipe's budget of images, and written into the run's folder, with the
    whole split in ``split.csv``.

    Raises:
        InputError: for bad data, images that are gone since the run began, or a split that would divide subjects
            without ``data.allow_leakage``.
        RunError: if a subject lies in two splits, or a split file was changed after it was written.
    """
    from leukemia_tf.data import assert_disjoint, open_data, scan_table, write_split
    from leukemia_tf.data.table_file import read_table, write_table

    data = recipe.data
    manifest, table = open_data(data.source, skip_broken=data.skip_broken)
    if manifest.synthetic:
        log.info(
            "SYNTHETIC DATA: `%s` is rendered, not photographed; its figures say nothing of patients.", data.source
        )
    stored = run.path / "table.csv"
    # A run that was killed before all its images were read begins anew.
    if stored.exists() and run.info and not run.reading:
        before = read_table(stored)
        missing = sorted(set(before["path"]) - set(table["path"]))
        if missing:
            raise InputError(
                f"`{data.source}` lacks {len(missing)} images that this run began with, such as {missing[0]}. "
                "Bring them back, or begin a new run."
            )
        table = before
        _check_unchanged(run, table)
    else:
        # Every image is decoded later anyway, before the first checkpoint; but what is left out must be known before
        # the split.
        table = scan_table(
            manifest, table, skip_broken=data.skip_broken, decode=data.skip_broken, progress=progress
        )
        skipped = table.attrs.get("skipped", [])
        table = split_as_asked(recipe, manifest, table)
        level, leakage = table.attrs["split_level"], table.attrs["leakage"]
        digest = write_split(run.path / "split.csv", table)
        for split, most in (("train", data.max_train_images), ("val", data.max_val_images)):
            table = _subset(table, split, most, recipe.seed)
        write_table(stored, table)
        run.update_info(
            status=READING,
            classes=list(manifest.classes),
            image_size=data.image_size,
            manifest=manifest.to_dict(),
            split_level=level,
            split_hash=digest,
            leakage=leakage,
            skipped=skipped,
            research_use=RESEARCH_USE,
        )
    assert_disjoint(table, level=run.info["split_level"])
    return manifest, table


def split_as_asked(recipe: Recipe, manifest: Manifest, table: pd.DataFrame) -> pd.DataFrame:
    """Split as the recipe says: by its file, or anew."""
    from leukemia_tf.data import split_table
    from leukemia_tf.data.table import SPLITS, check_classes

    data = recipe.data
    if not data.split_file:
        return split_table(
            table,
            fractions=data.fractions,
            seed=recipe.seed,
            level=data.split_level,
            allow_leakage=data.allow_leakage,
            groups=groups_as_asked(recipe, table),
        )
    result = _split_of_file(recipe, manifest, table)
    found = set(result["split"])
    if found != set(SPLITS):
        raise InputError(
            f"`data.split_file` gives images to train, val and test. Received: {data.split_file} "
            f"(only {', '.join(sorted(found))})"
        )
    check_classes(result, manifest.classes, data.split_file)
    if result.attrs["leakage"] and not data.allow_leakage:
        raise InputError(
            f"`data.split_file` is a split that divides subjects; --allow-leakage uses it and stamps the report. "
            f"Received: {data.split_file}"
        )
    sizes = ", ".join(f"{split} {(result['split'] == split).sum():,} images" for split in SPLITS)
    log.info("split of `%s` (by %s): %s", data.split_file, result.attrs["split_level"], sizes)
    return result


def groups_as_asked(recipe: Recipe, table: pd.DataFrame) -> dict[str, str] | None:
    """The groups of images that the recipe keeps together, or None."""
    from leukemia_tf.data import read_groups

    data = recipe.data
    groups = read_groups(data.groups_file) if data.groups_file else None
    if groups and not set(groups) & set(table["path"]):
        raise InputError(
            f"`data.groups_file` names images by their path in the data set, such as `{table['path'].iat[0]}`. "
            f"Received: `{next(iter(groups))}` (none of {len(groups)} is there)"
        )
    return groups


def folds_of_file(recipe: Recipe, manifest: Manifest, table: pd.DataFrame) -> list[pd.DataFrame]:
    """The tables of a cross-validation in ``data.split_file``; one table of a file that holds a single split."""
    from leukemia_tf.data import apply_split, fold_names, read_split

    data = recipe.data
    frame = read_split(data.split_file)
    if frame.attrs["split_level"] == "official":
        # The folds that came with the data leave out what has none, such as a later test set, unless it is listed.
        inside = fold_names(manifest, table) != ""
        if inside.any():
            table = table[inside | table["path"].isin(frame["path"])]
    result = apply_split(table, data.split_file, allow_leakage=data.allow_leakage)
    return result if isinstance(result, list) else [result]


def _split_of_file(recipe: Recipe, manifest: Manifest, table: pd.DataFrame) -> pd.DataFrame:
    data = recipe.data
    tables = folds_of_file(recipe, manifest, table)
    if not data.split_fold:
        if "fold" in tables[0].attrs:
            raise InputError(
                f"`data.split_file` holds one split, not those of a cross-validation (for which `data.split_fold` or "
                f"--folds is). Received: {data.split_file} (with {len(tables)} folds)"
            )
        return tables[0]
    there = {f"{table.attrs['repeat']}.{table.attrs['fold']}": table for table in tables if "fold" in table.attrs}
    if data.split_fold not in there:
        raise InputError(
            f"`data.split_fold` is a fold of {data.split_file}: {', '.join(there) or 'it has none'}. "
            f"Received: {data.split_fold!r}"
        )
    return there[data.split_fold]


def _check_unchanged(run: Run, table: pd.DataFrame) -> None:
    """Compare a stored table with the split that the run began with; runs of older versions have no such file."""
    from leukemia_tf.data import read_split

    file = run.path / "split.csv"
    if not file.exists():
        return
    frame = read_split(file)
    if frame.attrs["split_hash"] != run.info["split_hash"]:
        raise RunError(f"`{file}` is not the split that this run began with, {run.info['split_hash']}")
    used = table[table["split"] != ""]
    changed = used["path"][used["path"].map(dict(zip(frame["path"], frame["split"]))) != used["split"]]
    if len(changed):
        raise RunError(f"`{run.path / 'table.csv'}` and `{file}` put `{changed.iat[0]}` into different splits")


def _subset(table: pd.DataFrame, split: str, most: int, seed: int) -> pd.DataFrame:
    """Keep a stratified choice of `most` rows of a split; the others belong to no split."""
    rows = table.index[table["split"] == split]
    if not most or len(rows) <= most:
        return table
    from sklearn.model_selection import train_test_split

    classes = table["label"].nunique()
    if most < classes:
        raise InputError(f"`data.max_{split}_images` is at least the number of classes, {classes}. Received: {most}")
    kept, _ = train_test_split(rows, train_size=most, random_state=seed, stratify=table.loc[rows, "label"])
    table = table.copy()
    table.loc[rows.difference(kept), "split"] = ""
    log.warning("only %d of %d %s images are used, a stratified choice", most, len(rows), split)
    return table
