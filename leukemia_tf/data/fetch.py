"""Fetch a known data set: over HTTPS (Zenodo, Mendeley, Figshare), or through kagglehub."""

from __future__ import annotations

import inspect
import json
import logging
import os
import pathlib
import re
import urllib.request
from typing import Any, Mapping, Sequence

from leukemia_tf.data.cache import cache_dir
from leukemia_tf.data.download import download_file, read_json_from
from leukemia_tf.data.extract import extract_archive, is_archive
from leukemia_tf.data.manifest import Manifest, load_manifest
from leukemia_tf.data.names import name_problem, show
from leukemia_tf.errors import InputError, RunError
from leukemia_tf.files import write_json

log = logging.getLogger(__name__)

_FIGSHARE = "https://api.figshare.com/v2/articles/{number}"
_FETCHED = ".fetched.json"


def dataset_folders(name: str) -> list[pathlib.Path]:
    """Return the folders where the files of a known data set are looked for; the first is where they are fetched to."""
    folders = [cache_dir() / "datasets" / name]
    if os.environ.get("LEUKEMIA_TF_DATA"):
        folders.insert(0, pathlib.Path(os.environ["LEUKEMIA_TF_DATA"]).expanduser() / name)
    return folders


def fetch_data(
    name: str,
    *,
    folder: str | os.PathLike | None = None,
    variant: str | None = None,
    keep_archive: bool = False,
    progress: bool = True,
    handlers: Sequence[urllib.request.BaseHandler] = (),
) -> pathlib.Path:
    """Fetch the files of a known data set and unpack them.

    Args:
        name: one of `list_manifests`, or the `.yaml` file of a manifest with `downloads`.
        folder: where to; by default `$LEUKEMIA_TF_DATA/<name>`, or else `<cache>/datasets/<name>`, where `open_data`
            looks for it.
        variant: which of several (BloodMNIST: "28", "64", "128" or "224").
        keep_archive: keep an archive that was unpacked.
        progress: show progress.
        handlers: further `urllib.request` handlers.

    Returns:
        The folder; with a variant, its file.

    Raises:
        InputError: for an unknown name or variant, data that can only be had by hand (the message says how), or a
            missing kagglehub.
        RunError: if a download fails.
    """
    manifest = load_manifest(name)
    if manifest.synthetic:
        from leukemia_tf.data.sample import render_sample

        return render_sample(seed=0, progress=progress)
    download = choose_download(manifest, variant)
    folder = pathlib.Path(folder).expanduser() if folder else dataset_folders(manifest.name)[0]
    if "kaggle" in download:
        _from_kaggle(str(download["kaggle"]), folder)
        return folder
    files = _figshare_files(download, handlers) if "figshare" in download else [dict(download)]
    for file in files:
        target = folder / str(file["file"])
        fetched = _read_fetched(folder)
        if fetched.get(target.name) == str(file["url"]) and not target.exists():
            log.info("`%s` was fetched and unpacked into `%s` already", target.name, folder)
            continue
        checks = {key: file.get(key) for key in ("size", "md5", "sha256")}
        download_file(str(file["url"]), target, **checks, progress=progress, handlers=handlers)
        if download.get("unpack") and is_archive(target):
            count = extract_archive(target, folder, progress=progress)
            log.info("unpacked %s files of `%s` into `%s`", f"{count:,}", target.name, folder)
            write_json(folder / _FETCHED, {**fetched, target.name: str(file["url"])})
            if not keep_archive:
                target.unlink()
    return folder / str(files[0]["file"]) if "variant" in download else folder


def choose_download(manifest: Manifest, variant: str | None = None) -> Mapping[str, Any]:
    """Return the entry of `manifest.downloads` that is meant: the first that a program can fetch.

    Raises:
        InputError: if there is none such, or the variant is missing or unknown.
    """
    variants = [str(entry["variant"]) for entry in manifest.downloads if "variant" in entry]
    if variants and variant not in variants:
        raise InputError(f"`variant` must be one of {', '.join(variants)} for {manifest.name!r}; received {variant!r}")
    if variant is not None and not variants:
        raise InputError(f"`variant`: {manifest.name!r} comes in one form only; received {variant!r}")
    for entry in manifest.downloads:
        if variant is None or entry.get("variant") == variant:
            if "page" not in entry:
                return entry
    by_hand = [f"{entry['page']}: {entry.get('note', 'get it there')}" for entry in manifest.downloads]
    raise InputError(
        f"{manifest.name!r} cannot be fetched by a program. {'; '.join(by_hand) or f'See {manifest.homepage}'}. Put "
        f"the files into `{dataset_folders(manifest.name)[0]}`; received {manifest.name!r}"
    )


def _figshare_files(
    download: Mapping[str, Any], handlers: Sequence[urllib.request.BaseHandler]
) -> list[dict[str, Any]]:
    """Ask Figshare for the files of an article: name, address, size, MD5."""
    address = _FIGSHARE.format(number=download["figshare"])
    article = read_json_from(address, handlers=handlers)
    files = []
    for entry in article.get("files", []) if isinstance(article, dict) else []:
        name, size = entry.get("name"), entry.get("size")
        if not isinstance(name, str) or name_problem(name) or "/" in name or "\\" in name or name.startswith("."):
            raise RunError(f"`{address}` must name plain files; received `{show(str(name))}`")
        md5 = str(entry.get("computed_md5") or entry.get("supplied_md5") or "").lower()
        files.append(
            {
                "file": name,
                "url": str(entry.get("download_url", "")),
                "size": size if isinstance(size, int) and size > 0 else None,
                "md5": md5 if re.fullmatch(r"[0-9a-f]{32}", md5) else None,
            }
        )
    if not files:
        raise RunError(f"`{address}` must list files; received none")
    return files


def _read_fetched(folder: pathlib.Path) -> dict[str, str]:
    """Return archive -> address of what was unpacked here before."""
    try:
        known = json.loads((folder / _FETCHED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # nothing yet, or not ours
    return known if isinstance(known, dict) else {}


def _from_kaggle(handle: str, folder: pathlib.Path) -> None:
    try:
        import kagglehub
    except ImportError as error:
        raise InputError(
            f"Kaggle's data sets are fetched by the package kagglehub: pip install 'kagglehub>=1.0', or download "
            f"https://www.kaggle.com/datasets/{handle} by hand into `{folder}`; received no kagglehub"
        ) from error
    if "output_dir" not in inspect.signature(kagglehub.dataset_download).parameters:
        raise InputError(
            f"kagglehub 1.0 or newer is needed: pip install -U kagglehub; received {kagglehub.__version__}"
        )
    log.info("fetching %s through kagglehub into `%s`", handle, folder)
    try:
        kagglehub.dataset_download(handle, output_dir=str(folder))
    except Exception as error:  # kagglehub raises a dozen unrelated types; each ends here as one line
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunError(
            f"`{handle}` cannot be fetched from Kaggle: {show(reason, 500)}. Where Kaggle asks for an account: make a "
            "token at https://www.kaggle.com/settings, accept the data set's terms on its page, and set "
            "KAGGLE_API_TOKEN or run `python -c 'import kagglehub; kagglehub.login()'`"
        ) from error
