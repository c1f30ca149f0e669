"""Downloads from a server on this machine: resumed, checked, HTTPS only, and never half a file in place."""

import errno
import hashlib
import urllib.request

import pytest

from leukemia_tf.data import download
from leukemia_tf.data.download import check_file, download_file, read_json_from
from leukemia_tf.errors import InputError, RunError
from tests.data.local_https import LocalServer

URL = "https://example.org/x.npz?download=1"
DATA = bytes(range(256)) * 4000
MD5 = hashlib.md5(DATA).hexdigest()
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server():
    server = LocalServer()
    server.files["/x.npz?download=1"] = DATA
    yield server
    server.close()


def fetch(server, target, url=URL, **options):
    return download_file(url, target, handlers=server.handlers, wait=0, progress=False, **options)


def test_a_whole_file(server, tmp_path):
    target = fetch(server, tmp_path / "deep" / "x.npz", size=len(DATA), md5=MD5, sha256=SHA256.upper())
    assert target.read_bytes() == DATA
    assert [path.name for path in target.parent.iterdir()] == ["x.npz"]
    # A second call finds it there, and asks nobody.
    fetch(server, target, md5=MD5)
    assert len(server.log) == 1
    with pytest.raises(InputError, match=f"is there and is another file: move it away; received its md5 is {MD5}"):
        fetch(server, target, md5="0" * 32)


def test_redirects_are_followed_within_https_only(server, tmp_path):
    server.files["/old"] = "https://elsewhere.example/x.npz?download=1"
    assert fetch(server, tmp_path / "x", "https://example.org/old").read_bytes() == DATA
    server.files["/worse"] = "http://elsewhere.example/x.npz?download=1"
    with pytest.raises(InputError, match="leads to an address that is not HTTPS; received `http://elsewhere"):
        fetch(server, tmp_path / "y", "https://example.org/worse")
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://example.org/x", "file:///etc/passwd", "x", "https://", "https://[x"]
)
def test_https_only(tmp_path, url):
    with pytest.raises(InputError, match="https"):
        download_file(url, tmp_path / "x")
    with pytest.raises(InputError, match="https"):
        read_json_from(url)
    assert not list(tmp_path.iterdir())


def test_a_broken_connection_is_taken_up_again(server, tmp_path, caplog):
    server.cut, server.cuts = 300_000, 3
    assert fetch(server, tmp_path / "x", md5=MD5).read_bytes() == DATA
    assert [place for _, place in server.log] == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert "the connection ended after 300,000 bytes; try 2 of 4" in caplog.text


def test_a_later_call_goes_on(server, tmp_path):
    server.cut, server.cuts = 1000, 1
    server.statuses = [None, 503, 503, 503]
    with pytest.raises(
        RunError, match="the server answered 503 .* 1,000 bytes are in .*x.part`; the same command goes on"
    ):
        fetch(server, tmp_path / "x")
    assert (tmp_path / "x.part").read_bytes() == DATA[:1000] and not (tmp_path / "x").exists()
    assert server.statuses == []
    server.log.clear()
    assert fetch(server, tmp_path / "x").read_bytes() == DATA
    assert server.log[0][1] == "bytes=1000-"


def test_a_file_that_changed_meanwhile_is_not_glued_together(server, tmp_path):
    server.cut, server.cuts = 1000, 1
    server.statuses = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "_TRIES", 1)
        with pytest.raises(RunError):
            fetch(server, tmp_path / "x")
    server.files["/x.npz?download=1"], server.tag = DATA[::-1], '"v2"'
    assert fetch(server, tmp_path / "x").read_bytes() == DATA[::-1]


def test_a_server_without_ranges(server, tmp_path):
    server.ranges = False
    (tmp_path / "x.part").write_bytes(b"rubbish")
    assert fetch(server, tmp_path / "x", size=len(DATA)).read_bytes() == DATA


def test_a_complete_part_file(server, tmp_path):
    # With a known size nobody is asked; without, the server says that there is no more.
    (tmp_path / "x.part").write_bytes(DATA)
    assert fetch(server, tmp_path / "x", size=len(DATA)).read_bytes() == DATA and not server.log
    (tmp_path / "y.part").write_bytes(DATA)
    (tmp_path / "y.part.json").write_text(f'{{"url": "{URL}", "tag": "\\"v1\\""}}')
    assert fetch(server, tmp_path / "y").read_bytes() == DATA
    assert server.log == [("/x.npz?download=1", f"bytes={len(DATA)}-")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"md5": "0" * 32}, f"its md5 is {MD5}, not 0000"),
        ({"sha256": "0" * 64}, f"its sha256 is {SHA256}, not 0000"),
        ({"size": 2_000_000}, "it has 1,024,000 bytes, not 2,000,000"),
    ],
)
def test_another_file_than_the_published_one(server, tmp_path, options, says):
    with pytest.raises(RunError, match=f"not the published one and was deleted; {says}"):
        fetch(server, tmp_path / "x", **options)
    assert not list(tmp_path.iterdir())
    (tmp_path / "z").write_bytes(DATA)
    assert says in check_file(tmp_path / "z", **options)[0]


def test_more_than_the_published_size(server, tmp_path):
    with pytest.raises(RunError, match="sends more than the 1,000 bytes"):
        fetch(server, tmp_path / "x", size=1000)


def test_refusals_are_one_line(server, tmp_path):
    with pytest.raises(RunError, match=r"`https://example.org/none` cannot be downloaded: the server answered 404"):
        fetch(server, tmp_path / "x", "https://example.org/none")
    assert len(server.log) == 1
    server.statuses = [500, 429]
    assert fetch(server, tmp_path / "x").read_bytes() == DATA


def test_nobody_answers(tmp_path):
    gone = LocalServer()
    gone.close()
    with pytest.raises(RunError, match="cannot be downloaded: .*refused.*; the same command goes on from there"):
        fetch(gone, tmp_path / "x")


def test_a_full_disk(server, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    with pytest.raises(RunError, match="no space left. Free some space"):
        fetch(server, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    monkeypatch.undo()
    assert fetch(server, tmp_path / "x").read_bytes() == DATA


def test_two_at_once(server, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    with open(tmp_path / "x.part", "ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="being downloaded by another process"):
            fetch(server, tmp_path / "x")


def test_json(server):
    server.files["/a"] = b'{"files": [1]}'
    server.files["/b"] = b"<html>"
    assert read_json_from("https://api.example/a", handlers=server.handlers) == {"files": [1]}
    with pytest.raises(RunError, match="must answer with JSON"):
        read_json_from("https://api.example/b", handlers=server.handlers)
    with pytest.raises(RunError, match="answered 404"):
        read_json_from("https://api.example/c", handlers=server.handlers)


def test_a_certificate_that_does_not_fit_is_not_tried_again(tmp_path):
    import ssl

    class Handler(urllib.request.HTTPSHandler):
        calls = 0

        def https_open(self, request):
            Handler.calls += 1
            raise urllib.error.URLError(ssl.SSLCertVerificationError("self-signed certificate"))

    with pytest.raises(RunError, match="self-signed certificate"):
        download_file(URL, tmp_path / "x", handlers=(Handler(),))
    assert Handler.calls == 1
