"""Train, validation and test: by subject where subjects are known, and never the same image on two sides."""

from __future__ import annotations

import hashlib
import logging
import warnings
from typing import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit, StratifiedGroupKFold, train_test_split

from leukemia_tf.data.groups import group_rows, tell_crossing_groups
from leukemia_tf.data.table import SPLITS, crossing_subjects
from leukemia_tf.errors import InputError, RunError

log = logging.getLogger(__name__)

LEVELS = ("auto", "subject", "image", "official")


def split_table(
    table: pd.DataFrame,
    *,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    level: str = "auto",
    allow_leakage: bool = False,
    groups: Mapping[str, str | int] | None = None,
) -> pd.DataFrame:
    """Fill in `split`. The result depends on the seed and the set of rows, not on their order.

    Byte-identical images (same `sha256`) always stay together, and the subjects that share one count as one subject.
    So do the images of one group in `groups`.

    Args:
        table: the table, scanned (`scan_table`) so that identical images are known.
        fractions: shares of train, val and test. With subjects they can only be met roughly.
        seed: whole number of 0 or more.
        level: "subject" (stratified by class, all images of a subject in one split), "image" (stratified; where
            subjects are known this leaks, and is there to measure how much: it needs `allow_leakage`), "official"
            (keep the splits that came with the data; a missing val or test is cut from train), or "auto": official if
            there is one, else subject if subjects are known, else image.
        allow_leakage: permits level="image" where subjects are known.
        groups: path -> group, of images that show the same (near duplicates); paths it lacks are on their own.

    Returns:
        A copy with `split` "train", "val" or "test" in every row, in the order of `table`; `attrs["split_level"]` is
        the level that was used, `attrs["leakage"]` tells whether subjects were divided by it.

    Raises:
        InputError: for wrong arguments, level="image" where subjects are known without `allow_leakage`, or a class
            with too few images or subjects to have one in each split.
        RunError: if a subject lies in two splits (an official split at fault).
    """
    fractions = _check_arguments(table, fractions, seed, level)
    chosen, leakage = resolve_level(table, level, allow_leakage)
    known = table["subject"].ne("").all()
    order = np.argsort(table["path"].to_numpy(dtype=object), kind="stable")
    ordered = table.iloc[order]
    if chosen == "official":
        splits = _complete_official(ordered, fractions, seed, known, groups)
    else:
        splits = cut(ordered, fractions, seed, chosen == "subject", groups)
    result = table.copy()
    # By position: row labels may occur twice in a table that was put together.
    back = np.empty(len(table), dtype=object)
    back[order] = splits
    result["split"] = pd.Series(back, index=table.index, dtype="str")
    result.attrs["split_level"] = chosen
    result.attrs["leakage"] = leakage
    assert_disjoint(result)
    if groups:
        tell_crossing_groups(result, groups)
    _log_split(result, chosen, seed)
    return result


def assert_disjoint(table: pd.DataFrame, *, level: str | None = None) -> None:
    """Check that no subject and no image (by `sha256`) lies in two splits.

    Args:
        table: a table with `split` filled in.
        level: how it was split; None takes `table.attrs["split_level"]`, which a table read back from a file lacks.
            "official": identical images across splits are logged, not refused. "image": shared subjects are logged.

    Raises:
        RunError: names every subject, or the first identical images, that lie in two splits.
    """
    level = level or table.attrs.get("split_level")
    problems = crossing_subjects(table)
    if problems and level == "image":
        log.warning("%d subjects lie in more than one split, because the split was made by image", len(problems))
        problems = []
    hashed = table[(table["sha256"] != "") & (table["split"] != "")]
    crossing = hashed[hashed.groupby("sha256")["split"].transform("nunique") > 1]
    if len(crossing):
        groups = crossing.groupby("sha256")["path"]
        first = ", ".join(f"`{path}`" for path in next(iter(groups))[1])
        line = f"{groups.ngroups} images lie byte-identical in more than one split; first {first}"
        if level == "official":
            log.warning("%s; the official split is kept as it is", line)
        else:
            problems.append(line)
    if problems:
        raise RunError("\n".join(["the splits are not disjoint:", *problems]))


