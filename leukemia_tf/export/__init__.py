"""Exports: what leaves this project and runs without it."""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"export_saved_model": "saved_model"})
