"""Hostile input to the parsers of manifests, tables and folders: read, or refused in lines that say why."""

import io
import json
import os
import re
import zipfile

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from leukemia_tf.data import medmnist
from leukemia_tf.data.csv_table import open_csv
from leukemia_tf.data.init_manifest import propose_manifest
from leukemia_tf.data.manifest import Manifest, load_manifest
from leukemia_tf.data.names import name_problem, show
from leukemia_tf.data.open import open_data
from leukemia_tf.data.scan import scan_table
from leukemia_tf.errors import InputError
from tests.data.test_manifest import FACTS

FIELDS = list(Manifest.__dataclass_fields__)


def one_line_each(error):
    """Each problem is one printable line of a readable length."""
    for line in str(error).splitlines():
        assert line and len(line) < 3000
        assert not re.search(r"[\x00-\x1f\x7f\ud800-\udfff\u2028\u2029]", line), repr(line)


# Manifests ------------------------------------------------------------------------------------------------------------

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(changes=st.dictionaries(st.one_of(st.sampled_from(FIELDS), st.text(max_size=8)), anything, max_size=3))
def test_any_facts_are_a_manifest_or_refused(changes):
    try:
        manifest = Manifest.from_dict({**FACTS, **changes})
    except InputError as error:
        one_line_each(error)
    else:
        assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))).to_dict() == manifest.to_dict()


@settings(max_examples=100, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=80),
        st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.text(st.sampled_from("abc:-[]{}&*!#|>?%@'\"\n 0129,<"), max_size=80).map(str.encode),
    )
)
def test_any_file_is_a_manifest_or_refused(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("m") / "x.yaml"
    file.write_bytes(data)
    with pytest.raises(InputError) as error:
        load_manifest(file)
    one_line_each(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "aliases are not accepted"),
        ("[" * 5000, "is not valid YAML"),
        ("name: 2001-99-99\n", "is not valid YAML"),
        ("!!python/object/apply:os.system ['true']\n", "is not valid YAML"),
        ("name: " + "x" * 1_000_001, "must be at most 1,000,000 bytes"),
        (yaml.safe_dump({**FACTS, "name": "two\nlines"}), "`name` must be a word or words in one line"),
        (yaml.safe_dump({**FACTS, "classes": ["a", "b\u2028c"]}), "`classes[1]` must be a word or words in one line"),
        (yaml.safe_dump({**FACTS, "classes": ["a", "a" * 10_000 + "\n"]}), "`classes[1]`"),
        (yaml.safe_dump({**FACTS, "label_from": "(?P<label>a" + "(" * 5000}), "not a regular expression"),
    ],
)
def test_manifests_made_to_hurt(tmp_path, text, says):
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(says)) as error:
        load_manifest(tmp_path / "x.yaml")
    one_line_each(error.value)


# Tables ---------------------------------------------------------------------------------------------------------------

