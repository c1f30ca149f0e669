"""The command, as a user gives it: a whole run, kill -9 and resume, and bad input in one line each."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pandas as pd
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SMALL = [
    "--smoke",
    "--weights", "none",
    "--set", "model.options.backbones=vgg16,vgg16",  # few layers, so little to trace
]  # fmt: skip


def command(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "run.py"), *map(str, arguments)],
        capture_output=True, text=True, **options,
    )  # fmt: skip


def leukemia_tf(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "leukemia_tf.cli", *map(str, arguments)], capture_output=True, text=True
    )


def refused(done: subprocess.CompletedProcess, code: int = 2) -> list[str]:
    """The error lines of a command that must have failed cleanly."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert lines, done.stderr
    return lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Two classes of 30 images each, dark and bright, in the usual formats."""
    root = tmp_path_factory.mktemp("cells")
    random = np.random.default_rng(0)
    for label, level in (("blast", 90), ("healthy", 160)):
        (root / label).mkdir()
        for index in range(30):
            image = np.clip(random.normal(level, 30, (40, 44, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / label / f"{index:02}{('.png', '.jpg', '.bmp', '.tif')[index % 4]}"), image)
    return root


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory) -> pathlib.Path:
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    done = command("ensemble", "--data", folder, "--run-dir", run_dir, *SMALL)
    assert done.returncode == 0, done.stderr
    assert "Research use only" in done.stdout
    return run_dir


@pytest.mark.slow
def test_a_run_leaves_everything_behind(finished):
    for name in (
        "recipe.json environment.json run.json table.csv split.csv history.csv predictions_val.csv decision.json "
        "predictions.csv metrics.json report.html model.keras"
    ).split():
        assert (finished / name).stat().st_size > 0, name
    assert (finished / "saved_model" / "saved_model.pb").exists()
    assert {"confusion.png", "roc.png", "learning_curves.png"} <= {file.name for file in (finished / "plots").iterdir()}
    predictions = pd.read_csv(finished / "predictions.csv", keep_default_na=False)
    probabilities = ["prob_healthy", "prob_blast", "raw_prob_healthy", "raw_prob_blast"]
    assert list(predictions.columns)[:8] == ["path", "subject", "label", "prediction", *probabilities]
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["accuracy"]["value"] == (predictions["label"] == predictions["prediction"]).mean()
    assert list(pd.read_csv(finished / "history.csv")["phase"]) == ["head", "fine-tune"]
    assert not [file for file in finished.rglob(".tmp-*")]


@pytest.mark.slow
def test_a_finished_run_is_not_trained_again(finished, folder):
    before = (finished / "checkpoints" / "state.npz").stat().st_mtime_ns
    done = command("ensemble", "--data", folder, "--run-dir", finished, *SMALL)
    assert done.returncode == 0 and "finished" in done.stderr
    assert (finished / "checkpoints" / "state.npz").stat().st_mtime_ns == before


@pytest.mark.slow
def test_another_recipe_in_the_same_folder_is_refused(finished, folder):
    lines = refused(command("ensemble", "--data", folder, "--run-dir", finished, *SMALL, "--seed", 5))
    assert "seed is 0 there and 5 here" in lines[0]


@pytest.mark.slow
def test_metrics_follow_from_predictions_and_a_changed_digit_is_caught(finished, tmp_path):
    assert leukemia_tf("evaluate", finished).returncode == 0
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in "recipe.json run.json predictions_val.csv decision.json predictions.csv metrics.json".split():
        (copy / name).write_text((finished / name).read_text())
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["auc"]["low"] = np.nextafter(metrics["auc"]["low"], 2)
    (copy / "metrics.json").write_text(json.dumps(metrics))
    lines = refused(leukemia_tf("evaluate", copy), code=1)
    assert any("metrics.json: `auc.low` is stored as" in line for line in lines)


@pytest.mark.slow
def test_predict_gives_what_the_run_predicted(finished, folder, tmp_path):
    test = pd.read_csv(finished / "predictions.csv", keep_default_na=False)
    done = leukemia_tf("predict", finished, *[folder / path for path in test["path"]], "--output", tmp_path / "p.csv")
    assert done.returncode == 0, done.stderr
    assert "Research use only" in done.stdout
    found = pd.read_csv(tmp_path / "p.csv")
    assert list(found["prediction"]) == list(test["prediction"])
    np.testing.assert_allclose(found["prob_blast"], test["prob_blast"], atol=1e-5)


@pytest.mark.slow
def test_the_exported_model_gives_the_same_in_a_process_with_tensorflow_alone(finished, folder, tmp_path):
    test = pd.read_csv(finished / "predictions.csv", keep_default_na=False)
    test = test[~test["path"].str.endswith(".tif")]
    code = (
        "import sys, json, pathlib, tensorflow as tf\n"
        "serve = tf.saved_model.load(sys.argv[1]).signatures['serve_bytes']\n"
        "data = [pathlib.Path(f).read_bytes() for f in sys.argv[2:]]\n"
        "assert not [m for m in sys.modules if m.startswith('leukemia_tf')]\n"
        "print(json.dumps(serve(encoded=tf.constant(data))['probabilities'].numpy().tolist()))\n"
    )
    files = [str(folder / path) for path in test["path"]]
    done = subprocess.run(
        [sys.executable, "-c", code, str(finished / "saved_model"), *files],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    found = np.array(json.loads(done.stdout.splitlines()[-1]))
    np.testing.assert_allclose(found, test[["prob_healthy", "prob_blast"]], atol=1e-5)


@pytest.mark.slow
def test_evaluate_on_other_data(finished, folder, tmp_path):
    done = leukemia_tf("evaluate", finished, "--data", folder, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "metrics.json").read_text())["n_images"] == 60


@pytest.mark.slow
def test_the_other_ways_of_training_work_together(folder, tmp_path):
    """Mixed precision, keras-cv's augmentation, oversampling, and a time budget that ends after the first epoch."""
    ways = ["precision=mixed_bfloat16", "data.policy=strong", "data.balance=oversample", "phases.head.epochs=2"]
    arguments = ["ensemble", "--data", folder, "--run-dir", tmp_path / "run", *SMALL, "--minutes", "0.01"]
    done = command(*arguments, *[word for way in ways for word in ("--set", way)])
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "stopped by the time budget"
    assert (tmp_path / "run" / "report.html").exists() and (tmp_path / "run" / "saved_model").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("after", ["checkpoints/best.keras", "checkpoints/state.npz"])
