"""What a leak is worth: the same recipe on the same images, split by image and split by subject.

    python experiments/benchmarks/leakage.py

For each seed the images are cut into five folds twice, once by subject and once by image, so that either way every
image is tested once by a model that was fitted on three fifths of the images (another fifth is left for validation, as
in a run). The recipe is ``handcrafted``: its features of an image depend on nothing else, so they are computed once.

Two intervals of the difference in accuracy: Student's t over the seeds, which says how much of it is the luck of the
partition, and a percentile bootstrap of the subjects, which says how much other subjects could change it. Of the area
under the ROC curve (mean of the folds), the first only. Writes ``leakage.csv`` (a row for each seed and kind of split,
with the hash of the split), ``leakage.json`` and ``leakage.png`` into ``experiments/results/leakage``.
"""

from __future__ import annotations

import argparse
import logging
import os
import pathlib
import shlex
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy import stats  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from leukemia_tf.data import load_pixels, make_folds, open_data, scan_table, write_split  # noqa: E402
from leukemia_tf.data.balance import label_indices  # noqa: E402
from leukemia_tf.files import atomic_path, write_json, write_text  # noqa: E402
from leukemia_tf.recipes import get_recipe, override  # noqa: E402
from leukemia_tf.recipes.environment import describe_environment  # noqa: E402
from leukemia_tf.recipes.train_recipe import build, for_source  # noqa: E402

LEVELS = ("subject", "image")
FOLDS = 5
RESAMPLES = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="handcrafted", help="a recipe without phases that adds no network")
    parser.add_argument("--data", help="data with subjects (default: the embedded synthetic sample)")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[1] / "results" / "leakage"
    )
    args = parser.parse_args()
    logging.getLogger("leukemia_tf").setLevel(logging.ERROR)  # that the split leaks is the point here
    recipe = override(for_source(get_recipe(args.recipe), args.data), {"data.image_size": args.image_size})
    if recipe.phases:
        parser.error(f"--recipe must be one that is fitted in one go. Received: {args.recipe}")

    manifest, table = open_data(recipe.data.source)
    table = scan_table(manifest, table, progress=False)
    if (table["subject"] == "").any():
        parser.error(f"--data must know the subject of every image. Received: {recipe.data.source}")
    pixels = load_pixels(manifest, table, args.image_size, progress=False)
    features = build(recipe, len(manifest.classes)).features(pixels)
    known = {image.tobytes(): row for image, row in zip(pixels, features)}
    labels = label_indices(table, manifest.classes)

    rows, right = [], {level: np.zeros(len(table)) for level in LEVELS}
    for seed in range(args.seeds):
        for level in LEVELS:
            folds = make_folds(table, FOLDS, seed=seed, val_fraction=0.25, level=level, allow_leakage=level == "image")
            with threadpool_limits(1):  # small matrices
                probabilities, aucs = test_all(recipe, manifest, folds, pixels, labels, known, seed)
            found = probabilities.argmax(axis=1) == labels
            right[level] += found / args.seeds
            with tempfile.TemporaryDirectory() as folder:
                digest = write_split(pathlib.Path(folder) / "split.csv", folds)
            rows.append(
                {
                    "recipe": recipe.name,
                    "image_size": args.image_size,
                    "split_by": level,
                    "leakage": folds[0].attrs["leakage"],
                    "seed": seed,
                    "images": len(table),
                    "subjects": table["subject"].nunique(),
                    "accuracy": round(float(found.mean()), 4),
                    "auc": round(float(np.mean(aucs)), 4),
                    "split_hash": digest,
                }
            )
            print(*list(rows[-1].values())[:-1], flush=True)
    frame = pd.DataFrame(rows)
    subjects = pd.DataFrame(right).groupby(table["subject"].to_numpy()).agg(["sum", "size"])
    summary = summarize(frame, subjects)
    settings = {
        "data": recipe.data.source,
        "synthetic": manifest.synthetic,
        "recipe": recipe.to_dict(),
        "images": len(table),
        "subjects": int(table["subject"].nunique()),
        "folds": FOLDS,
        "seeds": args.seeds,
    }
    write_text(args.out / "leakage.csv", frame.to_csv(index=False, lineterminator="\n"))
    command = shlex.join(["python", "experiments/benchmarks/leakage.py", *sys.argv[1:]])
    write_json(
        args.out / "leakage.json",
        {"settings": settings, "figures": summary, "environment": describe_environment(command=command)},
    )
    plot(frame, summary["accuracy"], manifest.synthetic, args.out / "leakage.png")
    for name, figure in summary.items():
        print(name, figure)


