"""Small frozen dataclasses as JSON: what a run decides on its validation images and applies later."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Mapping, TypeVar

import numpy as np

from leukemia_tf.errors import InputError
from leukemia_tf.files import read_json, write_json

Record = TypeVar("Record", bound="JsonRecord")


class JsonRecord:
    """Base of a frozen dataclass whose fields are JSON values or tuples of them."""

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls: type[Record], values: Mapping[str, Any], source: str = "`values`") -> Record:
        """From `to_dict`.

        Raises:
            InputError: if a key is missing or unknown, or a value is not what it should be.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(values, Mapping) or set(values) != set(names):
            received = sorted(values) if isinstance(values, Mapping) else values
            raise InputError(f"{source} must hold the keys {', '.join(names)}; received {received!r}")
        try:
            return cls(**values)
        except InputError:
            raise
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise InputError(f"{source} must hold values of the types that {cls.__name__} has; {error}") from error

    def write(self, path: str | os.PathLike) -> None:
        """Write as JSON, atomically."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls: type[Record], path: str | os.PathLike) -> Record:
        """Read what `write` wrote.

        Raises:
            InputError: as of `from_dict`.
            RunError: if the file is missing or is not JSON.
        """
        return cls.from_dict(read_json(path), f"`{path}`")


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value
