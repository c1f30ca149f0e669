"""Draw one microscope field: densities of three dyes on a fine grid, then light, camera and noise.

The stained smear is a sum of optical densities (Beer and Lambert: transmitted light = light * 10^-density),
drawn at twice the final resolution. Nothing here is fitted to a patient's image.
"""

from __future__ import annotations

import cv2
import numpy as np

from leukemia_tf.data.sample.cell import Cell
from leukemia_tf.data.sample.subject import Subject

_SUPERSAMPLE = 2


def draw_image(
    subject: Subject, cell: Cell, size: int, rng: np.random.Generator, field_rng: np.random.Generator
) -> np.ndarray:
    """Draw ``cell`` in a field of its own.

    Args:
        subject: gives stain, light, optics and red cells.
        cell: the white cell near the middle.
        size: side of the image in pixels (the field always shows about 25 x 25 micrometres).
        rng: everything that differs from cell to cell.
        field_rng: what cells photographed together share (focus, brightness).

    Returns:
        uint8 RGB ``[size, size, 3]``.
    """
    fine = size * _SUPERSAMPLE
    scale = subject.pixels_per_um * fine / 128  # fine pixels in a micrometre
    focus = subject.focus * np.exp(field_rng.normal(0, 0.25))
    brightness = np.exp(field_rng.normal(0, 0.02))
    centre = fine / 2 + rng.normal(0, 0.55, 2) * scale

    nuclear, basophil, body = _white_cell(cell, fine, scale, centre, rng)
    eosin = _red_cells(subject, fine, scale, centre, cell.diameter / 2, rng)
    eosin *= 1 - body
    eosin += 0.10 * body  # the cytoplasm takes a little eosin too
    _platelets(nuclear, basophil, body, fine, scale, rng)
    film = _smooth_noise(fine, 2.5 * scale, rng)
    eosin += subject.plasma * (1 + 0.35 * film)

    density = subject.stain * (
        nuclear[..., None] * np.float32(subject.nuclear)
        + basophil[..., None] * np.float32(subject.basophil)
        + eosin[..., None] * np.float32(subject.eosin)
    )
    light = np.exp(np.float32(-np.log(10.0)) * density) * _illumination(subject, fine, brightness)
    light = cv2.GaussianBlur(light, (0, 0), max(focus * scale, 0.3))
    light = cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA)
    return _camera(light, subject, rng)


def _white_cell(cell: Cell, fine: int, scale: float, centre: np.ndarray, rng: np.random.Generator):
    """Return the nuclear and the basophil density and the cell's mask, each float32 [fine, fine]."""
    radius = cell.diameter / 2 * scale
    nuclear_radius = radius * np.sqrt(cell.nuclear_ratio)
    # The nucleus lies off the middle as far as the cytoplasm leaves room.
    room = radius - nuclear_radius
    angle = rng.uniform(0, 2 * np.pi)
    offset = rng.uniform(0.2, 0.9) * room * np.array([np.cos(angle), np.sin(angle)])

    outline = radius * _contour(rng, amplitude=0.022, notch=0.0)
    outline *= 1 + 0.009 * _wave(rng, 9, 16)
    inner = nuclear_radius * _contour(rng, amplitude=cell.irregularity, notch=cell.notch)
    inner *= np.sqrt(nuclear_radius**2 / np.mean(inner**2))  # notches keep the area that the ratio asks for
    to_edge, _ = _inside(outline, centre, fine)
    to_membrane, towards = _inside(inner, centre + offset, fine)
    to_edge = np.maximum(to_edge, to_membrane + 0.12 * scale)  # cytoplasm always closes around the nucleus
    soft = 0.10 * scale
    body = _step(to_edge, soft)
    nucleus = _step(to_membrane, soft)

    # Chromatin: band-passed noise; coarse clumps get steeper flanks, so that they read as blocks.
    grain = cell.chromatin_scale * scale
    chromatin = _smooth_noise(fine, grain, rng) - 0.45 * _smooth_noise(fine, 2.2 * grain, rng)
    chromatin = 1.1 * np.tanh((0.6 + 1.2 * cell.chromatin_contrast) * chromatin)
    fine_grain = _smooth_noise(fine, 0.16 * scale, rng)
    fold = _smooth_noise(fine, 1.6 * scale, rng)
    texture = 1 + cell.chromatin_contrast * (1.15 * chromatin + 0.25 * fold) + 0.05 * fine_grain
    rim = np.exp(-((to_membrane / (0.30 * scale)) ** 2))
    texture += 0.22 * rim
    density = cell.chromatin_density * texture
    pale = np.zeros((fine, fine), np.float32)
    grid_y, grid_x = np.mgrid[0:fine, 0:fine].astype(np.float32)
    for _ in range(cell.nucleoli):
        where, how_far = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.62) * nuclear_radius
        x, y = centre + offset + how_far * np.array([np.cos(where), np.sin(where)])
        size = rng.uniform(0.50, 0.85) * scale
        stretch = rng.uniform(0.8, 1.25)
        distance = np.hypot((grid_x - x) * stretch, (grid_y - y) / stretch)
        spot = _step(size - distance, 0.16 * scale)
        ring = np.exp(-(((distance - 1.15 * size) / (0.28 * scale)) ** 2))
        visible = rng.uniform(0.45, 0.85)
        density *= 1 - visible * 0.55 * spot
        density += 0.10 * ring
        pale += 0.30 * visible * spot
    nuclear = nucleus * np.maximum(density, 0.12)

    mottle = _smooth_noise(fine, 0.35 * scale, rng)
    hof = np.exp(-np.maximum(-to_membrane, 0) / (0.8 * scale))  # pale zone around the nucleus
    edge = np.exp(-((to_edge / (0.5 * scale)) ** 2))
    cytoplasm = cell.basophilia * (1 + 0.16 * mottle - 0.30 * hof * rng.uniform(0, 1) + 0.30 * edge)
    for _ in range(cell.vacuoles):
        where = rng.uniform(0, 2 * np.pi)
        how_far = rng.uniform(0.55, 0.92) * radius
        x, y = centre + how_far * np.array([np.cos(where), np.sin(where)])
        size = rng.uniform(0.28, 0.55) * scale
        hole = _step(size - np.hypot(grid_x - x, grid_y - y), 0.10 * scale)
        cytoplasm *= 1 - 0.85 * hole
        nuclear *= 1 - 0.35 * hole
    basophil = body * (1 - nucleus) * np.maximum(cytoplasm, 0.02) + nucleus * (0.10 + pale)
    return nuclear.astype(np.float32), basophil.astype(np.float32), body


