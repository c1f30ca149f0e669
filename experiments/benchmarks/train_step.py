"""How long a training step and an epoch take: XLA on and off, float32 and mixed, against the original notebook's way.

    python experiments/benchmarks/train_step.py [--backbones mobilenetv2,efficientnetb0] [--image-size 96] [--batch 16]
    python experiments/benchmarks/train_step.py --backbones efficientnetb3,resnet152v2,convnexttiny --image-size 224

On a GPU, for one backbone and for the ensemble, steps alone:

    python experiments/benchmarks/train_step.py --steps-only --batch 64 --image-size 224 --steps 30 \\
        --backbones efficientnetb0 --output train_step_gpu_efficientnetb0.csv
    python experiments/benchmarks/train_step.py --steps-only --batch 32 --image-size 224 --steps 30 \\
        --backbones efficientnetb3,resnet152v2,convnexttiny --output train_step_gpu_ensemble.csv

What the calls and the optimizer's update cost in steps of milliseconds, alone:

    python experiments/benchmarks/train_step.py --calls-only

The notebook of system 002-A reads each image file anew every epoch through Keras's legacy ImageDataGenerator, in one
phase with the last 50 layers of each backbone open and batch normalisation training. Here images are decoded once, a
first phase trains the head alone, and batch normalisation stays frozen. All cases run in one process, the epochs in
turn, so that a busy machine slows all of them alike: read the ratios, not the seconds. On a GPU, mixed precision is
float16 with loss scaling; on a CPU bfloat16. "float32, XLA off" is what plain Keras does. Writes
experiments/results/benchmarks/train_step.csv. About six minutes on two cores.

Several steps in one call of the graph, and an update that XLA fuses, are compared with Keras's way (a call a step) in a
file of their own, train_step_calls.csv: a head on cached features, and the small network of system 003 on batches
that are ready in memory; epochs in turn, with a callback that looks at the loss after each call, as the trainer's do.

Columns: what; first_step_s (with tracing and compiling); step_s (median); images_per_s; to_plain (speed relative to the
same phase with XLA off in float32, or to a call a step; `_cpu` in processor time, which a busy machine changes
less); epoch_s (median); to_notebook (epochs relative to the notebook's).
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import tensorflow as tf  # noqa: E402
from PIL import Image  # noqa: E402

from leukemia_tf.data import load_pixels, make_pipeline, open_data, steps_per_epoch  # noqa: E402
from leukemia_tf.data.features import view_batches  # noqa: E402
from leukemia_tf.files import atomic_path  # noqa: E402
from leukemia_tf.models import build_model, open_layers  # noqa: E402
from leukemia_tf.training.metrics import make_metrics  # noqa: E402
from leukemia_tf.training.optimizer import fuse_update  # noqa: E402
from leukemia_tf.training.runtime import has_accelerator  # noqa: E402
from leukemia_tf.training.step_size import resolve_steps_per_execution, step_seconds  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"
PLAIN = "float32, XLA off"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", default="mobilenetv2,efficientnetb0")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--images", type=int, default=320, help="of the sample, for the epochs")
    parser.add_argument("--steps", type=int, default=12, help="timed steps a case")
    parser.add_argument("--epochs", type=int, default=3, help="timed epochs a case")
    parser.add_argument("--steps-only", action="store_true", help="leave out the epochs")
    parser.add_argument("--output", default="train_step.csv", help="name of the file among the results")
    parser.add_argument("--no-xla", action="store_true", help="leave out XLA, which compiles for minutes on a CPU")
    parser.add_argument("--calls-only", action="store_true", help="only several steps in a call, and the update")
    options = parser.parse_args(arguments)

    if options.calls_only:
        write(pd.DataFrame(call_rows(options)), "train_step_calls.csv")
        return

    manifest, table = open_data("sample")
    table = table.sample(min(options.images, len(table)), random_state=0).reset_index(drop=True)
    rows = step_rows(options, manifest, table)
    if not options.steps_only:
        rows += epoch_rows(options, manifest, table)
    frame = pd.DataFrame(rows)
    frame["backbones"] = options.backbones.replace(",", "+")
    frame["image_size"], frame["batch"] = options.image_size, options.batch
    write(frame, options.output)


def write(frame: pd.DataFrame, name: str) -> None:
    """Add what was measured on, and write the file."""
    frame["device"] = (tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU"))[0].device_type
    frame["cpus"], frame["tensorflow"], frame["keras"] = os.cpu_count(), tf.__version__, keras.__version__
    with atomic_path(RESULTS / name) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.4g", lineterminator="\n")
    print(frame.to_string())


def make_model(options: argparse.Namespace, precision: str, **further) -> keras.Model:
    """The ensemble with random weights, in a precision; for one backbone, that with a dense head."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        names = options.backbones.split(",")
        shared = {"image_size": options.image_size, "weights": None, **further}
        if len(names) == 1:
            return build_model("transfer", backbone=names[0], two_class_units=1, **shared)
        return build_model("ensemble", backbones=names, **shared)
    finally:
        keras.config.set_dtype_policy(before)


