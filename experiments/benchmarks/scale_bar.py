"""Does a model look at the scale bar? Attribution in the corner with burned-in print, and predictions without it.

    python experiments/benchmarks/scale_bar.py RUN --data FOLDER

RUN was trained on the images in FOLDER, which carry a scale bar as those of the Taleqani set do. The audit's detector
finds where print recurs and which images show it; the region is the box around all of it, a little wider, so that the
label under the strokes lies within. On test images:

- the share of positive attribution in the region, by Grad-CAM (all of them) and by occlusion (a sample of each class),
  beside the region's share of the area and beside the same box in the three other corners, since maps may be weaker or
  stronger towards the border anyhow;
- what becomes of the predictions when the region is painted over from its surroundings (OpenCV's inpainting), beside
  the same done to the three other corners;
- whether the Grad-CAM maps survive when the weights are shuffled.

Intervals: 95 %, bootstrap over images (no subjects are known in the Taleqani set); Wilson's for changed predictions.
Writes ``scale_bar.csv``, ``scale_bar_painted.csv``, ``scale_bar.json`` and ``scale_bar.png`` into
``experiments/results/explain``; with ``--pictures FOLDER`` maps with the region framed, which show images of the data
set and so stay out of the repository.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shlex
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from leukemia_tf.data import load_pixels, open_data  # noqa: E402
from leukemia_tf.data.audit.overlay import find_print, recurring_prints  # noqa: E402
from leukemia_tf.data.split_file import apply_split  # noqa: E402
from leukemia_tf.evaluation import mean_interval, wilson_interval  # noqa: E402
from leukemia_tf.explain import (  # noqa: E402
    Network,
    draw_explanation,
    grad_cam,
    occlusion,
    randomisation_check,
    region_mask,
    share_in_region,
)
from leukemia_tf.explain.pictures import save_picture  # noqa: E402
from leukemia_tf.files import atomic_path, write_json, write_text  # noqa: E402
from leukemia_tf.recipes import load_run  # noqa: E402
from leukemia_tf.recipes.environment import describe_environment  # noqa: E402

MARGIN = 0.04
"""Added to the box on each side, as a share of the image: the strokes of the Taleqani bars stand on a label."""

RESAMPLES = 10_000
ALL = "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="folder of a run")
    parser.add_argument("--data", required=True, help="the folder that it was trained on")
    parser.add_argument("--per-class", type=int, default=8, help="images of each class for occlusion")
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--stride", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=pathlib.Path, help="folder for maps of two images a class")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[1] / "results" / "explain"
    )
    args = parser.parse_args()

    run = load_run(args.run)
    manifest, table = open_data(args.data)
    table = apply_split(table, run.path / "split.csv")
    size = run.info["image_size"]
    everything = load_pixels(manifest, table, size, progress=False)
    prints, shown = recurring_prints(np.stack([find_print(one) for one in everything]), table["label"].to_numpy())
    if not prints:
        parser.error(f"--data must hold images with recurring print. Received: {args.data}")
    region = box_around(prints)
    chosen = (table["split"] == "test").to_numpy() & shown.any(axis=1)
    pixels, labels = everything[chosen], table["label"].to_numpy()[chosen]
    print(f"{len(table)} images, {shown.any(axis=1).sum()} with print; {len(pixels)} of them in test; region {region}")

    network = Network(run.model)
    probabilities = network.probabilities(pixels)
    predicted = probabilities.argmax(axis=1)
    accuracy = float((np.array(run.classes)[predicted] == labels).mean())
    rng = np.random.default_rng(args.seed)
    sample = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == name))[: args.per_class] for name in run.classes]
    )
    sample.sort()
    cam = grad_cam(network, pixels, predicted)
    covered = occlusion(
        network, pixels[sample], predicted[sample], patch=args.patch, stride=args.stride, progress=True
    )
    check = randomisation_check(
        network,
        pixels[sample],
        lambda model: grad_cam(model, pixels[sample], predicted[sample]).maps,
        before=cam.maps[sample],
        seed=args.seed,
    )
    facts = {
        "data": pathlib.Path(args.data).name,
        "recipe": run.recipe.name,
        "image_size": size,
        "split": table.attrs["split_level"],
        "split_hash": run.info["split_hash"],
        "seed": args.seed,
    }
    shares = pd.DataFrame(
        [
            {"method": method, **row, **facts}
            for method, maps, names in (("grad_cam", cam.maps, labels), ("occlusion", covered.maps, labels[sample]))
            for row in share_rows(maps, names, region, run.classes, args.seed)
        ]
    )
    painted = painted_rows(network, pixels, labels, probabilities, region, run.classes, args.seed)
    painted = pd.DataFrame([{**row, **facts} for row in painted])
    write_text(args.out / "scale_bar.csv", shares.to_csv(index=False, lineterminator="\n"))
    write_text(args.out / "scale_bar_painted.csv", painted.to_csv(index=False, lineterminator="\n"))
    command = shlex.join(
        ["python", "experiments/benchmarks/scale_bar.py", f"runs/{run.path.name}", "--data", facts["data"]]
        + without_folders(sys.argv[2:])
    )
    write_json(
        args.out / "scale_bar.json",
        {
            **facts,
            "region": [round(side, 4) for side in region],
            "images_with_print": {
                name: round(float(shown.any(axis=1)[(table["label"] == name).to_numpy()].mean()), 4)
                for name in run.classes
            },
            "red_print": {name: red_share(everything, shown, table, name, region) for name in run.classes},
            "test_images": len(pixels),
            "test_accuracy": round(accuracy, 4),
            "occlusion": {"images": len(sample), "patch": args.patch, "stride": args.stride},
            "shuffled_weights": {
                stage: round(float(np.median(np.abs(values))), 4)
                for stage, values in zip(check.stages, check.correlations)
            },
            "shuffled_weights_verdict": check.verdict,
            "environment": describe_environment(command=command),
        },
    )
    plot(shares, painted, args.out / "scale_bar.png", facts)
    if args.pictures:
        draw(args.pictures, pixels, labels, sample, cam, covered, probabilities, run.classes, region)
    columns = ["method", "class", "n", "area", "share", "low", "high", "other_corners", "more", "more_low", "more_high"]
    print(shares[columns].to_string(index=False))
    print(painted.drop(columns=list(facts)).to_string(index=False))
    print(check.verdict)


def box_around(prints) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of all prints, with the margin, within the image."""
    boxes = np.array([one.box for one in prints])
    low, high = boxes[:, :2].min(axis=0) - MARGIN, boxes[:, 2:].max(axis=0) + MARGIN
    return tuple(float(side) for side in np.clip([*low, *high], 0, 1))


