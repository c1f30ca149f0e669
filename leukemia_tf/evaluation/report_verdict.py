"""The sections of the report on what was decided and how far it can be trusted, as HTML; see `report_parts`.

Each function takes the dictionary of `compute_verdict` and returns "" where the metrics have no such part.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from leukemia_tf.evaluation.plots import three_digits
from leukemia_tf.evaluation.report_parts import TITLES, escape, table, value_text

_RULES = {
    "youden": "the highest sum of sensitivity and specificity (Youden)",
    "sensitivity": "the highest specificity with a sensitivity of at least {target}",
    "specificity": "the highest sensitivity with a specificity of at least {target}",
    "cost": "the lowest expected cost, where a missed positive costs {target} times a false alarm",
    "fixed": "fixed beforehand",
}
_METHODS = {
    "temperature": "temperature scaling",
    "platt": "Platt's sigmoid",
    "isotonic": "isotonic regression",
    "none": "none",
}
_AGGREGATIONS = {
    "mean_logit": "mean log-probability",
    "noisy_or": "noisy-or",
    "blast_fraction": "share of positive images",
}
_MAX_ROWS = 15


def section(name: str, title: str, body: str) -> str:
    """A section of the page, or nothing without a body."""
    if not body:
        return ""
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(title)}</h2>{body}</section>'


def calibration(metrics: Mapping[str, Any], images: Mapping[str, str]) -> str:
    """Errors before and after, and the reliability plot."""
    found = metrics.get("calibration")
    if not found:
        return ""
    if "before" not in found:
        return _note(found.get("reason"))
    after = found["after"]
    text = f"Fitted on the validation images: {_METHODS[found['method']]}."
    if after:
        text += " The figures of this page and every export use the calibrated probabilities."
    elif found.get("reason") and not found["reason"].startswith("not asked for"):
        text += f" {found['reason'][0].upper()}{found['reason'][1:]}."
    columns = [("Before", found["before"])] + ([("After", after)] if after else [])
    rows = [
        ["Expected calibration error", *(f"{part['ece']:.4f}" for _, part in columns)],
        ["The same, bins of equal size", *(f"{part['adaptive_ece']:.4f}" for _, part in columns)],
        ["Negative log-likelihood", *(f"{part['nll']:.4f}" for _, part in columns)],
        ["Brier score", *(_interval(part["brier"], "{:.4f}").replace(" (", "\n(") for _, part in columns)],
    ]
    out = f"<p>{escape(text)}</p>" + table(["Test images", *(name for name, _ in columns)], rows)
    note = f"{found['before']['bins']} bins. Calibration errors are biased upwards on few images; lower is better."
    return out + _figure("reliability", "Reliability: observed frequency against probability.", images) + _note(note)


def operating_point(metrics: Mapping[str, Any]) -> str:
    """The threshold, by which rule, and what it gave on validation and test."""
    found = metrics.get("operating_point")
    if not found:
        return ""
    if "chosen" not in found:
        reason = found["reason"].removeprefix("not asked for: ")
        return _note(f"{reason[0].upper()}{reason[1:]}.")
    chosen, here = found["chosen"], found["test"]
    target = "" if chosen["target"] is None else f"{chosen['target']:g}"
    rule = _RULES[chosen["rule"]].format(target=target)
    where = "" if chosen["rule"] == "fixed" else " on the validation images"
    text = f"{metrics['positive_class']} is predicted from a probability of {chosen['threshold']:.4g}: {rule}{where}."
    if found.get("reason"):
        text += f" {found['reason'][0].upper()}{found['reason'][1:]}."
    rows = []
    for name, total in (("sensitivity", chosen["n_positive"]), ("specificity", chosen["n_negative"])):
        before = "n/a"
        if chosen[name] is not None:
            low, high = chosen[f"{name}_interval"]
            before = f"{_percent(chosen[name])} ({_percent(low)} to {_percent(high)}) of {total:,}"
        right, images = here[f"{name}_counts"]
        wilson = here.get(f"{name}_wilson")
        cells = [name.capitalize(), before, f"{value_text(name, here[name])}, {right:,} of {images:,}"]
        rows.append(cells + ([_interval(wilson, percent=True) if wilson else "n/a"] if not found.get("note") else []))
    head = ["", "Validation (Wilson)", "Test (bootstrap)", "Test (Wilson)"]
    out = f"<p>{escape(text)}</p>" + table(head[: len(rows[0])], rows, numeric=())
    return out + (_note(found["note"][0].upper() + found["note"][1:] + ".") if found.get("note") else "")


def subjects(metrics: Mapping[str, Any]) -> str:
    """Figures with one vote a subject, and the share of positive images of each."""
    found = metrics.get("subjects")
    if not found:
        return ""
    if "methods" not in found:
        return _note(found["reason"][0].upper() + found["reason"][1:] + ".")
    main = found["methods"]["mean_logit"]
    names = ["accuracy", "balanced_accuracy", "auc", "sensitivity", "specificity"]
    rows = [
        [
            TITLES[name],
            value_text(name, main[name]),
            _interval(found["wilson"][name], percent=True) if name in found["wilson"] else "",
        ]
        for name in names
    ]
    text = f"{found['n_subjects']:,} subjects, one vote each: the mean log-probability of a subject's images"
    text += f", at the images' threshold {found['threshold']:.4g}." if found["threshold"] else "."
    out = f"<p>{escape(text)}</p>" + table(["Subjects", "Bootstrap interval", "Wilson's interval"], rows, numeric=())
    if len(found["methods"]) > 1:
        rows = [[_AGGREGATIONS[key], value_text("auc", part["auc"])] for key, part in found["methods"].items()]
        out += table(["How images are put together", "Area under the ROC curve"], rows, numeric=())
    if found["fractions"]:
        rows = [
            [
                row["subject"],
                row["label"],
                f"{row['positive']:,} of {row['images']:,}",
                f"{_percent(row['fraction'])} ({_percent(row['low'])} to {_percent(row['high'])})",
            ]
            for row in found["fractions"]
        ]
        head = ["Subject", "True class", f"Called {metrics['positive_class']}", "Share (Wilson)"]
        body = table(head, rows, "The interval tells how well so few images tell the share, not the errors made.", ())
        out += f"<details><summary>Share of positive images of each subject</summary>{body}</details>"
    return out


def subgroups(metrics: Mapping[str, Any]) -> str:
    """A table for each column that divides the images, worst group first, and that group in a sentence."""
    out = ""
    for report in metrics.get("subgroups") or []:
        worst, out = report["worst"], out + f"<h3>By {escape(report['column'])}</h3>"
        if worst:
            size = f"{worst['images']:,} images"
            if worst["low"] is not None:
                size += f"; {_percent(worst['low'])} to {_percent(worst['high'])}"
            out += (
                f"<p>Worst: <strong>{escape(worst['group'])}</strong>, accuracy {_percent(worst['value'])} ({size}), "
                f"{100 * worst['difference']:+.1f} points from all images.</p>"
            )
        groups = sorted(report["groups"], key=lambda row: (row["too_small"], _or_two(row["accuracy"]["value"])))
        rows = [
            [
                row["group"] + (" (too small)" if row["too_small"] else ""),
                f"{row['images']:,}",
                *(value_text(name, row[name], lines=True) for name in ("accuracy", "balanced_accuracy", "auc")),
            ]
            for row in groups[:_MAX_ROWS]
        ]
        out += table(["Group", "Images", "Accuracy", "Balanced accuracy", "AUC"], rows)
        if len(groups) > _MAX_ROWS:
            out += _note(f"The {_MAX_ROWS} lowest of {len(groups):,} groups; metrics.json has all.")
        if report["too_small"]:
            out += _note(f"Groups of fewer than {report['min_images']} images are not compared.")
    return out


def not_knowing(metrics: Mapping[str, Any], images: Mapping[str, str]) -> str:
    """Selective prediction, and images unlike those of training."""
    found = metrics.get("selective")
    if not found:
        return ""
    area = found["area"]
    out = "<h3>Leaving the least certain images to a person</h3>"
    if found["chosen"]:
        chosen, test = found["chosen"], found["test"]
        text = (
            f"Confidence of at least {chosen['threshold']:.4g} is kept: on the validation images that left "
            f"{_percent(chosen['risk'])} errors (at most {_percent(chosen['target_risk'])} were wanted) among "
            f"{_percent(chosen['coverage'])} of the images. On the test images {test['kept']:,} of "
            f"{test['n_images']:,} ({_percent(test['coverage'])}) are kept"
        )
        if test["risk"] is not None:
            text += f", with {_percent(test['risk'])} errors"
            text += f" ({_percent(test['risk_low'])} to {_percent(test['risk_high'])}, Wilson)"
        out += f"<p>{escape(text)}.</p>"
    else:
        out += f"<p>{escape('No confidence was chosen: ' + str(found['reason']))}.</p>"
    out += _figure("risk_coverage", "Share of errors among the kept images against the share that is kept.", images)
    out += _note(
        f"Area under the curve {area['aurc']:.4f}; a confidence that ranks every error last would have "
        f"{area['optimal']:.4f}. Lower is better."
    )
    strange = metrics["out_of_distribution"]
    out += "<h3>Images unlike those of training</h3>"
    if "share" not in strange:
        return out + f"<p>{escape('No score: ' + strange['reason'].removeprefix('cannot be had: '))}.</p>"
    text = (
        f"{strange['flagged']:,} of {strange['n_images']:,} test images ({_percent(strange['share'])}) are flagged; "
        f"on validation {_percent(1 - strange['accepted_on_validation'])} were."
    )
    rows = [
        [name.capitalize(), f"{strange['thresholds'][name]:.6g}", _percent(share)]
        for name, share in strange["by_score"].items()
    ]
    out += f"<p>{escape(text)}</p>" + table(["Score", "Flagged above", "Test images flagged"], rows)
    rows = [
        [name.capitalize(), _interval(entry, percent=True), f"{entry['n_units']:,}"]
        if entry
        else [name.capitalize(), "n/a", "0"]
        for name, entry in strange["accuracy"].items()
    ]
    out += table(["Test images", "Accuracy (Wilson)", "Images"], rows)
    return out + _note("A score flags images to be looked at; it does not prove that the others are like the training.")


def views(metrics: Mapping[str, Any]) -> str:
    """The averaged views beside the plain result, with their cost."""
    found = metrics.get("test_time_augmentation")
    if not found:
        return ""
    if "weights" not in found:
        return ""
    names = ["accuracy", "balanced_accuracy", "auc", "sensitivity", "specificity"]
    rows = [
        [
            TITLES[name],
            value_text(name, metrics[name]),
            value_text(name, found[name]),
        ]
        for name in names
    ]
    before, after = metrics["calibration"]["before"]["brier"], found["calibration"]["before"]["brier"]
    rows.append(["Brier score, uncalibrated", _interval(before, "{:.4f}"), _interval(after, "{:.4f}")])
    kind = "weights learnt on the validation images" if found["learnt"] else "equal weights"
    text = (
        f"{len(found['views'])} rotations and flips of each image, {kind}, at {found['cost']} times the cost. The "
        "average has a calibration and an operating point of its own; nothing else on this page uses it."
    )
    return f"<p>{escape(text)}</p>" + table(["", "Plain", "Averaged views"], rows, numeric=())


def teacher(agreement: Mapping[str, Any] | None) -> str:
    """How far a student says what its teacher says, and what it keeps of its accuracy."""
    if not agreement:
        return ""
    rows = [
        ["Says what its teacher says", _interval(agreement["equal_predictions"], percent=True)],
        ["Kullback-Leibler divergence from its teacher, nats", _interval(agreement["kl_divergence"])],
    ]
    for name, title in (("student", "Accuracy"), ("teacher", "Accuracy of its teacher")):
        if f"{name}_accuracy" in agreement:
            rows.append([title, _interval(agreement[f"{name}_accuracy"])])
    if agreement.get("accuracy_kept") is not None:
        rows.append(["Share of its teacher's accuracy that it keeps", _percent(agreement["accuracy_kept"])])
    text = f"The model was taught by another one, which was asked about the same {agreement['n_images']:,} images."
    return f"<p>{text}</p>" + table(["", "Value"], rows, numeric=())


def audit(summary: Mapping[str, Any] | None) -> str:
    """What the audit of the data found."""
    if not summary:
        return "<p>No audit of the data was given; <code>leukemia-tf report RUN --audit FOLDER</code> adds one.</p>"
    counts = ", ".join(f"{n:,} {name}s" if n != 1 else f"1 {name}" for name, n in summary["severities"].items())
    rows = [[entry["kind"], entry["severity"], f"{entry['count']:,}"] for entry in summary["findings"][:_MAX_ROWS]]
    out = f"<p>{summary['images']:,} images: {escape(counts)}.</p>"
    return out + (table(["Finding", "Severity", "Number"], rows) if rows else "")


def checklist(items: Sequence[Mapping[str, Any]]) -> str:
    """Items of the reporting checklists: what this run answers, and what is left to its authors."""
    out = ""
    for name in dict.fromkeys(item["checklist"] for item in items):
        of_list = [item for item in items if item["checklist"] == name]
        answered = [[f"{item['item']} {item['about']}", item["answer"]] for item in of_list if item["answer"]]
        still = [[item["item"], item["about"]] for item in of_list if not item["answer"]]
        out += f"<h3>{escape(name)}: {len(answered)} of {len(of_list)} items answered by this run</h3>"
        body = table(["Item", "Answer"], answered, numeric=())
        out += f"<details><summary>Answered</summary>{body}</details>"
        body = table(["Item", "For the authors to write"], still, numeric=())
        out += f"<details><summary>Open: {len(still)}</summary>{body}</details>"
    return out


def _figure(name: str, alt: str, images: Mapping[str, str]) -> str:
    if name not in images:
        return ""
    image = f'<img src="{images[name]}" alt="{escape(alt)}">'
    return f'<div class="plots"><figure class="wide small">{image}</figure></div>'


def _note(text: str | None) -> str:
    return f'<p class="note">{escape(text)}</p>' if text else ""


def _percent(value: float) -> str:
    return "> 99.9 %" if 0.9995 <= value < 1 else f"{100 * value:.1f} %"


def _interval(entry: Mapping[str, Any], form: str = "", *, percent: bool = False) -> str:
    """``0.9 (0.8 to 1.0)`` of an entry with value, low and high."""
    if entry["value"] is None:
        return "n/a"

    def show(value: float) -> str:
        return _percent(value) if percent else form.format(value) if form else three_digits(value)

    text = show(entry["value"])
    return text if entry["low"] is None else f"{text} ({show(entry['low'])} to {show(entry['high'])})"


def _or_two(value: float | None) -> float:
    return 2.0 if value is None else value
