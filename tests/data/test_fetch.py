"""Fetching known data sets, from a server on this machine."""

import hashlib
import io
import json
import sys
import types
import zipfile

import numpy as np
import pytest

from leukemia_tf.data import fetch
from leukemia_tf.data.fetch import choose_download, dataset_folders, fetch_data
from leukemia_tf.data.manifest import load_manifest
from leukemia_tf.data.open import open_data
from leukemia_tf.errors import InputError, RunError
from tests.data.local_https import LocalServer

OWN = {
    "name": "mine",
    "title": "Mine",
    "licence": "CC0",
    "citation": "Me",
    "homepage": "https://example.org",
    "classes": ["a", "b"],
    "layout": "files",
    "label_from": "(?P<label>[ab])/[^/]+$",
    "official_split": False,
}


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKEMIA_TF_DATA", str(tmp_path / "data"))
    server = LocalServer()
    yield server
    server.close()


def own(tmp_path, **changes):
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps({**OWN, **changes}))
    return file


def packed(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def medmnist():
    arrays = {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = np.zeros((8, 4, 4, 3), np.uint8)
        arrays[f"{split}_labels"] = np.arange(8, dtype=np.uint8)[:, None]
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_bloodmnist_by_variant_is_checked_and_then_found_by_name(server, tmp_path, monkeypatch):
    data = medmnist()
    server.files["/records/10519652/files/bloodmnist_64.npz?download=1"] = data
    with pytest.raises(RunError, match="not 2b94928a2ae4916078ca51e05b6b800b"):
        fetch_data("bloodmnist", variant="64", handlers=server.handlers, progress=False)
    manifest = load_manifest("bloodmnist")
    entries = tuple({**entry, "md5": hashlib.md5(data).hexdigest()} for entry in manifest.downloads)
    monkeypatch.setattr(fetch, "load_manifest", lambda name: manifest.replace(downloads=entries))
    file = fetch_data("bloodmnist", variant="64", handlers=server.handlers, progress=False)
    assert file == tmp_path / "data" / "bloodmnist" / "bloodmnist_64.npz" and file.read_bytes() == data
    opened, table = open_data("bloodmnist")
    assert opened.name == "bloodmnist" and len(table) == 24
    with pytest.raises(InputError, match="`variant` must be one of 28, 64, 128, 224 for 'bloodmnist'; received None"):
        fetch_data("bloodmnist")


def test_an_archive_is_unpacked_once(server, tmp_path):
    server.files["/x.zip"] = packed(**{"set/a/1.png": "1", "set/b/2.png": "2"})
    download = {"url": "https://example.org/x.zip", "file": "x.zip", "unpack": True}
    manifest = own(tmp_path, downloads=[download])
    folder = fetch_data(str(manifest), handlers=server.handlers, progress=False)
    assert folder == dataset_folders("mine")[0] == tmp_path / "data" / "mine"
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [".fetched.json", "1.png", "2.png"]
    fetch_data(str(manifest), handlers=server.handlers, progress=False)
    assert len(server.log) == 1
    other = fetch_data(
        str(manifest), folder=tmp_path / "other", handlers=server.handlers, progress=False, keep_archive=True
    )
    assert (other / "x.zip").exists() and (other / "set" / "a" / "1.png").read_text() == "1"


def test_a_hostile_archive_leaves_nothing_behind(server, tmp_path):
    server.files["/x.zip"] = packed(**{"../../evil.png": "1"})
    manifest = own(tmp_path, downloads=[{"url": "https://example.org/x.zip", "file": "x.zip", "unpack": True}])
    with pytest.raises(InputError, match="`../../evil.png`: received a path out of the folder"):
        fetch_data(str(manifest), handlers=server.handlers, progress=False)
    assert not list(tmp_path.rglob("evil.png"))


def test_figshare(server, tmp_path):
    data = packed(**{"a/1.png": "1", "b/2.png": "2"})
    entry = {"name": "set.zip", "size": len(data), "computed_md5": hashlib.md5(data).hexdigest()}
    server.files["/v2/articles/77"] = json.dumps(
        {"files": [{**entry, "download_url": "https://ndownloader.example/files/5"}]}
    ).encode()
    server.files["/files/5"] = data
    folder = fetch_data(
        str(own(tmp_path, downloads=[{"figshare": 77, "unpack": True}])), handlers=server.handlers, progress=False
    )
    assert (folder / "b" / "2.png").read_text() == "2"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            {"files": [{"name": "../x", "download_url": "https://x.example/5"}]},
            "must name plain files; received `../x`",
        ),
        ({"files": [{"name": ".x", "download_url": "https://x.example/5"}]}, "must name plain files"),
        ({"files": [{"name": "a\nb", "download_url": "https://x.example/5"}]}, "must name plain files"),
        ({"files": []}, "must list files; received none"),
        ([], "must list files; received none"),
        ({"files": [{"name": "x", "download_url": "http://x.example/5"}]}, "`url` must be https://"),
    ],
)
def test_figshare_is_not_trusted(server, tmp_path, answer, says):
    server.files["/v2/articles/77"] = json.dumps(answer).encode()
    with pytest.raises((InputError, RunError), match=says):
        fetch_data(str(own(tmp_path, downloads=[{"figshare": 77}])), handlers=server.handlers, progress=False)


