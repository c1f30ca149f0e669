"""One data set on paper: title, licence, classes, and how a path gives a label and a subject."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib.resources
import os
import pathlib
import re
import typing
from typing import Any, Mapping

import yaml

from leukemia_tf.errors import InputError

LAYOUTS = ("folders", "table", "medmnist", "files")
_REQUIRED = ("name", "title", "licence", "citation", "homepage", "classes", "layout", "official_split")
_NOT_IN_FILE = ("root",)


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
        class_counts: images of each class in a complete copy; empty when unknown.
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
            if field.name not in _NOT_IN_FILE:
                if isinstance(value, tuple):
                    value = list(value)
                result[field.name] = dict(value) if isinstance(value, Mapping) else value
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
        problems = _check(facts, where)
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
        manifest = _parse(path.read_text(encoding="utf-8"), str(path))
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


def _parse(text: str, where: str) -> Manifest:
    try:
        facts = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"`{where}` is not valid YAML: {' '.join(str(error).split())}") from error
    return Manifest.from_dict(facts, where)


def _check(facts: Any, where: str) -> list[str]:
    """Return one line for each breach of the schema."""
    if not isinstance(facts, Mapping):
        return [f"`{where}` must be a mapping of keys to values; received {type(facts).__name__}"]
    allowed = [field.name for field in dataclasses.fields(Manifest) if field.name not in _NOT_IN_FILE]
    problems = []
    for key in facts:
        if key not in allowed:
            problems.append(f"`{where}`: unknown key `{key}`; known keys are {', '.join(allowed)}; received {key!r}")
    for key in _REQUIRED:
        if key not in facts:
            problems.append(f"`{where}`: key `{key}` is missing; required keys are {', '.join(_REQUIRED)}")
    hints = typing.get_type_hints(Manifest)
    for key in allowed:
        if key in facts and not _fits(facts[key], hints[key]):
            problems.append(f"`{where}`: `{key}` must be {_describe(hints[key])}; received {facts[key]!r}")
    return problems or _check_meaning(facts, where)


def _check_meaning(facts: Mapping[str, Any], where: str) -> list[str]:
    problems = []
    classes = facts["classes"]
    if len(classes) < 2 or len(set(classes)) != len(classes):
        problems.append(f"`{where}`: `classes` must be two or more different names; received {classes!r}")
    if facts["layout"] not in LAYOUTS:
        problems.append(f"`{where}`: `layout` must be one of {', '.join(LAYOUTS)}; received {facts['layout']!r}")
    for key, group in (("label_from", "label"), ("subject_from", "subject")):
        if facts.get(key) is None:
            continue
        try:
            groups = re.compile(facts[key]).groupindex
        except re.error as error:
            problems.append(f"`{where}`: `{key}` is not a regular expression ({error}); received {facts[key]!r}")
            continue
        if group not in groups:
            problems.append(f"`{where}`: `{key}` must hold the named group (?P<{group}>...); received {facts[key]!r}")
    if facts["layout"] == "files" and facts.get("label_from") is None:
        problems.append(f"`{where}`: layout 'files' needs `label_from`; received none")
    for key, names in (
        ("label_names", facts.get("label_names", {}).values()),
        ("class_counts", facts.get("class_counts", {})),
    ):
        for name in names:
            if name not in classes:
                problems.append(f"`{where}`: `{key}` names a class that `classes` lacks; received {name!r}")
    return problems


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a YAML value fits a field's type; sequences come as lists, and a bool is no int."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is type(None):
        return value is None
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            return False
        if arguments[-1] is Ellipsis:
            return all(_fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            _fits(key, arguments[0]) and _fits(item, arguments[1]) for key, item in value.items()
        )
    if arguments:
        return any(_fits(value, argument) for argument in arguments)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    names = {str: "text", int: "a whole number", bool: "true or false", type(None): "null"}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in names:
        return names[hint]
    if origin is tuple:
        many = arguments[-1] is Ellipsis
        return f"a list of {'' if many else f'{len(arguments)} values, each '}{_describe(arguments[0])}"
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping of {_describe(arguments[0])} to {_describe(arguments[1])}"
    return " or ".join(_describe(argument) for argument in arguments)