def other_corners(region) -> list[tuple[float, float, float, float]]:
    """The box mirrored left-right, top-bottom, and both."""
    left, top, right, bottom = region
    across, upright = (1 - right, 1 - left), (1 - bottom, 1 - top)
    return [
        (across[0], top, across[1], bottom),
        (left, upright[0], right, upright[1]),
        (across[0], upright[0], across[1], upright[1]),
    ]


def share_rows(maps, labels, region, classes, seed) -> list[dict]:
    """A row for all images and for each class."""
    share, area = share_in_region(maps, region)
    others = np.mean([share_in_region(maps, corner).share for corner in other_corners(region)], axis=0)
    rows = []
    for name in (ALL, *classes):
        of = np.isfinite(share) & ((labels == name) | (name == ALL))
        mean = mean_interval(share[of], bootstrap=RESAMPLES, seed=seed)
        more = mean_interval(share[of] - others[of], bootstrap=RESAMPLES, seed=seed)
        rows.append(
            {
                "class": name,
                "n": int(of.sum()),
                "empty_maps": int((~np.isfinite(share) & ((labels == name) | (name == ALL))).sum()),
                "area": round(area, 4),
                "share": round(mean.value, 4),
                "low": round(mean.low, 4),
                "high": round(mean.high, 4),
                "times_area": round(mean.value / area, 2),
                "other_corners": round(float(others[of].mean()), 4),
                "more": round(more.value, 4),
                "more_low": round(more.low, 4),
                "more_high": round(more.high, 4),
            }
        )
    return rows


def paint_over(pixels: np.ndarray, region) -> np.ndarray:
    """The region filled from its surroundings (Telea, 2004)."""
    mask = region_mask(region, pixels.shape[1]).astype(np.uint8)
    return np.stack([cv2.inpaint(one, mask, 3, cv2.INPAINT_TELEA) for one in pixels])


