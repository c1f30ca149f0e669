"""How well the label can be guessed from what should not matter: cross-validated AUC of a small model on each cue."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from leukemia_tf.data.audit.cues import CUES
from leukemia_tf.data.threads import map_threads

_FOLDS = 5
_TREES = 30
_LEAST = 10  # images of a class

COLUMNS = ("target", "cue", "auc", "low", "high", "per_class", "images", "what")


def measure_shortcuts(
    cues: dict[str, np.ndarray],
    labels: np.ndarray,
    units: np.ndarray,
    *,
    target: str = "label",
    max_images: int = 3000,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how well each cue predicts a label.

    Extremely randomised trees on the few numbers of a cue, five folds, classes weighted evenly. Units (subjects, or
    groups of copies) are never divided between folds.

    Args:
        cues: cue -> [N, features], or what gives such rows when asked for some by number.
        labels: [N].
        units: [N], what must stay together.
        target: what the labels are, for the result ("label" or "source").
        max_images: a sample of so many is enough, and keeps the time short.
        seed: of sample, folds and trees.

    Returns:
        One row a cue, strongest first: target, cue, auc (mean over classes, one against the rest, and over folds),
        low and high (95 % t interval over folds), per_class (JSON), images, what (the cue in words). Classes with
        fewer than ten images or two units are left out; a cue that never varies has the AUC 0.5.
    """
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"label": labels, "unit": units})
    usable = frame.groupby("label").agg(images=("unit", "size"), units=("unit", "nunique"))
    usable = usable[(usable["images"] >= _LEAST) & (usable["units"] >= 2)]
    rows = np.flatnonzero(frame["label"].isin(usable.index))
    if len(usable) < 2:
        return pd.DataFrame(columns=list(COLUMNS))
    if len(rows) > max_images:
        rows = np.sort(random.choice(rows, max_images, replace=False))
    y = pd.factorize(labels[rows], sort=True)
    folds = int(min(_FOLDS, frame.iloc[rows].groupby("label")["unit"].nunique().min()))
    if folds < 2 or len(y[1]) < 2:
        return pd.DataFrame(columns=list(COLUMNS))
    engine = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # It counts images where we count units.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        parts = list(engine.split(np.zeros(len(rows)), y[0], units[rows]))
    tasks = [(chosen, part) for chosen in [values[rows] for values in cues.values()] for part in parts]
    scored = list(map_threads(lambda task: _fold(task[0], y[0], len(y[1]), *task[1], seed), tasks))
    result = []
    for number, cue in enumerate(cues):
        per_fold = np.array(scored[number * len(parts) : (number + 1) * len(parts)])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Mean of empty slice", category=RuntimeWarning)
            per_class, scores = np.nanmean(per_fold, 0), np.nanmean(per_fold, 1)
        scores = scores[~np.isnan(scores)]
        if not len(scores):
            continue
        half = 0.0
        if len(scores) > 1:
            half = float(stats.t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / np.sqrt(len(scores)))
        mean = float(scores.mean())
        each = {str(name): round(float(auc), 4) for name, auc in zip(y[1], per_class) if not np.isnan(auc)}
        result.append((
            target, cue, mean, max(0.0, mean - half), min(1.0, mean + half), json.dumps(each, ensure_ascii=False),
            len(rows), CUES.get(cue, cue),
        ))  # fmt: skip
    table = pd.DataFrame(result, columns=list(COLUMNS))
    return table.sort_values("auc", ascending=False, kind="stable").reset_index(drop=True)


def _fold(
    values: np.ndarray, y: np.ndarray, classes: int, train: np.ndarray, test: np.ndarray, seed: int
) -> np.ndarray:
    """AUC of each class on one fold, NaN where the fold lacks it."""
    scores = np.full(classes, np.nan)
    if (values == values[0]).all():
        present = [k for k in range(classes) if 0 < np.count_nonzero(y[test] == k) < len(test)]
        scores[present] = 0.5
        return scores
    model = ExtraTreesClassifier(
        _TREES, min_samples_leaf=4, max_depth=12, class_weight="balanced", random_state=seed, n_jobs=1
    )
    model.fit(values[train], y[train])
    probabilities = model.predict_proba(values[test])
    for column, label in enumerate(model.classes_):
        positive = y[test] == label
        if 0 < positive.sum() < len(positive):
            scores[label] = roc_auc_score(positive, probabilities[:, column])
    return scores


def encoder_sources(facts: pd.DataFrame, labels: pd.Series, *, most: int = 12) -> pd.DataFrame:
    """Count the classes of each way in which files were made: size and encoder settings together.

    Images of different origin (another camera, another program, an augmentation script) show here as rows of their
    own; a row that holds one class alone gives that class away.
    """
    usable = (facts["reason"] == "").to_numpy()
    made = facts["width"].astype(str) + " x " + facts["height"].astype(str) + ", " + facts["encoder"]
    counts = pd.crosstab(made[usable].rename("made"), labels[usable].rename("label"))
    counts.columns = [str(name) for name in counts.columns]
    counts.insert(0, "images", counts.sum(axis=1))
    counts = counts.sort_values("images", ascending=False, kind="stable").head(most)
    return counts.rename_axis("made").reset_index()