cells = st.text(st.sampled_from('a.png/\\ "0,;\n\r\tbé\x00\u2028'), max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    header=st.sampled_from(["path,label", "path,label,subject", "path,label,split", "Path, label ,label", "path", ""]),
    rows=st.lists(st.lists(cells, max_size=5), max_size=4),
    raw=st.binary(max_size=6),
)
def test_any_table_is_read_or_refused(tmp_path_factory, header, rows, raw):
    folder = tmp_path_factory.mktemp("t")
    body = "\n".join(",".join(row) for row in rows)
    (folder / "x.csv").write_bytes(f"{header}\n{body}\n".encode() + raw)
    with pytest.raises(InputError) as error:  # none of these files exists
        open_csv(folder / "x.csv")
    one_line_each(error.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('"a\nb.png",a', r"rename `a\nb.png`; received a control character or a line break"),
        (f"{'n' * 10_000},a", "received a name longer than 255 bytes"),
        (f"{'d/' * 3000}x.png,a", "received a path longer than 1,024 bytes"),
        ('1.png,"a\nb"', "`label` must be plain text"),
        (f"1.png,{'x' * 10_000}", "`label` must be plain text"),
        ("1.png,a,b,c", "must be a CSV file"),
        ("1.png\u202e,a", "received a control character"),
    ],
)
def test_rows_made_to_hurt(tmp_path, row, says):
    (tmp_path / "x.csv").write_text(f"path,label\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(says)) as error:
        open_data(tmp_path / "x.csv")
    one_line_each(error.value)


def test_a_table_that_is_not_utf8(tmp_path):
    (tmp_path / "x.csv").write_bytes("path,label\nmäh.png,a\n".encode("latin-1"))
    with pytest.raises(InputError, match="must be a CSV file in UTF-8") as error:
        open_data(tmp_path / "x.csv")
    assert len(str(error.value).splitlines()) == 1


# Folders and other specs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["x" * 10_000, "a/" * 5000, "two\nlines", "nul\0", "~nobody-at-all/x", "\udcff", ""])
def test_specs_made_to_hurt(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        open_data(spec)
    assert len(str(error.value).splitlines()) == 1
    one_line_each(error.value)


@settings(max_examples=60, deadline=None)
@given(spec=st.text(max_size=30))
def test_any_spec_is_opened_or_refused(spec):
    try:
        open_data("/nowhere-at-all/" + spec)
    except InputError as error:
        one_line_each(error)


def test_file_names_made_to_hurt(tmp_path):
    for name in ("a/1.png", "b/2.png", "a/line\nbreak.png", "b/bell\a.png", "b/\udcff.png", "b/turn\u202egnp.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2)).save(tmp_path / name, format="PNG")
    with pytest.raises(InputError) as error:
        open_data(tmp_path)
    lines = str(error.value).splitlines()
    assert len(lines) == 5 and "4 file names cannot be used" in lines[0]
    one_line_each(error.value)


def test_a_loop_of_links_ends(tmp_path):
    for number, name in enumerate(("a/1.png", "b/2.png")):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (2, 2), (number, 0, 0)).save(tmp_path / name)
    os.symlink(tmp_path, tmp_path / "a" / "again")
    os.symlink("self.png", tmp_path / "b" / "self.png")
    manifest, table = open_data(tmp_path)
    with pytest.raises(InputError, match="`b/self.png`") as error:
        scan_table(manifest, table, progress=False)
    one_line_each(error.value)
    assert list(scan_table(manifest, table, progress=False, skip_broken=True)["path"]) == ["a/1.png", "b/2.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_are_not_waited_for(tmp_path):
    for number, name in enumerate(("a/1.png", "a/2.png", "b/3.png", "b/4.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (2, 2), (number, 0, 0)).save(tmp_path / name)
    os.mkfifo(tmp_path / "a" / "pipe.png")
    os.mkfifo(tmp_path / "b" / "pipe.png")
    manifest, table = open_data(tmp_path)
    with pytest.raises(InputError, match=r"`a/pipe.png`: not a regular file \(a pipe\)") as error:
        scan_table(manifest, table, progress=False)
    one_line_each(error.value)
    proposal = propose_manifest(tmp_path)
    assert "no two images are identical" in proposal.facts
    assert any("`a/pipe.png` cannot be read: not a regular file" in line for line in proposal.unsure)


@pytest.mark.parametrize(
    ("labels", "size", "says"),
    [
        ((10**13,), 10**13, "it declares 10,000,000,000,000 bytes and holds 100"),
        ((2**40, 1), 2**40, "it declares 1,099,511,627,776 bytes and holds 100"),
        ((500_000,), 500_000, "it unpacks from .* bytes, like a bomb"),
    ],
)
def test_arrays_made_to_hurt(tmp_path, monkeypatch, labels, size, says):
    monkeypatch.setattr(medmnist, "_SMALL", 10_000)

    def array(shape):
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return stream.getvalue() + bytes(size if size < 10**6 else 100)

    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for split in ("train", "val", "test"):
            archive.writestr(f"{split}_images.npy", array((size, 28, 28, 3)))
            archive.writestr(f"{split}_labels.npy", array(labels))
    with pytest.raises(InputError, match=re.sub("holds 100", "holds 2[0-9]+", says)) as error:
        open_data(tmp_path / "x.npz")
    assert len(str(error.value).splitlines()) == 1


@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=40))
def test_any_name_can_be_shown(name):
    shown = show(name)
    assert shown.encode("utf-8") is not None and len(shown.splitlines()) <= 1 and len(shown) <= 200
    if not name_problem(name):
        assert show(name, 1000) == name
