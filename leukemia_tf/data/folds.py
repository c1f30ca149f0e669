"""Cross-validation: folds by subject, the folds that came with the data, and one site left out at a time."""

from __future__ import annotations

import logging
import warnings
from typing import Iterator, Mapping

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from leukemia_tf.data.groups import group_rows, tell_crossing_groups
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.split import assert_disjoint, cut, resolve_level
from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)

# Partitions by subject that are compared.
_CANDIDATES = 6


def make_folds(
    table: pd.DataFrame,
    folds: int = 5,
    repeats: int = 1,
    seed: int = 0,
    *,
    val_fraction: float = 0.2,
    level: str = "auto",
    allow_leakage: bool = False,
    groups: Mapping[str, str | int] | None = None,
) -> list[pd.DataFrame]:
    """Cut a table into stratified folds, several times over if asked; each fold is the test part once.

    By subject where subjects are known, and never the same image on two sides (as `split_table`). The result depends
    on the seed and the set of rows, not on their order. All rows take part, whatever their `split` says: leave an
    official test part out beforehand.

    Args:
        table: the rows, scanned so that identical images are known.
        folds: how many parts, 2 or more.
        repeats: how many different partitions, 1 or more.
        seed: whole number of 0 or more.
        val_fraction: share of the rest that becomes val, by the same rules; 0 for none.
        level: "auto" (subject if subjects are known, else image), "subject" or "image".
        allow_leakage: permits level="image" where subjects are known.
        groups: path -> group, of images that show the same (near duplicates).

    Returns:
        `repeats` x `folds` copies of the table with `split` filled in and `attrs` "fold" (text, from "0"), "folds",
        "repeat" (from 0), "split_level" and "leakage".

    Raises:
        InputError: for wrong arguments, or a class with fewer subjects (or images) than folds.
    """
    _check(table, val_fraction, folds=(folds, 2), repeats=(repeats, 1), seed=(seed, 0))
    if level not in ("auto", "subject", "image"):
        raise InputError(f"`level` must be one of auto, subject, image; received {level!r}")
    chosen, leakage = resolve_level(table.assign(split=""), level, allow_leakage)
    ordered = _sorted(table)
    ids = group_rows(ordered, chosen == "subject", groups)
    labels = pd.factorize(ordered["label"], sort=True)[0]
    _check_enough(ordered, ids, folds, chosen, val_fraction)
    result = []
    for repeat in range(repeats):
        seeds = np.random.SeedSequence([seed, repeat])
        number = _partition(labels, ids, folds, seeds, chosen == "subject", 2 if val_fraction else 1)
        for fold in range(folds):
            attrs = {"fold": str(fold), "folds": folds, "repeat": repeat, "split_level": chosen, "leakage": leakage}
            result.append(_one_fold(table, ordered, number == fold, val_fraction, seed, groups, attrs))
    log.info("%d folds by %s, %d times (seed %d): %s", folds, chosen, repeats, seed, _sizes(result))
    return result


def official_folds(
    manifest: Manifest,
    table: pd.DataFrame,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    groups: Mapping[str, str | int] | None = None,
) -> list[pd.DataFrame]:
    """Return the folds that came with the data (`manifest.fold_from`), each as the test part once.

    Rows without a fold are left out: of C-NMC 2019 the preliminary test set, whose place is after the training.
    Identical images across official folds are kept and logged, as the folds are not ours.

    Returns:
        A table for each fold, as `make_folds` returns them; "split_level" is "official".

    Raises:
        InputError: if the data have no folds.
        RunError: if a subject lies in two folds.
    """
    _check(table, val_fraction, seed=(seed, 0))
    ordered = _sorted(table)
    numbers = fold_names(manifest, ordered)
    names = sorted(set(numbers) - {""}, key=lambda name: (len(name), name))
    if len(names) < 2:
        raise InputError(
            f"`manifest`: a data set with two folds of its own or more is needed (`fold_from`), use make_folds for "
            f"others; received {manifest.name!r} with {len(names)}"
        )
    inside = (numbers != "").to_numpy()
    if not inside.all():
        log.info("%s images lie in no fold and are left out", f"{int((~inside).sum()):,}")
    ordered, numbers = ordered[inside], numbers.to_numpy(dtype=object)[inside]
    kept = table[table["path"].isin(ordered["path"])]
    result = []
    for name in names:
        attrs = {"fold": name, "folds": len(names), "repeat": 0, "split_level": "official", "leakage": False}
        result.append(_one_fold(kept, ordered, numbers == name, val_fraction, seed, groups, attrs))
    log.info("%d official folds: %s", len(names), _sizes(result))
    return result