def compile_phase(model: keras.Model, layers: str, *, jit: bool, freeze_batchnorm: bool = True) -> None:
    open_layers(model, layers, freeze_batchnorm=freeze_batchnorm)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"], jit_compile=jit)
    model.optimizer.build(model.trainable_variables)


def step_rows(options: argparse.Namespace, manifest, table: pd.DataFrame) -> list[dict]:
    """Time single steps on one batch that is already in memory."""
    mixed = "mixed_float16" if has_accelerator() else "mixed_bfloat16"
    pixels = load_pixels(manifest, table.head(options.batch), options.image_size, progress=False)
    images, labels = np.float32(pixels), np.float32(table["label"].head(options.batch) == "ALL")[:, None]
    rows = []
    for layers in ("head", "top:50"):
        cases = {PLAIN: ("float32", False), f"{mixed}, XLA off": (mixed, False)}
        if not options.no_xla:
            cases |= {"float32, XLA on": ("float32", True), f"{mixed}, XLA on": (mixed, True)}
        models, seconds = {}, {}
        for name, (precision, jit) in cases.items():
            models[name] = make_model(options, precision)
            compile_phase(models[name], layers, jit=jit)
            began = time.perf_counter()
            models[name].train_on_batch(images, labels)
            seconds[name] = [time.perf_counter() - began]
            print(f"{layers}, {name}: first step {seconds[name][0]:.1f} s", flush=True)
        for _ in range(options.steps):
            for name, model in models.items():
                began = time.perf_counter()
                model.train_on_batch(images, labels)
                seconds[name].append(time.perf_counter() - began)
        plain = statistics.median(seconds[PLAIN][1:])
        for name, times in seconds.items():
            step = statistics.median(times[1:])
            rows.append(
                {
                    "what": f"step, {layers}, {name}",
                    "first_step_s": times[0],
                    "step_s": step,
                    "images_per_s": options.batch / step,
                    "to_plain": plain / step,
                }
            )
    return rows


