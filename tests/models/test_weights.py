import logging
import os
import socket
import urllib.error

import h5py
import keras
import numpy as np
import pytest
from harness import assert_close, enliven, random_images

from leukemia_tf.errors import InputError
from leukemia_tf.models import BACKBONES, build_backbones, load_model
from leukemia_tf.models.weights import DownloadFailed, check_weights

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a weights file for mobilenetv2, and files beside it that are something else."""
    path = tmp_path_factory.mktemp("weights")
    keras.utils.set_random_seed(1)
    options = {"weights": None, "include_top": False, "input_shape": (32, 32, 3)}
    model = keras.applications.MobileNetV2(**options, pooling="avg")
    enliven(model, random_images(16, 32) / 127.5 - 1)
    model.save_weights(path / "mobilenetv2_notop.weights.h5")
    model.save(path / "whole.keras")
    keras.applications.MobileNetV2(**options, alpha=0.5).save_weights(path / "narrow.weights.h5")
    keras.applications.MobileNetV2(weights=None, classes=3).save_weights(path / "top.weights.h5")
    (path / "text.weights.h5").write_text("not a weights file", encoding="utf-8")
    h5py.File(path / "empty.weights.h5", "w").close()
    return path


@pytest.fixture
def no_network(monkeypatch):
    """Every download fails as it does without a network; the list says which were tried."""
    tried = []

    def get_file(fname, origin, **options):
        tried.append(fname)
        assert socket.getdefaulttimeout() == 30.0
        raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    return tried


@pytest.mark.parametrize("file", ["mobilenetv2_notop.weights.h5", ""])
def test_file_and_folder(folder, file):
    model = BACKBONES["mobilenetv2"].build(48, folder / file)
    plain = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(48, 48, 3), pooling="avg")
    plain.load_weights(folder / "mobilenetv2_notop.weights.h5")
    images = random_images(2, 48)
    expected = plain(keras.applications.mobilenet_v2.preprocess_input(images.copy())).numpy()
    assert_close(model(images), expected)


def test_own_file_goes_back_in(folder, tmp_path):
    model = BACKBONES["mobilenetv2"].build(32, folder)
    model.save_weights(tmp_path / "again.weights.h5")
    again = BACKBONES["mobilenetv2"].build(32, str(tmp_path / "again.weights.h5"))
    np.testing.assert_array_equal(again(random_images(2, 32)), model(random_images(2, 32)))
    for own, read in zip(model.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(own, read)


@pytest.mark.parametrize(
    "backbone, file, words",
    [
        ("efficientnetb0", "", r"efficientnetb0_notop\.weights\.h5` does not exist"),
        ("mobilenetv2", "text.weights.h5", r"must be a Keras `\.weights\.h5` file.*Received: `.*text\.weights\.h5`"),
        ("mobilenetv2", "whole.keras", r"must be a Keras `\.weights\.h5` file.*Received: `.*whole\.keras`"),
        ("mobilenetv2", "empty.weights.h5", r"holds 0 arrays where `mobilenetv2` has 260"),
        ("mobilenetv2", "top.weights.h5", r"holds 262 arrays where `mobilenetv2` has 260"),
        ("mobilenetv2", "narrow.weights.h5", r"does not fit `mobilenetv2`: the shapes differ"),
        ("efficientnetb0", "mobilenetv2_notop.weights.h5", r"holds 260 arrays where `efficientnetb0` has"),
    ],
)
def test_wrong_files(folder, backbone, file, words):
    with pytest.raises(InputError, match=words) as caught:
        BACKBONES[backbone].build(32, folder / file)
    assert len(str(caught.value).splitlines()) == 1


def test_one_file_for_two_architectures(folder):
    with pytest.raises(InputError, match="mobilenetv2 and efficientnetb0 give a folder"):
        build_backbones(["mobilenetv2", "efficientnetb0"], 32, folder / "mobilenetv2_notop.weights.h5")


def test_check(tmp_path):
    assert check_weights(None) is None and check_weights("none") is None and check_weights("imagenet") == "imagenet"
    assert check_weights(tmp_path) == os.fspath(tmp_path)
    for wrong in ("imagenett", tmp_path / "missing.weights.h5", 5, ""):
        with pytest.raises(InputError, match="`weights` must be.*Received"):
            check_weights(wrong)


def test_failed_download_says_how_to_go_on(no_network):
    with pytest.raises(DownloadFailed) as caught:
        BACKBONES["mobilenetv2"].build(32, "imagenet")
    text = str(caught.value)
    assert len(text.splitlines()) == 1 and isinstance(caught.value, InputError)
    for words in ("`mobilenetv2`", "Name or service not known", "--weights FILE.weights.h5", "_notop.weights.h5"):
        assert words in text
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.ContentTooShortError("half of it", b""),
        TimeoutError("timed out"),
        ValueError("Incomplete or corrupted file detected. The auto file hash does not match"),
    ],
)
def test_broken_downloads(monkeypatch, error):
    def get_file(*args, **options):
        raise error

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with pytest.raises(DownloadFailed, match="could not be downloaded"):
        BACKBONES["mobilenetv2"].build(32, "imagenet")


def test_other_errors_are_not_taken_for_a_failed_download(monkeypatch):
    def get_file(*args, **options):
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    with pytest.raises(RuntimeError, match="a fault of the program"):
        BACKBONES["mobilenetv2"].build(32, "imagenet")


def test_random_instead_tries_once_and_warns_once(no_network, caplog):
    with caplog.at_level(logging.WARNING, "leukemia_tf"):
        models = build_backbones(["mobilenetv2", "mobilenetv2", "mobilenetv2"], 32, "imagenet", on_missing="random")
    assert len(models) == 3 and len(no_network) == 1
    (record,) = caplog.records
    assert record.levelname == "WARNING" and len(record.getMessage().splitlines()) == 1
    assert "RANDOM WEIGHTS for mobilenetv2, mobilenetv2, mobilenetv2" in record.getMessage()


def test_several_fail_at_the_first(no_network):
    with pytest.raises(DownloadFailed):
        build_backbones(["mobilenetv2", "efficientnetb0"], 32, "imagenet")
    assert len(no_network) == 1


@pytest.mark.slow
def test_efficientnet_v1_means_the_same_whatever_its_weights_come_from(tmp_path, monkeypatch):
    """Keras's download, Keras's file, a file saved after a download and a file with right statistics: one network."""
    entry = BACKBONES["efficientnetb0"]
    options = {"include_top": False, "input_shape": (32, 32, 3), "pooling": "avg"}

    # A stand-in for Keras's file: the deviation where the layer reads a variance.
    keras.utils.set_random_seed(2)
    plain = entry.constructor(weights=None, **options)
    normalization, images = plain.layers[2], random_images(16, 32)
    normalization.set_weights([MEAN, STD**2, np.array(0)])
    normalization.finalize_state()
    enliven(plain, images)
    plain.save_weights(tmp_path / "right.weights.h5")
    normalization.set_weights([MEAN, STD, np.array(0)])
    plain.save_weights(tmp_path / "keras.weights.h5")
    monkeypatch.setattr(
        "keras.src.utils.file_utils.get_file", lambda *args, **kwargs: str(tmp_path / "keras.weights.h5")
    )
    downloaded = entry.constructor(weights="imagenet", **options)
    downloaded.save_weights(tmp_path / "saved.weights.h5")

    expected = downloaded(images).numpy()
    trap = entry.constructor(weights=str(tmp_path / "keras.weights.h5"), **options)(images).numpy()
    assert np.linalg.norm(trap - expected) > 0.1 * np.linalg.norm(expected)

    sources = ["imagenet", *(tmp_path / f"{name}.weights.h5" for name in ("keras", "saved", "right"))]
    for source in sources:
        model = entry.build(32, source)
        assert_close(model(images), expected)
        assert len(model.layers) == len(plain.layers)

    # The repaired statistics are part of what is saved.
    model = entry.build(32, tmp_path / "keras.weights.h5")
    model.save(tmp_path / "model.keras")
    assert_close(load_model(tmp_path / "model.keras")(images), expected)
    model.save_weights(tmp_path / "own.weights.h5")
    assert_close(entry.build(32, tmp_path / "own.weights.h5")(images), expected)
