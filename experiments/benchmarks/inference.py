"""How fast a trained run answers in each format, what 8 bits cost in accuracy, and how well reading hides behind it.

    python experiments/benchmarks/inference.py [RUN ...]
    python experiments/benchmarks/inference.py runs/cnn_se runs/mobilenetv2 --side 360
    python experiments/benchmarks/inference.py runs/efficientnetb0 --side 360 --formats litert  # 8 bits lose too much
    python experiments/benchmarks/inference.py --quick                                   # two minutes

Without a RUN a small network is trained on the embedded sample first, whose speed is that of any other with its shape.
Every RUN is exported to all formats where it has not been. Calls of all formats take turns, so that a busy machine
slows all of them alike: read the ratios, not the milliseconds. Rows of other runs in the same files stay. Writes to
experiments/results/benchmarks, or to --output:

- inference.csv: run; image_size; format; megabytes; batch; ms (median of a call); to_predict (speed relative to
  ``model.predict`` at the same batch); cpu_ms and cpu_to_predict (the same in processor time, of all threads, which
  a busy machine changes less); accuracy_keras, accuracy_lost, lost_low, lost_high (test images, 95 % paired
  bootstrap; on the rows of batch 1); test_images; float_layers (of 8 bits).
- inference_folder.csv: run; format; threads (of the model: all, or all but the one that is left to reading); images;
  side; reading, model (pixels in memory, batches of 32), folder (`leukemia-tf predict` on files): images a second,
  the first two measured before and after the third; cpu_reading, cpu_model, cpu_folder: processor milliseconds an
  image; to_model (folder relative to the model); to_slower (to the slower of reading and model); to_best (to the best
  that this many processors can do: no faster than either, nor than all processors at work on both); peak_mb (of the
  process so far).
- inference_goals.csv: run; goal; wanted; measured; met.
- inference.png, from the first two.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import statistics
import tempfile
import time
from typing import Any, Callable

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
from leukemia_tf.files import atomic_path, read_json  # noqa: E402
from leukemia_tf.recipes import get_recipe, load_run  # noqa: E402
from leukemia_tf.recipes.answering import EXPORTS_FILE, open_model  # noqa: E402
from leukemia_tf.recipes.environment import peak_memory_mb  # noqa: E402
from leukemia_tf.recipes.export import export_run  # noqa: E402
from leukemia_tf.recipes.predict_stream import predict_files  # noqa: E402
from leukemia_tf.recipes.prepare import prepare_table  # noqa: E402
from leukemia_tf.recipes.run import Run  # noqa: E402
from leukemia_tf.recipes.train_recipe import for_source, train_recipe  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"
EXPORTS = ["saved_model", "litert", "litert-int8", "onnx"]
PREDICT, FUNCTION = "model.predict", "tf.function"
SPEEDS = {"litert": 5.0, "litert-int8": 10.0}
"""Goals: so many times as fast as ``model.predict`` at batch 1; points of accuracy that 8 bits may cost; and which part
of a speed a folder reaches where the rest of the work is hidden."""
POINTS, HIDDEN = 0.5, 0.9


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    """Measure, write the files, and return the goals."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folders of finished runs")
    parser.add_argument("--formats", nargs="+", choices=EXPORTS, default=EXPORTS, help="exports (default: all)")
    parser.add_argument("--calls", type=int, default=40, help="timed calls a format")
    parser.add_argument("--files", type=int, default=10_000, help="images of the folder")
    parser.add_argument("--side", type=int, default=0, help="side of the folder's images; 0 takes the run's own size")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS, help="folder of the files")
    parser.add_argument("--quick", action="store_true", help="few calls and files")
    options = parser.parse_args(arguments)
    if options.quick:
        options.calls, options.files = 12, 1500
    answers, folders = [], []
    with tempfile.TemporaryDirectory() as scratch:
        paths = options.runs or [str(small_run(pathlib.Path(scratch), epochs=1 if options.quick else 2).path)]
        for path in paths:
            run = load_run(path)
            if not all((run.path / name).exists() for name in options.formats):
                export_run(run, options.formats, max_accuracy_loss=None if options.runs else 1.0)
            pixels, test = test_images(run)
            answers += answer_rows(run, pixels, test, options)
            folders += folder_rows(run, pixels, pathlib.Path(scratch), options)
    facts = {"cpus": os.cpu_count(), "tensorflow": tf.__version__, "keras": keras.__version__}
    options.output.mkdir(parents=True, exist_ok=True)
    answers = written(options.output / "inference.csv", pd.DataFrame(answers).assign(**facts))
    folders = written(options.output / "inference_folder.csv", pd.DataFrame(folders).assign(**facts))
    goals = goal_rows(answers, folders)
    written(options.output / "inference_goals.csv", goals)
    draw(answers, folders, options.output)
    print(answers.to_string(), folders.to_string(), goals.to_string(), sep="\n")
    return goals


