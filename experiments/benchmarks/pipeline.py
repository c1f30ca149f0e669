"""How fast the data pipeline is: decoding, each augmentation policy, and the same as stock Keras layers.

    python experiments/benchmarks/pipeline.py [--images FOLDER] [--size 128] [--batch 64] [--rounds 5]

All cases are measured in one run, in turn, several rounds over, so that a busy machine slows all of them alike. Read
the ratios, not the images per second. Writes experiments/results/benchmarks/pipeline.csv and pipeline.png. About two
minutes on two cores.

Columns: what; images_per_s (median of the rounds), lowest, highest; to_decode (ratio to JPEG decode and resize);
stock and to_stock (the stack of Keras layers that does the same job, and the ratio to it); images_per_cpu_s,
cpu_to_decode and cpu_to_stock (the same by processor time, which other programs on the machine change less).
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import tempfile
import time
import types

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import tensorflow as tf  # noqa: E402

from leukemia_tf import files  # noqa: E402
from leukemia_tf.data.decode import decode_image, read_image  # noqa: E402
from leukemia_tf.data.pipeline import make_pipeline  # noqa: E402
from leukemia_tf.data.resize import resize_images  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"
DECODE = "decode and resize, JPEG 360"
STOCK = {"published_002": "Keras layers, published_002", "cells": "Keras layers, cells"}


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=pathlib.Path, help="folder with JPEG files; without it smears are drawn")
    parser.add_argument("--size", type=int, default=128, help="side of the batches' images (default: 128)")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch (default: 64)")
    parser.add_argument("--count", type=int, default=256, help="images read (default: 256)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each case (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement (default: 2)")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS / "pipeline.csv", help="CSV file to write")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as folder:
        sources = read_or_draw(options.images, options.count)
        jpegs = write(sources, pathlib.Path(folder), ".jpg", 360)
        bitmaps = write(sources, pathlib.Path(folder), ".bmp", 450)
        pixels = np.stack([resize_images(image, options.size) for image in sources]).astype(np.uint8)
        cases = {
            DECODE: decoding(jpegs, options.size, options.batch),
            "decode and resize, BMP 450": decoding(bitmaps, options.size, options.batch),
            **augmenting(pixels, options.batch),
        }
        rates = measure(cases, options.batch, options.rounds, options.seconds)
    frame = summarise(rates, options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(options.output, frame.to_csv(index=False))
    plot(frame, options.output.with_suffix(".png"))
    return frame


def read_or_draw(folder: pathlib.Path | None, count: int) -> list[np.ndarray]:
    if folder is not None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
        if not paths:
            raise SystemExit(f"`--images` must be a folder with JPEG files, got {folder}")
        return [read_image(path) for path in (paths * (count // len(paths) + 1))[:count]]
    return [draw_smear(np.random.default_rng(number)) for number in range(count)]


def draw_smear(random: np.random.Generator, size: int = 450) -> np.ndarray:
    """Pink red cells, one purple cell and grain: compresses about as a photograph of a smear does."""
    image = np.full((size, size, 3), (250, 228, 206), np.uint8)
    for x, y in random.integers(0, size, (40, 2)).tolist():
        cv2.circle(image, (x, y), 32, (205, 160, 165), -1, cv2.LINE_AA)
        cv2.circle(image, (x, y), 12, (226, 190, 188), -1, cv2.LINE_AA)
    cv2.circle(image, (size // 2, size // 2), 70, (150, 110, 190), -1, cv2.LINE_AA)
    cv2.circle(image, (size // 2 + 12, size // 2 - 8), 48, (75, 45, 130), -1, cv2.LINE_AA)
    image = cv2.GaussianBlur(image, (0, 0), 1.5)
    return np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def write(images: list[np.ndarray], folder: pathlib.Path, suffix: str, size: int) -> list[str]:
    paths = [str(folder / f"{number:04d}{suffix}") for number in range(len(images))]
    for path, image in zip(paths, images):
        cv2.imwrite(path, cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)[..., ::-1])
    return paths


def decoding(paths: list[str], size: int, batch: int) -> tf.data.Dataset:
    def read(path):
        return resize_images(decode_image(tf.io.read_file(path)), size)

    return tf.data.Dataset.from_tensor_slices(paths).repeat().map(read, tf.data.AUTOTUNE).batch(batch).prefetch(1)


def augmenting(pixels: np.ndarray, batch: int) -> dict[str, tf.data.Dataset]:
    count, size = pixels.shape[:2]
    table = pd.DataFrame({"path": [f"{i:04d}.png" for i in range(count)], "label": ["a", "b"] * (count // 2)})
    manifest = types.SimpleNamespace(classes=("a", "b"))

    def pipeline(policy):
        return make_pipeline(
            table, manifest=manifest, image_size=size, batch_size=batch, policy=policy, training=True, pixels=pixels
        )

    cases = {f"policy {name}": pipeline(name) for name in ("none", "d4", "cells", "published_002", "strong")}
    layers = keras.layers
    published = [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.15),
        layers.RandomZoom(0.15),
        layers.RandomContrast(0.15),
    ]
    # The job of `cells` in five layers, its shear left out.
    cells = [
        layers.RandomFlip("horizontal_and_vertical"),
        layers.RandomRotation(15 / 360),
        layers.RandomZoom(0.1),
        layers.RandomTranslation(0.05, 0.05),
        layers.RandomColorJitter(
            value_range=(0, 255), brightness_factor=0.06, contrast_factor=0.15, saturation_factor=0.15, hue_factor=0.02
        ),
    ]
    for name, stack in (("published_002", published), ("cells", cells)):
        model = keras.Sequential([keras.Input((size, size, 3)), *stack])

        def augmented(images, labels, model=model):
            return model(images, training=True), labels

        cases[f"Keras layers, {name}"] = pipeline("none").map(augmented, tf.data.AUTOTUNE).prefetch(1)
    return cases


def measure(cases: dict[str, tf.data.Dataset], batch: int, rounds: int, seconds: float) -> dict[str, np.ndarray]:
    """Images per second, and per second of processor time, of each case in each round: [rounds, 2].

    A measurement runs over a dataset of its own length from start to end, so that no batch is prepared before the clock
    starts or after it stops.
    """
    passes = {}
    for name, dataset in cases.items():
        rate = 2 / timed(dataset.take(2))[0]  # the first pass also warms up
        passes[name] = dataset.take(max(2, round(rate * seconds)))
        passes[name] = dataset.take(max(2, round(2 / timed(dataset.take(2))[0] * seconds)))
    rates = {name: [] for name in cases}
    for _ in range(rounds):
        for name, dataset in passes.items():
            rates[name].append(int(dataset.cardinality()) * batch / timed(dataset))
    return {name: np.stack(values) for name, values in rates.items()}


def timed(dataset: tf.data.Dataset) -> np.ndarray:
    """Seconds, and seconds of processor time, of one pass."""
    start = np.array([time.perf_counter(), time.process_time()])
    for _ in dataset:
        pass
    return np.array([time.perf_counter(), time.process_time()]) - start


def summarise(rates: dict[str, np.ndarray], options: argparse.Namespace) -> pd.DataFrame:
    middle = {name: statistics.median(values[:, 0]) for name, values in rates.items()}
    by_cpu = {name: statistics.median(values[:, 1]) for name, values in rates.items()}
    versions = {"tensorflow": tf.__version__, "keras": keras.__version__, "opencv": cv2.__version__}
    rows = []
    for name, values in rates.items():
        stock = STOCK.get(name.removeprefix("policy "), "")
        rows.append(
            {
                "what": name,
                "images_per_s": round(middle[name]),
                "lowest": round(min(values[:, 0])),
                "highest": round(max(values[:, 0])),
                "to_decode": round(middle[name] / middle[DECODE], 2),
                "stock": stock,
                "to_stock": round(middle[name] / middle[stock], 1) if stock else "",
                "images_per_cpu_s": round(by_cpu[name]),
                "cpu_to_decode": round(by_cpu[name] / by_cpu[DECODE], 2),
                "cpu_to_stock": round(by_cpu[name] / by_cpu[stock], 1) if stock else "",
                "images": "photographs" if options.images else "drawn",
                "batch": options.batch,
                "size": options.size,
                "cpu_count": os.cpu_count(),
                **versions,
            }
        )
    return pd.DataFrame(rows)


def plot(frame: pd.DataFrame, path: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    ours = frame["what"].str.startswith("policy")
    colours = np.where(ours, "tab:blue", np.where(frame["what"].str.startswith("Keras"), "tab:orange", "tab:grey"))
    bars = axes.barh(frame["what"], frame["to_decode"], color=colours)
    axes.bar_label(bars, [f" {ratio:.2f}" for ratio in frame["to_decode"]])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    first = frame.iloc[0]
    axes.set_xlabel("images per second, as a ratio to JPEG decode and resize")
    axes.set_title(f"{first['size']} pixels, batch {first['batch']}, {first['cpu_count']} CPU cores")
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    with pd.option_context("display.width", 200, "display.max_columns", None):
        table = main().drop(columns=["images", "batch", "size", "cpu_count", "tensorflow", "keras", "opencv"])
        print(table.to_string(index=False))
