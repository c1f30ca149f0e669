"""Compare a copy of a known data set with what is known of it: counts, names, sizes and checksums."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import re
from typing import Mapping

import pandas as pd

from leukemia_tf.data.csv_file import read_text_csv
from leukemia_tf.data.download import check_file
from leukemia_tf.data.labels_csv import read_labels
from leukemia_tf.data.listing import list_images
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.medmnist import open_medmnist
from leukemia_tf.data.named_files import read_paths
from leukemia_tf.data.names import check_names, show
from leukemia_tf.data.progress import track
from leukemia_tf.data.table import is_hidden, make_table
from leukemia_tf.data.threads import map_threads
from leukemia_tf.errors import InputError

# Folders of a list that are tried as the one at hand.
_DEPTHS = 200


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a comparison found.

    Attributes:
        facts: one line for each thing that was counted or compared.
        problems: one line for each difference; empty when the copy is complete and unaltered as far as was compared.
    """

    facts: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether no difference was found."""
        return not self.problems


def verify_data(
    manifest: Manifest, path: str | os.PathLike, *, listing: str | os.PathLike | None = None, progress: bool = True
) -> Verification:
    """Compare a copy with its manifest, and with a list of its files if there is one.

    Without a list: images of each class, split and fold, subjects, images without a label, names that a table of labels
    lists; of an NPZ file the published MD5. With a list also every file, by path, size and SHA-256.

    Args:
        manifest: what is known.
        path: the folder, or the NPZ file.
        listing: a CSV file (perhaps `.gz`) with the columns path, sha256 and, optionally, size. Its folders may
            begin above or below `path`.
        progress: show progress.

    Raises:
        InputError: if there is no such folder or list, or they cannot be read.
    """
    path = pathlib.Path(path).expanduser().resolve()
    if not path.exists():
        raise InputError(f"`path`: `{show(path)}` does not exist; received `{show(path)}`")
    if manifest.layout == "medmnist":
        facts, problems = _verify_arrays(manifest, path)
    elif manifest.layout == "files":
        facts, problems = _verify_images(manifest, path)
    else:
        raise InputError(
            f"`manifest` must be of layout 'files' or 'medmnist' to be compared; received {manifest.layout!r}"
        )
    if listing is not None:
        more_facts, more_problems = verify_listing(path, listing, progress=progress)
        facts, problems = facts + more_facts, problems + more_problems
    return Verification(tuple(facts), tuple(problems))


def verify_listing(
    root: pathlib.Path, listing: str | os.PathLike, *, progress: bool = True
) -> tuple[list[str], list[str]]:
    """Compare every file under `root` with a list: path, size, SHA-256.

    Returns:
        Facts, and one line for each missing, extra or altered file.

    Raises:
        InputError: if the list cannot be read.
    """
    listed = _read_listing(pathlib.Path(listing))
    have = _all_files(root)
    listed = _line_up(listed, have)
    problems = [f"missing: `{path}`" for path in sorted(set(listed) - have)]
    problems += [f"extra: `{show(path)}` is not in the list" for path in sorted(have - set(listed))]
    both = sorted(have & set(listed))
    compared = map_threads(lambda path: _differs(root / path, *listed[path]), both)
    for path, difference in zip(both, track(compared, len(both), "comparing files", progress)):
        if difference:
            problems.append(f"altered: `{path}`: {difference}")
    facts = [f"{len(both):,} of {len(listed):,} listed files are there; {len(problems):,} differences"]
    return facts, problems


def _verify_arrays(manifest: Manifest, path: pathlib.Path) -> tuple[list[str], list[str]]:
    files = [path] if path.is_file() else sorted(path.glob("*.npz"))
    if not files:
        raise InputError(f"`{path}` must be or hold an NPZ file; received none")
    facts, problems = [], []
    for file in files:
        _, table = open_medmnist(file)
        found, wrong = _compare_counts(manifest, table.assign(fold=""), subjects=False)
        published = [entry for entry in manifest.downloads if entry.get("file") == file.name and entry.get("md5")]
        for entry in published:
            different = check_file(file, md5=str(entry["md5"]))
            wrong += different
            found += [] if different else [f"MD5 as published ({entry['md5']})"]
        if not published:
            found.append("no MD5 is published under this file name")
        facts += [f"{file.name}: {fact}" for fact in found]
        problems += [f"`{file.name}`: {problem}" for problem in wrong]
    return facts, problems


def _verify_images(manifest: Manifest, root: pathlib.Path) -> tuple[list[str], list[str]]:
    if not root.is_dir():
        raise InputError(f"`path` must be the folder with the images; received `{show(root)}`")
    images = list_images(root, root)
    rows, other, problems = read_paths(manifest, images)
    labelled = read_labels(manifest, root, other)
    rows += labelled.rows.values()
    table = make_table(rows, manifest.name)
    if manifest.split_counts and not manifest.split_from:
        # What no table of labels puts elsewhere is the training part.
        table["split"] = table["split"].where(table["split"] != "", "train")
    folds = table["path"].str.extract(manifest.fold_from)["fold"] if manifest.fold_from else ""
    table["fold"] = folds if isinstance(folds, str) else folds.fillna("")
    facts, wrong = _compare_counts(manifest, table, subjects=manifest.subject_from is not None)
    if labelled.file:
        facts.append(f"`{labelled.file}` labels {len(labelled.rows):,} images")
        wrong += [f"missing: `{show(name)}`, listed in `{labelled.file}`" for name in labelled.missing]
    elif manifest.labels_csv:
        wrong.append("missing: the table of labels; the images that it labels are left out")
    rest = [path for path in other if path not in labelled.rows]
    unlabelled = [path for path in rest if manifest.unlabelled_from and re.search(manifest.unlabelled_from, path)]
    if manifest.unlabelled_from:
        line = f"without a public label: {len(unlabelled):,} images"
        if manifest.unlabelled_count and len(unlabelled) != manifest.unlabelled_count:
            wrong.append(f"{line}; a complete copy has {manifest.unlabelled_count:,}")
        else:
            facts.append(line)
    known = set(unlabelled)
    extra = [path for path in rest if path not in known]
    if extra:
        facts.append(f"not part of {manifest.name}: {len(extra):,} images; first `{extra[0]}`")
    return facts, problems + wrong


def _compare_counts(manifest: Manifest, table: pd.DataFrame, subjects: bool) -> tuple[list[str], list[str]]:
    """Compare images (and subjects) of each class, split and fold with the manifest's figures."""
    facts, problems = [], []

    def compare(what: str, found: Mapping[str, int], expected: Mapping[str, int]) -> None:
        line = f"{what}: " + ", ".join(f"{name} {found.get(name, 0):,}" for name in manifest.classes)
        if expected and any(found.get(name, 0) != expected.get(name, 0) for name in manifest.classes):
            wanted = ", ".join(f"{name} {expected.get(name, 0):,}" for name in manifest.classes)
            problems.append(f"{line}; a complete copy has {wanted}")
        else:
            facts.append(line if expected else f"{line} (no figures to compare with)")

    known = table[table["subject"] != ""]
    compare("images", table["label"].value_counts().to_dict(), manifest.class_counts)
    for split, expected in manifest.split_counts.items():
        part = table["label"][table["split"] == split]
        compare(f"images of {split}", part.value_counts().to_dict(), expected)
    for fold, expected in manifest.fold_counts.items():
        compare(f"images of fold {fold}", table["label"][table["fold"] == fold].value_counts().to_dict(), expected)
    for part, expected in manifest.subject_counts.items() if subjects else ():
        rows = known if part == "all" else known[known["split"] == part]
        name = "subjects" if part == "all" else f"subjects of {part}"
        compare(name, rows.groupby("label")["subject"].nunique().to_dict(), expected)
    return facts, problems


