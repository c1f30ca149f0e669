"""The files of a verdict: written in order, and computed again from one another, so that a changed digit is found.

``predictions_val.csv`` gives ``decision.json``; both give the calibrated columns of ``predictions.csv``; these three
give ``metrics.json``. With test-time augmentation ``views_val.csv`` and ``views.csv`` belong to it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.evaluation.decision import CANNOT, Decision, add_views, fit_decision
from leukemia_tf.evaluation.metrics import differences, write_metrics
from leukemia_tf.evaluation.predictions import GROUP, PREFIX, RAW, SCORES, read_details, write_predictions
from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.evaluation.verdict import compute_verdict
from leukemia_tf.evaluation.views_file import read_views, write_views
from leukemia_tf.files import read_json

DECISION, METRICS_FILE = "decision.json", "metrics.json"
VALIDATION, PREDICTIONS = "predictions_val.csv", "predictions.csv"
VIEWS_VALIDATION, VIEWS = "views_val.csv", "views.csv"
# Another processor or library may round another way; what was edited is found by its checksum before.
_TOLERANCE = 1e-6


def write_decision(
    folder: str | os.PathLike,
    table: pd.DataFrame,
    probabilities: np.ndarray,
    classes: Sequence[str],
    rules: VerdictRules,
    *,
    scores: Mapping[str, np.ndarray] | None = None,
    groups: pd.DataFrame | None = None,
    views: tuple[Sequence[str], np.ndarray] | None = None,
    without: Mapping[str, str] | None = None,
) -> Decision:
    """Fit to the validation images and write ``decision.json`` and ``predictions_val.csv``.

    Args:
        folder: of the run.
        table, probabilities, scores, groups: of the validation images, as of `Decision.apply`.
        classes, rules, without: as of `fit_decision`.
        views: names of the views and their probabilities [V, N, C].
    """
    folder = pathlib.Path(folder)
    decision = fit_decision(table, probabilities, classes, rules, scores, without=without)
    if views:
        decision = add_views(decision, table, views[1], views[0])
    frame = decision.apply(table, probabilities, scores, groups)
    write_predictions(folder / VALIDATION, frame)
    fitted_on = {**decision.fitted_on, "file": VALIDATION, "sha256": _sha256(folder / VALIDATION)}
    if views:
        write_views(folder / VIEWS_VALIDATION, frame["path"], views[0], decision.classes, views[1])
        fitted_on["views_sha256"] = _sha256(folder / VIEWS_VALIDATION)
    decision = dataclasses.replace(decision, fitted_on=fitted_on)
    decision.write(folder / DECISION)
    return decision


def write_verdict_files(
    folder: str | os.PathLike,
    frame: pd.DataFrame,
    decision: Decision,
    *,
    views: tuple[Sequence[str], np.ndarray] | None = None,
    bootstrap: int,
    seed: int,
    stamp: str = "",
) -> dict[str, Any]:
    """Write ``predictions.csv``, read it back, and write the ``metrics.json`` that follows from it.

    Args:
        folder: of the run, or another one, which then gets a copy of the decision.
        frame: of `Decision.apply`.
        decision: that made it.
        views: names of the views and their probabilities [V, N, C].
        bootstrap, seed: as of `compute_metrics`.
        stamp: goes before the figures, such as `LEAKY_SPLIT`.
    """
    folder = pathlib.Path(folder)
    write_predictions(folder / PREDICTIONS, frame)
    decision.write(folder / DECISION)
    if views and decision.views:
        write_views(folder / VIEWS, frame["path"], views[0], decision.classes, views[1])
    metrics = _compute(folder, bootstrap, seed)
    if stamp:
        metrics = {"stamp": stamp, **metrics}
    write_metrics(folder / METRICS_FILE, metrics)
    return metrics


def verify_files(folder: str | os.PathLike, rules: VerdictRules | None = None) -> list[str]:
    """Compute decision, predictions and metrics again from what they follow from.

    Args:
        folder: that `write_decision` and `write_verdict_files` wrote into; one without ``predictions_val.csv`` holds
            the verdict on other data, whose decision is taken as it is.
        rules: of the recipe; they have to be those of the decision.

    Returns:
        One line for each difference, with its file; empty if there is none.

    Raises:
        InputError, RunError: if a file is missing or malformed.
    """
    folder = pathlib.Path(folder)
    stored = read_json(folder / METRICS_FILE)
    settings = stored.get("bootstrap") if isinstance(stored, dict) else None
    if not isinstance(settings, dict) or not {"resamples", "seed"} <= set(settings):
        file = folder / METRICS_FILE
        raise RunError(f"`{file}` must hold `bootstrap` with resamples and seed. Received: {settings!r}")
    decision = Decision.read(folder / DECISION)
    lines = []
    if rules is not None:
        lines += [f"{DECISION}: {line}" for line in differences("rules", decision.to_dict()["rules"], rules.to_dict())]
    sources = stored.get("sources") or {}
    changed = {name for name, digest in sources.items() if _sha256(folder / name) != digest}
    if (folder / VALIDATION).exists():
        lines += _verify_decision(folder, decision, exact=DECISION in changed)
    frame, classes = read_details(folder / PREDICTIONS)
    if classes != decision.classes:
        raise InputError(f"`{folder / PREDICTIONS}` must have the classes {decision.classes}. Received: {classes}")
    lines += [f"{PREDICTIONS}: {line}" for line in _verify_rows(frame, decision, exact=PREDICTIONS in changed)]
    fresh = json.loads(json.dumps(_compute(folder, settings["resamples"], settings["seed"])))
    stored.pop("stamp", None)
    digests = fresh.pop("sources")
    stored.pop("sources", None)
    lines += [f"{METRICS_FILE}: {line}" for line in differences("", stored, fresh)]
    for name in digests:
        if sources.get(name) != digests[name]:
            lines.append(f"{name}: changed after {METRICS_FILE} was computed from it (another SHA-256)")
    return lines


def _compute(folder: pathlib.Path, bootstrap: int, seed: int) -> dict[str, Any]:
    """Every figure, from the files alone."""
    frame, _ = read_details(folder / PREDICTIONS)
    decision = Decision.read(folder / DECISION)
    views, names = None, [DECISION, PREDICTIONS]
    if decision.views and (folder / VIEWS).exists():
        views = read_views(folder / VIEWS, list(frame["path"]), decision.views.views, decision.classes)
        names.append(VIEWS)
    metrics = compute_verdict(frame, decision, views=views, bootstrap=bootstrap, seed=seed)
    return {**metrics, "sources": {name: _sha256(folder / name) for name in names}}


def _verify_decision(folder: pathlib.Path, decision: Decision, exact: bool) -> Iterator[str]:
    """Fit again to the stored validation predictions, and apply to them again."""
    frame, classes = read_details(folder / VALIDATION)
    digest = _sha256(folder / VALIDATION)
    changed = digest != decision.fitted_on.get("sha256")
    if changed:
        yield f"{VALIDATION}: changed after {DECISION} was fitted to it (another SHA-256)"
    table, probabilities, scores, _ = _parts(frame, decision)
    without = {name: why for name, why in decision.reasons.items() if why.startswith(CANNOT)}
    fresh = fit_decision(table, probabilities, classes, decision.rules, scores, without=without)
    given = dict(decision.fitted_on)
    if (folder / VIEWS_VALIDATION).exists():
        if _sha256(folder / VIEWS_VALIDATION) != given.get("views_sha256"):
            yield f"{VIEWS_VALIDATION}: changed after {DECISION} was fitted to it (another SHA-256)"
            exact = True
        names = decision.views.views if decision.views else ()
        if names:
            views = read_views(folder / VIEWS_VALIDATION, list(frame["path"]), names, classes)
            fresh = add_views(fresh, table, views, names)
    fresh = dataclasses.replace(fresh, fitted_on={**given, **fresh.fitted_on})
    tolerance = 0.0 if exact or changed else _TOLERANCE
    for line in differences("", decision.to_dict(), json.loads(json.dumps(fresh.to_dict())), tolerance):
        yield f"{DECISION}: {line}"
    for line in _verify_rows(frame, decision, exact=changed or exact):
        yield f"{VALIDATION}: {line}"


def _verify_rows(frame: pd.DataFrame, decision: Decision, exact: bool) -> Iterator[str]:
    """Make the columns that follow from others again; at most ten rows of each are named."""
    fresh = decision.apply(*_parts(frame, decision))
    if list(fresh.columns) != list(frame.columns):
        yield f"has the columns {', '.join(frame.columns)}; the decision gives {', '.join(fresh.columns)}"
        return
    for column in fresh:
        old, new = frame[column].to_numpy(), fresh[column].to_numpy()
        if column.startswith(PREFIX):
            near = np.isclose(old.astype(float), new.astype(float), rtol=0.0 if exact else _TOLERANCE, atol=0.0)
        else:
            near = old == new
        for row in np.flatnonzero(~near)[:10]:
            yield f"row {row + 1}: `{column}` is stored as {old[row]!r}; recomputed {new[row]!r}"


def _parts(frame: pd.DataFrame, decision: Decision):
    """What `Decision.apply` takes, from the columns that it does not make."""
    raw = [RAW + name for name in decision.classes]
    if not set(raw) <= set(frame):
        received = ", ".join(frame.columns)
        raise InputError(f"the predictions must have the columns {', '.join(raw)}. Received: {received}")
    groups = [column for column in frame if column.startswith(GROUP)]
    renamed = frame[groups].rename(columns=lambda name: name.removeprefix(GROUP))
    scores = {name: frame[name].to_numpy(dtype=np.float64) for name in SCORES if name in frame}
    return frame[["path", "subject", "label"]], frame[raw].to_numpy(dtype=np.float64), scores, renamed


def _sha256(path: pathlib.Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RunError(f"`{path}` cannot be read: {error.strerror}") from error
