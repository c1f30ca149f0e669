"""Time the bootstrap of all metrics against scikit-learn called once a resample.

    python experiments/benchmarks/bootstrap.py

2,000 resamples of 100,000 made-up predictions, of two and of eight classes, by subject (500) and by image: all metrics
with percentile intervals (`compute_metrics`, each class too), and with bias-corrected and accelerated ones
(`metric_intervals`, whose jackknife comes on top). Each is to take less than 30 s on two cores of one's own; where
others use them too, the processor time tells.

The scikit-learn loop computes the same eight metrics with ``sample_weight`` on a few resamples of the same draws; both
results are compared. ``ratio`` is one of processor times, which other programs on the machine disturb less than the
wall time; ``load`` says how many of them there were. Writes ``experiments/results/benchmarks/bootstrap.csv``.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import platform
import time

import numpy as np
import pandas as pd
import scipy
import sklearn
from sklearn import metrics as sk

from leukemia_tf.evaluation.bootstrap import iter_counts, sampling_units
from leukemia_tf.evaluation.intervals import metric_intervals
from leukemia_tf.evaluation.metrics import METRICS, compute_metrics, evaluate_resamples
from leukemia_tf.evaluation.predictions import make_predictions
from leukemia_tf.files import write_text
from machine import processor

OUT = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "bootstrap.csv"


def scikit_metrics(labels, probabilities, predictions, weights) -> dict[str, float]:
    """The metrics of one resample as one would write them with scikit-learn."""
    every = range(probabilities.shape[1])
    rest = every if len(every) > 2 else [1]
    w = {"sample_weight": weights}
    return {
        "accuracy": sk.accuracy_score(labels, predictions, **w),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predictions, **w),
        "auc": np.mean([sk.roc_auc_score(labels == c, probabilities[:, c], **w) for c in rest]),
        "average_precision": np.mean([sk.average_precision_score(labels == c, probabilities[:, c], **w) for c in rest]),
        "f1_weighted": sk.f1_score(labels, predictions, average="weighted", **w),
        "f1_macro": sk.f1_score(labels, predictions, average="macro", **w),
        "sensitivity": np.mean([sk.recall_score(labels == c, predictions == c, **w) for c in rest]),
        "specificity": np.mean([sk.recall_score(labels != c, predictions != c, **w) for c in rest]),
    }


def measure(n_classes: int, n_subjects: int, n_images: int, resamples: int, naive_resamples: int) -> dict:
    """One row of the result; ``n_subjects`` 0 resamples images."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, n_classes, n_images)
    logits = generator.normal(size=(n_images, n_classes)) + 2.0 * np.eye(n_classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities = probabilities.astype(np.float32).astype(np.float64)
    classes = [f"class{i}" for i in range(n_classes)]
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(n_images)],
            "subject": [f"s{i}" for i in generator.integers(0, n_subjects, n_images)] if n_subjects else "",
            "label": [classes[i] for i in labels],
        }
    )
    frame = make_predictions(table, probabilities, classes)
    predictions = frame["prediction"].map({name: i for i, name in enumerate(classes)}).to_numpy()

    unit, units = sampling_units(frame["subject"])
    counts = np.concatenate(list(iter_counts(int(units.max()) + 1, naive_resamples, 0)))
    ours = evaluate_resamples(labels, probabilities, predictions, iter([counts]), units)
    start = time.process_time()
    naive = [scikit_metrics(labels, probabilities, predictions, row[units].astype(float)) for row in counts]
    naive_seconds = (time.process_time() - start) / naive_resamples
    difference = max(abs(ours[name][i] - value[name]) for i, value in enumerate(naive) for name in METRICS)
    assert difference < 1e-9, difference

    seconds = {}
    for method, judge in (("percentile", compute_metrics), ("bca", metric_intervals)):
        wall, start = time.perf_counter(), time.process_time()
        judge(frame, classes, bootstrap=resamples)
        seconds[method] = (time.perf_counter() - wall, time.process_time() - start)
    wall, cpu = seconds["percentile"]
    return {
        "classes": n_classes,
        "images": n_images,
        "unit": unit,
        "units": int(units.max()) + 1,
        "resamples": resamples,
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "bca_wall_seconds": round(seconds["bca"][0], 2),
        "bca_cpu_seconds": round(seconds["bca"][1], 2),
        "cpu_ms_per_resample": round(1e3 * cpu / resamples, 3),
        "sklearn_cpu_ms_per_resample": round(1e3 * naive_seconds, 1),
        "sklearn_resamples_measured": naive_resamples,
        "ratio": round(naive_seconds * resamples / cpu, 1),
        "largest_difference": f"{difference:.1e}",
        "load": round(os.getloadavg()[0], 1),
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit_learn": sklearn.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--resamples", type=int, default=2_000)
    parser.add_argument("--naive-resamples", type=int, default=5, help="resamples of the scikit-learn loop")
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    options = parser.parse_args()
    rows = [
        measure(n_classes, n_subjects, options.images, options.resamples, options.naive_resamples)
        for n_classes in (2, 8)
        for n_subjects in (500, 0)
    ]
    result = pd.DataFrame(rows)
    write_text(options.out, result.to_csv(index=False, lineterminator="\n"))
    print(result.to_string(index=False))


if __name__ == "__main__":
    main()
