"""Which of several processes this one is, by TF_CONFIG, and where each of them writes. Imports no TensorFlow."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from dataclasses import dataclass
from typing import Iterator

from leukemia_tf.errors import InputError, RunError

_EXAMPLE = '{"cluster": {"worker": ["host0:23450", "host1:23450"]}, "task": {"type": "worker", "index": 0}}'
_LOST = {"UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError"}
"""Names of TensorFlow's errors, which are not imported here."""
_READ_ON_RESUME = ("recipe.json", "run.json", "table.csv", "split.csv")


@dataclass(frozen=True)
class Worker:
    """One of `count` processes that train together; number 0, the chief, alone writes the run's folder."""

    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        """Whether this one writes."""
        return self.index == 0


def this_worker(strategy: str) -> Worker:
    """Which worker this process is: as TF_CONFIG says with the strategy ``"multi_worker"``, else the only one.

    Raises:
        InputError: if TF_CONFIG is missing, or is not a list of workers with the place of this one.
    """
    if strategy != "multi_worker":
        return Worker()
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        workers, task = config["cluster"]["worker"], config["task"]
        worker = Worker(int(task["index"]), len(workers))
        if set(config["cluster"]) != {"worker"} or task["type"] != "worker" or not 0 <= worker.index < worker.count:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise InputError(
            "`strategy` 'multi_worker' needs the environment variable TF_CONFIG in each process, another index in "
            f"each: {_EXAMPLE}. Received: {text or 'nothing'}"
        ) from None
    return worker


@contextlib.contextmanager
def folder_to_write(worker: Worker, run_dir: str | os.PathLike) -> Iterator[pathlib.Path]:
    """The run's folder for the chief; for any other a folder that is gone at the end, with what a resumed run reads.

    So all do the same, and what the others write is not kept. Nothing of what they read changes before all of them have
    begun to train.
    """
    run_dir = pathlib.Path(run_dir)
    if worker.is_chief:
        yield run_dir
        return
    with tempfile.TemporaryDirectory(prefix="leukemia-tf-worker-") as name:
        folder = pathlib.Path(name) / "run"
        for file in (*(run_dir / name for name in _READ_ON_RESUME), *(run_dir / "checkpoints").glob("[!.]*")):
            target = folder / file.relative_to(run_dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.exists():
                shutil.copyfile(file, target)
        yield folder


@contextlib.contextmanager
def explain_lost_worker(worker: Worker) -> Iterator[None]:
    """Turn what TensorFlow raises when another process is gone into one line.

    Raises:
        RunError: in place of it.
    """
    try:
        yield
    except Exception as error:
        of_tensorflow = type(error).__module__.startswith("tensorflow")
        if worker.count == 1 or not of_tensorflow or type(error).__name__ not in _LOST:
            raise
        raise RunError(
            "another worker is gone, and training ends here. Give the same command to every worker again: it goes on "
            f"after the last complete epoch. ({type(error).__name__})"
        ) from error
