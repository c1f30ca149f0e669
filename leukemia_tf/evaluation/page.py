"""A small page of tables and plots in the style of the report: one HTML file, no network, no scripts."""

from __future__ import annotations

import base64
import os
import pathlib
import string
from importlib import resources
from typing import Mapping, Sequence
from urllib.parse import quote

from leukemia_tf import __version__
from leukemia_tf.evaluation import report_parts as parts
from leukemia_tf.evaluation.report_parts import escape
from leukemia_tf.files import write_text


def write_page(
    path: str | os.PathLike,
    *,
    title: str,
    subtitle: str,
    sections: Mapping[str, str],
    synthetic: bool = False,
    stamp: str = "",
    notices: Sequence[str] = (),
) -> pathlib.Path:
    """Write the page, atomically.

    Args:
        path: of the file.
        title, subtitle: plain text.
        sections: heading (plain text) -> HTML, of `paragraphs`, `table`, `picture` and `links`.
        synthetic: the images were drawn by a program.
        stamp: shown above all else, such as `metrics.LEAKY_SPLIT`.
        notices: lines that the reader must see before the results.

    Raises:
        RunError: if the folder cannot be written.
    """
    folder = resources.files("leukemia_tf.evaluation")
    template = string.Template(folder.joinpath("page.html").read_text(encoding="utf-8"))
    body = "\n".join(f"<section><h2>{escape(name)}</h2>\n{content}\n</section>" for name, content in sections.items())
    page = template.substitute(
        style=folder.joinpath("report.css").read_text(encoding="utf-8").strip(),
        version=escape(__version__),
        title=escape(title),
        subtitle=escape(subtitle),
        synthetic=parts.synthetic_badge({"synthetic": synthetic}),
        stamp=parts.stamp({"stamp": stamp}),
        notices=parts.notices(notices),
        sections=body,
    )
    path = pathlib.Path(path)
    write_text(path, page)
    return path


def paragraphs(*lines: str) -> str:
    """Plain sentences, a paragraph each."""
    return "".join(f'<p class="note">{escape(line)}</p>' for line in lines)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """A table of plain text; the columns `numeric` stand to the right."""
    return parts.table(header, rows, numeric=numeric)


def picture(png: str | os.PathLike, description: str, *, kind: str = "wide") -> str:
    """A PNG file, within the page; `kind` is a class of ``report.css``."""
    data = base64.b64encode(pathlib.Path(png).read_bytes()).decode("ascii")
    image = f'<img src="data:image/png;base64,{data}" alt="{escape(description)}">'
    return f'<div class="plots"><figure class="{kind}">{image}</figure></div>'


def links(targets: Mapping[str, str]) -> str:
    """Links to other files: text -> path from the page's folder."""
    items = ", ".join(f'<a href="{escape(quote(path))}">{escape(text)}</a>' for text, path in targets.items())
    return f"<p>Reports: {items}</p>"
