"""Archives: what is good is unpacked whole, what is hostile is refused before anything is written."""

import io
import os
import struct
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leukemia_tf.data import extract
from leukemia_tf.data.extract import extract_archive, is_archive
from leukemia_tf.errors import InputError, RunError

FILES = {"set/a/1.png": b"one", "set/b/2.png": b"two" * 1000, "set/readme.txt": b""}


def make_zip(path, files=FILES, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path, files=FILES, mode="w", infos=()):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in infos:
            archive.addfile(info)
    return path


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def nothing_was_written(folder):
    return not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_good_archives(tmp_path, kind):
    file = tmp_path / f"x.{kind}"
    make_zip(file) if kind == "zip" else make_tar(file, mode=f"w:{kind[4:]}")
    assert is_archive(file)
    assert extract_archive(file, tmp_path / "out") == 3
    assert tree(tmp_path / "out") == FILES
    # A second time nothing is overwritten.
    with pytest.raises(InputError, match="must not hold what .* unpacks to: move it away; received `set`"):
        extract_archive(file, tmp_path / "out")
    assert tree(tmp_path / "out") == FILES


BAD_NAMES = [
    ("../up.png", "a path out of the folder"),
    ("a/../../up.png", "a path out of the folder"),
    ("/etc/x.png", "a path from the root"),
    ("a\\..\\x.png", "a path from the root, or one of another system"),
    ("C:/x.png", "a path from the root, or one of another system"),
    ("a/" + "n" * 10_000, "a name longer than 255 bytes"),
    ("d/" * 600 + "x", "a path longer than 1,024 bytes"),
    ("a/line\nbreak.png", "a control character or a line break"),
]


@pytest.mark.parametrize(("name", "says"), BAD_NAMES)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_bad_names(tmp_path, name, says, make):
    file = make(tmp_path / "x.archive", {**FILES, name: b"bad"})
    with pytest.raises(InputError) as error:
        extract_archive(file, tmp_path / "out")
    assert len(str(error.value).splitlines()) == 1 and says in str(error.value)
    assert nothing_was_written(tmp_path / "out") and not (tmp_path / "up.png").exists()


def test_names_that_are_not_utf8(tmp_path):
    file = make_tar(tmp_path / "x.tar", {"a/\udcff.png": b"x"})
    with pytest.raises(InputError, match=r"`a/\\udcff.png`: received bytes that are not UTF-8"):
        extract_archive(file, tmp_path / "out")


def special(name, kind, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("info", "says"),
    [
        (special("s", tarfile.SYMTYPE, "../secret"), "a link out of the folder"),
        (special("s", tarfile.SYMTYPE, "/etc/passwd"), "a link out of the folder"),
        (special("a/s", tarfile.SYMTYPE, "../../x"), "a link out of the folder"),
        (special("s", tarfile.LNKTYPE, "../secret"), "a link out of the folder"),
        (special("s", tarfile.FIFOTYPE), "a device or pipe"),
        (special("s", tarfile.CHRTYPE), "a device or pipe"),
    ],
)
def test_links_and_devices_in_tar(tmp_path, info, says):
    with pytest.raises(InputError, match=says):
        extract_archive(make_tar(tmp_path / "x.tar", infos=[info]), tmp_path / "out")
    assert nothing_was_written(tmp_path / "out")


def test_a_link_through_a_link_does_not_leave(tmp_path):
    # Each link alone stays inside; together they lead out.
    infos = [special("a", tarfile.SYMTYPE, "set"), special("set/b/up", tarfile.SYMTYPE, "../../..")]
    with pytest.raises(InputError, match="a link out of the folder"):
        extract_archive(make_tar(tmp_path / "x.tar", infos=infos), tmp_path / "out")
    inside = make_tar(tmp_path / "y.tar", infos=[special("set/c", tarfile.SYMTYPE, "a")])
    extract_archive(inside, tmp_path / "out")
    assert os.readlink(tmp_path / "out" / "set" / "c") == "a"