def fold_names(manifest: Manifest, table: pd.DataFrame) -> pd.Series:
    """The fold of each row that came with the data (`manifest.fold_from`), as text; "" where there is none."""
    if not manifest.fold_from:
        return pd.Series("", index=table.index, dtype="str")
    return table["path"].str.extract(manifest.fold_from)["fold"].fillna("")


def leave_one_source_out(
    table: pd.DataFrame,
    column: str = "source",
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    groups: Mapping[str, str | int] | None = None,
) -> list[pd.DataFrame]:
    """Return a table for each value of a column (hospital, scanner, data set), in which it is the test part.

    With column "source", subjects of different data sets are different people: where two use the same id, the ids get
    the source in front.

    Returns:
        Tables as `make_folds` returns them, "fold" being the value left out.

    Raises:
        InputError: if the column is missing, not filled in, or has one value; or if a class occurs in one value only.
        RunError: if a subject or an image lies in two values.
    """
    _check(table, val_fraction, seed=(seed, 0))
    if column not in table:
        raise InputError(f"`column` must be one of {', '.join(map(str, table.columns))}; received {column!r}")
    values = table[column].astype("str").where(table[column].notna(), "")
    names = sorted(set(values))
    if len(names) < 2 or "" in names:
        raise InputError(
            f"`{column}` must be filled in for every image and have two values or more; "
            f"received {', '.join(map(repr, names))}"
        )
    alone = [
        f"class `{label}` must occur in two values of `{column}` or more, to be learned when one is left out; "
        f"received {', '.join(sorted(set(group)))}"
        for label, group in values.groupby(table["label"])
        if group.nunique() < 2
    ]
    if alone:
        raise InputError("\n".join(alone))
    if column == "source":
        table = _own_subjects(table)
    ordered = _sorted(table)
    number = ordered[column].astype("str").to_numpy(dtype=object)
    level = "subject" if table["subject"].ne("").all() else "image"
    result = []
    for name in names:
        attrs = {"fold": name, "folds": len(names), "repeat": 0, "split_level": level, "leakage": False}
        result.append(_one_fold(table, ordered, number == name, val_fraction, seed, groups, attrs))
    log.info("one `%s` left out at a time, %d in all: %s", column, len(names), _sizes(result))
    return result


def _check(table: pd.DataFrame, val_fraction: float, **numbers: tuple[int, int]) -> None:
    problems = []
    for name, (value, least) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            problems.append(f"`{name}` must be a whole number of {least} or more; received {value!r}")
    if not 0 <= val_fraction < 1:
        problems.append(f"`val_fraction` must be from 0 to below 1; received {val_fraction!r}")
    if table["path"].duplicated().any():
        twice = table["path"][table["path"].duplicated()].iat[0]
        problems.append(f"`table` must list each image once; received `{twice}` twice")
    if problems:
        raise InputError("\n".join(problems))


def _check_enough(table: pd.DataFrame, ids: np.ndarray, folds: int, level: str, val_fraction: float) -> None:
    counts = pd.Series(ids).groupby(table["label"].to_numpy(dtype=object)).nunique()
    kind = "subjects (those that share an image count as one)" if level == "subject" else "different images"
    # With two folds and a val part, each half must itself be divided.
    needed = 4 if folds == 2 and val_fraction else folds
    what = f"{folds} folds{' and a val part' if val_fraction else ''}"
    few = [f"class `{name}` needs {needed} {kind} for {what}; received {n}" for name, n in counts.items() if n < needed]
    if few:
        raise InputError("\n".join(few))


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[np.argsort(table["path"].to_numpy(dtype=object), kind="stable")]


def _partition(
    labels: np.ndarray, ids: np.ndarray, folds: int, seeds: np.random.SeedSequence, by_subject: bool, outside: int
) -> np.ndarray:
    """Return the fold of each row: of several partitions, the one that meets the class shares best.

    Every fold must have every class, and leave `outside` groups of each class outside.
    """
    pairs = np.unique(np.stack([labels, ids]), axis=1)
    totals, groups = np.bincount(labels), np.bincount(pairs[0])
    fold_of_group = np.zeros(ids.max() + 1, int)
    best, least = None, np.inf
    for number in (_by_subject if by_subject else _by_image)(labels, ids, folds, seeds):
        fold_of_group[ids] = number
        images = np.array([np.bincount(labels[number == k], minlength=len(totals)) for k in range(folds)])
        inside = [np.bincount(pairs[0][fold_of_group[pairs[1]] == k], minlength=len(totals)) for k in range(folds)]
        distance = np.abs(images / totals - 1 / folds).max()
        if (images > 0).all() and (groups - inside >= outside).all() and distance < least:
            best, least = number, distance
    if best is None:
        raise InputError(
            f"`folds`: no way was found to give each of {folds} folds every class without dividing a subject: fewer "
            f"folds are needed, or more subjects; received {len(np.unique(ids))} subjects"
        )
    return best


