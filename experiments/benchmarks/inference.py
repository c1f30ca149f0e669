"""How fast a trained run answers in each format, what 8 bits cost in accuracy, and how well reading hides behind it.

    python experiments/benchmarks/inference.py [RUN ...]
    python experiments/benchmarks/inference.py runs/cnn_se runs/mobilenetv2

Without a RUN a small network is trained on the embedded sample first, whose speed is that of any other with its shape.
Every RUN is exported to all formats where it has not been. Calls of all formats take turns, so that a busy machine
slows all of them alike: read the ratios, not the milliseconds. Writes to experiments/results/benchmarks:

- inference.csv: run; image_size; format; megabytes; batch; ms (median of a call); to_predict (speed relative to
  ``model.predict`` at the same batch); accuracy_keras, accuracy_lost, lost_low, lost_high (test images, 95 % paired
  bootstrap; on the rows of batch 1); test_images.
- inference_folder.csv: run; format; images; reading (images a second that reading alone manages); model (pixels in
  memory, batches of 32); folder (`leukemia-tf predict` on files); to_model (folder relative to model); to_slower
  (relative to the slower of reading and model, the best that two stages side by side can reach); to_sum (relative to
  one after the other: above 1, reading hides); peak_mb (of the process so far).
- inference.png, from both.
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

from leukemia_tf.data import load_pixels  # noqa: E402
from leukemia_tf.data.decode_pillow import read_with_pillow  # noqa: E402
from leukemia_tf.data.resize_sparse import resize_image  # noqa: E402
from leukemia_tf.data.threads import map_threads  # noqa: E402
from leukemia_tf.evaluation import compare_predictions, save_figure  # noqa: E402
from leukemia_tf.evaluation.predictions import plain_columns  # noqa: E402
from leukemia_tf.export.runners import Runner  # noqa: E402
from leukemia_tf.files import atomic_path  # noqa: E402
from leukemia_tf.recipes import get_recipe, load_run  # noqa: E402
from leukemia_tf.recipes.answering import open_model  # noqa: E402
from leukemia_tf.recipes.environment import peak_memory_mb  # noqa: E402
from leukemia_tf.recipes.export import export_run  # noqa: E402
from leukemia_tf.recipes.predict_stream import predict_files  # noqa: E402
from leukemia_tf.recipes.prepare import prepare_table  # noqa: E402
from leukemia_tf.recipes.run import Run  # noqa: E402
from leukemia_tf.recipes.train_recipe import for_source, train_recipe  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"
EXPORTS = ["saved_model", "litert", "litert-int8", "onnx"]
PREDICT, FUNCTION = "model.predict", "tf.function"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folders of finished runs")
    parser.add_argument("--calls", type=int, default=40, help="timed calls a format")
    parser.add_argument("--files", type=int, default=10_000, help="images of the folder")
    parser.add_argument("--side", type=int, default=0, help="side of the folder's images; 0 takes the run's own size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        paths = options.runs or [str(small_run(pathlib.Path(scratch)).path)]
        answers, folders = [], []
        for path in paths:
            run = load_run(path)
            if not all((run.path / name).exists() for name in EXPORTS):
                export_run(run, EXPORTS, max_accuracy_loss=None if options.runs else 1.0)
            pixels, test = test_images(run)
            answers += answer_rows(run, pixels, test, options.calls)
            folders += folder_rows(run, pixels, pathlib.Path(scratch), options)
    facts = {"cpus": os.cpu_count(), "tensorflow": tf.__version__, "keras": keras.__version__}
    frames = [pd.DataFrame(rows).assign(**facts) for rows in (answers, folders)]
    for frame, name in zip(frames, ("inference.csv", "inference_folder.csv")):
        with atomic_path(RESULTS / name) as temporary:
            frame.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")
        print(frame.to_string())
    draw(*frames)


def small_run(scratch: pathlib.Path) -> Run:
    """A network of the size of system 003, trained for seconds."""
    recipe = for_source(get_recipe("bloodmnist_cnn_se"), None)
    phases = tuple(phase.__class__(**{**phase.__dict__, "epochs": 2}) for phase in recipe.phases)
    return train_recipe(recipe.__class__(**{**recipe.__dict__, "phases": phases}), scratch / "run")


def test_images(run: Run) -> tuple[np.ndarray, pd.DataFrame]:
    """Pixels and rows of the run's test split."""
    manifest, table = prepare_table(run.recipe, run, progress=False)
    table = table[table["split"] == "test"]
    return load_pixels(manifest, table, run.info["image_size"], progress=False), table


def callers(run: Run) -> dict:
    """Format -> function of float32 pixels that gives raw probabilities."""
    model = run.model
    size = run.info["image_size"]
    function = tf.function(
        lambda images: model(images, training=False), input_signature=[tf.TensorSpec([None, size, size, 3])]
    )
    found = {
        PREDICT: lambda images: model.predict(images, verbose=0),
        FUNCTION: lambda images: np.asarray(function(tf.constant(images))),
    }
    for name in EXPORTS:
        runner = Runner(run.path / name, name)
        found[name] = lambda images, runner=runner: runner(images)["raw_probabilities"]
    return found


