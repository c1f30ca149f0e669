"""A phase: which layers train, for how long, and how. A run is a list of phases."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Any, Callable

from leukemia_tf.errors import InputError

SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {},
    "cosine": {},
    "one_cycle": {"pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4},
    "triangular2": {"base": 1e-5, "step_size_up": 5},
    "piecewise": {"boundaries": (0.5, 0.75), "factor": 0.1},
}
"""Each schedule, with what `schedule_config` may hold and its defaults."""


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
            ``use_ema`` goes with ``ema_overwrite_frequency``, in batches: otherwise Keras puts averages for the weights
            at the end of all epochs, which no validation sees and no checkpoint keeps. Keras's optimizers take no
            ``jit_compile``: XLA is switched for the whole step, and fuses the update by itself where that pays
            (`leukemia_tf.training.optimizer.fuse_update`). Under ``mixed_float16`` the loss is scaled by itself;
            ``loss_scale_factor`` is a fixed scale for other cases.
        accumulate: batches whose gradients are averaged for one step of the optimizer, as if they were one batch (but
            for batch normalisation, which sees each by itself). A schedule counts batches all the same.
        schedule: how the rate moves, each batch, over the whole phase: ``"constant"``; ``"cosine"`` (half a cosine
            from the rate to 0); ``"one_cycle"`` (up to the rate, then down, by cosines), ``"triangular2"`` (triangles,
            each half as high as the one before) or ``"piecewise"`` (down by a factor at given shares of the phase).
        schedule_config: numbers of the schedule, see `SCHEDULES`; their meaning is told in
            `leukemia_tf.training.schedules`.
        warmup_epochs: epochs of linear warm-up from 0, for ``"cosine"``.
        patience: stop after this many epochs without a better monitored value; 0 never stops.
        min_delta: by how much a value must be better to count as such for `patience`.
        plateau_patience: after this many epochs without a better value, multiply the rate by `plateau_factor`;
            0 never does. Not with a schedule.
        plateau_factor: see above.
        freeze_batchnorm: keep batch normalisation inside backbones in inference mode, also where layers are open.
            Small batches ruin its statistics; the published system 002 left it on.
        frozen_dropout: leave dropout and stochastic depth on in what is frozen (``"head"``, ``"top:N"``), as plain
            Keras does and the published systems did. Otherwise it works as in prediction, and the features that come
            out of it can be cached. (The student of a distiller always has it on.)
        feature_views: keep the features of so many augmented views of each image, where `fit_phases` has a
            `feature_cache`, and train on them; 0 computes them anew each epoch. None leaves it to the cache for
            ``"head"``, and is 0 for ``"top:N"``, whose features are maps: up to a hundred times as large, and few views
            cost a large open part more than a head. Right after a phase of the head that keeps features too, both come
            from one pass.
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
    accumulate: int = 1
    schedule: str = "constant"
    schedule_config: dict[str, Any] = field(default_factory=dict)
    warmup_epochs: float = 0.0
    patience: int = 0
    min_delta: float = 0.0
    plateau_patience: int = 0
    plateau_factor: float = 0.3
    freeze_batchnorm: bool = True
    frozen_dropout: bool = False
    feature_views: int | None = None
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
        if self.accumulate < 1:
            raise InputError(f"`accumulate` of phase `{self.name}` is 1 or more. Received: {self.accumulate}")
        if self.schedule not in SCHEDULES:
            raise InputError(
                f"`schedule` of phase `{self.name}` is one of {', '.join(SCHEDULES)}. Received: {self.schedule!r}"
            )
        self._check_schedule_config()
        if self.warmup_epochs > 0 and self.schedule != "cosine":
            raise InputError(
                f"`warmup_epochs` of phase `{self.name}` works with schedule 'cosine' only. Received: {self.schedule!r}"
            )
        if self.schedule != "constant" and self.plateau_patience:
            raise InputError(
                f"`plateau_patience` of phase `{self.name}` works with schedule 'constant' only, because a schedule "
                f"sets the rate itself. Received: {self.schedule!r}"
            )
        if not 0 < self.plateau_factor < 1:
            raise InputError(
                f"`plateau_factor` of phase `{self.name}` lies between 0 and 1. Received: {self.plateau_factor}"
            )
        if self.feature_views and (self.layers == "all" or self.frozen_dropout):
            raise InputError(
                f"`feature_views` of phase `{self.name}` needs something frozen that works as in prediction: `layers` "
                f"'head' or 'top:N', and no `frozen_dropout`. Received: {self.feature_views}"
            )
        for limit in ("patience", "min_delta", "plateau_patience", "warmup_epochs", "feature_views"):
            if (getattr(self, limit) or 0) < 0:
                raise InputError(f"`{limit}` of phase `{self.name}` is 0 or more. Received: {getattr(self, limit)}")

    @property
    def schedule_numbers(self) -> dict[str, Any]:
        """`schedule_config` with the defaults filled in."""
        return {**SCHEDULES[self.schedule], **self.schedule_config}

    def views_kept(self, views: int) -> int:
        """How many views the features of this phase are kept of: 0 where none of them would be seen twice.

        Args:
            views: what `FeatureCache.views` says for phases that do not say it themselves.
        """
        if self.feature_views is not None:
            views = self.feature_views
        elif self.layers != "head":
            views = 0
        return views if self.epochs > views and self.layers != "all" and not self.frozen_dropout else 0

    def _check_schedule_config(self) -> None:
        accepted = SCHEDULES[self.schedule]
        for key in self.schedule_config:
            if key not in accepted:
                takes = ", ".join(accepted) or "no numbers"
                raise InputError(
                    f"`schedule_config` of phase `{self.name}`: schedule {self.schedule!r} takes {takes}. "
                    f"Received: {key!r}"
                )
        for key, value in self.schedule_numbers.items():
            test, wanted = _NUMBERS[key]
            if not test(value):
                raise InputError(f"`schedule_config.{key}` of phase `{self.name}` is {wanted}. Received: {value!r}")
        if self.schedule == "triangular2" and not self.schedule_numbers["base"] < self.learning_rate:
            raise InputError(
                f"`schedule_config.base` of phase `{self.name}` lies below its `learning_rate`, the top of the "
                f"triangles, {self.learning_rate}. Received: {self.schedule_numbers['base']}"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _are_rising_shares(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) > 0
        and all(_is_number(share) and 0 < share < 1 for share in value)
        and all(one < other for one, other in itertools.pairwise(value))
    )


_NUMBERS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "pct_start": (lambda value: _is_number(value) and 0 < value < 1, "a share of the phase between 0 and 1"),
    "div_factor": (lambda value: _is_number(value) and value >= 1, "a number of at least 1"),
    "final_div_factor": (lambda value: _is_number(value) and value >= 1, "a number of at least 1"),
    "base": (lambda value: _is_number(value) and value > 0, "a learning rate above 0"),
    "step_size_up": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1,
        "a whole number of batches, 1 or more",
    ),
    "boundaries": (_are_rising_shares, "a list of rising shares of the phase between 0 and 1"),
    "factor": (lambda value: _is_number(value) and 0 < value < 1, "a number between 0 and 1"),
}
"""What each number of a schedule may be, and how to say so."""
