"""Report, model card and metadata of a run, written (and checked) from the files in its folder alone."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
from typing import TYPE_CHECKING, Any, Iterator

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.evaluation import most_confident_errors, read_predictions, summarize_table, write_report
from leukemia_tf.evaluation.metadata import build_metadata
from leukemia_tf.evaluation.metrics import differences
from leukemia_tf.evaluation.model_card import model_card
from leukemia_tf.evaluation.report import render_report
from leukemia_tf.files import atomic_path, read_json, write_json, write_text
from leukemia_tf.recipes.teacher import AGREEMENT_FILE, PREDICTIONS_FILE, compute_agreement

if TYPE_CHECKING:
    from leukemia_tf.recipes.run import Run

GALLERY, AUDIT = "gallery", "audit.json"
REPORT, CARD, METADATA = "report.html", "model_card.md", "metadata.json"


def write_gallery(run: Run, frame: pd.DataFrame, pixels: np.ndarray) -> None:
    """Write the test images of the most confident errors as ``gallery/<rank>.png``.

    Args:
        run: the run.
        frame: its predictions, of `Decision.apply`.
        pixels: uint8 (N, S, S, 3), row i of `frame`.
    """
    from PIL import Image

    shutil.rmtree(run.path / GALLERY, ignore_errors=True)
    for rank, error in enumerate(most_confident_errors(frame).itertuples(), 1):
        with atomic_path(run.path / GALLERY / f"{rank:02}.png") as temporary:
            Image.fromarray(np.ascontiguousarray(pixels[error.row])).save(temporary)


def write_run_report(run: Run, audit: str | os.PathLike | None = None) -> list[pathlib.Path]:
    """Write ``report.html``, ``model_card.md``, ``metadata.json`` and the plots from the run's files.

    Args:
        run: a run whose verdict is written.
        audit: folder of an audit of its data; its summary is copied into the run.

    Returns:
        The files.

    Raises:
        InputError: if `audit` holds no audit.
    """
    if audit is not None:
        file = pathlib.Path(audit) / AUDIT
        if not file.is_file():
            raise InputError(f"`--audit` is a folder that `leukemia-tf audit` wrote. Received: {audit}")
        write_json(run.path / AUDIT, read_json(file))
    page, facts, plots = _inputs(run)
    path = write_report(run.path, **page, **plots)
    write_json(run.path / METADATA, facts)
    write_text(run.path / CARD, model_card(facts))
    return [path, run.path / CARD, run.path / METADATA]


def verify_report(run: Run) -> list[str]:
    """Write page, card and metadata again in memory and compare.

    Returns:
        One line for each difference; of the page and the card the first that differs.
    """
    stored = read_json(run.path / METADATA)
    # Data that the run was judged on since are no fault of the report.
    page, facts, _ = _inputs(run, external=stored.get("external", []))
    lines = [f"{METADATA}: {line}" for line in differences("", stored, json.loads(json.dumps(facts)))]
    if (run.path / PREDICTIONS_FILE).exists():
        fresh = json.loads(json.dumps(compute_agreement(run)))
        lines += [f"{AGREEMENT_FILE}: {line}" for line in differences("", run.agreement, fresh)]
    for name, fresh in ((REPORT, render_report(run.path, **page)), (CARD, model_card(facts))):
        try:
            stored = (run.path / name).read_text(encoding="utf-8")
        except OSError as error:
            raise RunError(f"`{run.path / name}` cannot be read: {error.strerror}") from error
        lines += [f"{name}: {line}" for line in _first_difference(stored, fresh)]
    return lines


def _inputs(run: Run, external: list[str] | None = None) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Arguments of `render_report`, the metadata, and what `write_report` takes besides."""
    from leukemia_tf.data.table_file import read_table

    info, recipe = run.info, run.recipe
    predictions, classes = read_predictions(run.path / "predictions.csv")
    table = summarize_table(
        read_table(run.path / "table.csv"), classes, level=info["split_level"], split_hash=info["split_hash"]
    )
    audit = run.path / AUDIT
    common = {
        "title": recipe.title,
        "recipe": recipe.to_dict(),
        "environment": read_json(run.path / "environment.json"),
        "manifest": info["manifest"],
        "table": table,
        "metrics": run.metrics,
        "predictions": predictions,
        "skipped": info["skipped"],
        "notices": info["notices"],
        "audit": read_json(audit) if audit.exists() else None,
    }
    if external is None:
        external = sorted(path.parent.name for path in (run.path / "evaluations").glob("*/metrics.json"))
    facts = build_metadata(**common, decision=run.decision.to_dict(), external=external)
    page = {
        **common,
        "pixels_of_errors": list(_gallery(run, predictions)),
        "agreement": run.agreement,
        "checklist": facts["checklists"],
    }
    return page, facts, {"history": read_history(run.path / "history.csv")}


def read_history(file: pathlib.Path) -> pd.DataFrame | None:
    """One row an epoch; None of a model that has none, or of a training whose budget ended before the first."""
    try:
        return pd.read_csv(file)
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return None


def _gallery(run: Run, predictions: pd.DataFrame) -> Iterator[tuple[np.ndarray, str]]:
    """Image and caption of each error whose image is in the gallery."""
    from PIL import Image

    for rank, error in enumerate(most_confident_errors(predictions).itertuples(), 1):
        file = run.path / GALLERY / f"{rank:02}.png"
        if file.exists():
            with Image.open(file) as image:
                name = pathlib.PurePosixPath(error.path).name
                yield np.asarray(image), f"{error.label} called {error.prediction}\n{name}"


def _first_difference(stored: str, fresh: str) -> Iterator[str]:
    """The first line that differs, from shortly before the place, without tags."""
    if stored == fresh:
        return
    old, new = stored.splitlines(), fresh.splitlines()
    for number, (one, other) in enumerate(zip(old, new), 1):
        if one != other:
            place = len(os.path.commonprefix([one, other]))
            yield f"line {number} holds `{_around(one, place)}`; written again `{_around(other, place)}`"
            return
    yield f"has {len(old)} lines; written again {len(new)}"


def _around(line: str, place: int) -> str:
    return re.sub(r"<[^>]*>?|^[^<>]*>", " ", line[max(0, place - 60) : place + 40]).strip()
