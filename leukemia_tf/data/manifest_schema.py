"""What a manifest file may say: types, keys and meaning, one line for each breach."""

from __future__ import annotations

import dataclasses
import re
import reprlib
import typing
import unicodedata
import urllib.parse
from typing import Any, Mapping

LAYOUTS = ("folders", "table", "medmnist", "files")
DOWNLOAD_KEYS = ("url", "figshare", "kaggle", "page", "file", "variant", "size", "md5", "sha256", "unpack", "note")
LABELS_CSV_KEYS = ("file", "images", "image", "label", "subject", "split")
REQUIRED = ("name", "title", "licence", "citation", "homepage", "classes", "layout", "official_split")
NOT_IN_FILE = ("root",)


def check_facts(facts: Any, where: str, schema: type) -> list[str]:
    """Return one line for each breach of the schema.

    Args:
        facts: what a YAML file holds.
        where: how the lines name the file.
        schema: the `Manifest` class; its fields give names and types.
    """
    if not isinstance(facts, Mapping):
        return [f"`{where}` must be a mapping of keys to values; received {type(facts).__name__}"]
    allowed = [field.name for field in dataclasses.fields(schema) if field.name not in NOT_IN_FILE]
    problems = []
    for key in facts:
        if key not in allowed:
            problems.append(
                f"`{where}`: unknown key `{_shown(key)}`; known keys are {', '.join(allowed)}; received {_repr(key)}"
            )
    for key in REQUIRED:
        if key not in facts:
            problems.append(f"`{where}`: key `{key}` is missing; required keys are {', '.join(REQUIRED)}")
    hints = typing.get_type_hints(schema)
    for key in allowed:
        if key in facts and not _fits(facts[key], hints[key]):
            problems.append(f"`{where}`: `{key}` must be {_describe(hints[key])}; received {_repr(facts[key])}")
    return problems or _check_meaning(facts, where)


def _check_meaning(facts: Mapping[str, Any], where: str) -> list[str]:
    problems = []
    classes = facts["classes"]
    if len(classes) < 2 or len(set(classes)) != len(classes):
        problems.append(f"`{where}`: `classes` must be two or more different names; received {_repr(classes)}")
    for key in ("name", *(f"classes[{i}]" for i in range(len(classes)))):
        text = facts["name"] if key == "name" else classes[int(key[8:-1])]
        if not text.strip() or any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
            problems.append(f"`{where}`: `{key}` must be a word or words in one line; received {_repr(text)}")
    if facts["layout"] not in LAYOUTS:
        problems.append(f"`{where}`: `layout` must be one of {', '.join(LAYOUTS)}; received {_repr(facts['layout'])}")
    problems += _check_rules(facts, where)
    if facts["layout"] == "files" and facts.get("label_from") is None:
        problems.append(f"`{where}`: layout 'files' needs `label_from`; received none")
    counts = {key: facts.get(key, {}) for key in ("split_counts", "subject_counts", "fold_counts")}
    named = [("label_names", facts.get("label_names", {}).values()), ("class_counts", facts.get("class_counts", {}))]
    for key, names in [*named, *((key, group) for key, groups in counts.items() for group in groups.values())]:
        for name in names:
            if name not in classes:
                problems.append(f"`{where}`: `{key}` names a class that `classes` lacks; received {_repr(name)}")
    for split in counts["split_counts"]:
        if split not in ("train", "val", "test"):
            problems.append(f"`{where}`: `split_counts` has the keys train, val and test; received {_repr(split)}")
    for number, download in enumerate(facts.get("downloads", ())):
        problems += _check_download(download, f"`{where}`: `downloads[{number}]`")
    return problems


