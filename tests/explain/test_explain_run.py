"""The command and what it writes, on a run made by hand: pictures, maps, table, page, and errors in one line."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukemia_tf.cli import main
from leukemia_tf.data import load_manifest
from leukemia_tf.errors import InputError
from leukemia_tf.explain import draw_explanation, draw_sheet
from leukemia_tf.explain.pictures import overlay
from leukemia_tf.files import write_json
from leukemia_tf.models.handcrafted import HandcraftedClassifier
from leukemia_tf.recipes import get_recipe, load_run
from leukemia_tf.recipes.explain import explain_images
from tests.explain.small import corner, random_images

SIZE = 32


def write_run(folder: pathlib.Path, classes=("HEM", "ALL")) -> pathlib.Path:
    """What `Run` and `predict` need of a finished training."""
    folder.mkdir()
    write_json(folder / "recipe.json", get_recipe("basic_cnn").to_dict())
    manifest = load_manifest("sample").to_dict()
    info = {"status": "finished", "classes": list(classes), "manifest": manifest, "image_size": SIZE}
    write_json(folder / "run.json", {**info, "threshold": 0.5, "colour": {"method": "none"}})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> pathlib.Path:
    folder = write_run(tmp_path_factory.mktemp("explain") / "run")
    corner(SIZE, 8).save(folder / "model.keras")
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> pathlib.Path:
    """Nine images, more than are explained at once: those of even number with a bright corner, which makes them ALL."""
    folder = tmp_path_factory.mktemp("images")
    for number, image in enumerate(0.2 * random_images(9, SIZE)):
        image[:8, :8] = 0 if number % 2 else 255
        Image.fromarray(image.astype(np.uint8)).save(folder / f"cell $ {number}.png")
    return folder


def test_everything_is_written(run, images, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["explain", run, images, "--output", out, "--check", "--quiet"]
    arguments += ["--method", "integrated_gradients", "--method", "occlusion", "--class", "ALL"]
    assert main([str(argument) for argument in arguments]) == 0
    printed = capsys.readouterr().out
    assert "cell $ 0.png: ALL (" in printed and "explained for ALL" in printed
    assert "occlusion: deletion 0." in printed and "Research use only" in printed and "SYNTHETIC" in printed

    frame = pd.read_csv(out / "explanations.csv")
    assert len(frame) == 18 and list(frame["method"][:2]) == ["integrated_gradients", "occlusion"]
    assert list(frame["prediction"][::2]) == ["ALL", "HEM"] * 4 + ["ALL"] and set(frame["explained"]) == {"ALL"}
    np.testing.assert_allclose(frame["prob_HEM"] + frame["prob_ALL"], 1)
    for column in ("deletion", "insertion", "deletion_random", "insertion_random", "shuffled_all"):
        assert frame[column].between(-1, 1).all(), column
    # The bright corner is all that counts, so that a map of it beats orders that know nothing.
    bright = frame[(frame["prediction"] == "ALL") & (frame["method"] == "occlusion")]
    assert (bright["insertion"] > bright["insertion_random"]).all()
    assert frame["gap"][frame["method"] == "integrated_gradients"].max() < 0.01

    for picture in frame["picture"]:
        with Image.open(out / picture) as opened:
            assert opened.format == "PNG" and min(opened.size) > 300
    with np.load(out / "maps" / "000_cell_0.npz") as maps:
        assert set(maps) == {"image", "integrated_gradients", "occlusion"}
        assert maps["image"].shape == (SIZE, SIZE, 3) and maps["occlusion"].shape == (SIZE, SIZE)
        assert maps["occlusion"][:8, :8].mean() > 10 * np.abs(maps["occlusion"][16:, 16:]).mean()
    page = (out / "explanations.html").read_text()
    assert page.count("<figure>") == 18 and "cell $ 0.png" in page and "Research use only" in page
    assert "<script" not in page and "http" not in page
    settings = json.loads((out / "explanations.json").read_text())
    assert settings["images"] == 9 and set(settings["verdicts"]) == {"integrated_gradients", "occlusion"}
    assert (out / "explanations.png").is_file()


def test_each_image_is_explained_for_its_prediction(run, images):
    found = explain_images(load_run(run), [images / "cell $ 1.png", images / "cell $ 2.png"])
    frame = found["frame"]
    assert list(frame["explained"]) == list(frame["prediction"]) == ["HEM", "ALL"]
    assert found["folder"] == run / "explanations" and found["verdicts"] == {}
    assert list(frame["layers"]) == ["map"] * 2


@pytest.mark.parametrize(
    "options, message",
    [
        (["--class", "blast"], "`class` must be one of HEM, ALL. Received: 'blast'"),
        (["--layer", "conv9"], "`layer` must be a layer whose output is a map of pixels, such as"),
        (["--method", "occlusion", "--layer", "map"], "`layer` is for the methods grad_cam"),
        (["--method", "grad_cam", "--method", "attention"], "must have an attention layer"),
    ],
)
def test_bad_options(run, images, tmp_path, capsys, options, message):
    arguments = ["explain", str(run), str(images), "--output", str(tmp_path / "out"), "--quiet", *options]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_images(run, images, tmp_path, capsys):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    arguments = ["explain", str(run), str(images / "cell $ 0.png"), str(broken), "--quiet", "--output", str(tmp_path)]
    assert main(arguments) == 2
    assert "broken.png" in capsys.readouterr().err
    assert main([*arguments, "--skip-broken"]) == 0
    assert len(pd.read_csv(tmp_path / "explanations.csv")) == 1
    assert main(["explain", str(run), str(tmp_path / "nowhere"), "--quiet"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_run_of_scikit_learn_by_occlusion_alone(images, tmp_path):
    run = write_run(tmp_path / "run")
    pixels = np.stack([np.asarray(Image.open(file)) for file in sorted(images.glob("*.png"))])
    model = HandcraftedClassifier(2, SIZE, classifier="logistic", families=["color"])
    model.fit(pixels, np.array([1, 0] * 4 + [1]), progress=False)
    model.save(run / "model.skops")
    one = [images / "cell $ 0.png"]
    with pytest.raises(InputError, match="must be a Keras model for this method.*only `occlusion` explains it"):
        explain_images(load_run(run), one, methods=["grad_cam"])
    found = explain_images(load_run(run), one, methods=["occlusion"], check=True, output=tmp_path / "out")
    assert list(found["frame"]["method"]) == ["occlusion"] and "shuffled_all" not in found["frame"]
    assert "deletion" in found["verdicts"]["occlusion"]


def test_colours_of_an_overlay():
    image = np.full((8, 8, 3), 120, np.uint8)
    one = np.zeros((8, 8))
    one[2, 2] = 5
    mixed, scale = overlay(image, one)
    assert scale.get_clim() == (0, 5)
    np.testing.assert_array_equal(mixed[5, 5], [120] * 3)  # nothing to say: the image in grey
    assert (mixed[2, 2] != 120).any()
    one[4, 4] = -10
    mixed, scale = overlay(image, one)
    assert scale.get_clim() == (-10, 10)
    assert mixed[2, 2, 0] > mixed[2, 2, 2] and mixed[4, 4, 2] > mixed[4, 4, 0]  # red for, blue against
    assert overlay(image, np.ones((8, 8)), top=2)[1].get_clim() == (0, 2)
    for empty in (np.zeros((8, 8)), np.ones((8, 8))):
        assert np.isfinite(overlay(image, empty)[0]).all()


def test_figures_say_what_they_show():
    image = np.zeros((8, 8, 3), np.uint8)
    figure = draw_explanation(image, np.eye(8), title="a $ b", method="grad_cam", unit="share", box=(0, 0, 0.5, 0.5))
    texts = " ".join(text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text")))
    assert "Grad-CAM" in texts and "Research use only" in texts and "share" in texts
    sheet = draw_sheet([image] * 2, [{"grad_cam": np.eye(8)}, {"occlusion": -np.eye(8)}], ["one", "two"])
    assert len(sheet.axes) == 6
    keras.backend.clear_session()