def _by_subject(labels: np.ndarray, ids: np.ndarray, folds: int, seeds: np.random.SeedSequence) -> Iterator[np.ndarray]:
    """Yield partitions that keep the groups whole.

    scikit-learn's engine sorts the groups by size, so that its seed changes hardly anything where sizes differ. It
    is shown a different part of each group every time, which changes the order of the sizes. The last partitions
    count subjects, not images: one large subject may outweigh all others.
    """
    for state in seeds.generate_state(_CANDIDATES):
        random = np.random.RandomState(state)
        place = np.empty(len(ids))
        for members in _members(ids):
            place[members] = random.permutation(len(members)) / len(members)
        shown = np.flatnonzero(place < random.uniform(0.6, 1.0, ids.max() + 1)[ids])
        yield _engine(labels, ids, shown, folds, int(state))
    _, one_each = np.unique(np.stack([labels, ids]), axis=1, return_index=True)
    for state in seeds.generate_state(2):
        yield _engine(labels, ids, np.sort(one_each), folds, int(state))


def _engine(labels: np.ndarray, ids: np.ndarray, shown: np.ndarray, folds: int, state: int) -> np.ndarray:
    """Return the fold of each row, from the rows that are shown to scikit-learn; each group shows one at least."""
    engine = StratifiedGroupKFold(folds, shuffle=True, random_state=state)
    fold_of_group = np.zeros(ids.max() + 1, int)
    with warnings.catch_warnings():
        # It counts images where we count subjects, and the result is checked.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, chosen) in enumerate(engine.split(shown[:, None], labels[shown], ids[shown])):
            fold_of_group[ids[shown[chosen]]] = fold
    return fold_of_group[ids]


def _by_image(labels: np.ndarray, ids: np.ndarray, folds: int, seeds: np.random.SeedSequence) -> Iterator[np.ndarray]:
    """Yield one partition of the groups, stratified by the class of each group's first image."""
    _, first = np.unique(ids, return_index=True)
    engine = StratifiedKFold(folds, shuffle=True, random_state=int(seeds.generate_state(1)[0]))
    fold_of_group = np.zeros(ids.max() + 1, int)
    for fold, (_, chosen) in enumerate(engine.split(first[:, None], labels[first])):
        fold_of_group[ids[first[chosen]]] = fold
    yield fold_of_group[ids]


def _members(ids: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(ids, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(ids[order])) + 1)


def _one_fold(
    table: pd.DataFrame,
    ordered: pd.DataFrame,
    in_test: np.ndarray,
    val_fraction: float,
    seed: int,
    groups: Mapping[str, str | int] | None,
    attrs: dict,
) -> pd.DataFrame:
    """Fill in `split`: test as given, val cut from the rest."""
    by_subject = attrs["split_level"] != "image" and ordered["subject"].ne("").all()
    splits = np.full(len(ordered), "test", dtype=object)
    splits[~in_test] = "train"
    if val_fraction:
        rest = ordered[~in_test]
        splits[~in_test] = cut(rest, (1 - val_fraction, val_fraction, 0.0), seed, bool(by_subject), groups)
    split_of = dict(zip(ordered["path"], splits))
    result = table.copy()
    result["split"] = table["path"].map(split_of).astype("str")
    result.attrs = {**table.attrs, **attrs}
    assert_disjoint(result)
    if groups:
        tell_crossing_groups(result, groups)
    return result


def _own_subjects(table: pd.DataFrame) -> pd.DataFrame:
    """Put the source before subject ids that two sources use."""
    known = table[table["subject"] != ""]
    sources = known.groupby("subject")["source"].nunique()
    shared = sources.index[sources > 1]
    if not len(shared):
        return table
    log.info("%d subject ids occur in more than one source: they are different people", len(shared))
    clash = table["subject"].isin(shared)
    return table.assign(subject=table["subject"].where(~clash, table["source"] + "/" + table["subject"]))


def _sizes(tables: list[pd.DataFrame]) -> str:
    sizes = [int((table["split"] == "test").sum()) for table in tables]
    return f"{min(sizes):,} to {max(sizes):,} images tested in each"