def test_kill_9_and_the_same_command_ends_with_the_same_weights(finished, folder, tmp_path, after):
    """Killed as soon as the named file appears: in phase 1 at its end, or between the phases."""
    run_dir = tmp_path / "run"
    arguments = ["ensemble", "--data", folder, "--run-dir", run_dir, *SMALL]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "experiments" / "run.py"), *map(str, arguments)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ},
    )  # fmt: skip
    while process.poll() is None and not (run_dir / after).exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (run_dir / "metrics.json").exists()
    done = command(*arguments)
    assert done.returncode == 0, done.stderr
    for name in ("predictions.csv", "metrics.json", "history.csv", "table.csv", "split.csv"):
        assert (run_dir / name).read_text() == (finished / name).read_text(), name


def test_bad_images_are_all_named_in_one_go(folder, tmp_path):
    import shutil

    data = tmp_path / "data"
    shutil.copytree(folder, data)
    whole = (data / "blast" / "01.jpg").read_bytes()
    (data / "blast" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (data / "blast" / "text.png").write_text("this is no picture")
    (data / "healthy" / "empty.bmp").write_bytes(b"")
    (data / "healthy" / ".DS_Store.png").write_text("hidden")
    lines = refused(command("ensemble", "--data", data, "--run-dir", tmp_path / "run", *SMALL))
    for name in ("cut.jpg", "text.png", "empty.bmp"):
        assert sum(name in line for line in lines) == 1, lines
    assert "--skip-broken" in lines[-1]
    assert not any("DS_Store" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ensembl"], "did you mean ensemble"),
        (["ensemble", "--data", "no/such/folder"], "no/such/folder"),
        (["ensemble", "--set", "data.polcy=d4"], "did you mean policy"),
        (["ensemble", "--set", "data.image_size=big"], "wants a whole number"),
        (["ensemble", "--image-size", "0"], "1 or more"),
        (["ensemble", "--split", "split.csv", "--groups", "groups.csv"], "goes with neither"),
    ],
)
def test_wrong_use_is_one_line(arguments, message, tmp_path):
    lines = refused(command(*arguments, "--run-dir", tmp_path / "run"))
    assert len(lines) == 1 and message in lines[0]


def test_a_folder_that_is_no_run(tmp_path):
    for verb in (["evaluate", tmp_path], ["predict", tmp_path, "x.png"]):
        assert "recipe.json" in refused(leukemia_tf(*verb))[0]


def test_an_output_folder_that_cannot_be_written(folder, tmp_path):
    (tmp_path / "file").write_text("in the way")
    lines = refused(command("ensemble", "--data", folder, "--run-dir", tmp_path / "file" / "run", *SMALL), code=1)
    assert len(lines) == 1 and "cannot write" in lines[0]


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_written(folder, tmp_path):
    """A limit on the size of one file stands for a full disk: the state fits not, the small files before it do."""
    run_dir = tmp_path / "run"
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "from leukemia_tf.cli import train_main\n"
        "sys.exit(train_main(sys.argv[1:]))\n"
    )
    arguments = ["ensemble", "--data", folder, "--run-dir", run_dir, *SMALL]
    done = subprocess.run([sys.executable, "-c", limited, *map(str, arguments)], capture_output=True, text=True)
    lines = refused(done, code=1)
    assert len(lines) == 1 and "no space left" in lines[0]
    assert json.loads((run_dir / "recipe.json").read_text())["name"] == "ensemble"
    assert len(pd.read_csv(run_dir / "table.csv")) == 60
    assert not [file for file in run_dir.rglob(".tmp-*")]
