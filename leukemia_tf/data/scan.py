"""Read every image once before anything is trained on it: hashes, broken files, contradictory labels."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import logging
import warnings

import numpy as np
import pandas as pd

from leukemia_tf.data.decode import decode_bytes
from leukemia_tf.data.header import BrokenImage, looks_whole, read_header
from leukemia_tf.data.manifest import Manifest
from leukemia_tf.data.medmnist import read_array, split_reference
from leukemia_tf.data.progress import track
from leukemia_tf.data.regular_file import read_regular
from leukemia_tf.data.table import image_file
from leukemia_tf.data.threads import map_threads
from leukemia_tf.errors import InputError

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Finding:
    sha256: str = ""
    reason: str = ""  # why the file is broken
    conversions: tuple[str, ...] = ()
    other_format: str = ""  # the format, where the suffix says another


def scan_table(
    manifest: Manifest, table: pd.DataFrame, *, skip_broken: bool = False, decode: bool = True, progress: bool = True
) -> pd.DataFrame:
    """Read and decode every image once, and fill in `sha256`.

    An image larger than 100 megapixels is refused by its header, before it is decoded. 16-bit, greyscale, CMYK,
    palette and RGBA images are accepted and logged, as is a suffix that does not fit the format.

    Args:
        manifest: gives the folder of the table's paths.
        table: as `open_data` returns it.
        skip_broken: leave out broken images, and all copies of images whose copies have different labels, instead of
            an error. The result's `attrs["skipped"]` lists them as {"path", "reason"}.
        decode: False leaves out decoding where `looks_whole` says that the file is not cut short, which takes a tenth
            of the time; for callers that decode every image afterwards anyway, and then find what is damaged within.
        progress: show progress on a terminal, log one line otherwise.

    Returns:
        A copy of the table with `sha256`: hex digest of the file's bytes, or of an array image's pixels.

    Raises:
        InputError: names every image that is broken, and every group of identical images with different labels; or a
            class that leaving out emptied.
    """
    with warnings.catch_warnings():
        # Pillow warns about odd metadata; what matters is whether the pixels can be read.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        findings = _read_all(manifest, table, decode, progress)
    result = table.copy()
    result["sha256"] = pd.Series([finding.sha256 for finding in findings], index=table.index, dtype="str")
    skipped = [
        {"path": path, "reason": finding.reason} for path, finding in zip(table["path"], findings) if finding.reason
    ]
    problems = [f"`{entry['path']}`: {entry['reason']}" for entry in skipped]
    for group in _conflicts(result):
        copies = ", ".join(f"`{path}` is {label}" for path, label in zip(group["path"], group["label"]))
        problems.append(f"the same image under different labels: {copies}")
        skipped += [{"path": path, "reason": "the same image has another label elsewhere"} for path in group["path"]]
    if problems and not skip_broken:
        raise InputError("\n".join([*problems, f"{len(skipped)} images are not usable; --skip-broken leaves them out"]))
    if skipped:
        log.warning("%d images are left out; first `%s`: %s", len(skipped), skipped[0]["path"], skipped[0]["reason"])
    kept = ~result["path"].isin([entry["path"] for entry in skipped])
    _log_accepted(table["path"], [finding if keep else _Finding() for finding, keep in zip(findings, kept)])
    result = result[kept].reset_index(drop=True) if skipped else result
    emptied = [name for name in manifest.classes if name in set(table["label"]) - set(result["label"])]
    if emptied:
        raise InputError(
            "\n".join(f"class `{name}` has no usable image left; received {len(skipped)} left out" for name in emptied)
        )
    _log_copies(result)
    result.attrs = {**table.attrs, "skipped": [*table.attrs.get("skipped", []), *skipped]}
    return result


def _read_all(manifest: Manifest, table: pd.DataFrame, decode: bool, progress: bool) -> list[_Finding]:
    findings: list[_Finding] = [_Finding()] * len(table)
    from_array = table["index"].notna().to_numpy()
    paths = table["path"].to_numpy()
    files = np.flatnonzero(~from_array)
    scanned = map_threads(lambda row: _scan_file(manifest, paths[row], decode), files)
    if len(files):
        for row, finding in track(zip(files, scanned), len(files), "checking images", progress):
            findings[row] = finding
    groups = collections.defaultdict(list)
    for row in np.flatnonzero(from_array):
        groups[split_reference(paths[row])].append(row)
    for (file, name), rows in groups.items():
        images = read_array(image_file(manifest, file), name)
        for row in track(rows, len(rows), f"checking {name}", progress):
            index = table["index"].iat[row]
            if index >= len(images):
                findings[row] = _Finding(reason=f"`{name}` has {len(images)} images")
            else:
                findings[row] = _Finding(hashlib.sha256(np.ascontiguousarray(images[index])).hexdigest())
    return findings


def _scan_file(manifest: Manifest, path: str, decode: bool) -> _Finding:
    try:
        data = read_regular(image_file(manifest, path), path)
        header = read_header(data, path)
        # Only decoding shows all that can be wrong.
        if decode or not looks_whole(data, header):
            decode_bytes(data, header, path)
    except BrokenImage as error:
        return _Finding(reason=error.reason)
    return _Finding(
        sha256=hashlib.sha256(data).hexdigest(),
        conversions=header.conversions,
        other_format="" if header.fits_suffix(path) else header.format,
    )


def _conflicts(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the groups of identical images that do not all have the same label."""
    known = table[table["sha256"] != ""]
    labels = known.groupby("sha256")["label"].transform("nunique")
    groups = [group for _, group in known[labels > 1].groupby("sha256")]
    return sorted(groups, key=lambda group: group["path"].iat[0])


def _log_accepted(paths: pd.Series, findings: list[_Finding]) -> None:
    kinds = collections.defaultdict(list)
    for path, finding in zip(paths, findings):
        for kind in finding.conversions:
            kinds[kind].append(path)
        if finding.other_format:
            kinds["suffix"].append(path)
    for path in kinds.pop("suffix", [])[:1]:
        others = [finding.other_format for finding in findings if finding.other_format]
        log.warning("%d files are of another format than their suffix; first `%s` is %s", len(others), path, others[0])
    for kind, names in sorted(kinds.items()):
        log.warning("%d images are converted to 8-bit RGB (%s); first `%s`", len(names), kind, names[0])


def _log_copies(table: pd.DataFrame) -> None:
    groups = table.groupby("sha256")
    copies = len(table) - groups.ngroups
    if copies:
        first = table["path"][table["sha256"].duplicated(keep=False)].iat[0]
        log.warning(
            "%d images are byte-identical copies of another one with the same label; first `%s`", copies, first
        )
    known = table[(table["subject"] != "") & table["sha256"].duplicated(keep=False)]
    if known.empty:
        return
    shared = known.groupby("sha256")["subject"].agg(lambda subjects: tuple(sorted(set(subjects))))
    pairs = sorted(set(shared[shared.map(len) > 1]))
    if pairs:
        log.warning(
            "%d images lie under more than one subject; such subjects count as one when splitting: %s",
            int((shared.map(len) > 1).sum()), "; ".join(", ".join(pair) for pair in pairs),
        )  # fmt: skip