def _red_cells(subject, fine, scale, centre, white_radius, rng):
    """Return the eosin density of the red cells; where two overlap their densities add."""
    field = np.zeros((fine, fine), np.float32)
    expected = subject.red_cells * (fine / scale / 25) ** 2
    placed: list[tuple[float, float, float]] = []
    for _ in range(int(rng.poisson(expected))):
        radius = subject.red_diameter / 2 * scale * np.exp(rng.normal(0, 0.05))
        keep_off = white_radius * scale + radius * rng.uniform(0.88, 1.05)
        for _ in range(12):
            x, y = rng.uniform(-0.8 * radius, fine + 0.8 * radius, 2)
            if np.hypot(x - centre[0], y - centre[1]) < keep_off:
                continue
            nearest = min((np.hypot(x - a, y - b) / (radius + c) for a, b, c in placed), default=9.0)
            if nearest > 0.93 or (nearest > 0.5 and rng.random() < 0.12):
                placed.append((x, y, radius))
                _red_cell(field, x, y, radius, scale, subject.pallor, rng)
                break
    return field


def _red_cell(field, x, y, radius, scale, pallor, rng):
    half = int(1.25 * radius) + 2
    left, top = max(int(x) - half, 0), max(int(y) - half, 0)
    right, bottom = min(int(x) + half, field.shape[1]), min(int(y) + half, field.shape[0])
    shape = radius * _contour(rng, amplitude=0.025, notch=0.0)
    stretch, turn = np.exp(rng.normal(0, 0.06)), rng.uniform(0, np.pi)
    depth = rng.uniform(0.85, 1.15)
    pallor = np.clip(pallor + rng.normal(0, 0.12), 0.0, 0.95)
    middle, width = rng.normal(0, 0.07, 2) * radius, rng.uniform(0.36, 0.50)
    if right <= left or bottom <= top:
        return
    rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
    dx, dy = columns - np.float32(x), rows - np.float32(y)
    dx, dy = np.cos(turn) * dx + np.sin(turn) * dy, np.cos(turn) * dy - np.sin(turn) * dx
    dx, dy = (dx * stretch).astype(np.float32), (dy / stretch).astype(np.float32)
    edge = _radius_at(shape, np.arctan2(dy, dx))
    away = np.hypot(dx, dy)
    relative = np.hypot(dx - middle[0], dy - middle[1]) / edge
    thick = 1 - pallor * np.exp(-((relative / width) ** 2.6))
    thick *= 0.86 + 0.14 * np.exp(-(((relative - 0.86) / 0.12) ** 2))
    field[top:bottom, left:right] += 0.34 * depth * thick * _step(edge - away, 0.10 * scale)