def epoch_rows(options: argparse.Namespace, manifest, table: pd.DataFrame) -> list[dict]:
    """Time epochs from image files to updated weights: ours, and the notebook's."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # has no public name in Keras 3

    size, batch = options.image_size, options.batch
    steps = steps_per_epoch(table, batch, training=True)
    with tempfile.TemporaryDirectory() as folder:
        # JPEG files at the size that the augmented set of the notebook had.
        for row, path in enumerate(table["path"]):
            target = pathlib.Path(folder) / table["label"].iloc[row] / f"{row}.jpg"
            target.parent.mkdir(exist_ok=True)
            Image.open(manifest.root / path).resize((224, 224)).save(target, quality=92)
        generator = ImageDataGenerator().flow_from_directory(
            folder, target_size=(size, size), batch_size=batch, class_mode="binary", seed=0
        )
        ours, files = open_data(folder)
        began = time.perf_counter()
        pixels = load_pixels(ours, files, size, progress=False)
        decode = time.perf_counter() - began
        train = iter(
            make_pipeline(
                files, manifest=ours, image_size=size, batch_size=batch, policy="cells", training=True, pixels=pixels
            )
        )
        cases = {
            "epoch, notebook's way (one phase)": (("top:50", False), lambda: next(generator)),
            "epoch, phase 1 (head), cells": (("head", True), lambda: next(train)),
            "epoch, phase 2 (top:50), cells": (("top:50", True), lambda: next(train)),
        }
        models, seconds = {}, {name: [] for name in cases}
        for name, ((layers, freeze), batches) in cases.items():
            models[name] = make_model(options, "float32", as_published="notebook" in name)
            compile_phase(models[name], layers, jit=has_accelerator(), freeze_batchnorm=freeze)
            began = time.perf_counter()
            models[name].train_on_batch(*shaped(batches()))
            seconds[name].append(time.perf_counter() - began)
        for _ in range(options.epochs):
            for name, (_, batches) in cases.items():
                began = time.perf_counter()
                for _ in range(steps):
                    models[name].train_on_batch(*shaped(batches()))
                seconds[name].append(time.perf_counter() - began)
                print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
    notebook = statistics.median(seconds["epoch, notebook's way (one phase)"][1:])
    rows = []
    for name, times in seconds.items():
        epoch = statistics.median(times[1:])
        rows.append(
            {
                "what": name,
                "first_step_s": times[0],
                "step_s": epoch / steps,
                "images_per_s": steps * batch / epoch,
                "epoch_s": epoch,
                "to_notebook": notebook / epoch,
            }
        )
    rows.append({"what": "decoding all images once, before the first epoch", "epoch_s": decode})
    return rows


def call_rows(options: argparse.Namespace) -> list[dict]:
    """Time steps of milliseconds: one a call, as many as `resolve_steps_per_execution` chooses, and a fused update."""
    random, steps, batch = np.random.default_rng(0), 40, options.batch
    labels = np.eye(8, dtype=np.float32)[random.integers(0, 8, steps * batch)]
    widths = [1280, 2048, 1280]  # of EfficientNetB0, ResNet50 and MobileNetV2
    view = [*(random.random((len(labels), width)).astype(np.float16) for width in widths), labels]
    images = tf.constant(random.random((batch, 64, 64, 3)) * 255, tf.float32)
    rows = []
    for what, make, data in (
        (
            "head on cached features",
            lambda: features_head(widths),
            view_batches([view], batch_size=batch, dtypes=["float32"] * 4),
        ),
        (
            "bloodmnist_cnn_bn, 64 px",
            lambda: build_model("bloodmnist_cnn_bn", num_classes=8, image_size=64),
            tf.data.Dataset.from_tensors((images, tf.constant(labels[:batch]))).repeat(),
        ),
    ):
        models, seconds = {}, {}
        for way in ("a call a step", "steps a call chosen", "and a fused update"):
            keras.utils.set_random_seed(0)
            model, size = make(), 1
            if way != "a call a step":
                size = resolve_steps_per_execution("auto", steps, lambda: step_seconds(model, data, steps, cached=True))
            model.compile(
                "adam", "categorical_crossentropy", metrics=make_metrics(8), jit_compile=False, steps_per_execution=size
            )
            model.optimizer.build(model.trainable_variables)
            if "fused" in way:
                fuse_update(model.optimizer, model.trainable_variables, 10**9, jit_compile=False)
            models[f"{what}, {way} ({size})"], seconds[f"{what}, {way} ({size})"] = model, []
        for _ in range(2 * options.epochs + 1):
            for name, model in models.items():
                look = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: float(logs["loss"]))
                began = np.array([time.perf_counter(), time.process_time()])
                model.fit(data, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0, callbacks=[look])
                seconds[name].append((np.array([time.perf_counter(), time.process_time()]) - began) / steps)
        median = {name: np.median(times[1:], axis=0) for name, times in seconds.items()}
        plain = next(iter(median.values()))
        for name, (step, cpu) in median.items():
            found = {"step_s": step, "images_per_s": batch / step, "to_plain": plain[0] / step}
            rows.append({"what": name, **found, "cpu_s": cpu, "to_plain_cpu": plain[1] / cpu, "batch": batch})
    return rows


def features_head(widths: list[int]) -> keras.Model:
    """The head of the ensemble for eight classes."""
    inputs = [keras.Input((width,)) for width in widths]
    x = keras.layers.BatchNormalization()(keras.layers.Concatenate()(inputs))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(512, activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(8, activation="softmax")(x))


def shaped(batch):
    """A batch with labels of shape (B, 1)."""
    images, labels = batch
    return images, np.reshape(labels, (-1, 1))


if __name__ == "__main__":
    main()
