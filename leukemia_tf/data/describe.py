"""A manifest in words, for the command and for anybody who must decide whether to use the data."""

from __future__ import annotations

import textwrap

from leukemia_tf.data.fetch import dataset_folders
from leukemia_tf.data.manifest import Manifest, list_manifests, load_manifest

_WIDTH = 110


def describe_all() -> list[str]:
    """Return a line for each known data set: name, images, classes, subjects, licence, how it is had, and its title."""
    rows = [("name", "images", "classes", "subjects", "splits", "licence", "had by", "title")]
    for name in list_manifests():
        manifest = load_manifest(name)
        images = sum(manifest.class_counts.values())
        rows.append(
            (
                name,
                f"{images:,}" if images else "?",
                str(manifest.num_classes),
                _subject_total(manifest),
                ", ".join([*manifest.split_counts, *_folds(manifest)]) or "-",
                textwrap.shorten(manifest.licence, 24, placeholder=" ..."),
                _had_by(manifest),
                textwrap.shorten(manifest.title, 60, placeholder=" ..."),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def describe_manifest(manifest: Manifest) -> list[str]:
    """Return all that is known of a data set, a line each."""
    lines = [f"{manifest.name}: {manifest.title}", ""]
    if manifest.synthetic:
        lines.append("SYNTHETIC: drawn by a program; nothing measured on it says anything of patients.")
    lines += _wrap("licence", manifest.licence) + _wrap("citation", manifest.citation)
    lines += _wrap("homepage", manifest.homepage)
    lines += _counts("images", {"all": manifest.class_counts} if manifest.class_counts else {}, manifest)
    lines += _counts("split", manifest.split_counts, manifest)
    lines += _counts("fold", manifest.fold_counts, manifest)
    lines += _counts("subjects", manifest.subject_counts, manifest)
    if not manifest.class_counts:
        lines += _wrap("classes", ", ".join(manifest.classes))
    if manifest.unlabelled_count:
        lines += _wrap("no label", f"{manifest.unlabelled_count:,} images, left out")
    low, high = manifest.value_range
    lines += _wrap("pixels", f"{_size(manifest)}, values {low} to {high}")
    lines += _wrap("positive", manifest.classes[1]) if manifest.num_classes == 2 else []
    lines += _wrap("subject", manifest.subject_from or "no subject is known: splits are by image, results optimistic")
    lines += _wrap("label", manifest.label_from or "the folder's name, or the arrays")
    for key in ("split_from", "fold_from"):
        if getattr(manifest, key):
            lines += _wrap(key.removesuffix("_from"), getattr(manifest, key))
    if manifest.labels_csv:
        rule = manifest.labels_csv
        lines += _wrap("labels", f"of images like {rule['images']} from the CSV file {rule['file']}")
    for download in manifest.downloads:
        lines += _wrap("fetch", _describe_download(download))
    if not manifest.synthetic:
        lines += _wrap("looked for", " then ".join(str(folder) for folder in dataset_folders(manifest.name)))
    for fault in manifest.known_faults:
        lines += _wrap("fault", fault)
    return lines


def _size(manifest: Manifest) -> str:
    if manifest.image_size:
        return f"{manifest.image_size[0]}x{manifest.image_size[1]} (height x width)"
    return "the size that the variant says" if manifest.layout == "medmnist" else "sizes differ"


def _folds(manifest: Manifest) -> list[str]:
    return [f"{len(manifest.fold_counts)} folds"] if manifest.fold_counts else []


def _subject_total(manifest: Manifest) -> str:
    total = sum(sum(counts.values()) for counts in manifest.subject_counts.values())
    return f"{total}" if total else "unknown"


def _had_by(manifest: Manifest) -> str:
    if manifest.synthetic:
        return "drawn here"
    for download in manifest.downloads:
        if "page" not in download:
            return "kagglehub" if "kaggle" in download else "download"
    return "request" if manifest.downloads else "by hand"


def _describe_download(download) -> str:
    if "kaggle" in download:
        text = f"kagglehub, {download['kaggle']} (an account only if Kaggle asks for one)"
    elif "figshare" in download:
        text = f"Figshare article {download['figshare']}, with the MD5 that Figshare gives"
    elif "page" in download:
        text = f"by hand, {download['page']}"
    else:
        text = f"{download['url']} to {download['file']}"
    text = f"variant {download['variant']}: {text}" if "variant" in download else text
    text += f", {download['size']:,} bytes" if "size" in download else ""
    text += f", md5 {download['md5']}" if "md5" in download else ""
    text += f", sha256 {download['sha256']}" if "sha256" in download else ""
    if "url" in download and not {"md5", "sha256"} & set(download):
        text += ", no checksum is published"
    return f"{text}; {download['note']}" if "note" in download else text


def _counts(what: str, groups, manifest: Manifest) -> list[str]:
    lines = []
    for name, counts in groups.items():
        text = ", ".join(f"{label} {counts.get(label, 0):,}" for label in manifest.classes)
        lines += _wrap(what if name == "all" else f"{what} {name}", f"{sum(counts.values()):,}: {text}")
    return lines


def _wrap(key: str, text: str) -> list[str]:
    return textwrap.wrap(
        f"{key + ':':16} {text}", _WIDTH, subsequent_indent=" " * 17, break_long_words=False, break_on_hyphens=False
    )
