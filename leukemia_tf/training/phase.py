"""A phase: which layers train, for how long, and how. A run is a list of phases."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from leukemia_tf.errors import InputError

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Phase:
    """One stretch of training with one set of open layers.

    Args:
        name: what the history, the progress line and the plots call it.
        layers: ``"head"`` (backbones frozen), ``"top:N"`` (the last N layers of each backbone too) or ``"all"``.
        epochs: at most this many.
        learning_rate: the rate, or the peak rate of a schedule.
        optimizer: a Keras optimizer's name, such as ``"adam"``, ``"adamw"``, ``"sgd"``, ``"adamax"``.
        optimizer_config: further arguments of that optimizer, such as ``{"weight_decay": 1e-5, "clipnorm": 1.0}``.
        schedule: ``"constant"``, or ``"cosine"`` (half a cosine from the rate to 0 over the phase, each batch).
        warmup_epochs: epochs of linear warm-up from 0, for ``"cosine"``.
        patience: stop after this many epochs without a better monitored value; 0 never stops.
        plateau_patience: after this many epochs without a better value, multiply the rate by `plateau_factor`;
            0 never does. Not with a schedule.
        plateau_factor: see above.
        freeze_batchnorm: keep batch normalisation inside backbones in inference mode, also where layers are open.
            Small batches ruin its statistics; the published system 002 left it on.
        from_best: begin with the best weights of the phases before, not with the last ones.

    Raises:
        InputError: for a value outside of what is said above.
    """

    name: str
    layers: str = "all"
    epochs: int = 10
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    optimizer_config: dict[str, Any] = field(default_factory=dict)
    schedule: str = "constant"
    warmup_epochs: float = 0.0
    patience: int = 0
    plateau_patience: int = 0
    plateau_factor: float = 0.3
    freeze_batchnorm: bool = True
    from_best: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"head|all|top:[1-9]\d*", self.layers):
            raise InputError(f"`layers` of phase `{self.name}` is 'head', 'top:N' or 'all'. Received: {self.layers!r}")
        if self.epochs < 0:
            raise InputError(f"`epochs` of phase `{self.name}` is 0 or more. Received: {self.epochs}")
        if not self.learning_rate > 0:
            raise InputError(
                f"`learning_rate` of phase `{self.name}` is a number above 0. Received: {self.learning_rate}"
            )
        if self.schedule not in SCHEDULES:
            raise InputError(f"`schedule` of phase `{self.name}` is one of {SCHEDULES}. Received: {self.schedule!r}")
        if self.schedule != "constant" and self.plateau_patience:
            raise InputError(
                f"`plateau_patience` of phase `{self.name}` works with schedule 'constant' only, because a schedule "
                f"sets the rate itself. Received: {self.schedule!r}"
            )
        if not 0 < self.plateau_factor < 1:
            raise InputError(
                f"`plateau_factor` of phase `{self.name}` lies between 0 and 1. Received: {self.plateau_factor}"
            )
        for limit in ("patience", "plateau_patience", "warmup_epochs"):
            if getattr(self, limit) < 0:
                raise InputError(f"`{limit}` of phase `{self.name}` is 0 or more. Received: {getattr(self, limit)}")
