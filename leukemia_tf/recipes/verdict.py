"""The verdict of a run: decided on the validation images, then measured on the test images.

Order matters: the test split is not looked at before ``decision.json`` is written.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from leukemia_tf.data.balance import label_indices
from leukemia_tf.evaluation.metrics import LEAKY_SPLIT
from leukemia_tf.evaluation.verdict_files import VIEWS, VIEWS_VALIDATION, write_decision, write_verdict_files
from leukemia_tf.recipes.grouping import group_columns
from leukemia_tf.recipes.report import read_history, write_gallery
from leukemia_tf.recipes.scoring import DETECTOR, Scorer

if TYPE_CHECKING:
    from leukemia_tf.data import Manifest
    from leukemia_tf.recipes.run import Run

log = logging.getLogger(__name__)


def write_verdict(
    run: Run,
    model: Any,
    manifest: Manifest,
    parts: dict[str, pd.DataFrame],
    pixels: dict[str, np.ndarray],
) -> None:
    """Predict with `model`, and write all files of the verdict into the run's folder.

    Args:
        run: the run; its table and history are written.
        model: a Keras model with its best weights, or a fitted one with ``predict_proba``.
        manifest: gives the classes.
        parts: rows of train, val and test; of train only those for the detector, see `scoring.training_sample`.
        pixels: uint8 (N, S, S, 3), as the saved model takes them, row i of `parts`.
    """
    recipe = run.recipe
    rules = recipe.verdict
    scorer = Scorer(
        model,
        manifest,
        image_size=recipe.data.image_size,
        batch_size=recipe.data.batch_size,
        jit_compile=getattr(model, "jit_compile", False),
    )
    for name in (DETECTOR, VIEWS, VIEWS_VALIDATION):  # of a verdict before the run went on
        (run.path / name).unlink(missing_ok=True)
    scorer.fit_detector(parts["train"], pixels["train"])
    if scorer.detector:
        scorer.detector.write(run.path / DETECTOR)

    groups = {split: group_columns(rules, parts[split]) for split in ("val", "test")}
    probabilities, scores = scorer(parts["val"], pixels["val"])
    check_kept(run, label_indices(parts["val"], manifest.classes), probabilities)
    decision = write_decision(
        run.path,
        parts["val"],
        probabilities,
        manifest.classes,
        rules,
        scores=scores,
        groups=groups["val"],
        views=_views(scorer, rules.tta, parts["val"], pixels["val"]),
        without={"out_of_distribution": scorer.reason} if scorer.reason else None,
    )
    for line in decision.notices():
        log.warning(line)

    probabilities, scores = scorer(parts["test"], pixels["test"])
    frame = decision.apply(parts["test"], probabilities, scores, groups["test"])
    write_verdict_files(
        run.path,
        frame,
        decision,
        views=_views(scorer, rules.tta, parts["test"], pixels["test"]),
        bootstrap=recipe.bootstrap,
        seed=recipe.seed,
        stamp=LEAKY_SPLIT if run.info.get("leakage") else "",
    )
    write_gallery(run, frame, pixels["test"])


def check_kept(run: Run, labels: np.ndarray, probabilities: np.ndarray) -> None:
    """Warn if a network is not as accurate on the validation images as in the epoch that its weights are of.

    Whatever lies between the two, from checkpoints to cached features, would otherwise go wrong without a sound. Two
    points and two images may differ: features are kept in float16, and a training may be in mixed precision.

    Args:
        run: a run; without a history (an estimator of scikit-learn) there is nothing to compare with.
        labels: index of each image's class, int64 [N].
        probabilities: float32 [N, C] or [N, 1].
    """
    history = read_history(run.path / "history.csv")
    monitor, mode = run.recipe.monitor, run.recipe.mode
    if history is None or not {monitor, "val_accuracy"} <= {*history} or history[monitor].isna().all():
        return
    best = history.loc[history[monitor].idxmin() if mode == "min" else history[monitor].idxmax()]
    chosen = probabilities.argmax(axis=1) if probabilities.shape[1] > 1 else probabilities[:, 0] > 0.5
    accuracy = float(np.mean(chosen == labels))
    if abs(accuracy - best["val_accuracy"]) > 0.02 + 2 / len(labels):
        log.warning(
            "the model's accuracy on the validation images is %.3f, and in the epoch that was kept (%s, %d) it was "
            "%.3f: this is not the model that training chose; do not use it, and report it",
            accuracy, best["phase"], best["epoch"], best["val_accuracy"],
        )  # fmt: skip


def _views(scorer: Scorer, tta: str, table: pd.DataFrame, pixels: np.ndarray):
    """Names and probabilities of the views that the rules ask for, or None."""
    if tta == "none":
        return None
    from leukemia_tf.recipes.views import predict_views

    found = predict_views(scorer.model, scorer.manifest, table, pixels, **scorer.options)
    return found.names, found.probabilities