def test_what_a_program_cannot_fetch_says_how(server):
    with pytest.raises(InputError, match="researchers who ask .* by the form on that page.* Put the files into"):
        fetch_data("allidb2")
    with pytest.raises(InputError, match="comes in one form only; received '64'"):
        fetch_data("pbc", variant="64")
    with pytest.raises(InputError, match="Did you mean 'taleqani'"):
        fetch_data("taleqany")
    assert choose_download(load_manifest("cnmc2019"))["kaggle"] == "andrewmvd/leukemia-classification"


def test_the_sample_is_drawn(server, monkeypatch, tmp_path):
    stand_in = types.ModuleType("leukemia_tf.data.sample")
    stand_in.render_sample = lambda seed, progress: tmp_path / "drawn"
    monkeypatch.setitem(sys.modules, "leukemia_tf.data.sample", stand_in)
    assert fetch_data("sample") == tmp_path / "drawn"


def test_kaggle(server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(
        InputError, match="pip install 'kagglehub>=1.0', or download https://www.kaggle.com/datasets/mehradaria"
    ):
        fetch_data("taleqani")
    hub, calls = types.ModuleType("kagglehub"), []
    hub.__version__ = "0.3"
    hub.dataset_download = lambda handle: calls.append(handle)
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    with pytest.raises(InputError, match="kagglehub 1.0 or newer .* received 0.3"):
        fetch_data("taleqani")

    def dataset_download(handle, output_dir):
        calls.append((handle, output_dir))

    hub.dataset_download = dataset_download
    assert fetch_data("taleqani") == tmp_path / "data" / "taleqani"
    assert calls == [("mehradaria/leukemia", str(tmp_path / "data" / "taleqani"))]

    def refused(handle, output_dir):
        raise RuntimeError("403 Client\nError")

    hub.dataset_download = refused
    with pytest.raises(RunError, match="cannot be fetched from Kaggle: 403 Client Error. Where Kaggle asks") as error:
        fetch_data("vinay1110")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("download", "says"),
    [
        ({"url": "http://x.org/a", "file": "a"}, "`url` must be an https:// address; received 'http://x.org/a'"),
        ({"url": "https://x.org/a"}, "needs `file`"),
        ({"url": "https://x.org/a", "file": "../a"}, "`file` must be a plain file name; received '../a'"),
        ({"url": "https://x.org/a", "file": ".a"}, "`file` must be a plain file name"),
        ({"kaggle": "https://kaggle.com/a/b"}, "`kaggle` must be owner/dataset"),
        ({"page": "https://x.org", "kaggle": "a/b"}, "needs one of url, figshare, kaggle, page; received kaggle, page"),
        ({}, "needs one of url, figshare, kaggle, page; received none"),
        ({"figshare": True}, "`figshare` must be the number of an article"),
        ({"kaggle": "a/b", "md5": "xyz"}, "`md5` must be 32 hexadecimal digits"),
        ({"kaggle": "a/b", "size": 0}, "`size` must be a number of bytes above 0"),
        ({"kaggle": "a/b", "colour": "red"}, "received 'colour'"),
    ],
)
def test_downloads_at_fault(tmp_path, download, says):
    with pytest.raises(InputError, match=says):
        load_manifest(own(tmp_path, downloads=[download]))
