"""All that a training run needs, as one frozen value."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from leukemia_tf.errors import InputError
from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.recipes.card import Card
from leukemia_tf.training.distillation.settings import Distillation
from leukemia_tf.training.phase import Phase


@dataclass(frozen=True)
class ModelSpec:
    """Which model: a registered builder, its options, and where the weights of its backbones come from."""

    builder: str
    options: dict[str, Any] = field(default_factory=dict)
    weights: str = "imagenet"


@dataclass(frozen=True)
class DataSpec:
    """Which images and how they are prepared.

    Args:
        source: a manifest's name, a folder of class folders, a CSV table or a MedMNIST ``.npz``.
        image_size: side of the square that each image is resized to, in pixels.
        batch_size: images a step.
        policy: name of the training augmentation.
        colour: ``"none"``, ``"grey_world"``, ``"reinhard"`` (fitted to the training images) or ``"clahe"``; done before
            the augmentation. See `leukemia_tf.recipes.colour`.
        fractions: shares of train, val and test, where the data set has no split of its own.
        balance: ``"none"``, ``"class_weight"`` (in the loss) or ``"oversample"`` (each class equally often).
        max_train_images, max_val_images: a stratified subset of a split, for a small budget; 0 takes all. The test
            split is never cut.
        skip_broken: leave broken images out (and count them) instead of stopping.
        split_level: ``"auto"`` (the data's own split, else by subject where subjects are known, else by image),
            ``"subject"``, ``"image"`` or ``"official"``; the last three insist.
        allow_leakage: permits a split by image where subjects are known; report and metrics are then stamped.
        split_file: a ``split.csv`` of another run, to be judged on the same images; "" for a split of its own.
        split_fold: which fold of a `split_file` that holds those of a cross-validation, such as ``"0.2"``.
        groups_file: CSV (path,group) of images that show the same, such as ``groups.csv`` of an audit; a group is
            never divided.
    """

    source: str = "sample"
    image_size: int = 224
    batch_size: int = 16
    policy: str = "cells"
    colour: str = "none"
    fractions: tuple[float, ...] = (0.6, 0.2, 0.2)
    balance: str = "none"
    max_train_images: int = 0
    max_val_images: int = 0
    skip_broken: bool = False
    split_level: str = "auto"
    allow_leakage: bool = False
    split_file: str = ""
    split_fold: str = ""
    groups_file: str = ""

    def __post_init__(self) -> None:
        for name in ("image_size", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"`data.{name}` is 1 or more. Received: {getattr(self, name)}")
        if len(self.fractions) != 3 or min(self.fractions) <= 0 or abs(sum(self.fractions) - 1) > 1e-6:
            raise InputError(
                f"`data.fractions` is three shares above 0 (train, val, test), sum 1. Received: {self.fractions}"
            )
        if self.balance not in ("none", "class_weight", "oversample"):
            raise InputError(f"`data.balance` is 'none', 'class_weight' or 'oversample'. Received: {self.balance!r}")
        if self.colour not in ("none", "grey_world", "reinhard", "clahe"):
            raise InputError(f"`data.colour` is 'none', 'grey_world', 'reinhard' or 'clahe'. Received: {self.colour!r}")
        if self.split_level not in ("auto", "subject", "image", "official"):
            raise InputError(
                f"`data.split_level` is 'auto', 'subject', 'image' or 'official'. Received: {self.split_level!r}"
            )
        if self.split_file and (self.split_level != "auto" or self.groups_file):
            raise InputError(
                "`data.split_file` (--split) is a finished split; it goes with neither `data.split_level` nor "
                f"`data.groups_file`. Received: {self.split_file!r}, {self.split_level!r}, {self.groups_file!r}"
            )
        if self.split_fold and not self.split_file:
            raise InputError(f"`data.split_fold` is a fold of `data.split_file`. Received: {self.split_fold!r} alone")


@dataclass(frozen=True)
class Recipe:
    """One way to train one model; see `DataSpec`, `ModelSpec` and `Phase` for the parts.

    Args:
        name: as it is called on the command line.
        title: one line for reports.
        phases: what trains when; empty for a model that is not trained by gradients.
        loss: ``"auto"`` (cross-entropy), or a Keras loss such as ``"categorical_focal_crossentropy"``.
        loss_config: arguments of that loss, such as ``{"gamma": 2.0, "alpha": [0.75, 0.25]}``.
        monitor, mode: the metric that "best" means, and ``"min"`` or ``"max"``; besides the loss, ``val_accuracy``
            and ``val_auc`` there are ``val_f1_macro`` and ``val_f1_weighted``.
        verdict: what is fitted on the validation images, and by which rule: calibration, threshold, abstention.
        precision: ``"float32"``, ``"mixed_float16"`` or ``"mixed_bfloat16"``.
        jit_compile: ``"auto"`` (XLA on a GPU), ``"on"`` or ``"off"``.
        steps_per_execution: batches in one call of the graph, 0 for a choice (see
            `leukemia_tf.training.step_size.resolve_steps_per_execution`).
        strategy: ``"none"``; ``"mirrored"`` to share every batch among all GPUs of the machine; ``"multi_worker"`` to
            share it among the processes that TF_CONFIG names.
        deterministic: ``"auto"`` (deterministic kernels on a CPU), ``"on"`` or ``"off"``.
        feature_views: where the head alone trains, features of so many augmented views of each image are computed once
            and the head trains on them; 0 computes them anew each epoch, in phases with a number of their own
            (`Phase.feature_views`) as well. Phases of no more epochs than views do so anyway.
        seed: of split, initial weights, shuffling, augmentation and dropout.
        minutes: time budget of one call, 0 for none.
        bootstrap: resamples of the intervals.
        tensorboard: also write TensorBoard event files.
        distillation: what it learns from a teacher beside the labels; None for nothing.
        on_sample: overrides (dotted name -> value) for the embedded sample, which is smaller than any real data set.
        on_smoke: overrides for ``--smoke``.
        card: where the recipe comes from and what was reported; not written into ``recipe.json``.
    """

    name: str
    title: str
    model: ModelSpec
    phases: tuple[Phase, ...]
    data: DataSpec = DataSpec()
    loss: str = "auto"
    loss_config: dict[str, Any] = field(default_factory=dict)
    monitor: str = "val_loss"
    mode: str = "min"
    verdict: VerdictRules = VerdictRules()
    precision: str = "float32"
    jit_compile: str = "auto"
    steps_per_execution: int = 0
    strategy: str = "none"
    deterministic: str = "auto"
    feature_views: int = 4
    seed: int = 0
    minutes: float = 0.0
    bootstrap: int = 1000
    tensorboard: bool = False
    distillation: Distillation | None = None
    on_sample: dict[str, Any] = field(default_factory=dict)
    on_smoke: dict[str, Any] = field(default_factory=dict)
    card: Card = Card()

    def __post_init__(self) -> None:
        for name, accepted in (
            ("mode", ("min", "max")),
            ("precision", ("float32", "mixed_float16", "mixed_bfloat16")),
            ("jit_compile", ("auto", "on", "off")),
            ("strategy", ("none", "mirrored", "multi_worker")),
            ("deterministic", ("auto", "on", "off")),
        ):
            if getattr(self, name) not in accepted:
                raise InputError(f"`{name}` is one of {accepted}. Received: {getattr(self, name)!r}")
        if self.strategy == "multi_worker":
            # Workers would not stop together; a last batch has no share for each of them, unless it is filled up.
            others = {"minutes": self.minutes, "distillation": self.distillation is not None}
            others["data.balance=class_weight"] = self.data.balance == "class_weight"
            if any(others.values()):
                wrong = ", ".join(f"`{name}`" for name, value in others.items() if value)
                raise InputError(f"`strategy` 'multi_worker' does not go with {wrong}")
        if self.loss == "auto" and self.loss_config:
            raise InputError(
                f"`loss_config` holds arguments of a named `loss`, not of 'auto'. Received: {self.loss_config}"
            )
        for name in ("seed", "minutes", "feature_views", "steps_per_execution", "bootstrap"):
            least = int(name == "bootstrap")
            if getattr(self, name) < least:
                raise InputError(f"`{name}` is {least} or more. Received: {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-able values, without the card and the overrides that have been applied or not."""
        value = dataclasses.asdict(self)
        del value["on_sample"], value["on_smoke"], value["card"]
        return _lists(value)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote.

        Raises:
            InputError: for unknown or missing fields.
        """
        value = dict(value)
        # Until there were rules, every run had a fixed threshold and no calibration.
        threshold = value.pop("threshold", 0.5)
        value.setdefault("verdict", VerdictRules.fixed(threshold).to_dict())
        try:
            value["verdict"] = VerdictRules(**value["verdict"])
            value["model"] = ModelSpec(**value["model"])
            value["data"] = DataSpec(**{**value["data"], "fractions": tuple(value["data"]["fractions"])})
            value["phases"] = tuple(Phase(**phase) for phase in value["phases"])
            if value.get("distillation"):
                taps = {key: tuple(value["distillation"][key]) for key in ("teacher_taps", "student_taps")}
                value["distillation"] = Distillation(**{**value["distillation"], **taps})
            return cls(**value)
        except (TypeError, KeyError) as error:
            raise InputError(f"`recipe.json` does not hold a recipe of this version: {error}") from error


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lists(item) for item in value]
    return value
