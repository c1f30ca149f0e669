"""Images a second that a GPU trains on, for each backend of Keras that is there: with and without XLA, and precisions.

    python experiments/benchmarks/train_step_gpu.py [--backends jax,torch] [--models efficientnetb0] [--steps 20]

`train_step.py --steps-only` does this for TensorFlow; this one needs none, so that it also runs where the GPU has JAX
or PyTorch alone. JAX always compiles with XLA; Keras on PyTorch runs operation by operation, without XLA. Each case is
a process of its own that trains a model of the zoo, with random weights, through ``fit`` on NumPy batches from memory,
the copy to the GPU included. The cases of a model and its open layers are prepared side by side, until all have had a
first epoch, and then measured one at a time.

Writes experiments/results/benchmarks/train_step_gpu.csv: backbones; layers that are open; backend; xla; precision;
first_epoch_s (with tracing and compiling, beside the others); step_s (median of the later epochs), lowest, highest;
images_per_s; to_plain (speed relative to float32 without XLA); what it ran on. A case that fails is a row with its
error, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd

from leukemia_tf.files import atomic_path

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"
MODELS = {
    "efficientnetb0": ("transfer", {"backbone": "efficientnetb0", "two_class_units": 1}, 64),
    "ensemble": ("ensemble", {"backbones": ["efficientnetb3", "resnet152v2", "convnexttiny"]}, 32),
}
"""Name -> builder, its options, images a batch."""
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", default="jax,torch")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--layers", default="head,top:50")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, help="images a batch (default: 64 of EfficientNetB0, 32 of the ensemble)")
    parser.add_argument("--steps", type=int, default=20, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=5, help="that are timed")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS / "train_step_gpu.csv")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.case:
        print(json.dumps(measure(json.loads(options.case))))
        return 0
    rows: list[dict] = []
    for name, layers in itertools.product(options.models.split(","), options.layers.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            rows += measure_cases(name, layers, options, pathlib.Path(folder))
        write(rows, options.output)  # after each, so that what ends the run early loses little
    return int(any("error" in row for row in rows))


def write(rows: list[dict], path: pathlib.Path) -> None:
    """The table of what was measured so far, with each speed relative to float32 without XLA."""
    frame = pd.DataFrame(rows)
    if "images_per_s" in frame:
        plain = frame[(frame["xla"] == "no") & (frame["precision"] == "float32")]
        plain = plain.set_index(["backbones", "layers"])["images_per_s"].to_dict()
        pairs = zip(frame["backbones"], frame["layers"])
        frame["to_plain"] = frame["images_per_s"] / [plain.get(pair, np.nan) for pair in pairs]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.4g", lineterminator="\n")
    print(frame.to_string(), flush=True)


def measure_cases(name: str, layers: str, options: argparse.Namespace, folder: pathlib.Path) -> list[dict]:
    """All backends and precisions of a model with some layers open, each in a process."""
    cases = [
        {"model": name, "backend": backend, "layers": layers, "precision": precision, "folder": str(folder)}
        for backend in options.backends.split(",")
        for precision in options.precisions.split(",")
    ]
    processes = []
    for case in cases:
        case |= {"size": options.image_size, "batch": options.batch or MODELS[name][2], "cases": len(cases)}
        case |= {"steps": options.steps, "epochs": options.epochs}
        # Several processes share the GPU's memory.
        environment = {**os.environ, "KERAS_BACKEND": case["backend"], "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        processes.append(
            subprocess.Popen(
                [sys.executable, __file__, "--case", json.dumps(case)],
                env=environment, stdout=subprocess.PIPE, stderr=open(folder / f"{len(processes)}.log", "w"), text=True,
            )
        )  # fmt: skip
    rows = []
    for number, (case, process) in enumerate(zip(cases, processes)):
        output = process.communicate()[0]
        row = {
            "backbones": "+".join(MODELS[name][1].get("backbones", [name])),
            **{key: case[key] for key in ("layers", "backend", "precision")},
            "xla": "yes" if case["backend"] == "jax" else "no",
            "image_size": case["size"],
            "batch": case["batch"],
        }
        if process.returncode == 0:
            row |= json.loads(output.splitlines()[-1])
        else:
            lines = (folder / f"{number}.log").read_text().strip().splitlines() or [f"exit code {process.returncode}"]
            row["error"] = lines[-1][:200]
            print("\n".join(lines[-30:]), file=sys.stderr, flush=True)
        print(row, flush=True)
        rows.append(row)
    return rows


def measure(case: dict) -> dict:
    """Train one case; what it took."""
    folder = pathlib.Path(case["folder"])
    seconds: list[float] = []
    try:
        fit = prepare(case)
        fit(seconds, 1)
    finally:
        (folder / f"ready {os.getpid()}").touch()  # also where it fails: the others need not wait for it
    while len(list(folder.glob("ready *"))) < case["cases"]:
        time.sleep(0.1)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fit(seconds, 1)
        del seconds[1:]
        fit(seconds, case["epochs"])
    steps = [second / case["steps"] for second in seconds[1:]]
    step = statistics.median(steps)
    return {
        "first_epoch_s": seconds[0],
        "step_s": step,
        "lowest": min(steps),
        "highest": max(steps),
        "images_per_s": case["batch"] / step,
        **versions(case["backend"]),
    }


def prepare(case: dict):
    """A function that trains some epochs of a compiled model and adds the seconds of each to a list."""
    import keras

    from leukemia_tf.models import build_model, open_layers

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(case["precision"])
    builder, build_options, _ = MODELS[case["model"]]
    model = build_model(builder, image_size=case["size"], weights=None, **build_options)
    open_layers(model, case["layers"], freeze_batchnorm=True)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"], jit_compile=case["backend"] == "jax")
    data = random_batches(case["batch"], case["size"])

    def fit(seconds: list[float], epochs: int) -> None:
        clock = epoch_clock(seconds)
        model.fit(again(data), steps_per_epoch=case["steps"], epochs=epochs, verbose=0, callbacks=[clock])

    return fit


def again(batches):
    """A generator over an iterator: Keras takes generators, and closes this one alone at the end of `fit`."""
    for batch in batches:
        yield batch


def random_batches(batch: int, size: int):
    """Endless ``(images, labels)`` from memory."""
    random = np.random.default_rng(0)
    images = [random.uniform(0, 255, (batch, size, size, 3)).astype("float32") for _ in range(4)]
    labels = [random.integers(0, 2, (batch, 1)).astype("float32") for _ in range(4)]
    return itertools.cycle(zip(images, labels))


def epoch_clock(seconds: list[float]):
    """A callback that adds the seconds of each epoch to a list."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            float(logs["loss"])  # all steps are done when it is there
            seconds.append(time.perf_counter() - self.began)

    return Clock()


def versions(backend: str) -> dict:
    import keras

    if backend == "jax":
        import jax

        return {"device": jax.devices()[0].device_kind, "version": f"jax {jax.__version__}", "keras": keras.__version__}
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {"device": name, "version": f"torch {torch.__version__}", "keras": keras.__version__}


if __name__ == "__main__":
    raise SystemExit(main())
