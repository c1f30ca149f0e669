"""The models by name: ``@register_model`` puts a builder in, ``build_model`` and ``list_models`` find it."""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Any, Callable

from leukemia_tf.errors import InputError

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Entry:
    """One registered builder and what is known of it."""

    name: str
    builder: Callable[..., "keras.Model"]
    system: str
    reference: str
    parameters: int | None
    published: str
    kind: str = "keras"


KINDS = ("keras", "sklearn")

_ENTRIES: dict[str, Entry] = {}


def register_model(
    name: str,
    *,
    system: str = "",
    reference: str = "",
    parameters: int | None = None,
    published: str = "",
    kind: str = "keras",
) -> Callable:
    """Decorate a builder, a function of keyword arguments that returns a model.

    Args:
        name: the name for `build_model`, lower case.
        system: the published system that it mirrors, such as ``"002-A"``; empty for our own.
        reference: where it is published.
        parameters: number of parameters with the default options.
        published: the figures that its authors report, in a sentence.
        kind: what the builder returns: ``"keras"``, a ``keras.Model``; or ``"sklearn"``, an object to be fitted with
            ``fit(train_pixels, train_labels, val_pixels=None, val_labels=None, seed=0)`` (uint8 (N, S, S, 3) and
            class indices), ``predict_proba(pixels)`` -> (N, C) and ``save(path)``.

    Raises:
        ValueError: if the name is taken by another builder, or the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {KINDS}. Received: {kind!r}")

    def register(builder: Callable) -> Callable:
        known = _ENTRIES.get(name)
        # A notebook that reloads a module registers the same function again, which is no clash.
        if known and (known.builder.__module__, known.builder.__qualname__) != (
            builder.__module__,
            builder.__qualname__,
        ):
            raise ValueError(f"`name` must be new; {known.builder.__module__} has it already. Received: {name!r}")
        _ENTRIES[name] = Entry(name, builder, system, reference, parameters, published, kind)
        return builder

    return register


def build_model(name: str, /, **options: Any) -> "keras.Model":
    """Build a registered model.

    Args:
        name: one of `list_models`.
        **options: the arguments of its builder; ``describe_model(name)["options"]`` lists them with their defaults.

    Raises:
        InputError: if the name or an option is unknown, or the builder refuses a value.
    """
    entry = _find(name)
    accepted = inspect.signature(entry.builder).parameters
    unknown = [option for option in options if option not in accepted]
    if unknown:
        lines = [
            f"`{option}` is no option of the model `{name}`{_suggest(option, accepted)}. It takes: "
            f"{', '.join(accepted)}. Received: {option}={options[option]!r}"
            for option in unknown
        ]
        raise InputError("\n".join(lines))
    return entry.builder(**options)


def list_models(pattern: str = "*") -> list[str]:
    """The names of all registered models that match a shell pattern such as ``"cnn*"``, sorted."""
    _import_builders()
    return sorted(fnmatch.filter(_ENTRIES, pattern))


def describe_model(name: str) -> dict[str, Any]:
    """What is known of a model: ``name``, ``kind``, ``system``, ``reference``, ``parameters``, ``published``,
    ``summary`` (the first line of the builder's docstring) and ``options`` (name -> default).

    Raises:
        InputError: if the name is unknown.
    """
    entry = _find(name)
    return {
        "name": entry.name,
        "kind": entry.kind,
        "system": entry.system,
        "reference": entry.reference,
        "parameters": entry.parameters,
        "published": entry.published,
        "summary": (inspect.getdoc(entry.builder) or "").partition("\n")[0],
        "options": {
            option.name: None if option.default is inspect.Parameter.empty else option.default
            for option in inspect.signature(entry.builder).parameters.values()
        },
    }


def _find(name: str) -> Entry:
    _import_builders()
    if name not in _ENTRIES:
        raise InputError(
            f"`name` must be a registered model{_suggest(name, _ENTRIES)}. "
            f"There are: {', '.join(sorted(_ENTRIES))}. Received: {name!r}"
        )
    return _ENTRIES[name]


def _suggest(word: Any, known: Any) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def _import_builders() -> None:
    package = importlib.import_module("leukemia_tf.models")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"leukemia_tf.models.{module.name}")
