"""A run exported to every format, and folders predicted with each: the same rows, resumed, and refused in one line."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukemia_tf import cli
from leukemia_tf.errors import InputError, RunError
import leukemia_tf.recipes.answering as answering
import leukemia_tf.recipes.export as export
import leukemia_tf.recipes.predict_stream as predict_stream
from leukemia_tf.recipes import get_recipe, load_run
from leukemia_tf.recipes.answering import fastest_format, open_model
from leukemia_tf.recipes.export import export_run
from leukemia_tf.recipes.predict import predict_images
from leukemia_tf.recipes.predict_stream import chosen_format, predict_files
from leukemia_tf.recipes.train_recipe import for_source, train_recipe

for module in ("ai_edge_litert", "onnxruntime", "tf2onnx"):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}: pip install 'leukemia-tf[export]'", allow_module_level=True)

FORMATS = ["saved_model", "litert", "litert-int8", "onnx"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Forty images of several formats and sizes."""
    random = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("images")
    for index in range(40):
        shape = (int(random.integers(20, 90)), int(random.integers(20, 90)), 3)
        image = np.clip(random.normal(random.uniform(60, 200), 40, shape), 0, 255).astype(np.uint8)
        file = root / f"group{index % 3}" / f"{index:02}{('.png', '.jpg', '.bmp', '.tif')[index % 4]}"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(file)
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A smoke run of a small network, with every export."""
    path = tmp_path_factory.mktemp("runs") / "small"
    recipe = for_source(get_recipe("bloodmnist_cnn3"), None, smoke=True)
    run = train_recipe(recipe, path, progress=False)
    # One of 8 validation images is an eighth of the accuracy.
    export_run(run, FORMATS, max_accuracy_loss=1.0, calibration_images=8, progress=False)
    return run


@pytest.fixture(scope="module")
def rows(run, folder):
    return predict_images(run, [folder])


def read(path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype={"prediction": str})
    return frame.sort_values("path", ignore_index=True)


def read_bytes(content: bytes, folder: pathlib.Path) -> pd.DataFrame:
    (folder / "given.csv").write_bytes(content)
    return read(folder / "given.csv")


def same(found: pd.DataFrame, expected: pd.DataFrame, atol: float) -> None:
    expected = expected.sort_values("path", ignore_index=True)
    assert list(found["path"]) == list(expected["path"])
    for column in set(found.columns) - {"path", "prediction"}:
        np.testing.assert_allclose(found[column], expected[column], rtol=10 * atol, atol=atol, err_msg=column)


def test_figures_of_every_export_lie_beside_it(run):
    table = pd.read_csv(run.path / "exports.csv")
    assert list(table["format"]) == FORMATS
    assert json.loads((run.path / "exports.json").read_text())[1]["format"] == "litert"
    assert (table["images"] == 8).all() and table["agreement"].between(0, 1).all()
    exact = table["format"] != "litert-int8"
    assert (table["max_difference"][exact] < 1e-5).all() and (table["accuracy_loss"][exact] == 0).all()
    assert table["bytes"][2] < 0.4 * table["bytes"][1]
    for name in FORMATS[1:]:
        beside = json.loads((run.path / name / "model.json").read_text())
        assert beside["classes"] == run.classes and beside["image_size"] == run.info["image_size"]
        assert "Research use only" in beside["notice"] and beside["value_range"] == [0, 255]
        assert beside["decision"] == json.loads((run.path / "decision.json").read_text())
    assert not list(run.path.glob(".tmp-*"))


@pytest.mark.parametrize("name, atol", [("keras", 1e-5), ("saved_model", 1e-5), ("litert", 1e-5), ("onnx", 1e-5)])
def test_a_folder_gives_the_rows_that_predict_images_gives(run, folder, rows, name, atol, tmp_path):
    assert predict_files(run, [folder], output=tmp_path / "p.csv", format=name, batch_size=7) == 40
    found = read(tmp_path / "p.csv")
    assert list(found.columns) == list(rows.columns) or name == "saved_model"
    same(found, rows, atol)
    assert json.loads((tmp_path / "p.csv.json").read_text())["status"] == "complete"


def test_a_few_images_without_a_graph_give_what_many_give(run):
    pixels = np.random.default_rng(0).integers(0, 256, (9, *[run.info["image_size"]] * 2, 3), dtype=np.uint8)
    ask = open_model(run, "keras")
    first, more = ask(pixels[:3]), ask(pixels)  # the second is traced
    np.testing.assert_allclose(first[0], more[0][:3], atol=1e-6)
    assert first[1].keys() == more[1].keys() and "mahalanobis" in first[1]
    for name, scores in first[1].items():
        np.testing.assert_allclose(scores, more[1][name][:3], rtol=1e-4)


def test_eight_bits_give_nearly_the_same_rows(run, folder, rows, tmp_path):
    predict_files(run, [folder], output=tmp_path / "p.csv", format="litert-int8")
    positive = [column for column in rows if column.startswith("raw_prob_")]
    found, expected = read(tmp_path / "p.csv"), rows.sort_values("path", ignore_index=True)
    assert 0 < np.abs(found[positive].to_numpy() - expected[positive].to_numpy()).max() < 0.1


def test_pieces_for_a_stream_are_the_file(run, folder, tmp_path):
    pieces: list[bytes] = []
    predict_files(run, [folder], write=pieces.append, format="litert")
    predict_files(run, [folder], output=tmp_path / "p.csv", format="litert")
    assert b"".join(pieces) == (tmp_path / "p.csv").read_bytes()


@pytest.mark.parametrize("cut", [1, 25, 400, 10**6])
def test_a_cut_file_is_continued_to_the_same_rows(run, folder, cut, tmp_path):
    file = tmp_path / "p.csv"
    predict_files(run, [folder], output=file, format="litert")
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut] if cut < len(whole) else whole[:10])
    kept = file.read_bytes()[: file.read_bytes().rfind(b"\n") + 1]
    assert predict_files(run, [folder], output=file, format="litert") == 40
    assert file.read_bytes().startswith(kept)
    (tmp_path / "whole.csv").write_bytes(whole)
    # A batch of another size may change the last digit.
    same(read(file), read(tmp_path / "whole.csv"), 1e-6)


def test_only_new_images_are_predicted(run, folder, tmp_path, monkeypatch):
    some = tmp_path / "some"
    shutil.copytree(folder, some)
    (some / "group0" / "00.png").rename(tmp_path / "later.png")
    predict_files(run, [some], output=tmp_path / "p.csv", format="litert")
    (tmp_path / "later.png").rename(some / "group0" / "00.png")
    read_paths: list[str] = []
    original = predict_stream.read_with_pillow
    monkeypatch.setattr(predict_stream, "read_with_pillow", lambda path: original(read_paths.append(path) or path))
    assert predict_files(run, [some], output=tmp_path / "p.csv", format="litert") == 40
    assert [pathlib.Path(path).name for path in read_paths] == ["00.png"]


def test_rows_of_another_model_are_refused(run, folder, tmp_path):
    file = tmp_path / "p.csv"
    predict_files(run, [folder], output=file, format="litert")
    before = file.read_bytes()
    with pytest.raises(InputError, match="p.csv.*of another model"):
        predict_files(run, [folder], output=file, format="onnx")
    (tmp_path / "p.csv.json").unlink()
    with pytest.raises(InputError, match="without `p.csv.json` beside it"):
        predict_files(run, [folder], output=file, format="litert")
    assert file.read_bytes() == before


def test_broken_files_are_named_once_the_others_are_done(run, folder, tmp_path, caplog):
    some = tmp_path / "some"
    shutil.copytree(folder, some)
    (some / "group0" / "a.jpg").write_bytes((folder / "group1" / "01.jpg").read_bytes()[:-300])
    (some / "z.png").write_bytes(b"no image")
    with pytest.raises(InputError) as error:
        predict_files(run, [some], output=tmp_path / "p.csv", format="litert")
    lines = str(error.value).splitlines()
    assert "a.jpg" in lines[0] and "z.png" in lines[1] and "--skip-broken" in lines[2] and "the 40 others" in lines[2]
    assert len(read(tmp_path / "p.csv")) == 40
    assert predict_files(run, [some], output=tmp_path / "p.csv", format="litert", skip_broken=True) == 40
    assert "2 images are left out" in caplog.text
    with pytest.raises(InputError, match="1 files, all broken"):
        predict_files(run, [some / "z.png"], write=bytes, skip_broken=True)


def test_beyond_a_bound_nothing_is_left_behind(run, tmp_path):
    with pytest.raises(RunError, match="`litert-int8` does not answer.*max_difference.*--max-difference"):
        export_run(
            run, ["litert", "litert-int8"], output=tmp_path / "out", max_difference=1e-7, max_accuracy_loss=1.0,
            calibration_images=4, progress=False,
        )  # fmt: skip
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def logger_as_it_was():
    """The command sends the log to standard error for the rest of the process."""
    logger = logging.getLogger("leukemia_tf")
    before = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.level, logger.propagate, logger.handlers = before


def test_the_command_says_what_it_found_and_fails_beyond_a_bound(run, tmp_path, capsys, logger_as_it_was):
    arguments = ["export", str(run.path), "--to", "onnx", "--output", str(tmp_path / "out"), "--quiet"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert "onnx:" in said and "agreement 1.0000" in said and "8 images" in said and "Research use only" in said
    before = (tmp_path / "out" / "onnx" / "model.onnx").read_bytes()
    assert cli.main([*arguments, "--max-difference", "1e-12"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors == [line for line in errors if line.startswith("error: `onnx` does not answer")] and len(errors) == 1
    assert (tmp_path / "out" / "onnx" / "model.onnx").read_bytes() == before
    assert not list((tmp_path / "out").glob(".tmp-*"))
    assert cli.main([*arguments, "--max-difference", "2"]) == 2


@pytest.mark.parametrize(
    "losses, kept",
    [
        ([0.9, 0.9, 0.0], 2),  # the third is within the bound of .005
        ([0.002, 0.0, 0.0], 1),  # within half of it at once
        ([0.004, 0.003, 0.0045], 1.5),  # within it, but not by half: the least of all
    ],
)
def test_eight_bits_that_lose_accuracy_get_more_float32(run, tmp_path, monkeypatch, losses, kept):
    tried: list[float] = []
    left = [1, 1.5, 2]

    def write(checked, name, folder, layers):
        folder.mkdir()
        (folder / "model.tflite").write_bytes(bytes([int(10 * layers)]))

    def losing(self, folder, name):
        tried.append(losses[len(tried)])
        return {
            "images": 8, "max_difference": 0.1, "agreement": 1.0, "accuracy_loss": tried[-1], "loss_low": 0.0,
            "loss_high": 0.0,
        }  # fmt: skip

    # Three convolutions and two dense layers: half of all layers is less than three.
    assert export._float_layers(run.model) == [1]
    monkeypatch.setattr(export._Checked, "compare", losing)
    monkeypatch.setattr(export, "_write", write)
    monkeypatch.setattr(export, "_float_layers", lambda model: left)
    table = export_run(run, ["litert-int8"], output=tmp_path, progress=False)
    assert table["float_layers"].tolist() == [kept] and len(tried) == (1 if kept == 1 else 3)
    assert (tmp_path / "litert-int8" / "model.tflite").read_bytes() == bytes([int(10 * kept)])


def test_an_export_of_an_earlier_model_is_refused(run, folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    file = copy / "litert" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_sha256": "0" * 64}))
    with pytest.raises(InputError, match="export RUN --to litert writes it again"):
        predict_files(load_run(copy), [folder], write=bytes, format="litert")
    shutil.rmtree(copy / "onnx")
    with pytest.raises(InputError, match="leukemia-tf export RUN --to onnx"):
        predict_files(load_run(copy), [folder], write=bytes, format="onnx")


def predict_alone(code: str, run, folder, name: str, output) -> str:
    """What ``predict`` prints in a process that begins with `code`."""
    arguments = ["predict", str(run.path), str(folder), "--format", name, "--output", str(output)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["litert", "onnx"])
def test_a_prediction_without_tensorflow(run, folder, rows, name, tmp_path):
    """The whole command, in a process that could import neither it nor scikit-learn, which also takes its time."""
    code = (
        "import sys; sys.modules.update(tensorflow=None, keras=None, sklearn=None)\n"
        "from leukemia_tf.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    said = predict_alone(code, run, folder, name, tmp_path / "p.csv")
    assert "Research use only" in said
    same(read(tmp_path / "p.csv"), rows, 1e-5)


@pytest.mark.parametrize("name, absent", [("keras", []), ("saved_model", ["keras"])])
def test_tensorflow_alone_gives_the_same_rows(run, folder, rows, name, absent, tmp_path):
    """The command keeps TensorFlow from importing what a prediction does not need."""
    absent = ["jax", "matplotlib", "sklearn", *absent]
    code = (
        "import sys\nfrom leukemia_tf.cli import main\ncode = main(sys.argv[1:])\n"
        f"print([name for name in {absent} if name in sys.modules], 'tensorflow' in sys.modules)\nsys.exit(code)\n"
    )
    said = predict_alone(code, run, folder, name, tmp_path / "p.csv")
    assert said.splitlines()[-1] == "[] True"
    same(read(tmp_path / "p.csv"), rows, 1e-5)


def test_auto_takes_the_export_that_starts_fastest(run, folder, tmp_path, monkeypatch):
    assert fastest_format(run) == "litert"
    monkeypatch.setattr(answering, "has_runtime", lambda name: name != "litert")
    assert fastest_format(run) == "onnx"
    monkeypatch.setattr(answering, "has_runtime", lambda name: name == "saved_model")
    assert fastest_format(run) == "saved_model"
    monkeypatch.undo()
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    rows = json.loads((copy / "exports.json").read_text())

    def with_rows(**changes) -> str:
        changed = [{**row, **changes} if row["format"] == "litert" else row for row in rows]
        (copy / "exports.json").write_text(json.dumps(changed))
        return fastest_format(load_run(copy))

    assert with_rows() == "litert"
    assert with_rows(max_difference=0.01) == with_rows(accuracy_loss=0.02) == "onnx"
    assert with_rows(model_sha256="0" * 64) == "onnx"
    with_rows()
    for name in ("litert", "onnx"):  # such as those that were copied over from another run
        file = copy / name / "model.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "model_sha256": "0" * 64}))
    shutil.rmtree(copy / "saved_model")
    assert fastest_format(load_run(copy)) == "keras"


def test_auto_goes_on_with_the_format_that_a_file_was_begun_with(run, folder, tmp_path):
    file = tmp_path / "p.csv"
    predict_files(run, [folder], output=file, format="onnx")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert chosen_format(run, "auto", file) == "onnx"
    assert predict_files(run, [folder], output=file) == 40
    same(read(file), read_bytes(whole, tmp_path), 1e-6)
    assert chosen_format(run, "keras", file) == "keras"
    assert chosen_format(run, "auto", tmp_path / "new.csv") == chosen_format(run, "auto") == "litert"


@pytest.mark.parametrize("name", ["litert", "onnx"])
def test_one_thread_gives_the_same_rows(run, folder, rows, name, tmp_path):
    predict_files(run, [folder], output=tmp_path / "p.csv", format=name, threads=1)
    same(read(tmp_path / "p.csv"), rows, 1e-5)
    with pytest.raises(InputError, match="`threads` is 1 or more, or 0"):
        predict_files(run, [folder], write=bytes, threads=-1)


def test_a_killed_prediction_goes_on(run, folder, tmp_path):
    many = tmp_path / "many"
    for copy in range(60):
        shutil.copytree(folder, many / str(copy), copy_function=os.link)
    command = [
        sys.executable, "-m", "leukemia_tf.cli", "predict", str(run.path), str(many), "--format", "litert",
        "--output", str(tmp_path / "p.csv"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not ((tmp_path / "p.csv").exists() and (tmp_path / "p.csv").stat().st_size):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = (tmp_path / "p.csv").read_bytes()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = (tmp_path / "p.csv").read_bytes()
    assert after.startswith(before[: before.rfind(b"\n") + 1]) and len(pd.read_csv(tmp_path / "p.csv")) == 2400
    assert pd.read_csv(tmp_path / "p.csv")["path"].is_unique


def test_a_model_of_scikit_learn_has_no_export(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "model.keras").unlink()
    (copy / "model.skops").touch()
    with pytest.raises(InputError, match="a model of scikit-learn, which has no exports"):
        export_run(load_run(copy), ["litert"])
    with pytest.raises(InputError, match="'keras' for a model of scikit-learn"):
        predict_files(load_run(copy), [run.path], write=bytes, format="litert")


@pytest.mark.parametrize("formats", [[], ["tflite"]])
def test_unknown_formats_are_refused(run, formats):
    with pytest.raises(InputError, match="`to` names some of saved_model, litert, litert-int8, onnx"):
        export_run(run, formats)
