"""The report of an audit: one HTML file with pictures, without scripts, that needs no network."""

from __future__ import annotations

import base64
import html
import json
import os
import pathlib
import string
from importlib import resources
from typing import TYPE_CHECKING, Any, Iterable, Sequence

import cv2
import numpy as np
import pandas as pd

from leukemia_tf import __version__
from leukemia_tf.data.audit.reading import read_picture
from leukemia_tf.files import write_text

if TYPE_CHECKING:
    from leukemia_tf.data.audit.result import Audit

_MAX_PAIRS = 36
_MAX_LINES = 200
_COPIES = ("exact copies", "near copies", "overlapping fields", "label conflict", "copies under several subjects")


def write_report(audit: Audit, path: str | os.PathLike) -> pathlib.Path:
    """Write the page (a few megabytes at most); everything that came from outside is escaped.

    Raises:
        RunError: if the file cannot be written.
    """
    folder = resources.files("leukemia_tf.data.audit")
    template = string.Template(folder.joinpath("report.html").read_text(encoding="utf-8"))
    found = audit.summary
    splits = ", ".join(f"{name or 'no split'} {count:,}" for name, count in found["splits"].items())
    page = template.substitute(
        style=folder.joinpath("report.css").read_text(encoding="utf-8").strip(),
        version=escape(__version__),
        title=escape(f"Audit of {audit.manifest.title}"),
        subtitle=escape(f"{found['images']:,} images; {splits}; {found['subjects'] or 'no'} subjects known"),
        synthetic='<div class="synthetic">SYNTHETIC DATA: drawn by a program</div>' if found["synthetic"] else "",
        verdict=_verdict(audit),
        counts=_counts(audit),
        copies=_copies(audit),
        shortcuts=_shortcuts(audit),
        files=_files(audit),
    )
    path = pathlib.Path(path)
    write_text(path, page)
    return path


