"""How much time cached features save: an epoch of phase 1, and a whole run against the notebook's single phase.

    python experiments/benchmarks/feature_cache.py --data bloodmnist.npz --weights FOLDER [--name pbc64]
    python experiments/benchmarks/feature_cache.py --data bloodmnist.npz --weights FOLDER --name pbc64_1200 \
        --train-images 1200 --val-images 600 --head-epochs 20 --fine-epochs 8 --fine-rate 1e-4 --fine-schedule cosine
    python experiments/benchmarks/feature_cache.py --weights FOLDER                               # the sample
    python experiments/benchmarks/feature_cache.py --data bloodmnist.npz --weights FOLDER --name epochs \
        --train-images 2000 --val-images 500 --views 1 --fine-epochs 0 --notebook-epochs 0       # epochs alone
    python experiments/benchmarks/feature_cache.py --quick --output FOLDER                        # a small one, minutes

Three ways to train the same ensemble on the same images, one after the other in one process:

- the notebook of system 002-A: images read from their files each epoch by Keras's legacy ImageDataGenerator, no
  augmentation, one phase of 15 epochs with the last 50 layers of each backbone open and batch normalisation
  training, stopped after 5 epochs without a better validation loss, the learning rate reduced after 3;
- two phases, uncached: the head for `--head-epochs` (policy cells), the backbones computed in each of them;
- two phases, cached: the same, with the backbones computed for `--views` views.

Both two-phase runs then open the last 50 layers for `--fine-epochs` at `--fine-rate`, batch normalisation frozen; the
cached one keeps what lies below them of `--fine-views` views, recorded in the pass of the first phase. They take
batches of `--batch` images, the notebook its own of `--notebook-batch`. The clock begins
before the data set is made and ends with the last epoch; checkpoints, history and validation are part of it, building
the model is not. `cpu_s` are the processor seconds of an epoch, which a busy machine changes less. Writes
experiments/results/benchmarks/feature_cache_<name>.csv (a row an epoch and run; with `_seed<N>` in its name where
--seed is not 0), .png, and feature_cache.csv (a row a data set and seed, replaced by both). `whole_ratio` compares
whole runs (`whole_cpu_ratio` by processor seconds), `ratio_to_equal` the notebook's with the time until the cached run
is at least as accurate as the notebook's best epoch. Accuracy is given of the best epoch, and of the one that is kept,
that with the lowest validation loss, which is what a user gets. Read the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import gc
import os
import pathlib
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import pandas as pd  # noqa: E402
import tensorflow as tf  # noqa: E402
from PIL import Image  # noqa: E402

from leukemia_tf.data import load_pixels, open_data, split_table  # noqa: E402
from leukemia_tf.files import atomic_path  # noqa: E402
from leukemia_tf.models import build_model, open_layers  # noqa: E402
from leukemia_tf.recipes.fitting import fit_network  # noqa: E402
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe  # noqa: E402
from leukemia_tf.training import Phase, set_determinism  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"
NOTEBOOK, UNCACHED, CACHED = "notebook, one phase", "two phases, uncached", "two phases, cached"


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="sample", help="as `leukemia-tf train --data` (default: the sample)")
    parser.add_argument("--name", help="of the data in the files (default: the stem of --data)")
    parser.add_argument("--weights", default="none", help="folder of <backbone>_notop.weights.h5, or none")
    parser.add_argument("--backbones", default="efficientnetb0,resnet50,mobilenetv2")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--notebook-batch", type=int, default=16)
    parser.add_argument("--train-images", type=int, default=640, help="a stratified choice; 0 takes all")
    parser.add_argument("--val-images", type=int, default=320, help="a stratified choice; 0 takes all")
    parser.add_argument("--head-epochs", type=int, default=30)
    parser.add_argument("--head-rate", type=float, default=1e-4, help="learning rate of the head")
    parser.add_argument("--fine-epochs", type=int, default=3)
    parser.add_argument("--fine-rate", type=float, default=3e-5, help="learning rate of the last 50 layers")
    parser.add_argument("--fine-schedule", default="constant", help="of that rate, over the phase: constant or cosine")
    parser.add_argument("--fine-views", type=int, default=2, help="of what lies below them; 0 keeps none")
    parser.add_argument("--notebook-epochs", type=int, default=15, help="0 leaves the notebook out")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--uncached-epochs", type=int, default=2, help="epochs of the head that are timed uncached")
    parser.add_argument("--whole-uncached", action="store_true", help="run the uncached training to its end")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, help="folder of the files (default: the results)")
    parser.add_argument("--quick", action="store_true", help="two small backbones, few images and epochs")
    options = parser.parse_args(arguments)
    if options.quick and options.output is None:
        parser.error("--quick needs an --output of its own: it is no result")
    options.output = options.output or RESULTS
    if options.quick:
        quick = {"backbones": "mobilenetv2,efficientnetb0", "image_size": 32, "train_images": 96, "val_images": 32}
        epochs = {"head_epochs": 4, "fine_epochs": 1, "notebook_epochs": 2, "uncached_epochs": 2}
        views = {"views": 1, "fine_views": 0}
        vars(options).update(quick | epochs | views)
    options.name = options.name or pathlib.PurePath(options.data).stem

    manifest, table = open_data(options.data)
    if not (table["split"] != "").any():
        table = split_table(table, seed=options.seed)
    parts = {
        "train": choose(table[table["split"] == "train"], options.train_images, options.seed),
        "val": choose(table[table["split"] == "val"], options.val_images, options.seed),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        os.environ["LEUKEMIA_TF_CACHE"] = str(folder / "cache")
        pixels = {split: load_pixels(manifest, part, options.image_size) for split, part in parts.items()}
        for way in (CACHED, UNCACHED, NOTEBOOK) if options.notebook_epochs else (CACHED, UNCACHED):
            keras.backend.clear_session()
            gc.collect()
            set_determinism(options.seed)
            model = make_model(options, len(manifest.classes), as_published=way == NOTEBOOK)
            clock = Clock(way)
            if way == NOTEBOOK:
                files = write_files(parts, pixels, folder / "files")
                notebook(model, files, options, clock)
            else:
                path = folder / way.replace(" ", "_")
                two_phases(model, manifest, parts, pixels, options, clock, way == CACHED, path)
            rows += clock.rows
    frame = pd.DataFrame(rows)
    facts = summary(frame, options, parts)
    name = options.name + (f"_seed{options.seed}" if options.seed else "")
    write_csv(options.output / f"feature_cache_{name}.csv", frame)
    plot(frame, options.output / f"feature_cache_{name}.png")
    whole = options.output / "feature_cache.csv"
    others = pd.read_csv(whole) if whole.exists() else pd.DataFrame()
    if len(others):
        others = others[(others["data"] != options.name) | (others["seed"] != options.seed)]
    write_csv(whole, pd.concat([others, pd.DataFrame([facts])], ignore_index=True))
    print(frame.to_string(), pd.Series(facts).to_string(), sep="\n\n")
    return frame


class Clock(keras.callbacks.Callback):
    """Seconds since the start at the end of each epoch, with what it reached."""

    def __init__(self, way: str):
        super().__init__()
        self.way = way
        self.rows: list[dict] = []
        self.phase = 0
        self.began = self.last = time.perf_counter()
        self.cpu = self.cpu_began = time.process_time()

    def on_train_begin(self, logs=None):
        self.phase += 1

    def on_epoch_begin(self, epoch, logs=None):
        # What the epoch before wrote belongs to it, and so does the pass through the backbones before the first.
        self._add(new=not self.rows)

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        self.rows.append(
            {
                "way": self.way,
                "phase": self.phase,
                "epoch": epoch + 1,
                "seconds": now - self.began,
                "cpu_seconds": time.process_time() - self.cpu_began,
                "epoch_s": now - self.last,
                "cpu_s": time.process_time() - self.cpu,
                **{key: float(logs[key]) for key in ("loss", "val_loss", "val_accuracy")},
            }
        )
        self.last, self.cpu = now, time.process_time()
        print(self.rows[-1], flush=True)

    def on_train_end(self, logs=None):
        self._add()

    def _add(self, new: bool = False) -> None:
        """Count what has passed since the last look to the epoch before, or to none."""
        now, cpu = time.perf_counter(), time.process_time()
        if not new:
            self.rows[-1]["epoch_s"] += now - self.last
            self.rows[-1]["cpu_s"] += cpu - self.cpu
        self.last, self.cpu = now, cpu


def choose(part: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    if not most or most >= len(part):
        return part.reset_index(drop=True)
    from sklearn.model_selection import train_test_split

    kept, _ = train_test_split(part.index, train_size=most, random_state=seed, stratify=part["label"])
    return part.loc[sorted(kept)].reset_index(drop=True)


def make_model(options: argparse.Namespace, classes: int, as_published: bool) -> keras.Model:
    return build_model(
        "ensemble",
        num_classes=classes,
        image_size=options.image_size,
        weights=options.weights,
        backbones=options.backbones.split(","),
        as_published=as_published,
        norm_momentum=0.99 if as_published else 0.9,
    )


def write_files(parts, pixels, folder: pathlib.Path) -> pathlib.Path:
    """JPEG files in class folders, as the notebook reads them."""
    for split, part in parts.items():
        for row, label in enumerate(part["label"]):
            target = folder / split / label / f"{row:05d}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[split][row]).save(target, quality=95)
    return folder


def notebook(model: keras.Model, files: pathlib.Path, options: argparse.Namespace, clock: Clock) -> None:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # has no public name in Keras 3

    binary = model.output_shape[-1] == 1
    settings = {
        "target_size": (options.image_size, options.image_size),
        "batch_size": options.notebook_batch,
        "class_mode": "binary" if binary else "categorical",
        "seed": options.seed,
    }
    train = ImageDataGenerator().flow_from_directory(str(files / "train"), **settings)
    val = ImageDataGenerator().flow_from_directory(str(files / "val"), shuffle=False, **settings)
    open_layers(model, "top:50", freeze_batchnorm=False)
    loss = "binary_crossentropy" if binary else "categorical_crossentropy"
    model.compile(keras.optimizers.Adam(1e-4), loss, metrics=["accuracy"])
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", patience=3, factor=0.3)
    model.fit(
        train, validation_data=val, epochs=options.notebook_epochs, verbose=0, callbacks=[stopping, plateau, clock]
    )


def two_phases(model, manifest, parts, pixels, options, clock: Clock, cached: bool, path: pathlib.Path) -> None:
    whole = cached or options.whole_uncached
    epochs = options.head_epochs if whole else options.uncached_epochs
    head = Phase("head", layers="head", epochs=epochs, learning_rate=options.head_rate)
    fine = Phase(
        "fine-tune",
        layers="top:50",
        epochs=options.fine_epochs if whole else 0,
        learning_rate=options.fine_rate,
        schedule=options.fine_schedule,
        feature_views=options.fine_views if cached else 0,
    )
    recipe = Recipe(
        "benchmark",
        "Benchmark",
        ModelSpec("ensemble"),
        (head, fine),
        DataSpec(image_size=options.image_size, batch_size=options.batch, policy="cells"),
        feature_views=options.views if cached else 0,
        seed=options.seed,
    )

    class Path:
        pass

    run = Path()
    run.path = path
    fit_network(model, recipe, run, manifest, parts, pixels, clock, False)


def summary(frame: pd.DataFrame, options: argparse.Namespace, parts) -> dict:
    """One row: ratios of the epochs and of the whole runs."""
    runs = {way: rows for way, rows in frame.groupby("way")}
    head = {way: runs[way][runs[way]["phase"] == 1] for way in (CACHED, UNCACHED)}
    # The first epoch traces.
    epoch = {way: statistics.median(rows["epoch_s"].iloc[1:]) for way, rows in head.items()}
    cpu = {way: statistics.median(rows["cpu_s"].iloc[1:]) for way, rows in head.items()}
    best = {way: rows["val_accuracy"].max() for way, rows in runs.items()}
    kept = {way: rows["val_accuracy"].iloc[rows["val_loss"].argmin()] for way, rows in runs.items()}
    total = {way: rows["seconds"].iloc[-1] for way, rows in runs.items()}
    compared = {}
    if NOTEBOOK in runs:
        equal = runs[CACHED]["seconds"][runs[CACHED]["val_accuracy"] >= best[NOTEBOOK]]
        compared = {
            "notebook_batch": options.notebook_batch,
            "notebook_epochs": len(runs[NOTEBOOK]),
            "epoch_to_notebook": statistics.median(runs[NOTEBOOK]["epoch_s"].iloc[1:]) / epoch[CACHED],
            "notebook_s": total[NOTEBOOK],
            "notebook_val_accuracy": best[NOTEBOOK],
            "notebook_kept_accuracy": kept[NOTEBOOK],
            "whole_ratio": total[NOTEBOOK] / total[CACHED],
            "whole_cpu_ratio": runs[NOTEBOOK]["cpu_seconds"].iloc[-1] / runs[CACHED]["cpu_seconds"].iloc[-1],
            "seconds_to_equal": equal.iloc[0] if len(equal) else None,
            "ratio_to_equal": total[NOTEBOOK] / equal.iloc[0] if len(equal) else None,
        }
    return {
        "data": options.name,
        "train_images": len(parts["train"]),
        "val_images": len(parts["val"]),
        "image_size": options.image_size,
        "batch": options.batch,
        "backbones": options.backbones.replace(",", "+"),
        "weights": "none" if options.weights == "none" else "imagenet",
        "views": options.views,
        "fine_views": options.fine_views,
        "head_rate": options.head_rate,
        "fine_rate": options.fine_rate,
        "fine_schedule": options.fine_schedule,
        "head_epochs": options.head_epochs,
        "fine_epochs": options.fine_epochs,
        "seed": options.seed,
        "epoch_uncached_s": epoch[UNCACHED],
        "epoch_cached_s": epoch[CACHED],
        "epoch_ratio": epoch[UNCACHED] / epoch[CACHED],
        "cpu_uncached_s": cpu[UNCACHED],
        "cpu_cached_s": cpu[CACHED],
        "cpu_ratio": cpu[UNCACHED] / cpu[CACHED],
        "pass_s": head[CACHED]["seconds"].iloc[0] - head[CACHED]["epoch_s"].iloc[0],
        "cached_s": total[CACHED],
        "cached_val_accuracy": best[CACHED],
        "cached_kept_accuracy": kept[CACHED],
        **compared,
        "uncached_s": total[UNCACHED] if options.whole_uncached else None,
        "uncached_val_accuracy": best[UNCACHED] if options.whole_uncached else None,
        "device": (tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU"))[0].device_type,
        "cpus": os.cpu_count(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def write_csv(path: pathlib.Path, frame: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")


def plot(frame: pd.DataFrame, path: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for way, rows in frame.groupby("way", sort=False):
        axes.plot(rows["seconds"], rows["val_accuracy"], marker="o", markersize=3, label=way)
    axes.set(xlabel="seconds since the start", ylabel="validation accuracy", xlim=(0, None))
    axes.legend()
    axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
