"""Whether the pipeline keeps a GPU busy that trains EfficientNetB0 at 224 pixels, with a stand-in for the GPU.

    python experiments/benchmarks/feed.py [--seconds 6] [--batch 64] [--policy cells]

The stand-in takes a batch, is busy for as long as the GPU's step would take, and uses no processor meanwhile; like
Keras, it fetches the next batch while the one before is in work. It is fed by the pipeline as training has it: uint8
pixels in memory, augmentation in batches on all cores of this machine, prefetching. Images a second that the GPUs
train in mixed precision (``--rates`` sets others):

- A100 3454, V100 868: published, NVIDIA DeepLearningExamples, TensorFlow2/Classification/ConvNets/efficientnet_v1,
  "Training performance results for EfficientNet v1-B0", one GPU, large batches (an upper bound for batches of 64);
- T4 309, P100 612: reasoned from these, since depthwise convolutions wait for memory: the V100's rate (P100: its 752 in
  float32, having no tensor cores) times memory bandwidth, 320 (T4) and 732 (P100) of 900 GB/s.

Each GPU is fed twice where this machine has fewer than four cores: at its full rate, and at its rate times cores / 4,
which stands for four cores (`stands_for_cores`): augmentation is by batches that share nothing, so that four cores
prepare as many times more as they are more, as long as memory keeps up. A stand-in has no driver, whose processor time
(about one core's third in a real training) is not in the figures. Half a minute. Writes
experiments/results/benchmarks/feed.csv and feed.png.

Columns: gpu; images_per_s (that the stand-in would take); batch; cores; stands_for_cores; busy (share of time);
images_per_cpu_s (prepared in a second of processor time, which other programs on the machine change less);
by_cpu_time (the busy share that `stands_for_cores` would give at that rate, were they free); goal; measured; met.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time
import types

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import tensorflow as tf  # noqa: E402

from leukemia_tf.data.pipeline import make_pipeline  # noqa: E402
from leukemia_tf.files import atomic_path, write_text  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"
RATES = {"T4": 309.0, "P100": 612.0, "V100": 868.0, "A100": 3454.0}
GOAL, CORES = 0.9, 4


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=224, help="side of the images (default: 224)")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch (default: 64)")
    parser.add_argument("--policy", default="cells", help="augmentation (default: cells)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement (default: 4)")
    parser.add_argument("--rates", nargs="+", metavar="GPU=IMAGES", help="images a second instead of the built-in ones")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS / "feed.csv", help="CSV file to write")
    options = parser.parse_args(arguments)
    rates = RATES
    if options.rates:
        rates = {name: float(rate) for name, rate in (entry.split("=") for entry in options.rates)}
    cores, dataset = os.cpu_count(), pipeline(options.size, options.batch, options.policy)
    rows = []
    for gpu, rate in rates.items():
        for stands_for in dict.fromkeys([cores, max(cores, CORES)]):
            busy, images_per_cpu_s = feed(dataset, options.batch, rate * cores / stands_for, options.seconds)
            rows.append(
                {
                    "gpu": gpu,
                    "images_per_s": round(rate * cores / stands_for),
                    "batch": options.batch,
                    "cores": cores,
                    "stands_for_cores": stands_for,
                    "busy": round(busy, 3),
                    "images_per_cpu_s": round(images_per_cpu_s),
                    "by_cpu_time": round(min(1.0, stands_for * images_per_cpu_s / rate), 3),
                    "goal": GOAL,
                    "measured": round(busy, 3),
                    "met": busy >= GOAL,
                    "size": options.size,
                    "policy": options.policy,
                    "load": round(os.getloadavg()[0], 2),
                    "tensorflow": tf.__version__,
                }
            )
    frame = pd.DataFrame(rows)
    write_text(options.output, frame.to_csv(index=False, lineterminator="\n"))
    plot(frame, options.output.with_suffix(".png"))
    return frame


def pipeline(size: int, batch: int, policy: str, count: int = 512) -> tf.data.Dataset:
    """The batches of a training, of random pixels (what they show costs nothing)."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    table = pd.DataFrame({"path": [f"{number}.png" for number in range(count)], "label": ["a", "b"] * (count // 2)})
    manifest = types.SimpleNamespace(classes=("a", "b"))
    return make_pipeline(
        table, manifest=manifest, image_size=size, batch_size=batch, policy=policy, training=True, pixels=pixels
    )


def feed(dataset: tf.data.Dataset, batch: int, rate: float, seconds: float, warm_up: int = 8) -> tuple[float, float]:
    """Share of the time in which a consumer of `rate` images a second is busy; images prepared in a processor second.

    The clock starts after some batches, when the buffers are as full as they stay.
    """
    step, batches = batch / rate, iter(dataset)
    free = began = 0.0
    taken = 0
    for number, _ in enumerate(batches):
        now = time.perf_counter()
        if number == warm_up:
            began = free = now
            processor = time.process_time()
        if number >= warm_up:
            taken += 1
        start = max(free, now)
        free = start + step
        # One batch is in work while the next is fetched.
        time.sleep(max(0.0, start - now))
        if number > warm_up and now - began > seconds:
            break
    return taken * step / (free - began), taken * batch / (time.process_time() - processor)


def plot(frame: pd.DataFrame, path: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for number, (cores, part) in enumerate(frame.groupby("stands_for_cores")):
        bars = axes.bar(np.arange(len(part)) + 0.4 * number, 100 * part["busy"], 0.38, label=f"{cores} cores")
        axes.bar_label(bars, [f"{100 * busy:.0f}" for busy in part["busy"]])
    axes.set_xticks(np.arange(frame["gpu"].nunique()) + 0.2, frame["gpu"].unique())
    axes.axhline(100 * GOAL, color="black", linestyle=":", linewidth=0.8)
    first = frame.iloc[0]
    axes.set_ylabel("busy, % of the time")
    axes.set_title(
        f"Simulated GPUs on EfficientNetB0, {first['size']} px, {first['policy']};\n"
        f"measured on {first['cores']} cores, more cores by a GPU that is slower by as much"
    )
    axes.legend(loc="lower left")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    print(main(sys.argv[1:]).to_string(index=False))
