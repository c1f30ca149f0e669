"""The sections of the report as HTML. Each function takes plain values and escapes all of them."""

from __future__ import annotations

import collections
import html
import json
import shlex
from typing import Any, Iterable, Sequence

import pandas as pd

from leukemia_tf.evaluation.plots import three_digits

TITLES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "auc": "Area under the ROC curve",
    "average_precision": "Average precision",
    "f1_weighted": "F1, weighted",
    "f1_macro": "F1, macro",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
}
_AREAS = ("auc", "average_precision")
_HEADLINE = ("accuracy", "balanced_accuracy", "auc", "f1_weighted", "sensitivity", "specificity")
SPLIT_LEVELS = {
    "subject": "By subject: no subject has images in two splits.",
    "image": "By image, byte-identical images together.",
    "official": "The official split of the data set.",
}
_MAX_SKIPPED = 50
_MAX_TEXT = 400


def escape(value: Any) -> str:
    """``value`` as text that is safe between tags and within double quotes; bytes that are not UTF-8 become ``?``."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    text = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    return html.escape(text, quote=True)


def subtitle(recipe: dict[str, Any], manifest: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Model, data set and size of the test on one line."""
    pieces = []
    model_spec = recipe.get("model")
    if isinstance(model_spec, dict):
        model_spec = model_spec.get("builder")
    if model_spec:
        pieces.append(f"Model {escape(_short(model_spec))}")
    if manifest.get("title") or manifest.get("name"):
        pieces.append(f"evaluated on {escape(manifest.get('title') or manifest['name'])}")
    pieces.append(_sample(metrics))
    return ", ".join(pieces)


def synthetic_badge(manifest: dict[str, Any]) -> str:
    """A red bar, where the images were drawn by a program."""
    if not manifest.get("synthetic"):
        return ""
    return (
        '<div class="synthetic" role="note"><strong>SYNTHETIC DATA</strong>'
        "These images were drawn by a program. The figures say that the software runs, nothing about blood.</div>"
    )


def stamp(metrics: dict[str, Any]) -> str:
    """A red bar with the ``stamp`` of the metrics, such as `metrics.LEAKY_SPLIT`; large up to its colon."""
    if not metrics.get("stamp"):
        return ""
    title, _, text = str(metrics["stamp"]).partition(": ")
    text = f"{text[:1].upper()}{text[1:]}." if text else ""
    return f'<div class="stamp" role="note"><strong>{escape(title)}</strong>{escape(text)}</div>'


def notices(lines: Sequence[str]) -> str:
    """Lines that stand before the results."""
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<div class="warning" role="note"><strong>Please note</strong><ul>{items}</ul></div>'


def headline(metrics: dict[str, Any]) -> str:
    """A card for each headline metric with its interval, and how the interval was made."""
    cards = "".join(_card(name, metrics) for name in _HEADLINE)
    how = metrics["bootstrap"]
    level = f"{100 * how['confidence']:g} %"
    left_out = max(metrics[name]["left_out"] for name in _HEADLINE if metrics[name]["value"] is not None)
    if how["resamples"] and metrics["accuracy"]["low"] is not None:
        text = (
            f"Intervals: {level} percentile bootstrap, {how['resamples']:,} resamples of "
            f"{how['n_units']:,} {how['unit']}s"
            + (f" with {metrics['n_images']:,} test images" if how["unit"] == "subject" else "")
            + f", seed {how['seed']}."
        )
        if left_out:
            text += f" Up to {left_out:,} resamples held no image of some class and were left out where that matters."
    else:
        text = f"No intervals: {escape(metrics['accuracy'].get('reason', ''))}. {_sample(metrics).capitalize()}."
    if metrics["n_unlabelled"]:
        text += f" {metrics['n_unlabelled']:,} further images have no label and are not part of the figures."
    out = f'<dl class="cards">{cards}</dl><p class="note">{text}</p>'
    if how["unit"] == "image":
        why = "There is one subject only." if metrics["n_subjects"] == 1 else "Subjects are not known."
        out += (
            f'<p class="warning">{why} Images were resampled as if they were independent; where several come from '
            "one subject, the true uncertainty is larger than the intervals.</p>"
        )
    rows = [(_title(name, metrics), value_text(name, metrics[name])) for name in ("average_precision", "f1_macro")]
    return out + table(["Also measured", f"Value ({level} interval)"], rows, numeric=())


