"""Render the embedded sample once into the user's cache and hand out its folder."""

from __future__ import annotations

import logging
import os
import pathlib
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from leukemia_tf.data.cache import cache_dir as default_cache
from leukemia_tf.data.sample.cell import draw_cell
from leukemia_tf.data.sample.field import draw_image
from leukemia_tf.data.sample.subject import draw_subject, generator
from leukemia_tf.errors import InputError
from leukemia_tf.files import explain_write_errors

log = logging.getLogger(__name__)

# Raise it whenever a pixel changes: the number is part of the folder's name.
VERSION = 1
CELLS_PER_FIELD = 4
_HEALTHY_SHARE = 13 / 30
_TEMPORARY = ".tmp-sample-"
_DAY = 86400.0
_README = """SYNTHETIC IMAGES

A program (leukemia_tf.data.sample, version {version}, seed {seed}) drew these {images} images. They show no
patient's cells and were traced from none. They are for trying out software; no figure measured on them says
anything about leukemia in people.

HEM/ holds {healthy} imaginary healthy subjects, ALL/ {ill} with imaginary acute lymphoblastic leukemia. The
names follow C-NMC 2019: UID_<subject>_<field>_<cell>_<all or hem>.bmp, where the subjects with an H are
healthy.
"""


def render_sample(
    seed: int = 0,
    *,
    subjects: int = 30,
    images_per_subject: int = 20,
    size: int = 128,
    cache_dir: str | os.PathLike | None = None,
    progress: bool = True,
) -> pathlib.Path:
    """Return the folder of the synthetic sample, rendering it first if it is not there (some seconds).

    The folder holds ``HEM/`` and ``ALL/`` (13 and 17 of 30 subjects) with 24-bit BMP files in C-NMC 2019's
    naming, and a ``README.txt`` that calls the images synthetic. The same arguments give the same bytes,
    whatever the number of threads (another processor or version of NumPy or OpenCV may round a grey level
    otherwise). It appears in one rename when it is complete, so that two processes may ask at once and a
    killed one leaves nothing that looks finished.

    How hard it is was measured by ``experiments/benchmarks/sample_difficulty.py``.

    Args:
        seed: any whole number from 0.
        subjects: at least 2. Subject k of a class is the same whatever the number of subjects.
        images_per_subject: at least 1.
        size: side of the images in pixels, 32 to 1024; the field of view stays the same.
        cache_dir: where to keep it; by default the package's cache.
        progress: say in the log that it renders, and when it is done.

    Raises:
        InputError: if a number is out of range.
        RunError: if the cache cannot be written.
    """
    _check(seed=(seed, 0, 2**63), subjects=(subjects, 2, 10_000))
    _check(images_per_subject=(images_per_subject, 1, 10_000), size=(size, 32, 1024))
    root = default_cache() if cache_dir is None else pathlib.Path(cache_dir)
    folder = root / f"sample-v{VERSION}-seed{seed}-{subjects}x{images_per_subject}-{size}px"
    plan = plan_sample(subjects, images_per_subject)
    if _is_complete(folder, plan, size):
        return folder

    started = time.monotonic()
    if progress:
        log.info("rendering %d synthetic images (%d subjects, once) into `%s`", len(plan), subjects, folder)
    with explain_write_errors(folder):
        root.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
        temporary = pathlib.Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=root))
        try:
            _render(temporary, plan, seed, size)
            healthy = len({(label, number) for label, number, _ in plan if label == "HEM"})
            text = _README.format(
                version=VERSION, seed=seed, images=len(plan), healthy=healthy, ill=subjects - healthy
            )
            (temporary / "README.txt").write_text(text, encoding="utf-8", newline="\n")
            os.chmod(temporary, 0o755)
            _put_in_place(temporary, folder, plan, size)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    if progress:
        log.info("rendered %d synthetic images in %.0f s", len(plan), time.monotonic() - started)
    return folder


def plan_sample(subjects: int, images_per_subject: int) -> list[tuple[str, int, int]]:
    """Return (label, subject number from 1, image from 0) of every image, healthy subjects first."""
    healthy = min(max(1, round(_HEALTHY_SHARE * subjects)), subjects - 1)
    counts = {"HEM": healthy, "ALL": subjects - healthy}
    return [
        (label, number, image)
        for label, count in counts.items()
        for number in range(1, count + 1)
        for image in range(images_per_subject)
    ]


def file_name(label: str, number: int, image: int) -> str:
    """Return the path in the sample's folder, such as ``HEM/UID_H2_3_1_hem.bmp``."""
    subject = f"H{number}" if label == "HEM" else str(number)
    field, cell = divmod(image, CELLS_PER_FIELD)
    return f"{label}/UID_{subject}_{field + 1}_{cell + 1}_{label.lower()}.bmp"


def render_image(seed: int, label: str, number: int, image: int, size: int = 128) -> np.ndarray:
    """Draw one image of the sample (uint8 RGB ``[size, size, 3]``) from nothing but these arguments."""
    subject = draw_subject(seed, label, number)
    key = (int(label == "ALL"), number)
    rng = generator(seed, *key, 1, image)
    field_rng = generator(seed, *key, 2, image // CELLS_PER_FIELD)
    return draw_image(subject, draw_cell(subject, rng), size, rng, field_rng)


def _render(folder: pathlib.Path, plan: list[tuple[str, int, int]], seed: int, size: int) -> None:
    for label in ("HEM", "ALL"):
        (folder / label).mkdir()

    def one(entry: tuple[str, int, int]) -> None:
        pixels = render_image(seed, *entry, size)
        _, encoded = cv2.imencode(".bmp", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        (folder / file_name(*entry)).write_bytes(encoded.tobytes())

    # Threads, for NumPy and OpenCV let go of the interpreter in their loops. An image depends on its own
    # numbers only.
    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        for _ in pool.map(one, plan):
            pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _put_in_place(
    temporary: pathlib.Path, folder: pathlib.Path, plan: list[tuple[str, int, int]], size: int
) -> None:
    for _ in range(5):
        try:
            os.rename(temporary, folder)
            return
        except OSError:
            if not folder.exists():
                raise
        if _is_complete(folder, plan, size):
            return  # another process was first; its bytes are the same
        # Somebody deleted or cut files in it: move the damaged folder away, and try again.
        grave = pathlib.Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder.parent))
        try:
            os.rename(folder, grave / "damaged")
        except FileNotFoundError:
            pass
        finally:
            shutil.rmtree(grave, ignore_errors=True)
    os.rename(temporary, folder)


def _is_complete(folder: pathlib.Path, plan: list[tuple[str, int, int]], size: int) -> bool:
    """Whether every image of ``plan`` and the README lie in ``folder`` at full length."""
    length = 54 + size * (-(-size * 3 // 4) * 4)  # a BMP's header, and rows of whole 4 bytes
    try:
        names = [folder / file_name(*entry) for entry in plan]
        return (folder / "README.txt").is_file() and all(name.stat().st_size == length for name in names)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _remove_abandoned(root: pathlib.Path) -> None:
    """Remove what renders left that were killed more than a day ago."""
    for left in root.glob(_TEMPORARY + "*"):
        try:
            old = time.time() - left.stat().st_mtime > _DAY
        except FileNotFoundError:
            continue
        if old:
            shutil.rmtree(left, ignore_errors=True)


def _check(**arguments: tuple[int, int, int]) -> None:
    problems = []
    for name, (value, low, high) in arguments.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or not low <= value <= high:
            problems.append(f"`{name}` must be a whole number from {low} to {high}, got {value!r}")
    if problems:
        raise InputError("\n".join(problems))
