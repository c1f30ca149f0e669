"""Open a data set by its name, folder, CSV file or MedMNIST file."""

from __future__ import annotations

import difflib
import logging
import os
import pathlib

import pandas as pd

from leukemia_tf.data.csv_table import open_csv
from leukemia_tf.data.fetch import dataset_folders
from leukemia_tf.data.folder import open_folder
from leukemia_tf.data.manifest import Manifest, list_manifests, load_manifest
from leukemia_tf.data.medmnist import open_medmnist
from leukemia_tf.data.named_files import open_files
from leukemia_tf.data.names import show
from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)


def open_data(spec: str | os.PathLike | Manifest, *, skip_broken: bool = False) -> tuple[Manifest, pd.DataFrame]:
    """Open a data set and list its images; no image is read yet (see `scan_table`).

    Args:
        spec: one of

            - the name of a known data set. "sample" is drawn on the spot; of the others, the files are looked for in
              `$LEUKEMIA_TF_DATA/<name>`, then in `<cache_dir>/datasets/<name>`;
            - a folder that holds a folder of JPEG, PNG, BMP or TIFF images for each class, or train, val and test
              folders with class folders in them;
            - a `.csv` file: path, label[, subject][, split][, source], paths relative to its folder;
            - a `.npz` file in MedMNIST's format;
            - a `.yaml` manifest of layout "files", of the images in its own folder (see `leukemia-tf data init`);
            - a `Manifest` with a `root`.
        skip_broken: leave out listed files that are missing, instead of an error.

    Returns:
        The manifest, with `root` set, and the table: columns path, index, label, subject, source, split, sha256 (still
        empty), sorted by path.

    Raises:
        InputError: if there is no such data set, or its layout or content is wrong. One line for each thing wrong.
    """
    if isinstance(spec, Manifest):
        manifest, table = _open_manifest(spec)
    elif isinstance(spec, str) and spec in list_manifests():
        manifest, table = _open_manifest(load_manifest(spec, root=_find_root(spec)))
    else:
        path = _path(spec)
        if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
            manifest, table = _open_manifest(load_manifest(path, root=path.absolute().parent))
        elif path.is_dir():
            manifest, table = open_folder(path)
        elif path.is_file() and path.suffix.lower() == ".csv":
            manifest, table = open_csv(path, skip_broken=skip_broken)
        elif path.is_file() and path.suffix.lower() == ".npz":
            manifest, table = open_medmnist(path)
        else:
            raise InputError(_unknown(spec, path))
    table.attrs.setdefault("skipped", [])
    counts = table["label"].value_counts()
    subjects = table["subject"].nunique() if table["subject"].ne("").all() else "unknown"
    log.info(
        "%s: %s images, %s; subjects: %s",
        manifest.name, f"{len(table):,}", ", ".join(f"{name} {counts[name]:,}" for name in manifest.classes), subjects,
    )  # fmt: skip
    return manifest, table


def _open_manifest(manifest: Manifest) -> tuple[Manifest, pd.DataFrame]:
    if manifest.root is None or not manifest.root.exists():
        raise InputError(
            f"`root` of manifest {manifest.name!r} must be the folder with its files (get them from "
            f"{manifest.homepage}); received {str(manifest.root)!r}"
        )
    if manifest.layout == "files":
        return open_files(manifest)
    if manifest.layout == "medmnist":
        files = [manifest.root] if manifest.root.is_file() else sorted(manifest.root.glob("*.npz"))
        if len(files) != 1:
            raise InputError(
                f"`{manifest.root}` must hold one NPZ file: give the file itself; "
                f"received {', '.join(file.name for file in files) or 'none'}"
            )
        return open_medmnist(files[0])
    raise InputError(
        f"`spec`: a manifest of layout 'files' or 'medmnist' is accepted, for others give the folder or CSV file "
        f"itself; received layout {manifest.layout!r}"
    )


def _path(spec: str | os.PathLike) -> pathlib.Path:
    """Return the path that is meant; a text that can be no path is an error of one line."""
    try:
        path = pathlib.Path(spec).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"`data` must be a path that can exist ({reason}); received `{show(spec)}`") from error
    return path


def _find_root(name: str) -> pathlib.Path:
    if name == "sample":
        from leukemia_tf.data.sample import render_sample

        return render_sample(seed=0)
    folders = dataset_folders(name)
    for folder in folders:
        if folder.is_dir():
            return folder
    raise InputError(
        f"data set `{name}` is not on this machine: get it from {load_manifest(name).homepage} (`leukemia-tf data "
        f"fetch {name}`) and give its folder, or put it in {' or '.join(f'`{folder}`' for folder in folders)}; "
        f"received {name!r}"
    )


def _unknown(spec: str | os.PathLike, path: pathlib.Path) -> str:
    names = list_manifests()
    if path.exists():
        what = "is neither a folder, nor a .csv file, nor a MedMNIST .npz file, nor a .yaml manifest"
    else:
        what = f"does not exist, and is none of the known data sets {', '.join(names)}"
        close = difflib.get_close_matches(str(spec), names, n=1)
        what += f" (did you mean {close[0]!r}?)" if close else ""
    return f"`data`: `{show(path)}` {what}; received {show(spec)!r}"
