"""Packages left out of an import, and found again afterwards."""

from __future__ import annotations

import sys

import pytest

from leukemia_tf.lean_import import left_out

PACKAGE = "lean_import_example"


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("value = 1\n")
    (folder / "part.py").write_text("value = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield PACKAGE
    for name in (PACKAGE, f"{PACKAGE}.part"):
        sys.modules.pop(name, None)


def test_a_package_is_absent_inside_and_there_afterwards(package):
    with left_out("jax", package):
        for name in (package, f"{package}.part"):
            with pytest.raises(ImportError):
                __import__(name)
    assert __import__(f"{package}.part").part.value == 2


def test_what_is_loaded_stays_loaded(package):
    __import__(package)
    with left_out(package):
        assert __import__(f"{package}.part").part.value == 2


def test_it_ends_with_an_error_too(package):
    with pytest.raises(KeyError), left_out(package):
        raise KeyError
    assert __import__(package).value == 1