def written(file: pathlib.Path, new: pd.DataFrame) -> pd.DataFrame:
    """Write `new` and the rows that the file has of other runs."""
    frame = new
    if file.exists():
        before = pd.read_csv(file)
        frame = pd.concat([before[~before["run"].isin(new["run"])], new], ignore_index=True)
    with atomic_path(file) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")
    return frame


def goal_rows(answers: pd.DataFrame, folders: pd.DataFrame) -> pd.DataFrame:
    """Each goal of each run, what was measured, and whether that meets it."""
    rows = []

    def row(run: str, goal: str, wanted: float, measured: float, met: bool) -> None:
        rows.append({"run": run, "goal": goal, "wanted": wanted, "measured": measured, "met": bool(met)})

    for run, part in answers[answers["batch"] == 1].groupby("run", sort=False):
        part = part.set_index("format")
        for name, wanted in SPEEDS.items():
            if name in part.index:
                measured = part.loc[name, "to_predict"]
                what = f"{name}, batch 1, times as fast as model.predict, at least"
                row(run, what, wanted, measured, measured >= wanted)
        if "litert-int8" in part.index:
            lost = 100 * part.loc["litert-int8", "accuracy_lost"]
            row(run, "litert-int8, points of accuracy lost, less than", POINTS, lost, lost < POINTS)
    for place in folders.itertuples():
        what = f"{place.format}, {place.threads} threads for the model, a folder of {place.images:,}"
        row(place.run, f"{what}, relative to the model, at least", HIDDEN, place.to_model, place.to_model >= HIDDEN)
        row(place.run, f"{what}, relative to the best, at least", HIDDEN, place.to_best, place.to_best >= HIDDEN)
    return pd.DataFrame(rows)


def small_run(scratch: pathlib.Path, epochs: int = 2) -> Run:
    """A network of the size of system 003, trained for seconds."""
    recipe = for_source(get_recipe("bloodmnist_cnn_se"), None)
    phases = tuple(phase.__class__(**{**phase.__dict__, "epochs": epochs}) for phase in recipe.phases)
    return train_recipe(recipe.__class__(**{**recipe.__dict__, "phases": phases}), scratch / "run")


def test_images(run: Run) -> tuple[np.ndarray, pd.DataFrame]:
    """Pixels and rows of the run's test split."""
    manifest, table = prepare_table(run.recipe, run, progress=False)
    table = table[table["split"] == "test"]
    return load_pixels(manifest, table, run.info["image_size"], progress=False), table


def callers(run: Run, formats: list[str]) -> dict:
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
    for name in formats:
        runner = Runner(run.path / name, name)
        found[name] = lambda images, runner=runner: runner(images)["raw_probabilities"]
    return found


def answer_rows(run: Run, pixels: np.ndarray, test: pd.DataFrame, options: argparse.Namespace) -> list[dict]:
    """Latency at batch 1 and 32, and accuracy on the test images."""
    rows = []
    asked = callers(run, options.formats)
    lost = accuracy_lost(run, asked, pixels, test)
    layers = {row["format"]: row.get("float_layers") for row in read_json(run.path / EXPORTS_FILE)}
    for batch in (1, 32):
        images = [np.float32(pixels[start : start + batch]) for start in range(0, batch * 8, batch)]
        images = [part for part in images if len(part) == batch]
        seconds = {name: [] for name in asked}
        processor = {name: [] for name in asked}
        for name, ask in asked.items():
            for part in images[:3]:
                ask(part)
        for number in range(options.calls):
            for name, ask in asked.items():
                began, cpu = time.perf_counter(), time.process_time()
                ask(images[number % len(images)])
                seconds[name].append(time.perf_counter() - began)
                processor[name].append(time.process_time() - cpu)
        median = {name: statistics.median(times) for name, times in seconds.items()}
        cpu = {name: statistics.median(times) for name, times in processor.items()}
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
                    "cpu_ms": 1e3 * cpu[name],
                    "cpu_to_predict": cpu[PREDICT] / cpu[name],
                    **(lost.get(name, {}) if batch == 1 else {}),
                    "test_images": len(pixels),
                    "float_layers": layers.get("litert-int8") if name == "litert-int8" else None,
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