def _read_listing(file: pathlib.Path) -> dict[str, tuple[str, int | None]]:
    frame = read_text_csv(file, file, skip_spaces=False)
    if not {"path", "sha256"} <= set(frame.columns):
        raise InputError(
            f"`{file}` must have the columns path and sha256, and may have size; "
            f"received {show(', '.join(map(str, frame.columns)))}"
        )
    check_names(list(frame["path"]), str(file))
    problems = []
    for row in frame[~frame["sha256"].str.fullmatch(r"[0-9a-fA-F]{64}")].index:
        problems.append(f"`{file.name}` line {row + 2}: `sha256` must be 64 hexadecimal digits")
    sizes = frame["size"] if "size" in frame else pd.Series("", index=frame.index)
    for row in frame[~sizes.str.fullmatch(r"[0-9]{0,15}")].index:
        problems.append(
            f"`{file.name}` line {row + 2}: `size` must be a number of bytes; received {show(sizes[row])!r}"
        )
    for path in frame["path"][frame["path"].duplicated()]:
        problems.append(f"`{file.name}`: each file may be listed once; received `{path}` twice")
    if frame.empty:
        problems.append(f"`{file.name}` must list at least one file; received none")
    if problems:
        raise InputError("\n".join(problems))
    rows = zip(frame["path"], frame["sha256"], sizes)
    return {path: (digest.lower(), int(size) if size else None) for path, digest, size in rows}


def _all_files(root: pathlib.Path) -> set[str]:
    """Return every visible file as a POSIX path relative to `root`; links are left out."""
    found = set()
    for parent, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in files:
            path = os.path.join(parent, name)
            if not is_hidden(name) and not os.path.islink(path) and os.path.isfile(path):
                found.add(pathlib.Path(path).relative_to(root).as_posix())
    return found


def _line_up(listed: dict[str, tuple[str, int | None]], have: set[str]) -> dict[str, tuple[str, int | None]]:
    """Make the list relative to the folder at hand, which may lie above or below the one that was listed."""
    parts = os.path.commonprefix([path.split("/")[:-1] for path in listed])
    tops = {""} | {f"{path.split('/')[0]}/" for path in have if "/" in path}
    above = ["/".join(parts[:depth]) + "/" * bool(depth) for depth in range(len(parts) + 1)]
    candidates = [(cut, add) for cut in above for add in sorted(tops)]
    # Part of a data set: the list begins above it, and what lies elsewhere is missing.
    inner = {"/".join(path.split("/")[:depth]) + "/" for path in listed for depth in range(1, path.count("/") + 1)}
    candidates += [(cut, "") for cut in sorted(inner)[:_DEPTHS]]
    best, most = candidates[0], -1
    for cut, add in candidates:
        fitting = sum(add + path[len(cut) :] in have for path in listed if path.startswith(cut))
        if fitting > most:
            best, most = (cut, add), fitting
    cut, add = best
    return {add + path[len(cut) :] if path.startswith(cut) else path: facts for path, facts in listed.items()}


def _differs(file: pathlib.Path, digest: str, size: int | None) -> str:
    found = file.stat().st_size
    if size is not None and found != size:
        return f"{found:,} bytes, listed with {size:,}"
    with open(file, "rb") as stream:
        found_digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return "" if found_digest == digest else "other bytes than listed (SHA-256)"
