"""Augmentation policies: named, printable lists of steps that a run saves and can repeat exactly."""

from __future__ import annotations

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Policy": "policy",
        "get_policy": "policy",
        "list_policies": "policy",
        "register_policy": "policy",
        "Step": "step",
        "D4": "d4",
        "Warp": "warp",
        "Color": "color",
        "RandAugment": "strong",
        "GridMask": "strong",
        "MixUp": "strong",
        "CutMix": "strong",
    },
)
