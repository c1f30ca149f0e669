"""The table that a run trains and is judged on: read or restored, checked, split."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from leukemia_tf.errors import InputError
from leukemia_tf.recipes.recipe import Recipe
from leukemia_tf.recipes.run import RESEARCH_USE, Run

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.data import Manifest

log = logging.getLogger(__name__)


def prepare_table(recipe: Recipe, run: Run, progress: bool) -> tuple[Manifest, pd.DataFrame]:
    """The table with its split: from the run's own ``table.csv`` where there is one, else from the images.

    A new table is checked, split, cut to the recipe's budget of images, and written into the run's folder.

    Raises:
        InputError: for bad data, or images that are gone since the run began.
        RunError: if a subject lies in two splits.
    """
    from leukemia_tf.data import assert_disjoint, open_data, scan_table, split_hash, split_table
    from leukemia_tf.data.table_file import read_table, write_table

    data = recipe.data
    manifest, table = open_data(data.source, skip_broken=data.skip_broken)
    if manifest.synthetic:
        log.info(
            "SYNTHETIC DATA: `%s` is rendered, not photographed; its figures say nothing of patients.", data.source
        )
    stored = run.path / "table.csv"
    if stored.exists():
        before = read_table(stored)
        missing = sorted(set(before["path"]) - set(table["path"]))
        if missing:
            raise InputError(
                f"`{data.source}` lacks {len(missing)} images that this run began with, such as {missing[0]}. "
                "Bring them back, or begin a new run."
            )
        table = before
    else:
        table = scan_table(manifest, table, skip_broken=data.skip_broken, progress=progress)
        skipped = table.attrs.get("skipped", [])
        table = split_table(table, fractions=data.fractions, seed=recipe.seed)
        level = table.attrs["split_level"]
        digest = split_hash(table)
        for split, most in (("train", data.max_train_images), ("val", data.max_val_images)):
            table = _subset(table, split, most, recipe.seed)
        write_table(stored, table)
        run.update_info(
            status="training",
            classes=list(manifest.classes),
            image_size=data.image_size,
            threshold=recipe.threshold,
            manifest=manifest.to_dict(),
            split_level=level,
            split_hash=digest,
            skipped=skipped,
            research_use=RESEARCH_USE,
        )
    assert_disjoint(table, level=run.info["split_level"])
    return manifest, table


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
