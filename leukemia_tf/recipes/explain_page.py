"""The page on which explanations are looked at: every picture with its figures. No scripts, no network."""

from __future__ import annotations

import html
import pathlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from leukemia_tf.files import write_text
from leukemia_tf.recipes.run import RESEARCH_USE

if TYPE_CHECKING:
    import pandas as pd

_STYLE = """
:root { color-scheme: light; }
body { margin: 1.5rem auto; max-width: 1200px; padding: 0 1rem; color: #1f2933; background: #fff;
       font: 15px/1.5 system-ui, sans-serif; }
.notice { border-left: 4px solid #d1620b; padding: .4rem .8rem; background: #fdf3ea; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid #d5dbe1; border-radius: 6px; overflow: hidden; }
figure img { width: 100%; height: auto; display: block; }
figcaption { padding: .4rem .8rem .6rem; font-size: 13px; overflow-wrap: anywhere; }
h2 { overflow-wrap: anywhere; font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
"""
_FIGURES = {
    "deletion": "deletion",
    "deletion_random": "by chance",
    "insertion": "insertion",
    "insertion_random": "by chance",
    "shuffled_all": "rank correlation with shuffled weights",
    "gap": "gap of completeness",
}


def write_page(path: pathlib.Path, frame: pd.DataFrame, settings: dict[str, Any], verdicts: dict[str, str]) -> None:
    """Write the page; the pictures that ``frame`` names lie beside it.

    Args:
        path: of the HTML file.
        frame: the rows of ``explanations.csv``.
        settings: run, recipe, methods, class, images.
        verdicts: method -> sentence; empty without a check.
    """
    what = settings["class"] or "the predicted class"
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Explanations of {html.escape(settings['run'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Why did it decide so? {html.escape(settings['run'])}</h1>",
        f'<p class="notice"><strong>{RESEARCH_USE}</strong> A map shows what this model used, not what is true of a '
        "cell.</p>",
        f"<p>Recipe {html.escape(settings['recipe'])}, {settings['images']} images of {settings['image_size']} pixels, "
        f"explained for {html.escape(what)}. All figures: <a href='explanations.csv'>explanations.csv</a>.</p>",
    ]
    if verdicts:
        lines.append("<ul>")
        lines += [f"<li>{html.escape(method)}: {html.escape(text)}</li>" for method, text in verdicts.items()]
        lines.append(
            "</ul><p>Deletion is good when lower than by chance, insertion when higher; a rank correlation near 0 says "
            "that the map follows from what the model learnt.</p>"
        )
    for image, rows in frame.groupby("path", sort=False):
        lines += [f"<h2>{html.escape(pathlib.PurePath(image).name)}</h2>", '<div class="cards">']
        lines += [_card(row) for row in rows.to_dict("records")]
        lines.append("</div>")
    write_text(path, "\n".join([*lines, "</body></html>", ""]))


def _card(row: dict[str, Any]) -> str:
    known = {name: row.get(name) for name in _FIGURES}
    figures = ", ".join(
        f"{_FIGURES[name]} {value:.3f}" for name, value in known.items() if value is not None and value == value
    )
    said = f"{row['method']} for {row['explained']}; predicted {row['prediction']}"
    alt = html.escape(said, quote=True)
    caption = html.escape("; ".join(text for text in (said, figures) if text))
    return (
        f'<figure><img loading="lazy" src="{quote(row["picture"])}" alt="{alt}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
