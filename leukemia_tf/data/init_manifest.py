"""Look at a folder of one's own and propose a manifest for it, with all that only its owner can know left open."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import os
import pathlib
import re

import numpy as np
import pandas as pd
import yaml

from leukemia_tf.data.folder import open_folder
from leukemia_tf.data.header import BrokenImage, read_header
from leukemia_tf.data.manifest import Manifest, list_manifests
from leukemia_tf.data.names import show
from leukemia_tf.data.regular_file import read_regular
from leukemia_tf.data.subject_guess import SubjectGuess, guess_subjects
from leukemia_tf.data.table import crossing_subjects, is_healthy
from leukemia_tf.data.threads import map_threads
from leukemia_tf.errors import InputError
from leukemia_tf.files import write_text

_LOOKED_AT = 50
_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A manifest for a folder, and what is known and not known of it.

    Attributes:
        manifest: with `root` set; `open_data(manifest)` reads it.
        facts: one line for each thing that was found.
        unsure: one line for each thing that someone must check.
    """

    manifest: Manifest
    facts: tuple[str, ...]
    unsure: tuple[str, ...]

    def text(self) -> str:
        """Return the manifest as YAML, with facts and doubts as comments above."""
        lines = ["# A proposal, made by looking at the files. What begins with ? is a guess or unknown: check it."]
        lines += [f"# {show(line, 1000)}" for line in self.facts]
        lines += [f"# ? {show(line, 1000)}" for line in self.unsure]
        default = Manifest("", "", "", "", "", (), "", False).to_dict()
        facts = {
            key: value
            for key, value in self.manifest.to_dict().items()
            if key not in default or value != default[key] or key == "official_split"
        }
        return "\n".join(lines) + "\n" + yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=10_000)


def propose_manifest(folder: str | os.PathLike) -> Proposal:
    """Look at a folder of class folders (perhaps below train, val and test, or folds) and propose its manifest.

    Raises:
        InputError: if it is no such folder; the message says what was found.
    """
    root = pathlib.Path(folder).expanduser()
    if not root.is_dir():
        raise InputError(f"`path` must be a folder of images; received `{show(root)}`")
    opened, table = open_folder(root)
    root = opened.root
    if opened.name in list_manifests():
        fact = f"this is {opened.title}: --data takes the folder as it is, and needs no manifest of its own"
        return Proposal(opened, (fact,), ())
    depth = _class_depth(table)
    parts = _parts(table, depth)
    guesses = guess_subjects(list(table["path"]), list(table["label"]), depth)
    rule = opened.subject_from or (guesses[0].rule if guesses else None)
    if rule:
        table["subject"] = [re.search(rule, path)["subject"] for path in table["path"]]
    crossing = crossing_subjects(table)
    if crossing:
        # Such a manifest could not be opened.
        rule, table["subject"] = None, ""
    size, broken = _image_size(root, table)
    manifest = Manifest(
        name=_name(root),
        title=f"Folder {root.name}",
        licence="unknown",
        citation="unknown",
        homepage="unknown",
        classes=opened.classes,
        layout="files",
        official_split=opened.official_split,
        label_from=rf"^{_above(depth)}(?P<label>{_any_of(opened.classes)})/",
        subject_from=rule,
        split_from=rf"^{_above(depth - 1)}(?P<split>{_any_of(parts)})/" if opened.official_split else None,
        fold_from=rf"^{_above(depth - 1)}(?P<fold>{_any_of(parts)})/" if _are_folds(parts) else None,
        class_counts={name: int((table["label"] == name).sum()) for name in opened.classes},
        image_size=size,
        root=root,
    )
    facts = [f"{len(table):,} images: " + ", ".join(f"{name} {n:,}" for name, n in manifest.class_counts.items())]
    if opened.official_split:
        counts = table["split"].value_counts()
        facts.append("a split of its own: " + ", ".join(f"{split} {n:,}" for split, n in counts.items()))
    if size:
        facts.append(f"{size[0]}x{size[1]} pixels (height x width), as far as {min(_LOOKED_AT, len(table))} files tell")
    unsure = (
        broken
        + _subject_doubts(opened, guesses, table, crossing)
        + _copies(root, table, facts)
        + _class_doubts(manifest)
    )
    unsure.append("licence, citation and homepage: fill them in before results are shown to others")
    return Proposal(manifest, tuple(facts), tuple(unsure))


def write_proposal(proposal: Proposal, file: str | os.PathLike) -> pathlib.Path:
    """Write the proposal as a `.yaml` file into the data's folder; `--data` then takes that file.

    Raises:
        InputError: if the name does not end in .yaml, the file is there, or lies elsewhere than the images.
    """
    file = pathlib.Path(file).expanduser().absolute()
    if file.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"`output` must end in .yaml; received `{show(file)}`")
    if file.exists():
        raise InputError(f"`output` is there already: move it away; received `{show(file)}`")
    if file.parent.resolve() != proposal.manifest.root:
        raise InputError(
            f"`output` must lie in the folder of the images, `{proposal.manifest.root}`, for its rules are relative to "
            f"it; received `{show(file)}`"
        )
    write_text(file, proposal.text())
    return file


def _class_depth(table: pd.DataFrame) -> int:
    """Return how many folders lie above the class folder; it is the same for every image."""
    rows = [path.split("/")[:-1] for path in table["path"]]
    shortest = min(map(len, rows))
    labels = list(table["label"])
    return next(depth for depth in range(shortest) if all(row[depth] == name for row, name in zip(rows, labels)))


def _parts(table: pd.DataFrame, depth: int) -> list[str]:
    """Return the folders above the class folders: train, test, fold_0, ..."""
    return sorted({path.split("/")[depth - 1] for path in table["path"]}) if depth else []


