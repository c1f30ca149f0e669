"""The README: its commands parse, its code runs, its tables are the ones that scripts wrote."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import shlex

import pytest

from leukemia_tf import cli

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [text for kind, text in fenced if kind == language]


def commands() -> list[str]:
    lines = [line for block in blocks("") for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&")]


def test_the_two_commands_open_the_readme():
    assert "python -m pip install -e . && python experiments/run.py ensemble" in blocks("")[0]
    assert "python -m pip install -e '.[test]' && python -m pytest" in blocks("")[1]


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command):
    words = shlex.split(command)
    if words[:2] == ["python", "experiments/run.py"]:
        words = ["leukemia-tf", "train", *words[2:]]
    if words[:2] == ["python", "experiments/benchmarks/all.py"]:
        script = (ROOT / words[1]).read_text(encoding="utf-8")
        assert all(f'"{word}"' in script for word in words if word.startswith("--"))
        return
    if words[0] != "leukemia-tf":
        assert words[:3] in (["python", "-m", "pip"], ["python", "-m", "pytest"])
        return
    options = cli._parser("leukemia-tf").parse_args(words[1:])
    if hasattr(options, "changes"):
        from leukemia_tf.recipes import get_recipe, override
        from leukemia_tf.recipes.overrides import parse_assignments

        override(get_recipe(options.recipe), parse_assignments(options.changes))


@pytest.mark.slow
def test_the_python_code_trains(tmp_path, monkeypatch):
    """As it stands, but with random weights, images of 32 pixels and one epoch."""
    from tests.training.tiny import arrays

    import numpy as np
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    (code,) = [block for block in blocks("python") if "fit_phases" in block]
    code = code.replace("image_size=224", "image_size=32, weights=None")
    code = re.sub(r"epochs=\d+", "epochs=1", code)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    _, labels = arrays(4, 0)
    images = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(2)
    assert names["train_in_phases"](data, data).attrs["complete"]
    names["or_in_a_fit_of_your_own"](data, data)
    assert (tmp_path / "best.keras").exists()


def test_a_model_takes_one_function(monkeypatch):
    from leukemia_tf.models import build_model, list_models, registry

    list_models()
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    (code,) = [block for block in blocks("python") if "register_model" in block]
    assert len([line for line in code.splitlines() if line]) <= 15
    exec(compile(code, "README.md", "exec"), {"__name__": "mine"})
    model = build_model("quick", num_classes=3, image_size=32, weights=None)
    # MobileNetV2 without its top has 2,257,984 parameters.
    assert model.output_shape == (None, 3) and model.count_params() == 2_257_984 + 1280 * 3 + 3


def test_tables_are_what_scripts_wrote():
    spec = importlib.util.spec_from_file_location("collect", ROOT / "experiments" / "collect.py")
    collect = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(collect)
    for page in collect.PAGES:
        text = page.read_text(encoding="utf-8")
        assert "<!-- table:" in text and collect.fill(text) == text, page


def test_local_links_exist():
    for page in (ROOT / "README.md", ROOT / "experiments" / "benchmarks" / "README.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), target