def per_class(metrics: dict[str, Any]) -> str:
    """Table of precision, recall and F1 (above two classes also areas) of each class with intervals."""
    keys = [key for key in ("precision", "recall", "f1", *_AREAS) if key in metrics["per_class"][0]]
    short = {"auc": "AUC", "average_precision": "AP"}
    counts = ["images", "subjects", "predicted"]
    if metrics["n_subjects"] is None:
        counts.remove("subjects")
    head = ["Class", *(key.capitalize() for key in counts), *(short.get(key, TITLES[key]) for key in keys)]
    rows = []
    for row in metrics["per_class"]:
        numbers = [f"{row[key]:,}" for key in counts]
        rows.append([row["class"], *numbers, *(value_text(key, row[key], lines=True) for key in keys)])
    level = f"{100 * metrics['bootstrap']['confidence']:g} %"
    return table(head, rows, f"Test images by true class; {level} intervals below the values.", range(1, len(head)))


def plots(images: dict[str, str], metrics: dict[str, Any]) -> str:
    """The plots, given as data URIs under the names of `save_plots`."""
    matrix = "; ".join(
        f"true {name}: " + ", ".join(f"{count:,} as {other}" for other, count in zip(metrics["classes"], row))
        for name, row in zip(metrics["classes"], metrics["confusion_matrix"])
    )
    known = {
        "confusion": (f"Confusion matrix. {matrix}.", "wide mid grow" if len(metrics["classes"]) > 4 else "wide small"),
        "roc": (f"ROC curve; area under the curve {_plain_value('auc', metrics)}.", ""),
        "precision_recall": (f"Precision-recall; average precision {_plain_value('average_precision', metrics)}.", ""),
        "learning_curves": ("Learning curves of training and validation; dashed lines stand between phases.", "wide"),
        "subjects": ("Accuracy of each subject, larger dots for more images.", "wide mid"),
    }
    out = []
    for name, (description, kind) in known.items():
        if name in images:
            out.append(f'<figure class="{kind}"><img src="{images[name]}" alt="{escape(description)}"></figure>')
    return f'<div class="plots">{"".join(out)}</div>'


def errors(thumbnails: Sequence[tuple[str, str]], predictions: pd.DataFrame) -> str:
    """Section with the most confident errors; nothing without pictures."""
    if not thumbnails:
        return ""
    labelled = predictions[predictions["label"] != ""]
    wrong = int((labelled["label"] != labelled["prediction"]).sum())
    figures = "".join(
        f'<figure><img src="{uri}" alt="Misclassified image: {escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for uri, caption in thumbnails
    )
    return (
        '<section aria-labelledby="errors"><h2 id="errors">Most confident errors</h2>'
        f'<p class="note">{len(thumbnails)} of {wrong:,} wrong predictions, the surest first.</p>'
        f'<div class="gallery">{figures}</div></section>'
    )


