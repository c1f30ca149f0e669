"""Do the scores tell strange images? A run on single cells is shown smear fields, noise, blank and zoomed images.

    python experiments/benchmarks/out_of_distribution.py RUN --fields FOLDER

RUN is a run of a network with more than one logit, trained on single cells (PBC-64). FOLDER holds images of another
stain and magnification (Taleqani ALL, smear fields). Compared with the run's own test images are

- ``fields``: the images of FOLDER, resized as every image is;
- ``noise``: uniform noise, each pixel and channel for itself;
- ``blank``: one grey level an image, white to black;
- ``zoomed_in``: the middle quarter of the run's test images, enlarged to twice its side;
- ``zoomed_out``: the test images at half their side, mirrored about their edges.

Of each score: the area under the ROC curve that tells strange from own images, and the share that its threshold, which
95 % of the validation images pass, flags; with 95 % intervals (percentile bootstrap of images, Wilson). Writes
``experiments/results/evaluation/out_of_distribution.csv``.
"""

from __future__ import annotations

import argparse
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from leukemia_tf.data import load_pixels, open_data  # noqa: E402
from leukemia_tf.data.resize import resize_images  # noqa: E402
from leukemia_tf.data.table_file import read_table  # noqa: E402
from leukemia_tf.evaluation.bootstrap import iter_counts, percentile_interval  # noqa: E402
from leukemia_tf.evaluation.intervals import wilson_interval  # noqa: E402
from leukemia_tf.evaluation.metrics import evaluate_resamples  # noqa: E402
from leukemia_tf.files import write_text  # noqa: E402
from leukemia_tf.recipes import load_run  # noqa: E402
from leukemia_tf.recipes.scoring import Scorer  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parents[1] / "results" / "evaluation" / "out_of_distribution.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a finished run on single cells")
    parser.add_argument("--fields", required=True, help="folder of class folders with smear fields")
    parser.add_argument("--most", type=int, default=1000, help="images of a kind at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()
    run, generator = load_run(args.run), np.random.default_rng(args.seed)
    size = run.info["image_size"]

    manifest, _ = open_data(run.recipe.data.source)
    table = read_table(run.path / "table.csv")
    test = _some(table[table["split"] == "test"], args.most, generator)
    own = np.array(load_pixels(manifest, test, size, progress=False))
    other, fields = open_data(args.fields)
    fields = _some(fields, args.most, generator)
    count = len(own)
    kinds = {
        "own test images": own,
        "fields": np.array(load_pixels(other, fields, size, progress=False)),
        "noise": generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
        "blank": np.broadcast_to(
            np.linspace(255, 0, count).round().astype(np.uint8)[:, None, None, None], (count, size, size, 3)
        ),
        "zoomed_in": _resized(own[:, size // 4 : size - size // 4, size // 4 : size - size // 4], size),
        "zoomed_out": np.pad(_resized(own, size // 2), ((0, 0), (size // 4,) * 2, (size // 4,) * 2, (0, 0)), "reflect"),
    }
    scorer = Scorer(
        run.model, manifest, image_size=size, batch_size=run.recipe.data.batch_size, detector=run.detector
    )
    scores = {}
    for kind, pixels in kinds.items():
        paths = pd.DataFrame({"path": [f"{kind}/{i}" for i in range(len(pixels))]})
        scores[kind] = scorer(paths, np.ascontiguousarray(pixels))[1]
    limits = run.decision.strangeness
    rows = []
    for kind, found in scores.items():
        flags = {name: found[name] > limits[name] for name in limits}
        flags["either"] = np.any(list(flags.values()), axis=0)
        for name, flagged in flags.items():
            low, high = wilson_interval(int(flagged.sum()), len(flagged))
            row = {
                "kind": kind,
                "score": name,
                "images": len(flagged),
                "flagged": round(float(flagged.mean()), 4),
                "flagged_low": round(low, 4),
                "flagged_high": round(high, 4),
            }
            if name in found and kind != "own test images":
                row |= _auc(scores["own test images"][name], found[name], args.resamples, args.seed)
            rows.append(row)
            print(*row.values(), flush=True)
    facts = {
        "model": run.recipe.name,
        "data": pathlib.PurePath(run.recipe.data.source).name,
        "split_hash": run.info["split_hash"],
        "seed": run.recipe.seed,
    }
    write_text(OUT, pd.DataFrame(rows).assign(**facts).to_csv(index=False, lineterminator="\n"))


def _some(table: pd.DataFrame, most: int, generator: np.random.Generator) -> pd.DataFrame:
    """At most so many rows, drawn without replacement, in order."""
    return table.iloc[np.sort(generator.permutation(len(table))[:most])].reset_index(drop=True)


def _resized(pixels: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(resize_images(pixels, size)).round().astype(np.uint8)


def _auc(own: np.ndarray, strange: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """Area under the ROC curve with its interval; strange images are the positives."""
    labels = np.repeat([0, 1], [len(own), len(strange)])
    values = np.concatenate([own, strange])
    ranks = np.searchsorted(np.sort(values), values) / len(values)  # only the order counts, and ties
    given = (labels, np.stack([1 - ranks, ranks], axis=1), labels)
    point = evaluate_resamples(*given, iter([np.ones((1, len(labels)), np.uint16)]))["auc"][0]
    low, high = percentile_interval(evaluate_resamples(*given, iter_counts(len(labels), resamples, seed))["auc"])
    return {"auc": round(float(point), 4), "auc_low": round(low, 4), "auc_high": round(high, 4)}


if __name__ == "__main__":
    main()
