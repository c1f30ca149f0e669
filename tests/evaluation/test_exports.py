"""Public names load from where they are listed, also once every module has been imported."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from leukemia_tf import evaluation


def test_public_names_resolve():
    # An imported module is an attribute of its package: a function of the same name would be hidden by it.
    for module in pkgutil.iter_modules(evaluation.__path__):
        importlib.import_module(f"{evaluation.__name__}.{module.name}")
    for name in evaluation.__all__:
        assert not inspect.ismodule(getattr(evaluation, name)), name
