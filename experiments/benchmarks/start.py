"""How long a command takes from a cold start.

    python experiments/benchmarks/start.py RUN [--repeat 5]

RUN is a finished run with its exports (`leukemia-tf export RUN --to litert onnx`). Every command runs in a process of
its own, in turn; the first round, which reads files from disk, does not count. Writes
experiments/results/benchmarks/start.csv: what; seconds (median); least, most; cpu_seconds (median of user and system
time, which a busy machine changes less); goal in seconds; met.
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
FORMATS = ("keras", "saved_model", "litert", "litert-int8", "onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    run = load_run(options.run)
    with tempfile.TemporaryDirectory() as scratch:
        image = pathlib.Path(scratch) / "one.png"
        noise = np.random.default_rng(0).integers(0, 256, (360, 363, 3), np.uint8)
        Image.fromarray(noise).save(image)
        commands = {"--help": (["--help"], 0.5), "list": (["list"], 0.5)}
        for name in FORMATS:
            if name == "keras" or (run.path / name).exists():
                commands[f"predict, {name}"] = (["predict", str(run.path), str(image), "--format", name], 6.0)
        seconds = {what: [] for what in commands}
        for number in range(options.repeat + 1):
            for what, (arguments, _) in commands.items():
                taken = timed(arguments)
                if number:
                    seconds[what].append(taken)
    rows = []
    for what, (_, goal) in commands.items():
        walls, cpus = zip(*seconds[what])
        rows.append(
            {
                "what": what,
                "seconds": statistics.median(walls),
                "least": min(walls),
                "most": max(walls),
                "cpu_seconds": statistics.median(cpus),
                "goal": goal,
                "met": statistics.median(walls) < goal,
                "run": run.path.name,
                "cpus": os.cpu_count(),
                "repeat": options.repeat,
            }
        )
    frame = pd.DataFrame(rows)
    with atomic_path(RESULTS / "start.csv") as temporary:
        frame.to_csv(temporary, index=False, float_format="%.3g", lineterminator="\n")
    print(frame.to_string())


def timed(arguments: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "leukemia_tf.cli", *arguments], check=True, capture_output=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
