"""One synthetic cell: its standardised cues and the shapes and densities that they stand for."""

from __future__ import annotations

import dataclasses

import numpy as np

from leukemia_tf.data.sample.subject import BETWEEN_SUBJECTS, CUES, Subject


@dataclasses.dataclass(frozen=True)
class Cell:
    """A white cell before it is drawn. Lengths in micrometres.

    Attributes:
        cues: the standardised cue values of this cell (see `subject.CUES`).
        diameter: of the whole cell.
        nuclear_ratio: area of the nucleus over area of the cell.
        chromatin_scale: size of the chromatin clumps.
        chromatin_contrast: how much denser a clump is than the mean.
        chromatin_density: mean density of the nucleus in units of the nuclear dye.
        irregularity: relative amplitude of the nuclear contour's waves.
        notch: depth of the deepest notch over the nuclear radius.
        nucleoli: number of nucleoli.
        basophilia: density of the cytoplasm in units of the basophil dye.
        vacuoles: number of vacuoles.
    """

    cues: dict[str, float]
    diameter: float
    nuclear_ratio: float
    chromatin_scale: float
    chromatin_contrast: float
    chromatin_density: float
    irregularity: float
    notch: float
    nucleoli: int
    basophilia: float
    vacuoles: int


def draw_cell(subject: Subject, rng: np.random.Generator) -> Cell:
    """Draw one cell of ``subject``."""
    spread = np.sqrt(1 - BETWEEN_SUBJECTS)
    z = {cue: subject.cues[cue] + float(spread * rng.standard_normal()) for cue in CUES}
    return Cell(
        cues=z,
        diameter=float(np.clip(11.3 + 1.25 * z["diameter"], 8.0, 15.0)),
        nuclear_ratio=float(np.clip(0.74 + 0.075 * z["nuclear_ratio"], 0.50, 0.94)),
        chromatin_scale=float(0.36 * np.exp(-0.26 * z["chromatin_fineness"])),
        chromatin_contrast=float(0.235 * np.exp(-0.30 * z["chromatin_openness"])),
        chromatin_density=float(0.86 * np.exp(-0.17 * z["chromatin_pallor"])),
        irregularity=float(np.clip(0.030 * np.exp(0.45 * z["irregularity"]), 0, 0.10)),
        notch=float(np.clip(0.13 + 0.13 * z["notch"], 0, 0.50)),
        nucleoli=int(min(3, rng.poisson(0.8 * np.exp(0.75 * z["nucleoli"])))),
        basophilia=float(np.clip(0.24 * np.exp(0.28 * z["basophilia"]), 0.08, 0.6)),
        vacuoles=int(min(5, rng.poisson(0.3 * np.exp(0.7 * z["vacuoles"])))),
    )