def _are_folds(parts: list[str]) -> bool:
    return len(parts) > 1 and all(re.fullmatch(r"(?i)fold[ _-]?\d+", part) for part in parts)


def _above(depth: int) -> str:
    """Return a rule for that many folders."""
    return rf"(?:[^/]+/){{{depth}}}" if depth else ""


def _any_of(names) -> str:
    return "|".join(re.escape(name) for name in names)


def _name(root: pathlib.Path) -> str:
    name = re.sub(r"\W+", "_", root.name.lower()).strip("_") or "data"
    return f"{name}_own" if name in list_manifests() else name


def _image_size(root: pathlib.Path, table: pd.DataFrame) -> tuple[tuple[int, int] | None, list[str]]:
    """Read some headers, evenly spread."""
    places = np.unique(np.linspace(0, len(table) - 1, _LOOKED_AT).astype(int))
    sizes, broken, kinds = set(), [], collections.Counter()
    for path in table["path"].iloc[places]:
        try:
            header = read_header(read_regular(root / path, path), path)
        except BrokenImage as error:
            broken.append(f"`{path}` cannot be read: {error.reason}")
            continue
        sizes.add((header.height, header.width))
        kinds.update(header.conversions)
    if len(sizes) > 1:
        found = ", ".join(f"{height}x{width}" for height, width in sorted(sizes)[:_NAMED])
        broken.append(
            f"the images differ in size ({found}{', ...' if len(sizes) > _NAMED else ''}): does size tell class?"
        )
    broken += [f"{count} of {len(places)} files looked at are {kind}: is that meant?" for kind, count in kinds.items()]
    return (sizes.pop() if len(sizes) == 1 else None), broken


def _subject_doubts(
    opened: Manifest, guesses: list[SubjectGuess], table: pd.DataFrame, crossing: list[str]
) -> list[str]:
    if opened.subject_from:
        count = table["subject"].nunique()
        return [f"subjects: all files are named like C-NMC 2019's, which gives {count}; is that where they come from?"]
    if not guesses:
        return [
            "subjects: the names tell none, so any split is by image and one patient may lie on both sides. If you "
            "know which image is whose, give a CSV table with a column `subject` instead"
        ]
    lines = []
    for number, guess in enumerate(guesses[:3]):
        what = ("the names say so", "one subject may have several", "a mere number")[2 - guess.sureness]
        lines.append(
            f"subjects: {'taken' if not number else 'or'}: {guess.reads} ({what}): {guess.subjects} of them, the "
            f"largest with {guess.largest} images, such as {', '.join(guess.examples)}"
            + (f"; {guess.several_classes} have images of several classes" if guess.several_classes else "")
        )
    if crossing:
        lines.append(
            f"subjects: not taken after all, for {len(crossing)} would lie in several of the data's own splits: the "
            "rule is wrong, or that split leaks"
        )
    elif guesses[0].sureness == 0:
        lines.append("subjects: a rule that divides a patient leaks; if unsure, delete `subject_from`")
    return lines


def _copies(root: pathlib.Path, table: pd.DataFrame, facts: list[str]) -> list[str]:
    """Find byte-identical images; only files of equal size are read."""
    sizes = table["path"].map(lambda path: (root / path).stat().st_size)
    same = table[sizes.duplicated(keep=False)]
    digests = list(map_threads(lambda path: _digest(root / path), same["path"]))
    same, digests = same[[bool(one) for one in digests]], [one for one in digests if one]
    groups = [group for _, group in same.groupby(np.array(digests, dtype=object)) if len(group) > 1] if digests else []
    groups.sort(key=lambda group: group["path"].iat[0])
    copies = sum(len(group) - 1 for group in groups)
    facts.append(f"{copies:,} images are byte-identical copies of another" if copies else "no two images are identical")
    lines = []
    for column, what in (
        ("label", "the same image under different classes: one is wrong"),
        ("split", "the same image in different splits: the split leaks"),
        ("subject", "the same image under different subjects: are they one person, or is the rule wrong?"),
    ):
        crossing = [group for group in groups if group[column].nunique() > 1]
        for group in crossing[:_NAMED]:
            lines.append(f"{what}: {', '.join(f'`{path}`' for path in group['path'].iloc[:_NAMED])}")
        if len(crossing) > _NAMED:
            lines.append(f"... and {len(crossing) - _NAMED} more such groups")
    return lines


def _digest(file: pathlib.Path) -> str:
    try:
        return hashlib.sha256(read_regular(file, file.name)).hexdigest()
    except BrokenImage:  # whether it can be read is asked elsewhere
        return ""


def _class_doubts(manifest: Manifest) -> list[str]:
    lines = []
    classes, counts = manifest.classes, manifest.class_counts
    if len(classes) == 2:
        sure = is_healthy(classes[0]) and not is_healthy(classes[1])
        lines += [] if sure else [f"classes: `{classes[1]}` is taken for the positive (diseased) one; is it?"]
    small = [f"{name} {count}" for name, count in counts.items() if count < 30]
    if small:
        lines.append(f"classes: fewer than 30 images ({', '.join(small)}), too few to test on")
    if max(counts.values()) > 20 * min(counts.values()):
        lines.append("classes: the largest has more than 20 times the images of the smallest; are all folders classes?")
    odd = [name for name in classes if re.search(r"(?i)mask|segment|augment|original|annot|backup|copy|other", name)]
    if odd:
        named = ", ".join(f"`{name}`" for name in odd)
        lines.append(f"classes: {named} may be no class, but other forms of the images")
    return lines