def split_hash(table: pd.DataFrame) -> str:
    """Return the SHA-256 (hex) over the sorted lines `path<TAB>split`: equal exactly when two splits are equal."""
    lines = sorted(f"{path}\t{split}\n" for path, split in zip(table["path"], table["split"]))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _check_arguments(table: pd.DataFrame, fractions: Sequence[float], seed: int, level: str) -> tuple[float, ...]:
    problems = []
    if level not in LEVELS:
        problems.append(f"`level` must be one of {', '.join(LEVELS)}; received {level!r}")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        problems.append(f"`seed` must be a whole number of 0 or more; received {seed!r}")
    if len(fractions) != 3 or not all(0 < f < 1 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        problems.append(f"`fractions` must be three numbers above 0 with the sum 1; received {tuple(fractions)!r}")
    if table["path"].duplicated().any():
        twice = table["path"][table["path"].duplicated()].iat[0]
        problems.append(f"`table` must list each image once; received `{twice}` twice")
    if problems:
        raise InputError("\n".join(problems))
    return tuple(fractions)


def resolve_level(table: pd.DataFrame, level: str, allow_leakage: bool) -> tuple[str, bool]:
    """Return the level that `level` means for this table, and whether it divides known subjects.

    Raises:
        InputError: if it does and `allow_leakage` is False, or the table lacks what the level needs.
    """
    chosen = _resolve(table, level)
    subjects = table["subject"][table["subject"] != ""].nunique()
    if chosen != "image" or not subjects:
        return chosen, False
    if not allow_leakage:
        raise InputError(
            f'`level`: "subject" is what data with subjects needs, for a split by image puts one person on both '
            f"sides and its results are too good; to measure by how much, --allow-leakage (allow_leakage=True) does "
            f'it and marks the report; received "image" with {subjects} known subjects'
        )
    log.warning(
        "SPLIT BY IMAGE ALTHOUGH SUBJECTS ARE KNOWN: images of one subject lie in several splits, the results are too "
        "good and only measure the leak"
    )
    return chosen, True


def _resolve(table: pd.DataFrame, level: str) -> str:
    with_split, with_subject = int(table["split"].ne("").sum()), int(table["subject"].ne("").sum())
    if level == "official" or (level == "auto" and with_split):
        if with_split < len(table):
            raise InputError(f"`split` must be filled in for every image; received {with_split} of {len(table)}")
        return "official"
    if with_split:
        log.warning("the split that came with the data is not used, because level=%r was asked for", level)
    if level == "subject" or (level == "auto" and with_subject):
        if with_subject < len(table):
            raise InputError(
                f"`subject` must be known for every image (or for none, to split by image); "
                f"received {with_subject} of {len(table)}"
            )
        return "subject"
    if not with_subject:
        log.warning("no subject is known, so the split is by image: one patient may lie in several splits")
    return "image"


def _complete_official(
    table: pd.DataFrame,
    fractions: tuple[float, ...],
    seed: int,
    by_subject: bool,
    together: Mapping[str, str | int] | None = None,
) -> np.ndarray:
    """Keep the declared splits; cut what is missing of val and test from train."""
    splits = table["split"].to_numpy(dtype=object).copy()
    if "train" not in splits:
        raise InputError(f"`split` must name train; received {', '.join(sorted(set(splits)))}")
    shares = [f if name == "train" or name not in splits else 0.0 for name, f in zip(SPLITS, fractions)]
    missing = [name for name, share in zip(SPLITS[1:], shares[1:]) if share]
    if missing:
        log.warning("the official split has no %s: cut from train", " and no ".join(missing))
        train = splits == "train"
        splits[train] = cut(table[train], tuple(f / sum(shares) for f in shares), seed, by_subject, together)
    return splits


def cut(
    table: pd.DataFrame,
    fractions: tuple[float, ...],
    seed: int,
    by_subject: bool,
    together: Mapping[str, str | int] | None = None,
) -> np.ndarray:
    """Return the split of each row (a table sorted by path); a fraction of 0 leaves that split out.

    Raises:
        InputError: if a class has too few images or subjects.
    """
    groups = group_rows(table, by_subject, together)
    labels = pd.factorize(table["label"], sort=True)[0]
    frame = pd.DataFrame({"label": table["label"].to_numpy(), "group": groups})
    parts = [name for name, fraction in zip(SPLITS, fractions) if fraction]
    for label, count in frame.groupby("label")["group"].nunique().items():
        if count < len(parts):
            kind = "subjects (those that share an image count as one)" if by_subject else "different images"
            advice = "add some, or leave the class out" + ('; level="image" splits by image' if by_subject else "")
            raise InputError(
                f"class `{label}` needs at least {len(parts)} {kind} to have one in each of {', '.join(parts)}: "
                f"{advice}; received {count}"
            )
    if not by_subject:
        return _cut_images(labels, groups, fractions, seed)
    test = fractions[2]
    rows = np.arange(len(table))
    for in_test in _candidates(labels, groups, test, seed) if test else [np.zeros(len(table), bool)]:
        rest = rows[~in_test]
        if not fractions[1]:
            return np.where(in_test, "test", "train").astype(object)
        for in_val in _candidates(labels[rest], groups[rest], fractions[1] / (1 - test), seed + 1):
            splits = np.full(len(table), "train", dtype=object)
            splits[in_test] = "test"
            splits[rest[in_val]] = "val"
            return splits
    raise InputError(
        f"`table`: no way was found to give each of {', '.join(parts)} every class without dividing a subject: add "
        f'subjects, or split by level="image"; received {len(np.unique(groups))} subjects'
    )


def _candidates(labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> Iterator[np.ndarray]:
    """Yield masks of about `fraction` of the rows, whole groups, with every class inside and outside."""
    smallest = pd.DataFrame({"label": labels, "group": groups}).groupby("label")["group"].nunique().min()
    folds = int(max(2, min(round(1 / fraction), smallest)))
    blank = np.zeros((len(labels), 1))
    classes = len(np.unique(labels))

    def usable(chosen: np.ndarray) -> np.ndarray | None:
        mask = np.zeros(len(labels), bool)
        mask[chosen] = True
        complete = len(np.unique(labels[mask])) == classes and len(np.unique(labels[~mask])) == classes
        return mask if complete else None

    random = np.random.default_rng(seed)
    for _ in range(5):
        engine = StratifiedGroupKFold(folds, shuffle=True, random_state=int(random.integers(2**31)))
        with warnings.catch_warnings():
            # It counts images where we count subjects, and we check the result.
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            options = [chosen for _, chosen in engine.split(blank, labels, groups)]
        # The folds of unequal groups hardly depend on the seed, so the seed also chooses among them.
        for number in random.permutation(folds):
            mask = usable(options[number])
            if mask is not None:
                yield mask
    # Few subjects of a class: draw whole subjects until all classes are there.
    engine = GroupShuffleSplit(100, test_size=fraction, random_state=int(random.integers(2**31)))
    for _, chosen in engine.split(blank, labels, groups):
        mask = usable(chosen)
        if mask is not None:
            yield mask


def _cut_images(labels: np.ndarray, groups: np.ndarray, fractions: tuple[float, ...], seed: int) -> np.ndarray:
    """Cut class by class, so that each class keeps the fractions as nearly as whole images allow."""
    group_ids, first = np.unique(groups, return_index=True)
    split_of_group = np.full(len(group_ids), "train", dtype=object)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[first] == label)
        left = sum(fraction > 0 for fraction in fractions[:2])
        for name, fraction in (("test", fractions[2]), ("val", fractions[1])):
            if not fraction:
                continue
            wanted = max(1, round(fraction * np.count_nonzero(labels[first] == label)))
            members, chosen = train_test_split(
                members, test_size=int(min(wanted, len(members) - left)), random_state=(seed + int(label)) % 2**32
            )
            split_of_group[chosen] = name
            left -= 1
    return split_of_group[np.searchsorted(group_ids, groups)]


def _log_split(table: pd.DataFrame, level: str, seed: int) -> None:
    parts = []
    for split in SPLITS:
        rows = table[table["split"] == split]
        subjects = rows["subject"][rows["subject"] != ""].nunique()
        parts.append(f"{split} {len(rows):,} images" + (f" of {subjects} subjects" if subjects else ""))
    log.info("split by %s (seed %d): %s", level, seed, ", ".join(parts))
