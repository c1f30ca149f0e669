"""Two processes with a global batch train as one process with that batch, and one of them writes."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.recipes import ModelSpec, Recipe
from leukemia_tf.training.workers import Worker, explain_lost_worker, folder_to_write, this_worker
from tests.recipes.tiny_runs import write_images
from tests.recipes.two_workers import train

ROOT = pathlib.Path(__file__).resolve().parents[2]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.mark.slow
def test_two_workers_train_as_one(tmp_path):
    data = str(write_images(tmp_path / "data"))
    (tmp_path / "temporary").mkdir()
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    processes = []
    for index in (0, 1):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.recipes.two_workers", data, str(tmp_path / "both")],
                cwd=ROOT, env={**os.environ, "TF_CONFIG": config, "TMPDIR": str(tmp_path / "temporary")},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        )
    alone = train(data, tmp_path / "alone", "none")
    said = [process.communicate(timeout=600) for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        assert process.returncode == 0, errors[-2000:]
    # The chief alone wrote, all that a run has.
    assert [output.splitlines()[-1] for output, _ in said] == [f"wrote Run({str(tmp_path / 'both')!r})", "wrote None"]
    names = [sorted(str(file.relative_to(tmp_path / run)) for file in (tmp_path / run).rglob("*")) for run in RUNS]
    assert names[0] == names[1] and not list((tmp_path / "temporary").glob("leukemia*"))
    frames = [pd.read_csv(tmp_path / run / "history.csv").drop(columns="phase") for run in RUNS]
    np.testing.assert_allclose(*frames, rtol=2e-4)
    probabilities = [pd.read_csv(tmp_path / run / "predictions.csv").filter(like="prob_") for run in RUNS]
    np.testing.assert_allclose(*probabilities, atol=2e-4)
    assert alone.finished and frames[0]["loss"].nunique() == len(frames[0])


RUNS = ("alone", "both")


def test_a_worker_reads_what_is_there_and_leaves_nothing(tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("recipe.json", "checkpoints/state.npz", "checkpoints/.tmp-1best.keras", "history.csv"):
        (run / name).write_text(name)
    with folder_to_write(Worker(1, 2), run) as folder:
        assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.*")) == [
            "checkpoints/state.npz", "recipe.json",
        ]  # fmt: skip
        (folder / "recipe.json").write_text("changed")
    assert (run / "recipe.json").read_text() == "recipe.json" and not folder.exists()
    with folder_to_write(Worker(0, 2), run) as folder:
        assert folder == run


@pytest.mark.parametrize(
    "config",
    [None, "{}", "[", {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}},
     {"cluster": {"chief": ["b:1"], "worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}],
)  # fmt: skip
def test_where_the_workers_are_must_be_said(monkeypatch, config):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    assert this_worker("mirrored") == Worker(0, 1)
    with pytest.raises(InputError, match="`strategy` 'multi_worker' needs the environment variable TF_CONFIG"):
        this_worker("multi_worker")


def test_a_lost_worker_is_one_line_and_other_errors_stay_what_they_are():
    import tensorflow as tf

    lost = tf.errors.UnavailableError(None, None, "Connection reset by peer\n" * 9)
    with pytest.raises(RunError, match=r"^another worker is gone, .* \(UnavailableError\)$"):
        with explain_lost_worker(Worker(0, 2)):
            raise lost
    for worker, error in ((Worker(), lost), (Worker(1, 2), ValueError("mine"))):
        with pytest.raises(type(error)):
            with explain_lost_worker(worker):
                raise error
    with pytest.raises(InputError, match="'multi_worker' does not go with `minutes`$"):
        Recipe("r", "R", ModelSpec("none"), (), strategy="multi_worker", minutes=3)