def test_all(recipe, manifest, folds, pixels, labels, known, seed) -> tuple[np.ndarray, list[float]]:
    """Probabilities (N, C) of all images, each by the model that has not seen it, and the area of each fold."""
    probabilities = np.zeros((len(labels), len(manifest.classes)), np.float32)
    aucs = []
    for fold in folds:
        model = build(recipe, len(manifest.classes))
        model.features = lambda images, progress=False: np.stack([known[image.tobytes()] for image in images])
        train, test = ((fold["split"] == split).to_numpy() for split in ("train", "test"))
        model.fit(pixels[train], labels[train], seed=seed, progress=False)
        probabilities[test] = model.predict_proba(pixels[test])
        scores = probabilities[test][:, 1] if probabilities.shape[1] == 2 else probabilities[test]
        aucs.append(roc_auc_score(labels[test], scores, multi_class="ovr"))
    return probabilities, aucs


def summarize(frame: pd.DataFrame, subjects: pd.DataFrame) -> dict[str, dict]:
    """Means of both splits, their difference (by image minus by subject) and its 95 % intervals.

    Args:
        frame: a row for each seed and kind of split.
        subjects: a row a subject: for each kind of split how many of its images were right, a mean of the seeds
            (``sum``), and how many it has (``size``).
    """

    def difference(by_image, by_subject, size, axis=-1):
        return (by_image - by_subject).sum(axis=axis) / size.sum(axis=axis)

    result = {}
    for name in ("accuracy", "auc"):
        of = frame.pivot(index="seed", columns="split_by", values=name)
        differences = of["image"] - of["subject"]
        low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
        result[name] = {
            "by_subject": round(float(of["subject"].mean()), 4),
            "by_image": round(float(of["image"].mean()), 4),
            "difference": round(float(differences.mean()), 4),
            "over_seeds": [round(float(low), 4), round(float(high), 4)],
        }
    resampled = stats.bootstrap(
        (subjects["image", "sum"], subjects["subject", "sum"], subjects["image", "size"]),
        difference,
        n_resamples=RESAMPLES,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=0,
    ).confidence_interval
    result["accuracy"]["over_subjects"] = [round(float(resampled.low), 4), round(float(resampled.high), 4)]
    return result


def plot(frame: pd.DataFrame, accuracy: dict, synthetic: bool, path: pathlib.Path) -> None:
    """Accuracy of both splits, a line a seed, and the difference with its intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    of = frame.pivot(index="seed", columns="split_by", values="accuracy")
    for _, row in of.iterrows():
        left.plot([0, 1], [row["subject"], row["image"]], "o-", color="tab:gray", alpha=0.7)
    left.plot([0, 1], [accuracy["by_subject"], accuracy["by_image"]], "o-", color="tab:red", linewidth=3)
    left.set_xticks([0, 1], ["new subjects\n(split by subject)", "known subjects\n(split by image)"])
    left.set_xlim(-0.3, 1.3)
    left.set_ylabel("accuracy")
    left.set_title(f"{len(of)} seeds, mean in red" + (" (synthetic data)" if synthetic else ""))
    for height, name in enumerate(("over_subjects", "over_seeds")):
        low, high = (100 * value for value in accuracy[name])
        right.plot([low, high], [height, height], color="tab:red", linewidth=3, solid_capstyle="butt")
        right.plot(100 * accuracy["difference"], height, "o", color="tab:red")
        right.annotate(
            f"{low:.1f} to {high:.1f}", (np.mean([low, high]), height), (0, 8), textcoords="offset points", ha="center"
        )
    right.set_yticks([0, 1], ["other\nsubjects", "other\npartitions"])
    right.set_ylim(-0.6, 1.6)
    right.axvline(0, color="black", linewidth=1)
    right.margins(x=0.15)
    right.set_xlabel("percentage points, 95 % intervals")
    right.set_title(f"the leak adds {100 * accuracy['difference']:.1f} points")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


if __name__ == "__main__":
    main()