def escape(value: Any) -> str:
    """Text that is safe between tags and within double quotes; what cannot be shown becomes a question mark."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return html.escape("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text), quote=True)


def _verdict(audit: Audit) -> str:
    leaks = int((audit.findings["severity"] == "leak").sum())
    if leaks:
        return (
            f'<p class="verdict leak">Leakage: {leaks} findings put the same picture or subject into two splits. '
            "Results on these splits are too good.</p>"
        )
    if not (audit.table["split"] != "").any():
        return (
            '<p class="verdict unknown">No split was given, so only copies could be looked for. Keep each group of '
            "copies in one split.</p>"
        )
    return '<p class="verdict clear">No copy and no known subject was found in two splits.</p>'


def _counts(audit: Audit) -> str:
    order = {"leak": 0, "error": 1, "warning": 2, "info": 3}
    counts = sorted(audit.summary["findings"], key=lambda entry: (order[entry["severity"]], -entry["count"]))
    rows = [
        [f'<span class="{entry["severity"]}">{entry["severity"]}</span>', escape(entry["kind"]), f"{entry['count']:,}"]
        for entry in counts
    ]
    if not rows:
        return "<p>Nothing.</p>"
    return _table(["", "finding", "number"], rows, numbers=(2,))


def _copies(audit: Audit) -> str:
    found = audit.summary
    text = (
        f"<p>{found['exact_groups']:,} groups of byte-identical files ({found['exact_copies']:,} surplus files), "
        f"{found['near_pairs']:,} pairs of near or augmented copies, {found['overlap_pairs']:,} pairs of fields that "
        f"overlap. Together they join {found['images_in_groups']:,} images into {found['groups']:,} groups, "
        f"{found['groups_across_classes']:,} of which have more than one class.</p>"
        '<p class="note">Copies are found through flips, turns, small rotations, crops down to about 80 %, other '
        "brightness or contrast, resizing and encoding again. The score is the correlation of edges and texture after "
        "alignment. pairs.csv and groups.csv list all.</p>"
    )
    findings = audit.findings[audit.findings["kind"].str.startswith(_COPIES)]
    # Of each severity and kind a few, so that thousands of one kind do not hide the others.
    rank = findings.groupby(["severity", "kind"]).cumcount()
    shown = findings.assign(rank=rank).sort_values("rank", kind="stable").head(_MAX_PAIRS).sort_index()
    rows = {row.path: row for row in audit.table.rename(columns={"index": "number"}).itertuples()}
    figures = []
    for entry in shown.to_dict("records"):
        images = "".join(_picture(audit, rows[path]) for path in (entry["path"], entry["other"]))
        labels = [rows[path] for path in (entry["path"], entry["other"])]
        what = " · ".join(
            f"{escape(row.path)} ({escape(row.label)}{', ' + row.split if row.split else ''})" for row in labels
        )
        caption = (
            f'<span class="{entry["severity"]}">{escape(entry["kind"])}</span>, score {entry["score"]:.3f}: '
            f"{escape(entry['detail'])}<br>{what}"
        )
        figures.append(f'<figure><div class="two">{images}</div><figcaption>{caption}</figcaption></figure>')
    more = len(findings) - len(shown)
    note = f'<p class="note">{more:,} more are in findings.csv.</p>' if more > 0 else ""
    return text + f'<div class="pairs">{"".join(figures)}</div>' + note


def _shortcuts(audit: Audit) -> str:
    if not len(audit.shortcuts):
        return "<p>Not measured: too few images or classes.</p>" + _print_map(audit)
    rows = []
    for row in audit.shortcuts.to_dict("records"):
        low, high, auc = (max(0.0, 2 * row[name] - 1) * 100 for name in ("low", "high", "auc"))
        bar = (
            f'<div class="bar" role="img" aria-label="{row["auc"]:.3f}"><i style="left:{low:.1f}%;'
            f'width:{max(1.0, high - low):.1f}%"></i><b style="left:{auc:.1f}%"></b></div>'
        )
        each = ", ".join(f"{escape(name)} {value:.2f}" for name, value in json.loads(row["per_class"]).items())
        rows.append(
            [
                f"<strong>{escape(row['cue'])}</strong><br><span class='note'>{escape(row['what'])}</span>",
                "class" if row["target"] == "label" else "source",
                f"{row['auc']:.3f}<br><span class='note'>[{row['low']:.3f}, {row['high']:.3f}]</span>", bar, each,
            ]
        )  # fmt: skip
    text = (
        "<p>How well a small model guesses the class from what should not matter, by cross-validation: 0.5 is chance, "
        "1.0 is certainty. A network that is trained on these images can learn the same.</p>"
    )
    table = _table(["cue", "tells", "AUC [95 %]", "0.5 to 1", "each class against the rest"], rows, numbers=(2,))
    sources = ""
    if len(audit.sources) > 1:
        names = list(audit.sources.columns)
        body = [[escape(value) for value in row] for row in audit.sources.to_numpy().tolist()]
        sources = "<h3>How the files were made</h3>" + _table(
            [escape(name) for name in names], body, numbers=tuple(range(1, len(names)))
        )
    return text + table + _print_map(audit) + sources


def _print_map(audit: Audit) -> str:
    if audit.print_map is None or not audit.prints:
        return "" if audit.print_map is None else '<p class="note">No burned-in text or scale bar was found.</p>'
    grey = np.clip(255 * (1 - audit.print_map / max(0.05, float(audit.print_map.max()))), 0, 255).astype(np.uint8)
    picture = cv2.cvtColor(cv2.resize(grey, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2RGB)
    lines = "".join(
        f"<li>{escape(text)}</li>" for text in audit.findings["detail"][audit.findings["kind"] == "burned-in print"]
    )
    return (
        f"<h3>Burned-in text and scale bars</h3><ul>{lines}</ul>"
        f'<figure class="map"><img alt="where strokes recur" src="{_uri(picture, ".png")}">'
        "<figcaption>The darker, the more images have a thin stroke at this place of the picture.</figcaption></figure>"
    )


def _files(audit: Audit) -> str:
    skip = set(audit.findings["kind"][audit.findings["kind"].str.startswith(_COPIES)]) | {"shortcut", "burned-in print"}
    findings = audit.findings[~audit.findings["kind"].isin(skip)]
    rows = [
        [
            f'<span class="{entry["severity"]}">{escape(entry["kind"])}</span>', escape(entry["path"]),
            escape(entry["detail"]),
        ]
        for entry in findings.head(_MAX_LINES).to_dict("records")
    ]  # fmt: skip
    if not rows:
        return "<p>Every file can be read, and nothing is odd about any.</p>"
    more = len(findings) - len(rows)
    note = f'<p class="note">{more:,} more are in findings.csv.</p>' if more > 0 else ""
    return _table(["finding", "file", "what"], rows) + note


def _picture(audit: Audit, row: Any) -> str:
    pixels = read_picture(audit.manifest, row.path, None if pd.isna(row.number) else int(row.number))
    if pixels is None:
        return "<span>cannot be shown</span>"
    return f'<img alt="{escape(row.path)}" src="{_uri(pixels, ".jpg")}">'


def _uri(pixels: np.ndarray, suffix: str) -> str:
    options = [cv2.IMWRITE_JPEG_QUALITY, 82] if suffix == ".jpg" else []
    data = cv2.imencode(suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1]
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    return f"data:image/{kind};base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: tuple[int, ...] = ()) -> str:
    """A table; the cells are HTML already."""
    classes = ['class="n"' if column in numbers else "" for column in range(len(header))]
    head = "".join(f"<th {kind}>{text}</th>" for kind, text in zip(classes, header))
    body = "".join(
        "<tr>" + "".join(f"<td {kind}>{text}</td>" for kind, text in zip(classes, row)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
