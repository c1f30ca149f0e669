"""How long a command takes from a cold start.

    python experiments/benchmarks/start.py RUN [RUN ...] [--repeat 5]
    python experiments/benchmarks/start.py --quick                       # a minute, on a run that it trains

RUN is a finished run with its exports (`leukemia-tf export RUN --to saved_model litert litert-int8 onnx`). Every
command runs in a process of its own, in turn; the first round, which reads files from disk, does not count. Writes
experiments/results/benchmarks/start.csv, or to --output: what; seconds (median); least, most; cpu_seconds (median of
user and system time, which a busy machine changes less); goal in seconds; met; run.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
from PIL import Image

from leukemia_tf.files import atomic_path
from leukemia_tf.recipes import load_run

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"
FORMATS = ("auto", "keras", "saved_model", "litert", "litert-int8", "onnx")
COMMAND, PREDICTION = 0.5, 6.0
"""Goals in seconds: of a command that only says something, and of a first prediction."""


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    """Measure, write the file, and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", metavar="RUN")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS, help="folder of the file")
    parser.add_argument("--quick", action="store_true", help="each command twice")
    options = parser.parse_args(arguments)
    if options.quick:
        options.repeat = 1
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        image = scratch / "one.png"
        noise = np.random.default_rng(0).integers(0, 256, (360, 363, 3), np.uint8)
        Image.fromarray(noise).save(image)
        rows += measured({"--help": (["--help"], COMMAND), "list": (["list"], COMMAND)}, options.repeat, run="")
        for path in options.runs or [smoke_run(scratch / "smoke")]:
            run = load_run(path)
            commands = {}
            for name in FORMATS:
                if name in ("auto", "keras") or (run.path / name).exists():
                    arguments = ["predict", str(run.path), str(image), "--format", name]
                    commands[f"predict --format {name}"] = (arguments, PREDICTION)
            rows += measured(commands, options.repeat, run=run.path.name)
    frame = pd.DataFrame(rows).assign(cpus=os.cpu_count(), repeat=options.repeat)
    options.output.mkdir(parents=True, exist_ok=True)
    with atomic_path(options.output / "start.csv") as temporary:
        frame.to_csv(temporary, index=False, float_format="%.3g", lineterminator="\n")
    print(frame.to_string())
    return frame


def smoke_run(path: pathlib.Path) -> pathlib.Path:
    """A run of seconds with two exports, the fastest and one that takes TensorFlow."""
    command("train", "bloodmnist_cnn_se", "--smoke", "--run-dir", str(path))
    command("export", str(path), "--to", "litert", "saved_model", "--max-accuracy-loss", "1")
    return path


def measured(commands: dict[str, tuple[list[str], float]], repeat: int, *, run: str) -> list[dict]:
    """One row a command; they take turns."""
    seconds = {what: [] for what in commands}
    for number in range(repeat + 1):
        for what, (arguments, _) in commands.items():
            taken = timed(arguments)
            if number:
                seconds[what].append(taken)
    rows = []
    for what, (_, goal) in commands.items():
        walls, cpus = zip(*seconds[what])
        median = statistics.median(walls)
        facts = {"least": min(walls), "most": max(walls), "cpu_seconds": statistics.median(cpus)}
        rows.append({"what": what, "seconds": median, **facts, "goal": goal, "met": median < goal, "run": run})
    return rows


def timed(arguments: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    command(*arguments)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def command(*arguments: str) -> None:
    """Run `leukemia-tf` in a process of its own."""
    subprocess.run([sys.executable, "-m", "leukemia_tf.cli", *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    main()
