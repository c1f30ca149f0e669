"""One synthetic subject: what its slide, its microscope and its cells have in common."""

from __future__ import annotations

import dataclasses

import numpy as np

# What tells a blast of acute lymphoblastic leukemia (ALL) from a normal lymphocyte or haematogone (HEM),
# after the usual description: higher nucleus to cytoplasm ratio, larger cell, fine open chromatin that stains
# lighter, irregular and notched nucleus, nucleoli, more basophilic cytoplasm, vacuoles. Each cue is one
# standardised number (higher = more like a blast); the value is the distance of the two class means in
# standard deviations within a class. No single one decides: the best of them alone is right three times in
# four.
CUES = {
    "nuclear_ratio": 1.3,
    "diameter": 0.2,
    "chromatin_fineness": 1.5,
    "chromatin_openness": 1.5,
    "chromatin_pallor": 1.2,
    "irregularity": 1.3,
    "notch": 1.2,
    "nucleoli": 1.5,
    "basophilia": 0.9,
    "vacuoles": 0.6,
}
# Share of the variance within a class that lies between subjects: cells of one subject resemble each other,
# which is what makes a split by image flatter a score.
BETWEEN_SUBJECTS = 0.35


@dataclasses.dataclass(frozen=True)
class Subject:
    """Everything that the images of one subject share. The optics are drawn alike for both classes.

    Attributes:
        name: the subject's number in C-NMC's way, ``"H2"`` if healthy and ``"11"`` if not.
        label: ``"HEM"`` or ``"ALL"``.
        cues: for each of `CUES` the mean of this subject's cells (class mean plus the subject's own shift).
        nuclear, basophil, eosin: optical density [3] (red, green, blue) of one unit of the three colours.
        light: white level [3] of the empty field, in 0..1.
        gradient: slope of the illumination across the field, (x, y).
        vignette: loss of light in the corners.
        gamma: tone curve of the camera.
        stain: staining time, a factor on all densities.
        pixels_per_um: magnification at 128 pixels.
        focus: standard deviation of the focus blur, micrometres.
        noise: standard deviation of the sensor noise, grey levels of 255.
        red_cells: red cells in a field of 25 x 25 micrometres.
        pallor: how pale the centre of a red cell is, 0..1.
        red_diameter: mean diameter of a red cell, micrometres.
        plasma: density of the stained protein film between the cells.
    """

    name: str
    label: str
    cues: dict[str, float]
    nuclear: tuple[float, ...]
    basophil: tuple[float, ...]
    eosin: tuple[float, ...]
    light: tuple[float, ...]
    gradient: tuple[float, float]
    vignette: float
    gamma: float
    stain: float
    pixels_per_um: float
    focus: float
    noise: float
    red_cells: float
    pallor: float
    red_diameter: float
    plasma: float


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one subject or cell, which depends on nothing but ``seed`` and ``key``."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=key)))


def draw_subject(seed: int, label: str, number: int) -> Subject:
    """Draw subject ``number`` (from 1) of ``label`` (``"HEM"`` or ``"ALL"``), always the same one."""
    positive = label == "ALL"
    rng = generator(seed, int(positive), number)
    side = 0.5 if positive else -0.5
    cues = {
        cue: side * distance + float(np.sqrt(BETWEEN_SUBJECTS) * rng.standard_normal())
        for cue, distance in CUES.items()
    }

    def dye(red: float, green: float, blue: float) -> tuple[float, ...]:
        density = np.array([red, green, blue]) * np.exp(rng.normal(0, [0.08, 0.06, 0.12]))
        return tuple(float(v) for v in density)

    warmth, brightness = np.clip(rng.normal(0, 0.8), -1.4, 1.4), rng.uniform(0.86, 0.99)
    light = brightness * np.array([1.0, 0.935 - 0.012 * warmth, 0.89 - 0.065 * warmth])
    light *= np.exp(rng.normal(0, 0.02, 3))
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.09)
    return Subject(
        name=str(number) if positive else f"H{number}",
        label=label,
        cues=cues,
        nuclear=dye(0.56, 0.86, 0.22),
        basophil=dye(0.80, 0.58, 0.14),
        eosin=dye(0.26, 0.52, 0.36),
        light=tuple(float(v) for v in np.clip(light, 0.55, 0.995)),
        gradient=(float(slope * np.cos(angle)), float(slope * np.sin(angle))),
        vignette=float(rng.uniform(0, 0.10)),
        gamma=float(np.exp(rng.normal(0, 0.10))),
        stain=float(np.exp(rng.normal(0, 0.13))),
        pixels_per_um=float(5.2 * np.exp(rng.normal(0, 0.10))),
        focus=float(rng.uniform(0.06, 0.17)),
        noise=float(rng.uniform(1.0, 3.5)),
        red_cells=float(rng.uniform(4, 17)),
        pallor=float(rng.uniform(0.25, 0.85)),
        red_diameter=float(rng.normal(7.3, 0.3)),
        plasma=float(rng.uniform(0.0, 0.08)),
    )
