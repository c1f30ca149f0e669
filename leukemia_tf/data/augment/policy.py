"""Augmentation policies by name: the built-in ones, how to print and save one, how to register another."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence

import tensorflow as tf

from leukemia_tf.data.augment.color import Color
from leukemia_tf.data.augment.d4 import D4
from leukemia_tf.data.augment.published import PUBLISHED
from leukemia_tf.data.augment.step import Step
from leukemia_tf.data.augment.warp import AffineStep, compose, warp_images
from leukemia_tf.errors import InputError

# Step name -> module and class. Imported on first use, because the keras-cv steps take seconds to import.
_STEPS = {
    "d4": ("d4", "D4"),
    "symmetry": ("d4", "Symmetry"),
    "warp": ("warp", "Warp"),
    "shear": ("shear", "Shear"),
    "crop": ("crop", "Crop"),
    "elastic": ("elastic", "Elastic"),
    "color": ("color", "Color"),
    "color_jitter": ("color_jitter", "ColorJitter"),
    "stain_jitter": ("stain", "StainJitter"),
    "auto_contrast": ("auto_contrast", "AutoContrast"),
    "blur": ("blur", "Blur"),
    "salt_pepper": ("salt_pepper", "SaltPepper"),
    "some_of": ("some_of", "SomeOf"),
    "rand_augment": ("strong", "RandAugment"),
    "grid_mask": ("strong", "GridMask"),
    "mix_up": ("strong", "MixUp"),
    "cut_mix": ("strong", "CutMix"),
}

_POLICIES: dict[str, list[dict]] = {
    "none": [],
    "d4": [{"step": "d4"}],
    # Exact symmetries first, then what a microscope and a stain vary: a little geometry, a little colour.
    "cells": [
        {"step": "d4"},
        {"step": "warp", "rotation": 15.0, "zoom": 0.1, "shear": 0.05, "translation": 0.05},
        {"step": "color", "brightness": 0.06, "contrast": 0.15, "saturation": 0.15, "hue": 0.02},
    ],
    # "cells", with the amounts of both dyes between the geometry and the colour: stain comes before lamp and camera.
    "stain": [
        {"step": "d4"},
        {"step": "warp", "rotation": 15.0, "zoom": 0.1, "shear": 0.05, "translation": 0.05},
        {"step": "stain_jitter", "scale": 0.2, "shift": 0.02},
        {"step": "color", "brightness": 0.06, "contrast": 0.15, "saturation": 0.15, "hue": 0.02},
    ],
    "strong": [
        {"step": "d4"},
        {"step": "rand_augment", "count": 2, "magnitude": 0.3},
        {"step": "grid_mask", "rate": 0.3},
        {"step": "mix_up", "alpha": 0.2},
    ],
    **PUBLISHED,
}


@dataclasses.dataclass(frozen=True)
class Policy:
    """A named list of augmentation steps.

    Called as ``policy(images, labels, seed)`` with images float32 or uint8 ``[B, S, S, 3]``, RGB, 0 to 255, labels
    float32 ``[B, ...]`` and an int32 ``[2]`` seed; returns ``(images, labels)`` of the same shapes and range, the
    images float32. The result depends on the arguments alone, and is the same for both types. ``str(policy)`` is one
    line for a log.
    """

    name: str
    steps: tuple[Step, ...]

    def __call__(self, images, labels, seed):
        maps = fill = None  # of the steps so far that a later one carries out, so that pixels are resampled once
        for number, (step, following) in enumerate(zip(self.steps, (*self.steps[1:], None))):
            step_seed = tf.random.experimental.stateless_fold_in(seed, number)
            joined = _is_done_by(step, following)
            if isinstance(step, AffineStep) or joined:
                drawn = step.draw(tf.shape(images)[0], images.shape[1], step_seed)
                maps = drawn if maps is None else compose(maps, drawn)
                fill = getattr(step, "fill", None)
                if not joined and not isinstance(following, Color):
                    images, maps = warp_images(images, maps, fill), None
            elif maps is not None:  # colours behind a warp: one pass over the pixels does both
                images, maps = warp_images(images, maps, fill, step.draw(tf.shape(images)[0], step_seed)), None
            else:
                # Moving whole pixels is a quarter of the work with bytes.
                images = images if isinstance(step, D4) else tf.cast(images, tf.float32)
                images, labels = step(images, labels, step_seed)
        return tf.cast(images, tf.float32), labels

    @property
    def views(self) -> int | None:
        """How many different images it makes of one: 1 without steps, 8 for the symmetries alone, else None."""
        return {(): 1, (D4,): 8}.get(tuple(map(type, self.steps)))

    def drawn_views(self, count, seed) -> tf.Tensor:
        """int32 ``[count]``: which of its `views` a call with this seed makes of each image, as `apply_d4` counts."""
        if self.views == 1:
            return tf.zeros([count], tf.int32)
        return self.steps[0].elements(count, tf.random.experimental.stateless_fold_in(seed, 0))

    def describe(self) -> dict:
        """``{"name": ..., "steps": [{"step": ..., number: value}]}``, for JSON and for :func:`get_policy`."""
        return {"name": self.name, "steps": [step.describe() for step in self.steps]}

    def __str__(self) -> str:
        return f"{self.name}: " + (" -> ".join(map(str, self.steps)) or "images unchanged")


def get_policy(policy: str | Policy | dict | Sequence[dict | Step] = "cells", image_size: int | None = None) -> Policy:
    """The policy of a name, a list of steps, or what :meth:`Policy.describe` gave.

    Args:
        policy: a name from :func:`list_policies`; a list of dicts such as ``{"step": "warp", "rotation": 10.0}``
            (steps: d4, symmetry, warp, shear, crop, elastic, color, color_jitter, stain_jitter, auto_contrast, blur,
            salt_pepper, some_of, rand_augment, grid_mask, mix_up, cut_mix) or of :class:`Step` objects; a dict with
            ``name`` and ``steps``; or a :class:`Policy`, which comes back unchanged.
        image_size: side of the images. None of the steps needs it; all their numbers but the pixels of ``blur`` are
            relative to the side.

    Raises:
        InputError: the name, a step or one of its numbers is not known or out of range.
    """
    if isinstance(policy, Policy):
        return policy
    if isinstance(policy, str):
        if policy not in _POLICIES:
            raise InputError(f"`policy` must be one of {', '.join(list_policies())}, got {policy!r}")
        return Policy(policy, build_steps(_POLICIES[policy]))
    if isinstance(policy, dict) and set(policy) == {"name", "steps"}:
        return Policy(str(policy["name"]), build_steps(policy["steps"]))
    if isinstance(policy, (list, tuple)):
        return Policy("custom", build_steps(policy))
    raise InputError(
        "`policy` must be a name, a list of steps, a dict with `name` and `steps`, or a Policy, "
        f"got {type(policy).__name__}: {policy!r}"
    )


def list_policies() -> list[str]:
    """Names that :func:`get_policy` knows, sorted."""
    return sorted(_POLICIES)


def register_policy(name: str, steps: Sequence[dict]) -> None:
    """Add a policy under a new name, as a list of step dicts (see :func:`get_policy`).

    Raises:
        InputError: the name is taken, or a step is wrong.
    """
    if name in _POLICIES:
        raise InputError(f"`name` must be new (taken: {', '.join(list_policies())}), got {name!r}")
    build_steps(steps)
    _POLICIES[name] = [dict(step) for step in steps]


def _is_done_by(step: Step, following: Step | None) -> bool:
    """Whether `following` is a warp that may as well carry out `step`, which moves pixels too."""
    if not isinstance(following, AffineStep):
        return False
    return isinstance(step, D4) or (isinstance(step, AffineStep) and step.fill == following.fill)


def build_steps(steps: Sequence[dict | Step]) -> tuple[Step, ...]:
    """The steps of a list of dicts or of finished steps.

    Raises:
        InputError: a step or one of its numbers is not known or out of range.
    """
    return tuple(step if isinstance(step, Step) else _build_step(step) for step in steps)


def _build_step(numbers: dict) -> Step:
    if not isinstance(numbers, dict) or numbers.get("step") not in _STEPS:
        raise InputError(f"a step must be a dict with `step`: one of {', '.join(_STEPS)}, got {numbers!r}")
    module, name = _STEPS[numbers["step"]]
    step = getattr(importlib.import_module(f"leukemia_tf.data.augment.{module}"), name)
    given = {key: value for key, value in numbers.items() if key != "step"}
    known = [field.name for field in dataclasses.fields(step)]
    if unknown := sorted(set(given) - set(known)):
        takes = ", ".join(known) or "no numbers"
        raise InputError(f"step `{numbers['step']}` takes {takes}, got {', '.join(unknown)}")
    return step(**given)
