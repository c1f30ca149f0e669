"""What is known of the published system behind a recipe."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """Where a recipe comes from, and what its authors reported. Not part of a run: it changes nothing in training.

    Args:
        system: the published system, such as ``"002-A"``; empty for our own.
        source: the repository or paper, in a few words.
        reported: the figures that its authors give, such as ``"accuracy .9350, n = 800"``; empty if there are none.
        protocol: what those figures were measured on, such as ``"validation, selected on it"``.
        faults: each fault of the original in a phrase; a corrected recipe corrects them, an ``as_published`` one
            keeps them, and says so (``"split by image: corrected"``).
    """

    system: str = ""
    source: str = ""
    reported: str = ""
    protocol: str = ""
    faults: tuple[str, ...] = ()
