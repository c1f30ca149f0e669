"""What augmentation steps have in common: a name, numbers, and randomness that comes from a seed alone."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from leukemia_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Step:
    """One named step of a policy; its dataclass fields are its numbers.

    A step is called as ``step(images, labels, seed)``:

    * ``images``: float32 ``[B, S, S, 3]``, RGB, 0 to 255; the same comes back;
    * ``labels``: float32 ``[B, ...]``; only the steps that mix images change them;
    * ``seed``: int32 ``[2]``. All randomness is drawn from it with TensorFlow's stateless functions, so that
      the result depends on the arguments and on nothing else.
    """

    name: ClassVar[str]

    def __call__(self, images, labels, seed):
        raise NotImplementedError

    def describe(self) -> dict:
        """``{"step": name, number: value, ...}``, ready for JSON and for :func:`get_policy`."""
        return {"step": self.name, **dataclasses.asdict(self)}

    def __str__(self) -> str:
        numbers = ", ".join(f"{key}={value!r}" for key, value in dataclasses.asdict(self).items())
        return f"{self.name}({numbers})"

    def _check_range(self, field: str, low: float, high: float) -> None:
        value = getattr(self, field)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            accepted = f"a number from {low} to {high}"
            raise InputError(f"`{field}` of step `{self.name}` must be {accepted}, got {value!r}")

    def _check_whole(self, field: str, low: int, high: int) -> None:
        value = getattr(self, field)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            accepted = f"a whole number from {low} to {high}"
            raise InputError(f"`{field}` of step `{self.name}` must be {accepted}, got {value!r}")

    def _check_interval(self, field: str, low: float, high: float) -> None:
        """Two numbers, the smaller one first; lists, as JSON has them, become tuples."""
        value = getattr(self, field)
        pair = isinstance(value, (list, tuple)) and len(value) == 2
        if not pair or any(isinstance(end, bool) or not isinstance(end, (int, float)) for end in value):
            raise InputError(f"`{field}` of step `{self.name}` must be two numbers, least and most, got {value!r}")
        if not low <= value[0] <= value[1] <= high:
            accepted = f"two numbers from {low} to {high}, the smaller one first"
            raise InputError(f"`{field}` of step `{self.name}` must be {accepted}, got {value!r}")
        object.__setattr__(self, field, (float(value[0]), float(value[1])))

    def _check_flag(self, field: str) -> None:
        value = getattr(self, field)
        if not isinstance(value, bool):
            raise InputError(f"`{field}` of step `{self.name}` must be true or false, got {value!r}")
