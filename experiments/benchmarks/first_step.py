"""How long a training takes from the command to its first step, with 15,000 image files that it never saw.

    python experiments/benchmarks/first_step.py [--count 15000] [--recipe bloodmnist_cnn_bn] [--image-size 224]

Writes so many JPEG files of 450 x 450 pixels (a hundred drawn smears, each file with a comment of its own, so that no
two are byte for byte the same), and begins a training on them in a process of its own, with random weights. It is
stopped after the first step; with ``--to-the-end`` the images are read to the end first, which is what a training that
reads all of them before its first step would wait for. About a minute on two cores. Writes
experiments/results/benchmarks/first_step.csv and first_step.png.

Columns: stage; seconds (from the start of the process to the stage's end); cpu_seconds (of processor time, on all cores
together, which other programs on the machine change less); goal, measured and met where there is one: the first step
begins within ten seconds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"
BEGINS, GOAL = "first step begins", 10.0


def main(arguments: list[str] | None = None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=15_000, help="files (default: 15000)")
    parser.add_argument("--recipe", default="bloodmnist_cnn_bn", help="what is trained (default: bloodmnist_cnn_bn)")
    parser.add_argument("--image-size", type=int, default=224, help="side that images are resized to (default: 224)")
    parser.add_argument("--to-the-end", action="store_true", help="also wait until all images are read")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS / "first_step.csv", help="CSV file to write")
    parser.add_argument("--folder", help=argparse.SUPPRESS)  # of the images, in the process that trains
    options = parser.parse_args(arguments)
    if options.folder:
        return train(options)

    import pandas as pd

    from leukemia_tf.files import write_text

    with tempfile.TemporaryDirectory() as folder:
        write_images(pathlib.Path(folder) / "images", options.count)
        command = [sys.executable, __file__, "--folder", folder, "--recipe", options.recipe]
        command += ["--image-size", str(options.image_size)] + ["--to-the-end"] * options.to_the_end
        began = time.time()
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [(stage, at - began, cpu) for stage, (at, cpu) in json.loads(said.splitlines()[-1]).items()]
    frame = pd.DataFrame(rows, columns=["stage", "seconds", "cpu_seconds"]).round(2)
    begins = frame["stage"] == BEGINS
    frame["goal"] = pd.Series(GOAL, frame.index).where(begins)
    frame["measured"] = frame["seconds"].where(begins)
    frame["met"] = (frame["seconds"] < GOAL).astype(object).where(begins, "")
    facts = {"files": options.count, "recipe": options.recipe, "image_size": options.image_size}
    frame = frame.assign(**facts, cpu_count=os.cpu_count(), load=round(os.getloadavg()[0], 2))
    write_text(options.output, frame.to_csv(index=False, lineterminator="\n"))
    plot(frame, options.output.with_suffix(".png"))
    return frame


def write_images(folder: pathlib.Path, count: int, drawn: int = 100) -> None:
    """JPEG files in two class folders; `count` / `drawn` of them show the same, with another comment."""
    import cv2
    import numpy as np

    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    from pipeline import draw_smear

    encoded = []
    for number in range(min(drawn, count)):
        image = draw_smear(np.random.default_rng(number))
        encoded.append(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    for label in "ab":
        (folder / label).mkdir(parents=True)
    for number in range(count):
        data, text = encoded[number % len(encoded)], str(number).encode()
        comment = b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
        (folder / "ab"[number % 2] / f"{number:06}.jpg").write_bytes(data[:2] + comment + data[2:])


def now() -> tuple[float, float]:
    """The time, and the processor time that this process has taken."""
    return time.time(), time.process_time()


def train(options: argparse.Namespace) -> None:
    """Begin a training, stop it after the first step, and print when each stage ended, as JSON."""
    ended = {"Python has started": now()}
    from leukemia_tf.lean_import import OPTIONAL, left_out

    with left_out(*OPTIONAL):  # as the command does
        import keras

    from leukemia_tf.recipes import get_recipe, override, prepare

    module = importlib.import_module("leukemia_tf.recipes.train_recipe")

    ended["TensorFlow is imported"] = now()

    class Stop(Exception):
        pass

    def marked(module, name, stage):
        function = getattr(module, name)

        def call(*arguments, **keywords):
            result = function(*arguments, **keywords)
            ended[stage] = now()
            return result

        setattr(module, name, call)

    marked(prepare, "split_as_asked", "files are listed, checked and split")
    marked(module, "build", "model is built")
    inner, fit = module.fit_network, keras.Model.fit

    def fit_network(*arguments, read_all, **keywords):
        try:
            return inner(*arguments, read_all=read_all, **keywords)
        except Stop:
            if options.to_the_end:
                read_all()
                ended["all images are read"] = now()
            raise

    def on_end(batch, logs):
        ended["first step ends"] = now()
        raise Stop

    def fit_and_stop(model, *arguments, callbacks=(), **keywords):
        def on_begin(batch, logs):
            ended[BEGINS] = now()

        clock = keras.callbacks.LambdaCallback(on_train_batch_begin=on_begin, on_train_batch_end=on_end)
        return fit(model, *arguments, callbacks=[*callbacks, clock], **keywords)

    module.fit_network, keras.Model.fit = fit_network, fit_and_stop
    recipe = module.for_source(get_recipe(options.recipe), str(pathlib.Path(options.folder) / "images"))
    recipe = override(recipe, {"model.weights": "none", "data.image_size": options.image_size})
    try:
        module.train_recipe(recipe, pathlib.Path(options.folder) / "run", progress=False)
    except Stop:
        print(json.dumps(ended))


def plot(frame, path: pathlib.Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from leukemia_tf.files import atomic_path

    figure, axes = pyplot.subplots(figsize=(8, 3.2), layout="constrained")
    bars = axes.barh(frame["stage"], frame["seconds"], color="tab:blue")
    axes.bar_label(bars, [f" {seconds:.1f}" for seconds in frame["seconds"]])
    axes.axvline(GOAL, color="black", linestyle=":", linewidth=0.8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    first = frame.iloc[0]
    axes.set_xlabel("seconds from the start of the process")
    axes.set_title(f"{first['files']:,} JPEG files, {first['cpu_count']} cores, load {first['load']}")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    result = main()
    if result is not None:
        print(result.to_string(index=False))