def _platelets(nuclear, basophil, body, fine, scale, rng):
    """Add a few platelets (purple grains in a pale blue body) and specks of precipitated stain, in place."""
    for _ in range(int(rng.poisson(0.45))):
        x, y = rng.uniform(0, fine, 2)
        radius = rng.uniform(0.8, 1.5) * scale
        half = int(1.6 * radius)
        left, top = max(int(x) - half, 0), max(int(y) - half, 0)
        area = (slice(top, min(int(y) + half, fine)), slice(left, min(int(x) + half, fine)))
        shape = radius * _contour(rng, amplitude=0.06, notch=0.0)
        rows, columns = np.mgrid[area].astype(np.float32)
        dx, dy = columns - np.float32(x), rows - np.float32(y)
        grains = cv2.GaussianBlur(rng.standard_normal(dx.shape, np.float32), (0, 0), 0.22 * scale)
        grains *= 3.5 * 0.22 * scale
        mask = _step(_radius_at(shape, np.arctan2(dy, dx)) - np.hypot(dx, dy), 0.2 * scale) * (1 - body[area])
        nuclear[area] += mask * np.clip(0.26 + 0.13 * grains, 0, 1)
        basophil[area] += 0.16 * mask
    for _ in range(int(rng.poisson(0.5))):
        x, y = rng.uniform(0, fine, 2)
        cv2.circle(nuclear, (int(x), int(y)), int(rng.uniform(0.12, 0.25) * scale), 0.5, -1, cv2.LINE_AA)


def _illumination(subject, fine, brightness):
    axis = np.linspace(-1, 1, fine, dtype=np.float32)
    x, y = axis[None, :], axis[:, None]
    level = 1 + subject.gradient[0] * x + subject.gradient[1] * y - subject.vignette * 0.5 * (x**2 + y**2)
    return (brightness * level)[..., None] * np.float32(subject.light)


def _camera(light, subject, rng):
    """Tone curve, shot and read noise (half of it smoothed, as demosaicking does), eight bits."""
    light = np.clip(light, 0.001, 1) ** np.float32(subject.gamma)
    noise = rng.standard_normal(light.shape, np.float32)
    noise = 0.6 * noise + 1.1 * cv2.GaussianBlur(noise, (0, 0), 0.8)
    light = 255 * light + subject.noise * noise * np.sqrt(0.25 + 0.75 * light)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


_ANGLES = np.linspace(-np.pi, np.pi, 721)


def _wave(rng, low, high):
    """Sum of the waves ``low`` to ``high`` around the circle, random phases, standard deviation about 1."""
    orders = np.arange(low, high + 1)
    weights = rng.standard_normal(len(orders)) * (low / orders)
    phases = rng.uniform(0, 2 * np.pi, len(orders))
    wave = (weights[:, None] * np.cos(orders[:, None] * _ANGLES + phases[:, None])).sum(axis=0)
    return wave / np.sqrt(max(0.5 * ((low / orders) ** 2).sum(), 1e-9))


def _contour(rng, amplitude, notch):
    """Relative radius over `_ANGLES`: an oval, low waves, one notch of this depth and perhaps a shallower."""
    ovalness = abs(rng.normal(0.02, 0.025))
    contour = 1 + ovalness * np.cos(2 * (_ANGLES - rng.uniform(0, np.pi))) + amplitude * _wave(rng, 2, 6)
    for depth in (notch, notch * rng.uniform(0, 0.7) * (rng.random() < 0.5)):
        away = np.angle(np.exp(1j * (_ANGLES - rng.uniform(-np.pi, np.pi))))
        width = rng.uniform(0.16, 0.42)
        contour = contour * (1 - depth * np.exp(-((away / width) ** 2)))
    return np.maximum(contour, 0.35)


def _inside(contour, centre, fine):
    """Return the depth below ``contour`` (pixels, negative outside) and the angle of every pixel, float32."""
    axis = np.arange(fine, dtype=np.float32)
    dx, dy = np.meshgrid(axis - np.float32(centre[0]), axis - np.float32(centre[1]))
    angle = np.arctan2(dy, dx)
    return _radius_at(contour, angle) - np.hypot(dx, dy), angle


def _radius_at(contour, angle):
    index = np.rint((angle + np.float32(np.pi)) * np.float32(720 / (2 * np.pi))).astype(np.int32)
    return contour.astype(np.float32)[index]


def _step(depth, softness):
    """Smooth step from 0 (outside) to 1 (inside) over about ``softness`` pixels each way."""
    t = np.clip(depth * np.float32(0.5 / softness) + np.float32(0.5), 0, 1)
    return t * t * (3 - 2 * t)


def _smooth_noise(fine, sigma, rng):
    """White noise blurred by ``sigma`` pixels, scaled back to deviation 1 (drawn small when smooth)."""
    shrink = max(1, int(sigma / 2))
    side = -(-fine // shrink)
    sigma = sigma / shrink
    noise = cv2.GaussianBlur(rng.standard_normal((side, side), np.float32), (0, 0), sigma)
    noise *= np.float32(2 * np.sqrt(np.pi) * max(sigma, 0.29))
    return noise if shrink == 1 else cv2.resize(noise, (fine, fine), interpolation=cv2.INTER_CUBIC)
