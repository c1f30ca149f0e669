"""Open data for an audit, which must also open what training refuses: a table whose subjects cross its splits."""

from __future__ import annotations

import os
import pathlib
import tempfile

import pandas as pd

from leukemia_tf.data.audit.split_file import apply_split
from leukemia_tf.data.manifest import Manifest, list_manifests
from leukemia_tf.data.open import open_data
from leukemia_tf.data.table import make_table, relative_path


def open_for_audit(spec: str | os.PathLike) -> tuple[Manifest, pd.DataFrame]:
    """Open a data set as `open_data` does; missing files, and subjects in two splits of a CSV table, are no errors.

    Raises:
        InputError: as `open_data`.
    """
    path = pathlib.Path(os.path.abspath(os.path.expanduser(spec)))
    if str(spec) in list_manifests() or path.suffix.lower() != ".csv" or not path.is_file():
        return open_data(spec, skip_broken=True)
    return _open_csv(path)


def _open_csv(path: pathlib.Path) -> tuple[Manifest, pd.DataFrame]:
    try:
        frame = pd.read_csv(path, dtype="str", keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
        names = {str(name).strip().lower(): name for name in frame.columns}
        complete = {"path", "subject", "split"} <= set(names) and not frame[names["path"]].isna().any()
    except (OSError, ValueError):  # what is wrong with the file is said by open_data, in its words
        complete = False
    if not complete:
        return open_data(path, skip_broken=True)
    # Without its split column first; the split is laid on the table afterwards, and judged by the audit.
    paths = frame[names["path"]].str.strip()
    files = [path.parent / name for name in paths]
    files = [file if file.exists() else path.parent / str(name).replace("\\", "/") for file, name in zip(files, paths)]
    bare = frame.drop(columns=[names["split"]]).assign(**{names["path"]: [str(file) for file in files]})
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / path.name
        bare.to_csv(copy, index=False)
        manifest, table = open_data(copy, skip_broken=True)
    skipped = [
        {**entry, "path": relative_path(pathlib.Path(entry["path"]), path.parent)} for entry in table.attrs["skipped"]
    ]
    rows = table.assign(path=[relative_path(pathlib.Path(name), path.parent) for name in table["path"]])
    sources = dict(zip(rows["path"], rows["source"]))
    table = make_table(rows.drop(columns="source").to_dict("records"), manifest.name)
    table["source"] = table["path"].map(sources).astype("str")
    shown = [relative_path(file, path.parent) for file in files]
    table = apply_split(table, pd.DataFrame({"path": shown, "split": frame[names["split"]]}))
    table.attrs["skipped"] = skipped
    return manifest.replace(root=path.parent, official_split=True), table
