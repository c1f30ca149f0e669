"""The folder of the embedded sample: its bytes, its names, and that nothing half made is ever handed out."""

from __future__ import annotations

import errno
import hashlib
import logging
import pathlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest

from leukemia_tf.data.sample import render_sample, store
from leukemia_tf.errors import InputError, RunError

SMALL = {"subjects": 3, "images_per_subject": 5, "size": 32}


def digests(folder: pathlib.Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_two_renders_give_the_same_bytes_and_another_seed_gives_others(tmp_path):
    first = render_sample(7, cache_dir=tmp_path / "a", **SMALL)
    second = render_sample(7, cache_dir=tmp_path / "b", **SMALL)
    other = render_sample(8, cache_dir=tmp_path / "a", **SMALL)
    assert digests(first) == digests(second)
    assert first.name == second.name != other.name
    images = {value for name, value in digests(first).items() if name.endswith(".bmp")}
    assert len(images) == 15
    assert not images & set(digests(other).values())


def test_an_image_depends_on_neither_order_nor_number_of_images(tmp_path):
    few = digests(render_sample(0, cache_dir=tmp_path, **SMALL))
    many = digests(render_sample(0, subjects=5, images_per_subject=6, size=32, cache_dir=tmp_path))
    assert {name: many[name] for name in few if name.endswith(".bmp")} == {
        name: value for name, value in few.items() if name.endswith(".bmp")
    }
    alone = store.render_image(0, "ALL", 2, 4, size=32)
    folder = render_sample(0, cache_dir=tmp_path, **SMALL)
    with PIL.Image.open(folder / "ALL" / "UID_2_2_1_all.bmp") as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), alone)


def test_names_are_those_of_cnmc(tmp_path):
    folder = render_sample(0, cache_dir=tmp_path, **SMALL)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.bmp"))
    assert names == sorted(
        [f"HEM/UID_H1_{name}_hem.bmp" for name in ("1_1", "1_2", "1_3", "1_4", "2_1")]
        + [f"ALL/UID_{n}_{name}_all.bmp" for n in (1, 2) for name in ("1_1", "1_2", "1_3", "1_4", "2_1")]
    )
    assert sorted(path.name for path in folder.iterdir()) == ["ALL", "HEM", "README.txt"]
    assert "SYNTHETIC" in (folder / "README.txt").read_text(encoding="utf-8")


def test_the_default_is_thirty_subjects_and_six_hundred_images():
    plan = store.plan_sample(30, 20)
    assert len(plan) == len({store.file_name(*entry) for entry in plan}) == 600
    pattern = re.compile(r"(HEM/UID_(H\d+)_\d+_\d+_hem|ALL/UID_(\d+)_\d+_\d+_all)\.bmp")
    subjects = [pattern.fullmatch(store.file_name(*entry)).group(2, 3) for entry in plan]
    assert len({healthy for healthy, _ in subjects if healthy}) == 13
    assert len({ill for _, ill in subjects if ill}) == 17


def test_names_match_the_real_file_list(shared):
    import pandas as pd

    listed = pd.read_csv(shared / "data" / "cnmc2019_file_list.csv.gz")["path"]
    listed = listed[listed.str.contains("/training_data/")].str.rsplit("/", n=1).str[-1]
    shape = re.compile(r"UID_(H?)\d+_\d+_\d+_(all|hem)\.bmp")
    listed = listed.str.replace("UID_h", "UID_H")  # one fold writes some healthy subjects with a small h
    assert {shape.fullmatch(name).groups() for name in listed} == {
        shape.fullmatch(store.file_name(*entry)[4:]).groups() for entry in store.plan_sample(30, 1)
    }


def test_rendered_once(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "leukemia_tf"):
        folder = render_sample(0, cache_dir=tmp_path, **SMALL)
        assert len(caplog.records) == 2 and "synthetic" in caplog.text
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert render_sample(0, cache_dir=tmp_path, **SMALL) == folder
    assert len(caplog.records) == 2
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_default_cache_is_the_packages(tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKEMIA_TF_CACHE", str(tmp_path / "cache"))
    folder = render_sample(0, progress=False, **SMALL)
    assert folder.parent == tmp_path / "cache"
    assert f"v{store.VERSION}-seed0" in folder.name


@pytest.mark.parametrize("damage", ["missing", "short", "empty"])
def test_a_damaged_folder_is_rendered_again(tmp_path, damage):
    folder = render_sample(0, cache_dir=tmp_path, **SMALL)
    whole = digests(folder)
    victim = folder / "ALL" / "UID_1_1_2_all.bmp"
    victim.write_bytes(victim.read_bytes()[: {"short": 1000}.get(damage, 0)])
    if damage == "missing":
        victim.unlink()
    assert digests(render_sample(0, cache_dir=tmp_path, **SMALL)) == whole
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_killed_render_leaves_nothing_that_looks_finished(tmp_path, monkeypatch):
    draw, calls = store.draw_image, []

    def killed(*args):
        calls.append(1)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return draw(*args)

    monkeypatch.setattr(store, "draw_image", killed)
    with pytest.raises(KeyboardInterrupt):
        render_sample(0, cache_dir=tmp_path, **SMALL)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(list(render_sample(0, cache_dir=tmp_path, **SMALL).rglob("*.bmp"))) == 15


def test_leftovers_of_a_killed_process_are_ignored_and_old_ones_removed(tmp_path):
    import os

    fresh, old = tmp_path / ".tmp-sample-fresh", tmp_path / ".tmp-sample-old"
    for left in (fresh, old):
        (left / "HEM").mkdir(parents=True)
    os.utime(old, (0, 0))
    folder = render_sample(0, cache_dir=tmp_path, **SMALL)
    assert len(list(folder.rglob("*.bmp"))) == 15
    assert fresh.exists() and not old.exists()


def test_many_at_once_agree(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: render_sample(0, cache_dir=tmp_path, **SMALL), range(4)))
    assert len(set(folders)) == 1
    assert len(list(folders[0].rglob("*.bmp"))) == 15
    assert [path.name for path in tmp_path.iterdir()] == [folders[0].name]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(RunError, match="(?i)no space left") as caught:
        render_sample(0, cache_dir=tmp_path, **SMALL)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_run_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot write"):
        render_sample(0, cache_dir=tmp_path / "file" / "cache", **SMALL)


@pytest.mark.parametrize(
    "wrong",
    [{"seed": -1}, {"seed": 0.5}, {"subjects": 1}, {"images_per_subject": 0}, {"size": 31}, {"size": True}],
)
def test_numbers_out_of_range_are_named(tmp_path, wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(InputError, match=f"`{name}` must be a whole number.*got {value!r}"):
        render_sample(cache_dir=tmp_path, **wrong)
    assert list(tmp_path.iterdir()) == []


def test_rendering_needs_neither_tensorflow_nor_pandas(tmp_path):
    code = (
        "import sys; from leukemia_tf.data.sample import render_sample; "
        f"render_sample(subjects=2, images_per_subject=1, size=32, cache_dir={str(tmp_path)!r}); "
        "print({'tensorflow', 'keras', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