def test_links_and_encryption_in_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("s")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="`s`: received a link"):
        extract_archive(tmp_path / "x.zip", tmp_path / "out")
    data = bytearray(make_zip(tmp_path / "y.zip", {"a": b"x"}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "y.zip").write_bytes(data)
    with pytest.raises(InputError, match="`a`: received an encrypted member"):
        extract_archive(tmp_path / "y.zip", tmp_path / "out")


def test_one_name_twice_and_a_file_as_folder(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("a.png", "1")
            archive.writestr("a.png", "2")
    with pytest.raises(InputError, match="`a.png`: received the same name twice"):
        extract_archive(tmp_path / "x.zip", tmp_path / "out")
    file = make_tar(tmp_path / "x.tar", {"a": b"1", "a/b": b"2"})
    with pytest.raises(InputError, match="`a`: received a file that is a folder elsewhere"):
        extract_archive(file, tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(extract, "_SMALL", 10_000)
    file, zeros = tmp_path / f"x.{kind}", {"a": bytes(3_000_000)}
    make_zip(file, zeros) if kind == "zip" else make_tar(file, zeros, mode="w:gz")
    assert 3_000_000 > 200 * file.stat().st_size
    with pytest.raises(InputError, match="looks like a bomb"):
        extract_archive(file, tmp_path / "out")
    assert nothing_was_written(tmp_path / "out")
    assert extract_archive(file, tmp_path / "out", max_ratio=2000) == 1
    with pytest.raises(InputError, match="more than 1,000 bytes, which looks like a bomb"):
        extract_archive(file, tmp_path / "out2", max_bytes=1000)


def test_a_bomb_in_a_tar_header(tmp_path, monkeypatch):
    monkeypatch.setattr(extract, "_SMALL", 10_000)
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "x" * 40_000_000}
    file = make_tar(tmp_path / "x.tar.gz", {}, mode="w:gz", infos=[info])
    assert file.stat().st_size < 100_000
    with pytest.raises(InputError, match="looks like a bomb"):
        extract_archive(file, tmp_path / "out")


def test_a_zip_that_lies_about_its_size(tmp_path):
    file = make_zip(tmp_path / "x.zip", {"a": bytes(100_000)})
    data = bytearray(file.read_bytes())
    place = data.index(b"PK\x01\x02") + 24
    assert struct.unpack_from("<I", data, place) == (100_000,)
    struct.pack_into("<I", data, place, 10)
    file.write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        extract_archive(file, tmp_path / "out")
    assert nothing_was_written(tmp_path / "out")


def test_too_many_members_and_too_little_room(tmp_path, monkeypatch):
    file = make_zip(tmp_path / "x.zip")
    with pytest.raises(InputError, match="at most 2 members"):
        extract_archive(file, tmp_path / "out", max_files=2)
    usage = type("usage", (), {"free": 100})
    monkeypatch.setattr(extract.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(RunError, match="it needs 3,003 bytes, .* has 100 free"):
        extract_archive(file, tmp_path / "out")


def test_damaged_archives(tmp_path):
    good = make_zip(tmp_path / "x.zip").read_bytes()
    (tmp_path / "flipped.zip").write_bytes(good[:41] + b"\0\0\0" + good[44:])  # the data of the first member
    (tmp_path / "cut.tar.gz").write_bytes(make_tar(tmp_path / "x.tar.gz", mode="w:gz").read_bytes()[:60])
    (tmp_path / "text.zip").write_text("<html>not found</html>")
    (tmp_path / "empty.zip").write_bytes(b"")
    for name in ("flipped.zip", "cut.tar.gz", "text.zip", "empty.zip"):
        with pytest.raises(InputError, match="damaged, or an archive that cannot be read"):
            extract_archive(tmp_path / name, tmp_path / "out")
        assert nothing_was_written(tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        extract_archive(tmp_path / "none.zip", tmp_path / "out")
    with pytest.raises(InputError, match="must hold files; received none"):
        extract_archive(make_zip(tmp_path / "none2.zip", {}), tmp_path / "out")


def test_only_the_first_twenty_are_named(tmp_path):
    file = make_zip(tmp_path / "x.zip", {f"../{n}": b"" for n in range(50)})
    with pytest.raises(InputError) as error:
        extract_archive(file, tmp_path / "out")
    lines = str(error.value).splitlines()
    assert len(lines) == 21 and lines[-1].endswith("... and 30 more")


@settings(max_examples=30, deadline=None)
@given(name=st.text(min_size=1, max_size=30), tar=st.booleans())
def test_no_name_gets_out(tmp_path_factory, name, tar):
    folder = tmp_path_factory.mktemp("x")
    (folder / "in").mkdir()
    try:
        make = make_tar if tar else make_zip
        file = make(folder / "x.archive", {name: b"data", "good": b"good"})
    except (UnicodeEncodeError, ValueError, IndexError, UserWarning):
        return  # the library that writes archives refuses it
    try:
        extract_archive(file, folder / "in" / "out")
    except InputError as error:
        assert len(str(error).splitlines()) <= 2
    assert {p.name for p in folder.iterdir()} == {"in", "x.archive"}
    assert {p.name for p in (folder / "in").iterdir()} <= {"out"}
