"""Cross-validation and repeated seeds: one folder with a full run for each, and a summary of them.

A killed or interrupted group goes on with the same command: finished runs are kept, the one that was cut goes on where
it was, the missing ones follow. With folds every image of the data is tested once (a seed); the folds are made once and
written to one ``split.csv``. With seeds alone all runs share one split, so that only the training varies.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import pathlib
import time
from typing import TYPE_CHECKING, Any

from leukemia_tf.errors import InputError, LeukemiaTFError, RunError
from leukemia_tf.files import read_json, write_json
from leukemia_tf.recipes.fitting import is_network
from leukemia_tf.recipes.prepare import folds_of_file, groups_as_asked, split_as_asked
from leukemia_tf.recipes.recipe import Recipe
from leukemia_tf.recipes.run import Run
from leukemia_tf.recipes.summary import GROUP_FILE, Part, is_finished, write_summary
from leukemia_tf.recipes.train_recipe import recipe_differences, train_recipe

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.data import Manifest

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Group:
    """What `repeat_recipe` has done so far.

    Attributes:
        path: the folder.
        parts: all runs of the group, in order.
        summary: contents of ``summary.json``; None before the first run is finished.
    """

    path: pathlib.Path
    parts: list[Part]
    summary: dict[str, Any] | None

    @property
    def missing(self) -> list[str]:
        """Names of the runs that are not finished."""
        return [part.name for part in self.parts if not is_finished(self.path / part.name)]


def repeat_recipe(
    recipe: Recipe,
    group_dir: str | os.PathLike,
    *,
    folds: int | None = None,
    seeds: int | None = None,
    progress: bool = True,
    command: str = "",
) -> Group:
    """Train `recipe` once for each fold and seed, and summarise what is finished.

    Args:
        recipe: with its overrides applied. Its ``minutes`` are the time budget of all runs together; its ``seed`` is
            the first of the seeds.
        group_dir: a new folder, or one that the same call began.
        folds: number of parts of a cross-validation, 2 or more; None for none. By subject where subjects are known; the
            data's own folds where it has some.
        seeds: number of seeds, 2 or more; None for one. With folds each seed has a partition of its own, unless the
            folds came with the data or from a file with one partition.
        progress, command: as of `train_recipe`.

    Raises:
        InputError: for bad data, data with an official split and `folds`, or a `group_dir` of something else.
        RunError: if a run fails; the message begins with its name.
    """
    for name, value in (("folds", folds), ("seeds", seeds)):
        if value is not None and value < 2:
            raise InputError(f"`--{name}` is 2 or more. Received: {value}")
    if folds is None and seeds is None:
        raise InputError("`--folds` or `--seeds` says how often to train. Received: neither")
    if recipe.strategy == "multi_worker":
        raise InputError("`--folds` and `--seeds` run in one process. Received: strategy 'multi_worker'")
    path = pathlib.Path(group_dir)
    began = time.monotonic()
    _open_group(recipe, path, folds, seeds)
    parts = _parts(recipe, path, folds, seeds, progress)
    network, longest, summary = is_network(recipe), 0.0, None
    for number, part in enumerate(parts, start=1):
        if is_finished(path / part.name):
            continue
        left = 60 * recipe.minutes - (time.monotonic() - began) if recipe.minutes else float("inf")
        # What is fitted in one go cannot be ended in time, so it is not begun.
        if left <= (0.0 if network else longest):
            log.warning("Time budget of %g minutes: `%s` is not begun.", recipe.minutes, part.name)
            break
        log.info("%s (%d of %d)", part.name, number, len(parts))
        minutes = left / 60 if recipe.minutes and network else 0.0
        start = time.monotonic()
        own = dataclasses.replace(part.recipe, minutes=minutes)
        try:
            run = _train(own, path / part.name, progress, command)
        except LeukemiaTFError as error:
            raise type(error)(f"{part.name}: {error}") from error
        longest = max(longest, time.monotonic() - start)
        if not run.finished:
            break
        summary = write_summary(path, recipe, parts)
    if summary is None:
        summary = write_summary(path, recipe, parts)
    return Group(path, parts, summary)


def _train(recipe: Recipe, path: pathlib.Path, progress: bool, command: str) -> Run:
    """One run, as it would be in a process of its own."""
    import keras

    # Names of layers count up, and graphs stay, until this is called.
    keras.utils.clear_session()
    return train_recipe(recipe, path, progress=progress, command=command)


def _open_group(recipe: Recipe, path: pathlib.Path, folds: int | None, seeds: int | None) -> None:
    """Begin the folder, or check that it was begun by the same call."""
    file = path / GROUP_FILE
    wanted = {"recipe": recipe.to_dict(), "folds": folds, "seeds": seeds}
    if not file.exists():
        if path.is_dir() and any(path.iterdir()):
            raise InputError(
                f"`--run-dir` is a new or empty folder, or that of these repeated runs. Received: {path} (holds others)"
            )
        write_json(file, wanted)
        return
    stored = read_json(file)
    differences = [
        f"--{name} is {stored.get(name)} there and {wanted[name]} here"
        for name in ("folds", "seeds")
        if stored.get(name) != wanted[name]
    ]
    differences += recipe_differences(stored["recipe"], recipe)
    if differences and not (path / "split.csv").exists():
        write_json(file, wanted)  # nothing was trained that another recipe could spoil
    elif differences:
        raise InputError(
            f"`{path}` holds repeated runs of another recipe: {'; '.join(differences)}. Give that command or another "
            "--run-dir."
        )


def _parts(recipe: Recipe, path: pathlib.Path, folds: int | None, seeds: int | None, progress: bool) -> list[Part]:
    """Every run of the group, from its split file, which is made unless it is there."""
    from leukemia_tf.data import fold_order, read_split

    file = path / "split.csv"
    stored = read_json(path / GROUP_FILE)
    if not (file.exists() and "split_hash" in stored):
        digest = _write_split(recipe, file, folds, seeds or 1, progress)
        write_json(path / GROUP_FILE, {**stored, "split_hash": digest})
    frame = read_split(file)
    digest = read_json(path / GROUP_FILE)["split_hash"]
    if frame.attrs["split_hash"] != digest:
        raise RunError(f"`{file}` is not the split that these runs began with, {digest}")
    keys = sorted(set(frame["fold"]), key=fold_order)
    partitions: dict[str, list[str]] = {}
    for key in keys:
        partitions.setdefault(key.partition(".")[0], []).append(key)
    of_seed = list(partitions.values())
    parts = []
    for number in range(seeds or 1):
        seed = recipe.seed + number
        # One partition for all seeds where it is not ours to change.
        for position, key in enumerate(of_seed[number % len(of_seed)], start=1):
            names = ([f"seed-{seed}"] if seeds else []) + ([f"fold-{position}"] if folds else [])
            data = dataclasses.replace(
                recipe.data, split_file=str(file), split_fold=key, split_level="auto", groups_file=""
            )
            own = dataclasses.replace(recipe, data=data, seed=seed)
            parts.append(Part("/".join(names), seed, position if folds else 0, own))
    return parts


def _write_split(recipe: Recipe, file: pathlib.Path, folds: int | None, seeds: int, progress: bool) -> str:
    """Read the data, split it, write the split file; returns its hash."""
    from leukemia_tf.data import open_data, scan_table, write_split

    data = recipe.data
    manifest, table = open_data(data.source, skip_broken=data.skip_broken)
    table = scan_table(manifest, table, skip_broken=data.skip_broken, progress=progress)
    if folds is None:
        return write_split(file, split_as_asked(recipe, manifest, table))
    return write_split(file, _fold_tables(recipe, manifest, table, folds, seeds))


def _fold_tables(recipe: Recipe, manifest: Manifest, table: pd.DataFrame, folds: int, seeds: int) -> list[pd.DataFrame]:
    from leukemia_tf.data import fold_names, make_folds, official_folds

    data = recipe.data
    if data.split_file:
        return _check_given(folds_of_file(recipe, manifest, table), data.split_file, folds, seeds)
    groups = groups_as_asked(recipe, table)
    val_fraction = data.fractions[1] / (data.fractions[0] + data.fractions[1])
    own = sorted(set(fold_names(manifest, table)) - {""})
    if data.split_level == "official" or (data.split_level == "auto" and len(own) > 1):
        if len(own) > 1 and len(own) != folds:
            raise InputError(
                f"`--folds` is {len(own)} for `{manifest.name}`, the number of its own folds; "
                f"--set data.split_level=subject makes others. Received: {folds}"
            )
        return official_folds(manifest, table, val_fraction=val_fraction, seed=recipe.seed, groups=groups)
    if data.split_level == "auto" and table["split"].ne("").any():
        level = "subject" if table["subject"].ne("").all() else "image"
        raise InputError(
            f"`--folds`: `{manifest.name}` has a split of its own, with one test part: repeat that by --seeds, or make "
            f"folds of all its images by --set data.split_level={level}. Received: {folds}"
        )
    return make_folds(
        table,
        folds,
        seeds,
        recipe.seed,
        val_fraction=val_fraction,
        level=data.split_level,
        allow_leakage=data.allow_leakage,
        groups=groups,
    )


def _check_given(tables: list[pd.DataFrame], file: str, folds: int, seeds: int) -> list[pd.DataFrame]:
    """The folds of a file, if they are as many as were asked for."""
    repeats = {table.attrs.get("repeat", 0) for table in tables}
    found = {table.attrs.get("folds", 1) for table in tables}
    if found != {folds} or len(repeats) not in (1, seeds):
        raise InputError(
            f"`--split` with --folds {folds} is a file of {folds} folds, once or for each of {seeds} seeds. Received: "
            f"{file} ({len(repeats)} times {', '.join(map(str, sorted(found)))} folds)"
        )
    return tables
