"""What a student learns from its teacher, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from leukemia_tf.errors import InputError

TERMS = ("logits", "features", "attention", "fusion")
"""The terms that ask the teacher, by the names of their weights."""


@dataclass(frozen=True)
class Distillation:
    """The teacher, and the weight of each term of the loss. A term of weight 0 is not built.

    The loss is ``hard`` times that of the labels, plus each of the others times its weight:

    - ``logits``: Kullback-Leibler divergence of softened answers, teacher's from student's, times the temperature
      squared (Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv 1503.02531).
    - ``features``: each tap's map, projected to the teacher's width, against the teacher's (`TapProjection`).
    - ``attention``: where each tap's map is strong, against the teacher's (`AttentionSummary`).
    - ``fusion``: all taps fused into one map, against the teacher's, fused the same way (`MapFusion`).

    The last three are squared errors of maps normalised to a mean square of 1, from 0 (equal) over 2 (unrelated) to 4.

    Args:
        teacher: folder of a finished run; "" trains one by `teacher_recipe`.
        teacher_recipe: recipe of the teacher that is trained first, in the folder ``teacher`` of the run, where no
            `teacher` is given; "" insists on one.
        teacher_weights: where its backbones start from, as ``model.weights`` of a recipe; "" as its recipe says.
        teacher_changes: further changes to that recipe (dotted name -> value).
        hard, logits, features, attention, fusion: the weights, 0 or more.
        temperature: by which the logits are divided, above 0.
        temperature_squared: multiply the term ``logits`` by the temperature squared, so that its gradient does not
            shrink as the temperature grows. System 000 did not.
        fusion_width: channels of the fused map; 256 in system 000.
        teacher_taps, student_taps: names of layers, as many in both; () takes of the `default_taps` of both those
            that have the same share of the image's side.
        cache: keep the teacher's outputs for every image (and each of the eight symmetries under the policy ``d4``):
            ``"on"``, ``"off"``, or ``"auto"``, where the teacher is then asked less often than without.

    Raises:
        InputError: for a value outside of what is said above.
    """

    teacher: str = ""
    teacher_recipe: str = ""
    teacher_weights: str = ""
    teacher_changes: dict[str, Any] = field(default_factory=dict)
    hard: float = 0.5
    logits: float = 0.5
    temperature: float = 4.0
    temperature_squared: bool = True
    features: float = 0.0
    attention: float = 0.0
    fusion: float = 0.0
    fusion_width: int = 256
    teacher_taps: tuple[str, ...] = ()
    student_taps: tuple[str, ...] = ()
    cache: str = "auto"

    def __post_init__(self) -> None:
        for name in ("hard", *TERMS):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InputError(f"`distillation.{name}` is a weight of 0 or more. Received: {getattr(self, name)}")
        if not (self.hard or self.used):
            raise InputError(
                f"`distillation` has a weight above 0 among hard, {', '.join(TERMS)}. Received: 0 for each"
            )
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"`distillation.temperature` is a number above 0. Received: {self.temperature}")
        if self.fusion_width < 1:
            raise InputError(f"`distillation.fusion_width` is 1 or more. Received: {self.fusion_width}")
        if self.cache not in ("auto", "on", "off"):
            raise InputError(f"`distillation.cache` is 'auto', 'on' or 'off'. Received: {self.cache!r}")
        if self.teacher_taps and self.student_taps and len(self.teacher_taps) != len(self.student_taps):
            raise InputError(
                "`distillation.teacher_taps` and `distillation.student_taps` are compared one by one, so they are as "
                f"many. Received: {len(self.teacher_taps)} and {len(self.student_taps)}"
            )

    @property
    def used(self) -> tuple[str, ...]:
        """The terms with a weight above 0; with none the teacher is not needed."""
        return tuple(name for name in TERMS if getattr(self, name) > 0)

    def describe(self) -> str:
        """The loss on one line."""
        names = {"logits": f"softened logits (T = {self.temperature:g})"}
        parts = [f"{self.hard:g} labels"] if self.hard else []
        return " + ".join(parts + [f"{getattr(self, name):g} {names.get(name, name)}" for name in self.used])
