"""Every benchmark of speed in under twenty minutes on two cores, and which goals are met.

    python experiments/benchmarks/all.py [--data FILE.npz --weights FOLDER] [--runs RUN ...] [--only NAME ...]

Each benchmark runs in a process of its own, one after the other, in the setting that fits; what takes longer (such as a
million images, or whole trainings) has a command of its own, in the first lines of its file. With --data (a MedMNIST
.npz at 64 pixels) and --weights (ImageNet weights, `<backbone>_notop.weights.h5`) features are of real images, with
--runs the answers of those models; without, of the embedded sample and a small network. Writes to
experiments/results/benchmarks the files of each benchmark and

- all.csv: benchmark; status; minutes; load when it began; command; and of the machine processor, cores, memory,
  versions and date (those that --only leaves out keep their rows);
- goals.csv: each goal, what was wanted, what was measured, whether it is met, and the file that says so. Files that
  this run did not write are read as they lie there.

A benchmark that fails or takes longer than its limit does not keep the others from running; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pandas as pd

from goals import measure_goals
from leukemia_tf.files import write_text
from machine import describe_machine

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "benchmarks"


class Benchmark(NamedTuple):
    """One script with its arguments, and after how many minutes it is stopped."""

    name: str
    minutes: float
    script: str
    arguments: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    """Which of --data, --weights and --runs go on to it."""


# Of the cached features epochs alone: a notebook's whole training takes longer than all of this together.
_EPOCHS = (
    "--name epochs --train-images 2000 --val-images 500 --views 1 --head-epochs 10 --fine-epochs 0 --notebook-epochs 0"
)
BENCHMARKS = (
    Benchmark("start", 3, "start.py", ("--quick",), ("runs",)),
    Benchmark("pipeline", 3, "pipeline.py", ("--rounds", "3", "--seconds", "1")),
    Benchmark("feed", 2, "feed.py"),
    Benchmark("first_step", 3, "first_step.py"),
    Benchmark("feature_cache", 5, "feature_cache.py", tuple(_EPOCHS.split()), ("data", "weights")),
    Benchmark("calls", 3, "train_step.py", ("--calls-only",)),
    Benchmark("inference", 6, "inference.py", ("--calls", "12"), ("runs",)),
    Benchmark("bootstrap", 3, "bootstrap.py"),
    Benchmark("audit", 5, "audit.py", ("--speed",)),
    Benchmark("scale", 6, "scale.py", ("--quick", "--again")),
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a MedMNIST .npz of blood cells at 64 pixels (default: the sample)")
    parser.add_argument("--weights", help="folder of ImageNet weights (default: random ones)")
    parser.add_argument("--runs", nargs="+", metavar="RUN", help="finished runs with exports (default: a small one)")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in BENCHMARKS], metavar="NAME", default=None)
    options = parser.parse_args(arguments)
    chosen = [one for one in BENCHMARKS if not options.only or one.name in options.only]
    machine, rows, began = describe_machine(), [], time.monotonic()
    for number, benchmark in enumerate(chosen, 1):
        command = command_of(benchmark, options)
        print(f"[{number}/{len(chosen)}] {' '.join(command)}", flush=True)
        load, start = os.getloadavg()[0], time.monotonic()
        status = run(command, benchmark.minutes * 60)
        minutes = (time.monotonic() - start) / 60
        print(f"[{number}/{len(chosen)}] {benchmark.name}: {status}, {minutes:.1f} min", flush=True)
        facts = {"benchmark": benchmark.name, "status": status, "minutes": round(minutes, 2), "load": round(load, 2)}
        rows.append({**facts, "command": " ".join(["python", *map(_shown, command[1:])]), **machine})
    write(others(RESULTS / "all.csv", rows) + rows, RESULTS / "all.csv")
    goals = measure_goals()
    write(goals, RESULTS / "goals.csv")
    print(pd.DataFrame(goals)[["goal", "wanted", "measured", "met"]].to_string(index=False))
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")
    return int(any(row["status"] != "done" for row in rows))


def others(path: pathlib.Path, rows: list[dict]) -> list[dict]:
    """What the file says of the benchmarks that did not run this time."""
    before = pd.read_csv(path).to_dict("records") if path.exists() else []
    return [row for row in before if row["benchmark"] not in {new["benchmark"] for new in rows}]


def command_of(benchmark: Benchmark, options: argparse.Namespace) -> list[str]:
    """The command line of one benchmark."""
    command = [sys.executable, str(HERE / benchmark.script), *benchmark.arguments]
    if "runs" in benchmark.takes:
        command += options.runs or []
    for name in ("data", "weights"):
        if name in benchmark.takes and getattr(options, name):
            command += [f"--{name}", getattr(options, name)]
    return command


def run(command: list[str], seconds: float) -> str:
    """Run in a process group of its own, and end all of it at the limit."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return "stopped at its limit"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return "done" if code == 0 else f"failed ({code})"


def _shown(argument: str) -> str:
    """Without the folders of this machine."""
    path = pathlib.Path(argument)
    if path.is_absolute():
        return str(path.relative_to(HERE.parents[1])) if path.is_relative_to(HERE.parents[1]) else path.name
    return argument


def write(rows: list[dict], path: pathlib.Path) -> None:
    write_text(path, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    sys.exit(main())
