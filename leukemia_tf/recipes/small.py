"""The overrides that make a recipe small: for the embedded sample, and for a smoke test."""

from __future__ import annotations

from typing import Any


def for_sample(image_size: int, batch_size: int, epochs: dict[str, int], **options: Any) -> dict[str, Any]:
    """Overrides for the 600 images of the sample, so that a run ends in minutes on two CPU cores.

    A fifth of its subjects is for testing, whatever was published: a tenth would be too few for an interval.

    Args:
        image_size, batch_size: of the data.
        epochs: phase -> at most so many.
        **options: of the builder.
    """
    return {
        "data.image_size": image_size,
        "data.batch_size": batch_size,
        "data.fractions": (0.6, 0.2, 0.2),
        **_phases(epochs),
        **_options(options),
    }


def for_smoke(*phases: str, image_size: int = 32, **options: Any) -> dict[str, Any]:
    """Overrides for ``--smoke``, which only shows that everything runs: 16 images, one epoch a phase, seconds.

    Args:
        *phases: names of the phases.
        image_size: of the data.
        **options: of the builder, such as a small ``backbone``.
    """
    return {
        "data.image_size": image_size,
        "data.batch_size": 8,
        "data.max_train_images": 16,
        "data.max_val_images": 8,
        "bootstrap": 50,
        **_phases({phase: 1 for phase in phases}),
        **_options(options),
    }


def _phases(epochs: dict[str, int]) -> dict[str, int]:
    return {f"phases.{phase}.epochs": number for phase, number in epochs.items()}


def _options(options: dict[str, Any]) -> dict[str, Any]:
    return {f"model.options.{name}": value for name, value in options.items()}