@dataclasses.dataclass
class Stage:
    """How many images took how long, altogether."""

    images: int = 0
    wall: float = 0.0
    cpu: float = 0.0

    def measure(self, images: int, work: Callable[[], Any]) -> None:
        """Add what `work` takes on so many images."""
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        self.images += images

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.wall

    @property
    def cpu_ms(self) -> float:
        """Processor milliseconds an image."""
        return 1e3 * self.cpu / self.images


def folder_rows(run: Run, pixels: np.ndarray, scratch: pathlib.Path, options: argparse.Namespace) -> list[dict]:
    """Images a second: read alone, model alone, and both side by side on files."""
    folder = scratch / f"files-{run.path.name}"
    files = write_files(folder, pixels, options.files, options.side)
    size, cpus = run.info["image_size"], os.cpu_count() or 1
    pieces = [pixels[start : start + 32] for start in range(0, 32 * (min(len(pixels), 512) // 32), 32)]

    def read(count: int) -> None:
        for _ in map_threads(lambda path: resize_image(read_with_pillow(path), size), files[:count]):
            pass

    rows = []
    for name, threads in (("keras", cpus), ("litert", cpus), ("litert-int8", cpus), ("litert", max(1, cpus - 1))):
        if name not in ("keras", *options.formats):
            continue
        ask = open_model(run, name, threads=threads)
        ask(pieces[0])
        reading, model, both = Stage(), Stage(), Stage()
        part = min(len(files), 2048) // 32 * 32

        def alone() -> None:
            reading.measure(part, lambda: read(part))
            model.measure(part, lambda: [ask(pieces[step % len(pieces)]) for step in range(part // 32)])

        alone()
        output = scratch / f"{run.path.name}-{name}-{threads}.csv"
        both.measure(
            len(files), lambda: predict_files(run, [folder], output=output, format=name, threads=threads)
        )
        alone()
        best = min(reading.rate, model.rate, 1e3 * cpus / (reading.cpu_ms + model.cpu_ms))
        rows.append(
            {
                "run": run.path.name,
                "format": name,
                "threads": threads,
                "images": len(files),
                "side": Image.open(files[0]).width,
                "reading": reading.rate,
                "model": model.rate,
                "folder": both.rate,
                "cpu_reading": reading.cpu_ms,
                "cpu_model": model.cpu_ms,
                "cpu_folder": both.cpu_ms,
                "to_model": both.rate / model.rate,
                "to_slower": both.rate / min(reading.rate, model.rate),
                "to_best": both.rate / best,
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


def draw(answers: pd.DataFrame, folders: pd.DataFrame, output: pathlib.Path) -> None:
    """Speed relative to ``model.predict``, and folders relative to the model alone and to the best."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    single = answers[answers["batch"] == 1].pivot(index="format", columns="run", values="to_predict")
    single.reindex([PREDICT, FUNCTION, *EXPORTS]).plot.barh(ax=left, logx=True)
    for goal in SPEEDS.values():
        left.axvline(goal, color="grey", linestyle=":")
    left.set(title="speed at batch 1, model.predict = 1 (dotted: goals)", ylabel="")
    label = folders["run"] + ", " + folders["format"] + ", " + folders["threads"].astype(str) + " threads"
    shown = folders.set_index(label)[["to_model", "to_best"]]
    shown.columns = ["the model alone", "the best that the processors can do"]
    shown.plot.barh(ax=right)
    right.axvline(1, color="grey", linestyle=":")
    right.set(title="a folder's images a second, relative to", ylabel="", xlabel="")
    save_figure(output / "inference.png", figure)


if __name__ == "__main__":
    main()