def data(manifest: dict[str, Any], summary: dict[str, Any], skipped: Sequence[dict[str, str]]) -> str:
    """Source, licence, split, known faults and skipped files."""
    names = {"title": "Data set", "homepage": "Source", "licence": "Licence", "citation": "Citation"}
    facts = [(label, manifest[key]) for key, label in names.items() if manifest.get(key)]
    level = summary.get("split_level")
    facts.append(("Split", SPLIT_LEVELS.get(str(level), level or "not recorded")))
    if summary.get("split_hash"):
        facts.append(("Split hash (SHA-256)", summary["split_hash"]))
    out = _facts(facts) + _split_table(summary)
    if level == "image":
        out += (
            '<p class="warning">The split is by image: images of one subject may lie on both sides, which makes '
            "results look better than they would be on new subjects.</p>"
        )
    faults = manifest.get("known_faults") or ()
    if faults:
        out += '<h3>Known faults of the data</h3><ul class="plain">'
        out += "".join(f"<li>{escape(fault)}</li>" for fault in faults) + "</ul>"
    out += "<h3>Skipped files</h3>"
    if not skipped:
        return out + "<p>None.</p>"
    reasons = collections.Counter(str(entry.get("reason", "")) for entry in skipped)
    out += table(["Reason", "Files"], [(reason, f"{n:,}") for reason, n in reasons.most_common(_MAX_SKIPPED)])
    paths = "".join(f"<li><code>{escape(entry.get('path', ''))}</code></li>" for entry in skipped[:_MAX_SKIPPED])
    more = f"<p class='note'>and {len(skipped) - _MAX_SKIPPED:,} more</p>" if len(skipped) > _MAX_SKIPPED else ""
    return out + f"<details><summary>Their names</summary><ul class='plain'>{paths}</ul>{more}</details>"


def model(recipe: dict[str, Any]) -> str:
    """The recipe: plain fields, phases as a table, and all of it as JSON."""
    phases = recipe.get("phases")
    tabular = isinstance(phases, (list, tuple)) and bool(phases) and all(isinstance(phase, dict) for phase in phases)
    facts = [(key, value) for key, value in _flatten(recipe) if not (tabular and key == "phases")]
    out = _facts([(key, _short(value)) for key, value in facts if value not in ("", {}, [], None)])
    if tabular:
        keys = list(dict.fromkeys(key for phase in phases for key, value in phase.items() if _says_something(value)))
        rows = [[_short(phase.get(key, "")) for key in keys] for phase in phases]
        out += table([key.replace("_", " ").capitalize() for key in keys], rows, "Training phases, in order.", ())
    text = json.dumps(recipe, indent=2, ensure_ascii=False, default=str)
    return out + f"<details><summary>The whole recipe</summary><pre>{escape(text)}</pre></details>"


def reproduce(environment: dict[str, Any]) -> str:
    """Command, recomputation from the files of the run, versions."""
    command = environment.get("command")
    if isinstance(command, (list, tuple)):
        command = shlex.join(str(word) for word in command)
    out = "<h3>Train again</h3>"
    out += f"<pre>{escape(command)}</pre>" if command else "<p>The command was not recorded.</p>"
    out += (
        "<h3>Recompute every figure</h3><p>All figures above follow from <code>predictions.csv</code>, and what was "
        "decided from <code>predictions_val.csv</code>, in the folder of this page. In that folder this computes both "
        "again and names every digit that differs:</p><pre>leukemia-tf report . --verify</pre>"
    )
    facts = [(key, _short(value)) for key, value in _flatten(environment) if key != "command"]
    return out + "<h3>Environment</h3>" + (_facts(facts) if facts else "<p>Not recorded.</p>")


def _card(name: str, metrics: dict[str, Any]) -> str:
    entry = metrics[name]
    title = escape(_title(name, metrics))
    if entry["value"] is None:
        body = f'<div class="value">n/a</div><div class="reason">{escape(entry["reason"])}</div>'
        return f'<div class="card"><dt>{title}</dt><dd>{body}</dd></div>'
    body = f'<div class="value">{_number(name, entry["value"])}</div>'
    scale = f'<b style="left:{100 * entry["value"]:.2f}%"></b>'
    if entry["low"] is None:
        body += '<div class="range">no interval</div>'
    else:
        body += f'<div class="range">{_number(name, entry["low"])} to {_number(name, entry["high"])}</div>'
        left, width = 100 * entry["low"], 100 * (entry["high"] - entry["low"])
        scale = f'<i style="left:{left:.2f}%;width:{width:.2f}%"></i>' + scale
    body += f'<div class="scale" aria-hidden="true">{scale}</div>'
    return f'<div class="card"><dt>{title}</dt><dd>{body}</dd></div>'


