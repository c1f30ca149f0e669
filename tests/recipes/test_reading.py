"""A training that reads its images while it goes: same result as with all of them read before, and what breaks."""

from __future__ import annotations

import dataclasses
import json
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukemia_tf.data import PixelReader, load_pixels, open_data, scan_table
from leukemia_tf.errors import InputError
from leukemia_tf.recipes import fitting
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe
from leukemia_tf.recipes.run import Run
from leukemia_tf.recipes.train_recipe import train_recipe
from leukemia_tf.training import Phase
from tests.recipes.test_train_recipe import given  # noqa: F401
from tests.training.tiny import make_model


@pytest.fixture
def folder(tmp_path):
    """32 images of two classes."""
    random = np.random.default_rng(0)
    for number in range(32):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
    return tmp_path / "data"


def recipe_of(folder, **changes):
    phases = (Phase("head", layers="head", epochs=3, learning_rate=1e-2), Phase("all", epochs=1, learning_rate=1e-2))
    data = DataSpec(source=str(folder), image_size=8, batch_size=4, policy="cells")
    model = ModelSpec("tiny", weights="none")
    return Recipe("tiny", "Tiny", model, phases=phases, data=data, seed=3, bootstrap=20, **changes)


def test_a_run_is_the_same_whether_its_images_were_read_before_or_meanwhile(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LEUKEMIA_TF_CACHE", str(tmp_path / "cache"))
    manifest, table = open_data(folder)
    table = scan_table(manifest, table)
    parts = {"train": table.iloc[:20], "val": table.iloc[20:]}

    def fit(name, pixels, **options):
        run = Run.__new__(Run)
        run.path = tmp_path / name
        recipe = recipe_of(folder, feature_views=2)
        return fitting.fit_network(make_model(), recipe, run, manifest, parts, pixels, None, False, **options)

    before = fit("before", {split: load_pixels(manifest, part, 8) for split, part in parts.items()})
    calls = []
    with PixelReader(manifest, parts, {"train": 8, "val": 8}) as reader:
        pixels = {split: reader[split] for split in parts}
        meanwhile = fit("meanwhile", pixels, read_all=lambda: calls.append(reader.all()))
    pd.testing.assert_frame_equal(before, meanwhile, check_exact=True)
    assert len(calls) == 4


def damage(path):
    """A PNG whose checksums are right, and whose pixels cannot be unpacked."""
    data = path.read_bytes()
    start = data.index(b"IDAT")
    (size,) = struct.unpack(">I", data[start - 4 : start])
    content = b"IDAT" + bytes(8) + data[start + 12 : start + 4 + size]
    path.write_bytes(data[:start] + content + struct.pack(">I", zlib.crc32(content)) + data[start + size + 8 :])


def test_images_that_are_damaged_within_are_all_named_before_anything_is_kept(folder, tmp_path, monkeypatch):
    recipe, run = dataclasses.replace(recipe_of(folder), phases=(Phase("all", epochs=1),)), tmp_path / "run"
    originals = {name: (folder / name).read_bytes() for name in ("a/04.png", "b/07.png", "b/31.png")}
    for name in originals:
        damage(folder / name)
    with pytest.raises(InputError) as error:
        train_recipe(recipe, run, progress=False)
    lines = str(error.value).splitlines()
    assert [line.split("`")[1] for line in lines[:-1]] == list(originals) and "--skip-broken" in lines[-1]
    assert not (run / "checkpoints" / "best.keras").exists() and not (run / "history.csv").exists()
    assert run_info(run)["status"] == "reading images" and run_info(run)["colour"] == {"method": "none"}

    # Nothing of the run is worth keeping, so the folder takes the command that leaves them out.
    monkeypatch.setattr("leukemia_tf.recipes.train_recipe.fit_network", lambda *_, read_all, **__: _stop(read_all()))
    without = dataclasses.replace(
        recipe, data=dataclasses.replace(recipe.data, skip_broken=True, colour="grey_world")
    )
    with pytest.raises(_Read) as read:
        train_recipe(without, run, progress=False)
    assert sum(map(len, read.value.args[0].values())) == 29
    assert [entry["path"] for entry in run_info(run)["skipped"]] == list(originals)
    # From here on it is a run of that recipe, and goes on with what was read.
    assert run_info(run)["status"] == "training" and run_info(run)["colour"]["method"] == "grey_world"
    with pytest.raises(InputError, match="is a run of another recipe: .*data.skip_broken is True there"):
        train_recipe(recipe, run, progress=False)

    # Or the same command begins anew, once the files are whole again.
    with pytest.raises(InputError, match="`a/04.png`: truncated or damaged PNG data"):
        train_recipe(recipe, tmp_path / "other", progress=False)
    for name, data in originals.items():
        (folder / name).write_bytes(data)
    with pytest.raises(_Read) as read:
        train_recipe(recipe, tmp_path / "other", progress=False)
    assert sum(map(len, read.value.args[0].values())) == 32


class _Read(Exception):
    """Ends a run where training would begin; holds the pixels."""


def _stop(arrays):
    raise _Read(arrays)


def run_info(path):
    return json.loads((path / "run.json").read_text())