def _check_rules(facts: Mapping[str, Any], where: str) -> list[str]:
    """Check the regular expressions, each with the group it must have, and the keys of `labels_csv`."""
    problems = []
    rules = [(f"{group}_from", facts.get(f"{group}_from"), group) for group in ("label", "subject", "split", "fold")]
    rules.append(("unlabelled_from", facts.get("unlabelled_from"), ""))
    labels = facts.get("labels_csv", {})
    rules += [(f"labels_csv.{key}", labels.get(key), "") for key in ("file", "images")]
    for key in labels:
        if key not in LABELS_CSV_KEYS:
            problems.append(f"`{where}`: `labels_csv` has the keys {', '.join(LABELS_CSV_KEYS)}; received {_repr(key)}")
    missing = [key for key in ("file", "images", "image", "label") if labels and key not in labels]
    if missing:
        problems.append(f"`{where}`: `labels_csv` lacks {', '.join(missing)}; received {', '.join(labels)}")
    if labels.get("split", "test") not in ("train", "val", "test"):
        problems.append(f"`{where}`: `labels_csv.split` must be train, val or test; received {_repr(labels['split'])}")
    for key, rule, group in rules:
        if rule is None:
            continue
        try:
            groups = re.compile(rule).groupindex
        except (re.error, OverflowError, RecursionError) as error:
            problems.append(f"`{where}`: `{key}` is not a regular expression ({error}); received {_repr(rule)}")
            continue
        if group and group not in groups:
            problems.append(f"`{where}`: `{key}` must hold the named group (?P<{group}>...); received {_repr(rule)}")
    return problems


def _check_download(download: Mapping[str, Any], where: str) -> list[str]:
    problems = []
    for key in download:
        if key not in DOWNLOAD_KEYS:
            problems.append(f"{where} has the keys {', '.join(DOWNLOAD_KEYS)}; received {_repr(key)}")
    ways = [key for key in ("url", "figshare", "kaggle", "page") if key in download]
    if len(ways) != 1:
        problems.append(f"{where} needs one of url, figshare, kaggle, page; received {', '.join(ways) or 'none'}")
    wrong = {
        "url": not _is_https(download.get("url", "https://x")),
        "page": not _is_https(download.get("page", "https://x")),
        "figshare": not _is_count(download.get("figshare", 1)),
        "size": not _is_count(download.get("size", 1)),
        "unpack": not isinstance(download.get("unpack", True), bool),
        "kaggle": not re.fullmatch(r"[\w-]+/[\w-]+", str(download.get("kaggle", "a/b"))),
        "md5": not re.fullmatch(r"[0-9a-f]{32}", str(download.get("md5", "0" * 32))),
        "sha256": not re.fullmatch(r"[0-9a-f]{64}", str(download.get("sha256", "0" * 64))),
        "file": not re.fullmatch(r"[\w][\w .()+-]*", str(download.get("file", "x")), re.ASCII),
        "variant": not isinstance(download.get("variant", ""), str),
        "note": not isinstance(download.get("note", ""), str),
    }
    accepted = {
        "url": "an https:// address", "page": "an https:// address", "figshare": "the number of an article",
        "size": "a number of bytes above 0", "unpack": "true or false", "kaggle": "owner/dataset",
        "md5": "32 hexadecimal digits", "sha256": "64 hexadecimal digits", "file": "a plain file name",
        "variant": "text", "note": "text",
    }  # fmt: skip
    problems += [
        f"{where}: `{key}` must be {accepted[key]}; received {_repr(download[key])}" for key in wrong if wrong[key]
    ]
    if "url" in download and "file" not in download:
        problems.append(f"{where}: a download by `url` needs `file`, its name on the disk; received none")
    return problems


def _is_https(address: Any) -> bool:
    try:
        parts = urllib.parse.urlsplit(address) if isinstance(address, str) else None
    except ValueError:
        return False
    return parts is not None and parts.scheme == "https" and bool(parts.hostname)


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0


def _repr(value: Any) -> str:
    """Write a value in one line, shortened: it comes from a file that may hold anything."""
    return _SHORT.repr(value)


def _shown(key: Any) -> str:
    return key if isinstance(key, str) and key.isidentifier() and len(key) < 80 else _repr(key)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 12


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
