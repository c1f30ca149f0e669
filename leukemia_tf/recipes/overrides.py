"""``--set data.image_size=128``: change one field of a recipe by its dotted name, with its type checked."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from typing import Any

import yaml

from leukemia_tf.errors import InputError
from leukemia_tf.recipes.recipe import Recipe


def override(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """A copy of `recipe` with `changes` (dotted name -> value) applied.

    ``phases.0.epochs`` and ``phases.head.epochs`` (a phase by its name) both work, and so do the keys of a dict
    field, such as ``model.options.backbones``.

    Raises:
        InputError: for an unknown field or a value of the wrong type.
    """
    for name, value in changes.items():
        recipe = _replace(recipe, name.split("."), value, name)
    return recipe


def parse_assignments(assignments: list[str]) -> dict[str, str]:
    """``["data.policy=d4", ...]`` as a dict; values stay text until the field's type is known.

    Raises:
        InputError: for one without ``=``.
    """
    changes = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise InputError(f"`--set` takes FIELD=VALUE, such as data.policy=d4. Received: {assignment!r}")
        changes[name.strip()] = _Text(value.strip())
    return changes


_FIXED = {"card", "on_sample", "on_smoke"}
"""Fields of a recipe that change nothing in a run, or have had their effect before any other change."""


class _Text(str):
    """A value from the command line, whose type the field decides."""


def _replace(owner: Any, names: list[str], value: Any, full: str) -> Any:
    head, rest = names[0], names[1:]
    if dataclasses.is_dataclass(owner):
        hints = typing.get_type_hints(type(owner))
        known = [item.name for item in dataclasses.fields(owner) if item.name not in _FIXED]
        if head not in known:
            raise _unknown(full, head, known)
        current = getattr(owner, head)
        new = _replace(current, rest, value, full) if rest else _convert(value, hints[head], current, full)
        return dataclasses.replace(owner, **{head: new})
    if isinstance(owner, dict):
        # An optimizer takes many arguments that no recipe lists; a builder's options are all listed.
        if owner and head not in owner and (rest or full.startswith("model.options.")):
            raise _unknown(full, head, list(owner))
        if rest:
            return {**owner, head: _replace(owner[head], rest, value, full)}
        current = owner.get(head)
        return {**owner, head: _convert(value, type(current) if current is not None else Any, current, full)}
    if isinstance(owner, tuple):
        names_of = [getattr(item, "name", str(index)) for index, item in enumerate(owner)]
        if head in names_of:
            index = names_of.index(head)
        elif head.isdigit() and int(head) < len(owner):
            index = int(head)
        else:
            raise _unknown(full, head, [*names_of, *map(str, range(len(owner)))])
        item = (
            _replace(owner[index], rest, value, full)
            if rest
            else _convert(value, type(owner[index]), owner[index], full)
        )
        return owner[:index] + (item,) + owner[index + 1 :]
    raise _unknown(full, head, [])


def _convert(value: Any, kind: Any, current: Any, full: str) -> Any:
    """Make `value` a `kind`, or say that it can't be one."""
    if dataclasses.is_dataclass(current) or (
        isinstance(current, tuple) and any(map(dataclasses.is_dataclass, current))
    ):
        raise InputError(f"`{full}` has fields of its own; set one of them, by its dotted name. Received: {value!r}")
    text = isinstance(value, _Text)
    origin = typing.get_origin(kind) or kind
    if origin in (typing.Union, types.UnionType):
        origin = type(current)
    if origin is str:
        if isinstance(value, str):
            return str(value)
        raise _wrong(full, "text", value)
    parsed = _yaml(value) if text else value
    if origin is bool:
        if isinstance(parsed, bool):
            return parsed
        raise _wrong(full, "true or false", value)
    if origin is int:
        if isinstance(parsed, int) and not isinstance(parsed, bool):
            return parsed
        raise _wrong(full, "a whole number", value)
    if origin is float:
        if isinstance(parsed, (int, float)) and not isinstance(parsed, bool):
            return float(parsed)
        raise _wrong(full, "a number", value)
    if origin in (tuple, list):
        if isinstance(parsed, str):
            parsed = [_yaml(part.strip()) for part in parsed.split(",") if part.strip()]
        if not isinstance(parsed, (list, tuple)):
            raise _wrong(full, "a list, such as a,b,c", value)
        arguments = typing.get_args(kind)
        inner = arguments[0] if arguments else (type(current[0]) if current else Any)
        return origin(_convert(item, inner, None, full) for item in parsed)
    if origin is dict:
        if isinstance(parsed, dict):
            return parsed
        raise _wrong(full, "a mapping, such as '{clipnorm: 1.0}'", value)
    return parsed


def _yaml(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return str(text)
    if isinstance(value, str):
        try:
            return float(value)  # YAML 1.1 reads 1e-4 as text
        except ValueError:
            return value
    return value


def _unknown(full: str, name: str, known: list[str]) -> InputError:
    close = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return InputError(f"`--set {full}`: {hint}fields are {', '.join(known) or 'none'}. Received: {name!r}")


def _wrong(full: str, wanted: str, value: Any) -> InputError:
    return InputError(f"`--set {full}` wants {wanted}. Received: {str(value)!r}")
