"""One data set on paper: title, licence, classes, and how a path gives a label and a subject."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib.resources
import os
import pathlib
from typing import Any, Mapping

import yaml

from leukemia_tf.data.manifest_schema import NOT_IN_FILE, check_facts
from leukemia_tf.errors import InputError

# A manifest is a page of text; a larger file is something else.
_MAX_BYTES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Facts about one data set.

    Attributes:
        name: short name, also the `source` of every row of its table.
        title: full name.
        licence: licence of the images.
        citation: who to cite.
        homepage: where the images are had.
        classes: class names; the position is the label index. Of two classes, index 1 is the positive one.
        layout: "folders" (a folder for each class), "table" (a CSV), "medmnist" (an NPZ of arrays) or "files"
            (`label_from` reads the class from each path).
        official_split: whether the data set comes with train, validation and test parts.
        synthetic: True when the images were drawn by a program.
        label_from: regular expression with the named group `label`, searched in the POSIX path relative to `root`.
        subject_from: the same with the named group `subject`; None when no subject is known.
        label_names: what `label` captures -> class name; empty when they are the same.
        split_from: the same with the named group `split` (train, val, test or their usual other names).
        fold_from: the same with the named group `fold`: folds for cross-validation that came with the data.
        labels_csv: a CSV file among the images that labels those whose names say nothing. Keys: `file` (regular
            expression on the CSV's path), `images` (the same on the images' paths), and the CSV's columns `image`
            (file name), `label`, `subject`; `split` is what these images are. `label_names` and `subject_from`
            apply to its cells.
        class_counts: images of each class in a complete copy; empty when unknown.
        split_counts: split -> class -> images, in a complete copy.
        subject_counts: split (or "all") -> class -> subjects, in a complete copy.
        fold_counts: fold -> class -> images, in a complete copy.
        unlabelled_from: regular expression that fits the paths of images without a public label.
        unlabelled_count: how many of those a complete copy has.
        downloads: where the files are had, each a mapping with one of `url` (HTTPS), `figshare` (article number),
            `kaggle` (owner/dataset) or `page` (by hand: `note` says how), and perhaps `file`, `variant`, `size` in
            bytes, `md5`, `sha256`, `unpack`, `note`.
        known_faults: one sentence for each known fault of the data.
        image_size: (height, width) of the originals in pixels, or None when they differ.
        value_range: lowest and highest pixel value of the decoded images.
        root: the folder that the table's paths are relative to; None until the data is opened.
    """

    name: str
    title: str
    licence: str
    citation: str
    homepage: str
    classes: tuple[str, ...]
    layout: str
    official_split: bool
    synthetic: bool = False
    label_from: str | None = None
    subject_from: str | None = None
    label_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    class_counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    split_from: str | None = None
    fold_from: str | None = None
    labels_csv: Mapping[str, str] = dataclasses.field(default_factory=dict)
    split_counts: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    subject_counts: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    fold_counts: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    unlabelled_from: str | None = None
    unlabelled_count: int = 0
    downloads: tuple[Mapping[str, str | int | bool], ...] = ()
    known_faults: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    value_range: tuple[int, int] = (0, 255)
    root: pathlib.Path | None = None

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    def replace(self, **changes: Any) -> Manifest:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain JSON-able values; without `root`, which is a matter of this machine."""
        result = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in NOT_IN_FILE:
                result[field.name] = _plain(value)
        return result

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any], where: str = "manifest") -> Manifest:
        """Check `facts` against the schema and build a manifest.

        Args:
            facts: what a YAML file holds: the fields of this class, without `root`.
            where: how the messages name the source.

        Raises:
            InputError: one line for each unknown or missing key, wrong type, and regular expression that does not fit.
        """
        problems = check_facts(facts, where, cls)
        if problems:
            raise InputError("\n".join(problems))
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
        return cls(**values)


def load_manifest(name: str | os.PathLike, root: str | os.PathLike | None = None) -> Manifest:
    """Read the manifest of a known data set, or a YAML file of your own.

    Args:
        name: a name that `list_manifests` lists, or the path of a `.yaml` file.
        root: the folder where its files lie on this machine; None leaves `Manifest.root` empty.

    Raises:
        InputError: if there is no such manifest, or it breaks the schema.
    """
    if str(name).endswith((".yaml", ".yml")):
        path = pathlib.Path(name)
        if not path.is_file():
            raise InputError(f"manifest file `{path}` does not exist; received {str(name)!r}")
        manifest = _parse(_read_text(path), str(path))
    elif name not in list_manifests():
        close = difflib.get_close_matches(str(name), list_manifests(), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(f"`name` must be one of {', '.join(list_manifests())}.{hint} Received {str(name)!r}")
    else:
        manifest = _load_named(str(name))
    return manifest if root is None else manifest.replace(root=pathlib.Path(root))


def list_manifests() -> list[str]:
    """Return the names of the data sets that the package knows, sorted."""
    folder = importlib.resources.files("leukemia_tf.data_manifests")
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


@functools.lru_cache(maxsize=None)
def _load_named(name: str) -> Manifest:
    entry = importlib.resources.files("leukemia_tf.data_manifests") / f"{name}.yaml"
    return _parse(entry.read_text(encoding="utf-8"), f"{name}.yaml")


def _read_text(path: pathlib.Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(
            f"manifest file `{path}` must be at most {_MAX_BYTES:,} bytes; received {path.stat().st_size:,}"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"manifest file `{path}` must be UTF-8 text; received {error}") from error
    except OSError as error:
        raise InputError(f"manifest file `{path}` cannot be read; received: {error.strerror}") from error


class _Loader(yaml.SafeLoader):
    """YAML without aliases: ten lines of them can stand for a billion values."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()
            raise yaml.YAMLError(f"aliases are not accepted; received *{event.anchor}")
        return super().compose_node(parent, index)


def _parse(text: str, where: str) -> Manifest:
    try:
        facts = yaml.load(text, Loader=_Loader)
    # A date such as 2001-99-99 is a ValueError in PyYAML, a thousand open brackets a RecursionError.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"`{where}` is not valid YAML: {' '.join(str(error).split())[:500]}") from error
    return Manifest.from_dict(facts, where)


def _plain(value: Any) -> Any:
    """Turn tuples into lists and mappings into dictionaries, all the way down."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
