"""The report of a run: one HTML file that needs nothing else, no network and no scripts.

Everything that came from outside (paths, class names, licences, captions) is escaped before it enters the page.
"""

from __future__ import annotations

import base64
import io
import os
import pathlib
import string
from importlib import resources
from typing import Any, Sequence

import numpy as np
import pandas as pd
from PIL import Image

from leukemia_tf import __version__
from leukemia_tf.evaluation import report_parts as parts
from leukemia_tf.evaluation import report_verdict as verdict
from leukemia_tf.evaluation.plots import save_plots
from leukemia_tf.evaluation.report_parts import escape
from leukemia_tf.files import write_text

_MAX_ERRORS = 12
_THUMBNAIL = 168


def summarize_table(
    table: pd.DataFrame, classes: Sequence[str], *, level: str | None = None, split_hash: str | None = None
) -> dict[str, Any]:
    """Count images and subjects of each split and class, for `write_report`.

    Args:
        table: one row an image with ``label``, ``subject`` and ``split``.
        classes: names, in order.
        level: of the split: "subject", "image" or "official"; default ``table.attrs["split_level"]``.
        split_hash: fingerprint of the split.

    Returns:
        ``n_images``, ``n_subjects``, ``split_level``, ``split_hash`` and ``splits``: for each split its ``images`` and
        ``subjects`` ({class: count}), ``n_images``, ``n_subjects``. Subject counts are null where one is unknown.
    """

    def subjects(rows: pd.DataFrame) -> int | None:
        names = set(rows["subject"])
        return None if "" in names else len(names)

    splits = {}
    present = set(table["split"])
    for split in [name for name in ("train", "val", "test", "") if name in present]:
        rows = table[table["split"] == split]
        of_class = {name: rows[rows["label"] == name] for name in classes}
        splits[split] = {
            "images": {name: len(group) for name, group in of_class.items()},
            "subjects": {name: subjects(group) for name, group in of_class.items()},
            "n_images": len(rows),
            "n_subjects": subjects(rows),
        }
    return {
        "n_images": len(table),
        "n_subjects": subjects(table),
        "split_level": level or table.attrs.get("split_level"),
        "split_hash": split_hash,
        "splits": splits,
    }


def write_report(
    run_dir: str | os.PathLike,
    *,
    predictions: pd.DataFrame,
    metrics: dict[str, Any],
    history: pd.DataFrame | None = None,
    pixels_of_errors: Sequence[tuple[np.ndarray, str]] | None = None,
    **contents: Any,
) -> pathlib.Path:
    """Write ``report.html`` (under 5 MB) and ``plots/*.png`` into the folder of a run.

    Args:
        run_dir: the folder; it is made if it is missing.
        predictions: of `make_predictions`, the images that ``metrics`` is of.
        metrics: of `compute_metrics` or `compute_verdict`; a ``stamp`` in it is shown above all else.
        history: of the training; see `plots.plot_history`.
        pixels_of_errors: pairs of uint8 [H, W, 3] and caption, for example of `most_confident_errors`; the first
            12 are shown.
        **contents: as of `render_report`.

    Returns:
        Path of the page.

    Raises:
        RunError: if the folder cannot be written.
    """
    run_dir = pathlib.Path(run_dir)
    gallery = list(pixels_of_errors or [])[:_MAX_ERRORS]
    folder = run_dir / "plots"
    drawn = save_plots(folder, predictions=predictions, metrics=metrics, history=history, error_images=gallery)
    for path in folder.glob("*.png"):  # of an earlier verdict
        if path.stem not in drawn:
            path.unlink()
    path = run_dir / "report.html"
    page = render_report(run_dir, predictions=predictions, metrics=metrics, pixels_of_errors=gallery, **contents)
    write_text(path, page)
    return path


def render_report(
    run_dir: str | os.PathLike,
    *,
    title: str,
    recipe: dict[str, Any],
    environment: dict[str, Any],
    manifest: dict[str, Any],
    table: dict[str, Any],
    metrics: dict[str, Any],
    predictions: pd.DataFrame,
    pixels_of_errors: Sequence[tuple[np.ndarray, str]] | None = None,
    skipped: Sequence[dict[str, str]] = (),
    notices: Sequence[str] = (),
    audit: dict[str, Any] | None = None,
    agreement: dict[str, Any] | None = None,
    checklist: Sequence[dict[str, Any]] = (),
) -> str:
    """The page, with the plots that lie in ``plots/`` of the folder.

    Args:
        run_dir: the folder.
        title: heading of the page.
        recipe: the recipe as JSON values; a list of dictionaries under ``phases`` becomes a table.
        environment: versions, device, seed; ``command`` (string or list) is shown as the command that reproduces
            the run.
        manifest: any of ``title``, ``synthetic``, ``licence``, ``citation``, ``homepage``, ``known_faults``, ``name``.
        table: of `summarize_table`.
        metrics, predictions, pixels_of_errors: as of `write_report`.
        skipped: dictionaries with ``path`` and ``reason``, the files that were left out.
        notices: lines that the reader must see before the results.
        audit: summary of an audit of the data.
        agreement: of `measure_agreement`, where a teacher taught the model.
        checklist: of `answer_checklists`.
    """
    files = {path.stem: path for path in sorted((pathlib.Path(run_dir) / "plots").glob("*.png"))}
    images = {name: _data_uri(path.read_bytes()) for name, path in files.items() if name != "errors"}
    gallery = list(pixels_of_errors or [])[:_MAX_ERRORS]
    thumbnails = [(_data_uri(_thumbnail(pixels)), caption) for pixels, caption in gallery]
    folder = resources.files("leukemia_tf.evaluation")
    template = string.Template(folder.joinpath("report.html").read_text(encoding="utf-8"))
    sections = {
        "calibration": ("Calibration", verdict.calibration(metrics, images)),
        "operating_point": ("Operating point", verdict.operating_point(metrics)),
        "subject_level": ("Subjects", verdict.subjects(metrics)),
        "subgroups": ("Subgroups", verdict.subgroups(metrics)),
        "not_knowing": ("Knowing when not to know", verdict.not_knowing(metrics, images)),
        "teacher": ("Teacher", verdict.teacher(agreement)),
        "views": ("Test-time augmentation", verdict.views(metrics)),
        "audit": ("Audit of the data", verdict.audit(audit) if checklist else ""),
        "checklist": ("Reporting checklists", verdict.checklist(checklist)),
    }
    return template.substitute(
        style=folder.joinpath("report.css").read_text(encoding="utf-8").strip(),
        version=escape(__version__),
        title=escape(title),
        subtitle=parts.subtitle(recipe, manifest, metrics),
        synthetic=parts.synthetic_badge(manifest),
        stamp=parts.stamp(metrics),
        notices=parts.notices(notices),
        headline=parts.headline(metrics),
        plots=parts.plots(images, metrics),
        per_class=parts.per_class(metrics),
        errors=parts.errors(thumbnails, predictions),
        data=parts.data(manifest, table, skipped),
        model=parts.model(recipe),
        reproduce=parts.reproduce(environment),
        **{name: verdict.section(name, heading, body) for name, (heading, body) in sections.items()},
    )


def _thumbnail(pixels: np.ndarray) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
