"""Lazy public names, so that importing the package costs milliseconds and not the seconds TensorFlow takes."""

from __future__ import annotations

import importlib


def attach(package: str, names: dict[str, str]):
    """Return the ``__getattr__``, ``__dir__`` and ``__all__`` (PEP 562) of a package whose names load on first use.

    Args:
        package: the package's ``__name__``.
        names: public name -> submodule (relative to the package) that defines it. A submodule that maps to
            itself (``{"augment": "augment"}``) is handed out as a module: once loaded it stands there anyway, so
            that nothing public can have the name of its own submodule.
    """

    def __getattr__(name: str):
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{names[name]}")
        return module if names[name] == name else getattr(module, name)

    def __dir__():
        return sorted(names)

    return __getattr__, __dir__, sorted(names)
