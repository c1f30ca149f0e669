"""How a run turns probabilities into a verdict: what is fitted on its validation images, by which rule.

Light: a recipe holds these rules, and listing recipes imports no NumPy.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from leukemia_tf.errors import InputError

CALIBRATIONS = ("temperature", "platt", "isotonic", "none")
OPERATING_POINTS = ("youden", "sensitivity", "specificity", "cost", "fixed")
VIEWS = ("none", "d4", "d4_learnt")


@dataclasses.dataclass(frozen=True)
class VerdictRules:
    """What is decided on the validation images, before the test images are looked at.

    Args:
        calibration: ``"temperature"``, ``"platt"``, ``"isotonic"`` or ``"none"``; see `fit_calibration`.
        operating_point: of two classes, how the threshold is chosen: ``"youden"``, ``"sensitivity:0.95"``,
            ``"specificity:0.9"``, ``"cost:5"`` (see `choose_operating_point`), or ``"fixed:0.5"``.
        target_risk: share of errors among the images that are kept, for abstention; in [0, 1).
        accepted: share of the validation images that each score of strangeness lets pass; in (0, 1].
        tta: ``"none"``, ``"d4"`` (the eight symmetries of a square, equal weights) or ``"d4_learnt"``; reported beside
            the plain result, at eight times its cost.
        subgroups: columns by which the figures are broken down; ``"age:4"`` cuts a column of numbers into four groups.
            A column with one value is left out.
        subgroup_file: CSV with ``path`` and further columns for `subgroups`, such as scanner or age; "" for none.
    """

    calibration: str = "temperature"
    operating_point: str = "youden"
    target_risk: float = 0.05
    accepted: float = 0.95
    tta: str = "none"
    subgroups: tuple[str, ...] = ("source", "subject")
    subgroup_file: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "subgroups", tuple(self.subgroups))
        for name, accepted in (("calibration", CALIBRATIONS), ("tta", VIEWS)):
            if getattr(self, name) not in accepted:
                raise InputError(f"`verdict.{name}` is one of {accepted}. Received: {getattr(self, name)!r}")
        if not 0.0 <= self.target_risk < 1.0 or not 0.0 < self.accepted <= 1.0:
            raise InputError(
                "`verdict.target_risk` lies in [0, 1) and `verdict.accepted` in (0, 1]. "
                f"Received: {self.target_risk}, {self.accepted}"
            )
        parse_operating_point(self.operating_point)
        for column in self.subgroups:
            parse_subgroup(column)

    @property
    def columns(self) -> list[str]:
        """Names of the columns of `subgroups`."""
        return [parse_subgroup(column)[0] for column in self.subgroups]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**dataclasses.asdict(self), "subgroups": list(self.subgroups)}

    @classmethod
    def fixed(cls, threshold: float = 0.5) -> VerdictRules:
        """Probabilities as the model gives them and a threshold that nobody chose, as published systems do it."""
        return cls(calibration="none", operating_point=f"fixed:{threshold:g}")


def parse_operating_point(text: str) -> tuple[str, float | None]:
    """``"sensitivity:0.95"`` as ``("sensitivity", 0.95)`` and ``"youden"`` as ``("youden", None)``.

    Raises:
        InputError: for an unknown rule, or a number that is missing, superfluous or out of range.
    """
    rule, colon, number = text.partition(":")
    try:
        target = float(number) if colon else None
    except ValueError:
        target = math.nan
    fits = {
        "youden": target is None,
        "cost": target is not None and 0.0 < target < math.inf,
        "fixed": target is not None and 0.0 < target < 1.0,
    }
    if rule not in OPERATING_POINTS or not fits.get(rule, target is not None and 0.0 < target <= 1.0):
        raise InputError(
            "`verdict.operating_point` is youden, sensitivity:0.95 or specificity:0.9 (any number above 0, at most 1), "
            f"cost:5 (above 0), or fixed:0.5 (between 0 and 1). Received: {text!r}"
        )
    return rule, target


def parse_subgroup(text: str) -> tuple[str, int | None]:
    """``"age:4"`` as ``("age", 4)`` and ``"source"`` as ``("source", None)``.

    Raises:
        InputError: if there is no name, or no number of 2 or more behind a colon.
    """
    name, colon, bins = text.partition(":")
    if not name or (colon and not (bins.isdigit() and int(bins) >= 2)):
        raise InputError(f"`verdict.subgroups` names columns, with bins as in age:4. Received: {text!r}")
    return name, int(bins) if colon else None