def _title(name: str, metrics: dict[str, Any]) -> str:
    if metrics["positive_class"] is None:
        return TITLES[name] + (" (macro)" if name in (*_AREAS, "sensitivity", "specificity") else "")
    if name in ("sensitivity", "specificity", "average_precision"):
        return f"{TITLES[name]} ({metrics['positive_class']})"
    return TITLES[name]


def _number(name: str, value: float) -> str:
    if name in _AREAS:
        return three_digits(value)
    return "> 99.9 %" if 0.9995 <= value < 1 else f"{100 * value:.1f} %"


def value_text(name: str, entry: dict[str, Any], lines: bool = False) -> str:
    """A metric of `compute_metrics` with its interval, on one line or two."""
    if entry["value"] is None:
        return "n/a" if lines else f"n/a ({entry['reason']})"
    value = _number(name, entry["value"])
    if entry["low"] is None:
        return value
    low, high = _number(name, entry["low"]), _number(name, entry["high"])
    if lines:
        low, high = low.removesuffix(" %"), high.removesuffix(" %")
        return f"{value}\n{low}" + (f" – {high}" if high != low else "")
    return f"{value} ({low} to {high})"


def _plain_value(name: str, metrics: dict[str, Any]) -> str:
    return value_text(name, metrics[name])


def _sample(metrics: dict[str, Any]) -> str:
    subjects = metrics["n_subjects"]
    images = f"{metrics['n_images']:,} test image" + ("" if metrics["n_images"] == 1 else "s")
    return images if subjects is None else f"{images} of {subjects:,} subject" + ("" if subjects == 1 else "s")


def _split_table(summary: dict[str, Any]) -> str:
    splits = summary.get("splits") or {}
    if not splits:
        return ""
    classes = list(dict.fromkeys(name for split in splits.values() for name in split["images"]))

    def cell(images: int, subjects: int | None) -> str:
        return f"{images:,}" if subjects is None or not images else f"{images:,} ({subjects:,})"

    rows = [
        [name, *(cell(split["images"].get(name, 0), split["subjects"].get(name)) for split in splits.values())]
        for name in classes
    ]
    rows.append(["All", *(cell(split["n_images"], split["n_subjects"]) for split in splits.values())])
    head = ["Class", *({"val": "validation", "": "no split"}.get(name, name).capitalize() for name in splits)]
    subjects = "subjects are not known" if summary.get("n_subjects") is None else "in brackets the subjects"
    caption = f"Images of each class and split; {subjects}."
    return table(head, rows, caption, total=True)


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple, dict)):
        value = ", ".join(map(str, value)) if _is_flat(value) else json.dumps(value, default=str, ensure_ascii=False)
    text = "" if value is None else str(value)
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + " ..."


def _says_something(value: Any) -> bool:
    return isinstance(value, bool) or value not in (None, "", 0, [], (), {})


def _is_flat(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and not any(isinstance(item, (list, tuple, dict)) for item in value)


def _facts(rows: Iterable[tuple[str, Any]]) -> str:
    body = "".join(f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>' for key, value in rows)
    return f'<div class="scroll"><table class="facts"><tbody>{body}</tbody></table></div>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str = "",
    numeric: Iterable[int] | None = None,
    total: bool = False,
) -> str:
    """A table whose first column heads its rows; ``numeric`` columns (default: all others) stand to the right."""
    right = set(range(1, len(head)) if numeric is None else numeric)

    def kind(i: int) -> str:
        return ' class="n"' if i in right else ""

    top = "".join(f'<th scope="col"{kind(i)}>{escape(name)}</th>' for i, name in enumerate(head))
    rows = list(rows)
    body = ""
    for position, row in enumerate(rows):
        cells = "".join(f"<td{kind(i)}>{escape(value)}</td>" for i, value in enumerate(row) if i)
        last = ' class="total"' if total and position == len(rows) - 1 else ""
        body += f'<tr{last}><th scope="row">{escape(row[0])}</th>{cells}</tr>'
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{title}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