def answer_rows(run: Run, pixels: np.ndarray, test: pd.DataFrame, calls: int) -> list[dict]:
    """Latency at batch 1 and 32, and accuracy on the test images."""
    rows = []
    asked = callers(run)
    lost = accuracy_lost(run, asked, pixels, test)
    for batch in (1, 32):
        images = [np.float32(pixels[start : start + batch]) for start in range(0, batch * 8, batch)]
        images = [part for part in images if len(part) == batch]
        seconds = {name: [] for name in asked}
        for name, ask in asked.items():
            for part in images[:3]:
                ask(part)
        for number in range(calls):
            for name, ask in asked.items():
                began = time.perf_counter()
                ask(images[number % len(images)])
                seconds[name].append(time.perf_counter() - began)
        median = {name: statistics.median(times) for name, times in seconds.items()}
        for name in asked:
            rows.append(
                {
                    "run": run.path.name,
                    "image_size": run.info["image_size"],
                    "format": name,
                    "megabytes": megabytes(run, name),
                    "batch": batch,
                    "ms": 1e3 * median[name],
                    "to_predict": median[PREDICT] / median[name],
                    **(lost.get(name, {}) if batch == 1 else {}),
                    "test_images": len(pixels),
                }
            )
            print(rows[-1], flush=True)
    return rows


def megabytes(run: Run, name: str) -> float:
    """Size of a format's file or folder."""
    path = run.path / name if name in EXPORTS else run.model_path
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files if file.name != "model.json") / 1e6


def accuracy_lost(run: Run, asked: dict, pixels: np.ndarray, test: pd.DataFrame) -> dict[str, dict]:
    """Of each export against Keras: the same images are drawn for both."""
    parts = [np.float32(pixels[start : start + 64]) for start in range(0, len(pixels), 64)]
    frames = {
        name: run.decision.apply(test, np.concatenate([ask(part) for part in parts]))[plain_columns(run.classes)]
        for name, ask in asked.items()
        if name in (FUNCTION, *EXPORTS)
    }
    frames = {("keras" if name == FUNCTION else name): frame for name, frame in frames.items()}
    table = compare_predictions(frames, run.classes, metrics=["accuracy"], baseline="keras")
    return {
        row.second: {
            "accuracy_keras": row.value_first,
            "accuracy_lost": row.value_first - row.value_second,
            "lost_low": 0.0 - row.high,
            "lost_high": 0.0 - row.low,
        }
        for row in table.itertuples()
    }


def folder_rows(run: Run, pixels: np.ndarray, scratch: pathlib.Path, options: argparse.Namespace) -> list[dict]:
    """Images a second: read alone, model alone, and both side by side on files."""
    folder = scratch / f"files-{run.path.name}"
    files = write_files(folder, pixels, options.files, options.side)
    size = run.info["image_size"]
    began = time.perf_counter()
    for _ in map_threads(lambda path: resize_image(read_with_pillow(path), size), files):
        pass
    reading = len(files) / (time.perf_counter() - began)
    rows = []
    for name in ("keras", "litert", "litert-int8"):
        ask = open_model(run, name)
        batches = [pixels[start : start + 32] for start in range(0, 32 * (len(pixels) // 32), 32)]
        ask(batches[0])
        count = 0
        began = time.perf_counter()
        while count < min(len(files), 4000):
            count += len(ask(batches[count // 32 % len(batches)])[0])
        model = count / (time.perf_counter() - began)
        began = time.perf_counter()
        predict_files(run, [folder], output=scratch / f"{run.path.name}-{name}.csv", format=name)
        both = len(files) / (time.perf_counter() - began)
        rows.append(
            {
                "run": run.path.name,
                "format": name,
                "images": len(files),
                "side": Image.open(files[0]).width,
                "reading": reading,
                "model": model,
                "folder": both,
                "to_model": both / model,
                "to_slower": both / min(reading, model),
                "to_sum": both * (1 / model + 1 / reading),
                "peak_mb": peak_memory_mb(),
            }
        )
        print(rows[-1], flush=True)
    return rows


def write_files(folder: pathlib.Path, pixels: np.ndarray, count: int, side: int) -> list[str]:
    """`count` JPEG files of a few hundred different images; the others are links to them."""
    folder.mkdir()
    files = []
    different = min(500, len(pixels), count)
    for number in range(count):
        file = folder / f"{number:06}.jpg"
        if number < different:
            image = Image.fromarray(pixels[number])
            (image.resize((side, side), Image.Resampling.BICUBIC) if side else image).save(file, quality=90)
        else:
            os.link(folder / f"{number % different:06}.jpg", file)
        files.append(str(file))
    return files


def draw(answers: pd.DataFrame, folders: pd.DataFrame) -> None:
    """Speed relative to ``model.predict``, and folders relative to the model alone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    single = answers[answers["batch"] == 1].pivot(index="format", columns="run", values="to_predict")
    single = single.reindex([PREDICT, FUNCTION, *EXPORTS])
    single.plot.barh(ax=left, logx=True)
    left.axvline(5, color="grey", linestyle=":")
    left.axvline(10, color="grey", linestyle=":")
    left.set(title="speed at batch 1, model.predict = 1", ylabel="")
    folders.pivot(index="format", columns="run", values="to_model").plot.barh(ax=right)
    right.axvline(1, color="grey", linestyle=":")
    right.set(title="a folder's images a second, the model alone = 1", ylabel="")
    save_figure(RESULTS / "inference.png", figure)


if __name__ == "__main__":
    main()
