"""The folder for files that can be made again: decoded pixels, the embedded sample."""

from __future__ import annotations

import os
import pathlib


def cache_dir() -> pathlib.Path:
    """Return the cache folder, ``$LEUKEMIA_TF_CACHE`` or else ``~/.cache/leukemia_tf``.

    The folder is not created here: who writes into it does so through `leukemia_tf.files`, which makes it.
    """
    chosen = os.environ.get("LEUKEMIA_TF_CACHE")
    if chosen:
        return pathlib.Path(chosen).expanduser().absolute()
    return pathlib.Path.home() / ".cache" / "leukemia_tf"
