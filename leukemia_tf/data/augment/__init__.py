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
        "Symmetry": "d4",
        "Warp": "warp",
        "Shear": "shear",
        "Crop": "crop",
        "Elastic": "elastic",
        "Color": "color",
        "ColorJitter": "color_jitter",
        "StainJitter": "stain",
        "AutoContrast": "auto_contrast",
        "Blur": "blur",
        "SaltPepper": "salt_pepper",
        "SomeOf": "some_of",
        "RandAugment": "strong",
        "GridMask": "strong",
        "MixUp": "strong",
        "CutMix": "strong",
    },
)