def painted_rows(network, pixels, labels, probabilities, region, classes, seed) -> list[dict]:
    """How many predictions change without the region, and how the probability of the true class does."""
    index = np.array([list(classes).index(name) for name in labels])
    rows_of = np.arange(len(index))
    before, own = probabilities.argmax(axis=1), probabilities[rows_of, index]
    without = network.probabilities(paint_over(pixels, region))
    controls = [network.probabilities(paint_over(pixels, corner)) for corner in other_corners(region)]
    changed = without.argmax(axis=1) != before
    changed_control = np.mean([one.argmax(axis=1) != before for one in controls], axis=0)
    fall = own - without[rows_of, index]
    fall_control = np.mean([own - one[rows_of, index] for one in controls], axis=0)
    rows = []
    for name in (ALL, *classes):
        of = (labels == name) | (name == ALL)
        low, high = wilson_interval(int(changed[of].sum()), int(of.sum()))
        more = mean_interval(fall[of] - fall_control[of], bootstrap=RESAMPLES, seed=seed)
        rows.append(
            {
                "class": name,
                "n": int(of.sum()),
                "accuracy": round(float((before == index)[of].mean()), 4),
                "accuracy_painted": round(float((without.argmax(axis=1) == index)[of].mean()), 4),
                "changed": round(float(changed[of].mean()), 4),
                "changed_low": round(low, 4),
                "changed_high": round(high, 4),
                "changed_other_corners": round(float(changed_control[of].mean()), 4),
                "fall": round(float(fall[of].mean()), 4),
                "fall_beyond_other_corners": round(more.value, 4),
                "fall_interval": f"[{more.low:.4f}, {more.high:.4f}]",
            }
        )
    return rows


def red_share(pixels, shown, table, name, region) -> float:
    """Of the images of a class with print, the share whose print is red, which no cell is."""
    rows = (table["label"] == name).to_numpy() & shown.any(axis=1)
    mask = region_mask(region, pixels.shape[1])
    red = [((one[mask][:, 0].astype(int) - one[mask][:, 1:].max(axis=1)) > 60).sum() >= 10 for one in pixels[rows]]
    return round(float(np.mean(red)), 4)


def without_folders(arguments: list[str]) -> list[str]:
    """The further options, without those whose value is a folder of one machine."""
    kept, skip = [], False
    for word in arguments:
        name = word.partition("=")[0]
        if skip or name in ("--data", "--out", "--pictures"):
            skip = not skip and "=" not in word
            continue
        kept.append(word)
    return kept


def plot(shares: pd.DataFrame, painted: pd.DataFrame, path: pathlib.Path, facts: dict) -> None:
    """Share of attribution by class and method beside the area; changed predictions beside the other corners."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    classes = list(painted["class"])
    for shift, (method, colour) in enumerate((("grad_cam", "#0b5c8a"), ("occlusion", "#d1620b"))):
        of = shares[shares["method"] == method].set_index("class").loc[classes]
        place = np.arange(len(classes)) + 0.2 * (2 * shift - 1)
        errors = 100 * np.array([of["share"] - of["low"], of["high"] - of["share"]]).clip(0)
        label = {"grad_cam": "Grad-CAM", "occlusion": "occlusion"}[method]
        left.bar(place, 100 * of["share"], 0.36, yerr=errors, capsize=3, color=colour, label=label)
        left.plot(place, 100 * of["other_corners"], "_", color="black", markersize=16, markeredgewidth=2)
    left.plot([], [], "_", color="black", markersize=12, markeredgewidth=2, label="other three corners, mean")
    left.axhline(100 * shares["area"].iloc[0], color="#5b6670", linestyle=":", label="share of the area")
    left.set_ylabel("attribution in the corner, %")
    left.margins(y=0.35)
    left.legend(fontsize=8, frameon=False, ncols=2, loc="upper left")
    place = np.arange(len(classes))
    errors = 100 * np.array(
        [painted["changed"] - painted["changed_low"], painted["changed_high"] - painted["changed"]]
    ).clip(0)
    right.bar(place - 0.2, 100 * painted["changed"], 0.36, yerr=errors, capsize=3, color="#0b5c8a", label="scale bar")
    right.bar(place + 0.2, 100 * painted["changed_other_corners"], 0.36, color="#8a949e", label="other corners, mean")
    right.set_ylabel("predictions changed by painting over, %")
    right.margins(y=0.2)
    right.legend(fontsize=8, frameon=False, loc="upper right")
    for axes in (left, right):
        axes.set_xticks(np.arange(len(classes)), classes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
    what = f"{facts['recipe']} on {facts['data']}, {facts['image_size']} px"
    figure.suptitle(f"{what}, split by {facts['split']}, seed {facts['seed']}", fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def draw(folder, pixels, labels, sample, cam, covered, probabilities, classes, region) -> None:
    """Two images of each class, by both methods."""
    for name in classes:
        for number in [place for place, row in enumerate(sample) if labels[row] == name][:2]:
            row = sample[number]
            said = probabilities[row].argmax()
            title = f"{name}, predicted {classes[said]} ({probabilities[row, said]:.3f})"
            for attribution, map_ in ((cam, cam.maps[row]), (covered, covered.maps[number])):
                figure = draw_explanation(
                    pixels[row], map_, title=title, method=attribution.method, unit=attribution.unit, box=region
                )
                save_picture(folder / f"{name}_{row}_{attribution.method}.png", figure)


if __name__ == "__main__":
    main()
