"""The package as it is installed: light to import, complete, and without imports that climb."""

from __future__ import annotations

import ast
import configparser
import importlib
import importlib.util
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "leukemia_tf"
FLOORS = {
    "data": 0, "layers": 1, "losses": 1, "models": 2, "training": 3, "evaluation": 3, "explain": 3, "export": 3,
    "recipes": 4, "cli": 5, "app": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "import leukemia_tf",
        "import leukemia_tf.cli",
        "import leukemia_tf.data, leukemia_tf.models, leukemia_tf.training, leukemia_tf.evaluation, leukemia_tf.export",
        "from leukemia_tf.recipes import get_recipe, list_recipes; [get_recipe(n) for n in list_recipes()]",
        "from leukemia_tf.cli import main; main(['list'])",
        "from leukemia_tf.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass",
    ],
)
def test_a_light_import_loads_no_tensorflow(code):
    check = "import sys; print(sorted({'tensorflow', 'keras', 'pandas', 'keras_cv', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_package_folder_is_installed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split()) - {"leukemia_tf.data_manifests"}
    found = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in PACKAGE.rglob("__init__.py")
        if "__pycache__" not in file.parts
    }
    assert listed == found


PACKAGES = [
    ".".join(file.parent.relative_to(ROOT).parts)
    for file in sorted(PACKAGE.rglob("__init__.py"))
    if "attach(" in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_resolve(name):
    package = importlib.import_module(name)
    for public in package.__all__:
        value = getattr(package, public)
        assert callable(value) or name != "leukemia_tf", public
        if importlib.util.find_spec(f"{name}.{public}"):
            # Once it is loaded, a submodule takes the place of what it holds under its own name.
            assert not hasattr(importlib.import_module(f"{name}.{public}"), public), public


def test_manifests_and_report_files_come_with_the_package():
    from leukemia_tf.data import list_manifests, load_manifest

    assert "sample" in list_manifests()
    assert load_manifest("sample").synthetic


def test_imports_only_go_down():
    climbing = []
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = [part.removesuffix(".py") for part in file.relative_to(PACKAGE).parts]
        here = FLOORS.get(parts[0])
        if here is None:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                room = name.split(".")[1] if name.startswith("leukemia_tf.") else ""
                there = FLOORS.get(room)
                allowed = room == parts[0] or (parts[0], room) == ("training", "evaluation")
                if there is not None and not allowed and there >= here:
                    climbing.append(f"{file.relative_to(ROOT)}:{node.lineno} imports {name}")
    assert not climbing
