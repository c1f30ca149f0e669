"""``model_card.md``: a run on two pages of Markdown, from its metadata."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from leukemia_tf.evaluation.report_parts import SPLIT_LEVELS


def model_card(facts: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        facts: of `build_metadata`.
    """
    data = facts["data"]
    lines = [f"# {_text(facts['title'])}", "", f"**{facts['research_use_only']}**", ""]
    if data["synthetic"]:
        lines += ["**SYNTHETIC DATA: the images were drawn by a program; the figures say nothing of patients.**", ""]
    if data["leakage"]:
        lines += ["**LEAKY SPLIT: images of one subject lie in several splits; the figures flatter the model.**", ""]
    lines += ["## Use", "", _text(facts["intended_use"]), "", "Not for:", ""]
    lines += [f"- {_text(line)}" for line in facts["out_of_scope"]]
    lines += _heading("Data") + _data(data) + _heading("Model and training") + _training(facts)
    lines += _heading("Figures on the test split") + _figures(facts)
    lines += _heading("Decisions, made on the validation split") + _decisions(facts)
    if facts["subgroups"]:
        lines += _heading("Subgroups") + _subgroups(facts)
    lines += _heading("Failures")
    if facts["failure_gallery"]:
        lines += ["The most confident errors; the images are in `gallery/` and in `report.html`.", ""]
        rows = [
            [row["path"], row["label"], row["prediction"], f"{row['confidence']:.3f}"]
            for row in facts["failure_gallery"]
        ]
        lines += _table(["image", "true", "predicted", "probability"], rows)
    else:
        lines += ["No test image was predicted wrongly."]
    lines += _heading("Known faults and notices")
    lines += [f"- {_text(line)}" for line in [*facts["notices"], *data["known_faults"]]] or ["None is known."]
    lines += _heading("Audit of the data") + _audit(facts["audit"])
    lines += _checklists(facts["checklists"])
    return "\n".join(lines).rstrip() + f"\n\nWritten by {facts['written_by']}.\n"


def _data(data: Mapping[str, Any]) -> list[str]:
    names = {"title": "data set", "homepage": "source", "licence": "licence", "citation": "citation"}
    rows = [[label, data[key]] for key, label in names.items() if data.get(key)]
    level = SPLIT_LEVELS.get(data["split_level"], data["split_level"])
    rows += [["split", level], ["split hash (SHA-256)", data["split_hash"]]]
    rows += [["unusable images left out", f"{data['skipped']:,}"]]
    lines = _table(["", ""], rows) + [""]
    classes = list(next(iter(data["splits"].values()))["images"])
    counts = [
        [
            name or "no split",
            *(f"{split['images'][label]:,}" for label in classes),
            f"{split['n_images']:,}",
            "not known" if split["n_subjects"] is None else f"{split['n_subjects']:,}",
        ]
        for name, split in data["splits"].items()
    ]
    return lines + _table(["images", *classes, "all", "subjects"], counts)


def _training(facts: Mapping[str, Any]) -> list[str]:
    recipe, environment = facts["recipe"], facts["environment"]
    rows = [["recipe", recipe["name"]], ["model", recipe["model"]["builder"]]]
    rows += [["initial weights", recipe["model"]["weights"]], ["image size", recipe["data"]["image_size"]]]
    rows += [["augmentation", recipe["data"]["policy"]], ["seed", recipe["seed"]]]
    rows += [[f"phase {phase['name']}", f"{phase['layers']}, {phase['epochs']} epochs"] for phase in recipe["phases"]]
    rows += [["command", environment.get("command")], ["python", environment.get("python")]]
    rows += [[name, version] for name, version in environment.get("packages", {}).items() if version]
    return _table(["", ""], rows)


def _figures(facts: Mapping[str, Any]) -> list[str]:
    how = facts["bootstrap"]
    subjects = f" of {facts['n_subjects']:,} subjects" if facts["n_subjects"] else ""
    lines = [
        f"{facts['n_images']:,} images{subjects}; {100 * how['confidence']:g} % {how['method']} bootstrap intervals, "
        f"{how['resamples']:,} resamples of {how['unit']}s, seed {how['seed']}.",
        "",
    ]
    lines += _table(["figure", "value"], [[name.replace("_", " "), _value(e)] for name, e in facts["metrics"].items()])
    main = facts["subjects"].get("methods", {}).get("mean_logit")
    if main:
        lines += ["", f"One vote a subject ({facts['subjects']['n_subjects']:,} subjects, mean log-probability):", ""]
        names = ("accuracy", "balanced_accuracy", "auc")
        lines += _table(["figure", "value"], [[name.replace("_", " "), _value(main[name])] for name in names])
    views = facts["test_time_augmentation"]
    if "weights" in views:
        cost = f"Rotations and flips averaged ({views['cost']} times the cost): accuracy {_value(views['accuracy'])}"
        lines += ["", f"{cost}, AUC {_value(views['auc'])}."]
    return lines


def _decisions(facts: Mapping[str, Any]) -> list[str]:
    found, rows = facts["calibration"], []
    brier = " to ".join(_value(found[when]["brier"]) for when in ("before", "after") if found[when])
    errors = " to ".join(f"{found[when]['ece']:.4f}" for when in ("before", "after") if found[when])
    rows.append(["calibration", found["method"] + (f" ({found['reason']})" if found["reason"] else "")])
    rows += [["expected calibration error on test", errors], ["Brier score on test", brier]]
    point = facts["operating_point"].get("chosen")
    rule = facts["operating_point"].get("reason") or ""
    if point:
        rule = point["rule"] + (f" {point['target']:g}" if point["target"] is not None else "")
        rows.append([f"threshold of {facts['positive_class']}", f"{point['threshold']:.6g} ({rule})"])
    else:
        rows.append(["threshold", rule.removeprefix("not asked for: ")])
    abstention = facts["abstention"]
    if abstention["chosen"]:
        test = abstention["test"]
        risk = "none kept" if test["risk"] is None else f"{100 * test['risk']:.1f} % errors among them"
        text = f"{abstention['chosen']['threshold']:.6g}; on test {100 * test['coverage']:.1f} % kept, {risk}"
        rows.append(["lowest confidence that is kept", text])
    else:
        rows.append(["lowest confidence that is kept", f"none ({abstention['reason']})"])
    strange = facts["out_of_distribution"]
    if "share" in strange:
        limits = ", ".join(f"{name} above {value:.6g}" for name, value in strange["thresholds"].items())
        rows.append(["flagged as unlike the training images", f"{limits}; {100 * strange['share']:.1f} % of test"])
    else:
        rows.append(["flagged as unlike the training images", f"no score ({strange['reason']})"])
    return _table(["", ""], rows)


def _subgroups(facts: Mapping[str, Any]) -> list[str]:
    rows = []
    for report in facts["subgroups"]:
        worst = report["worst"]
        rows.append(
            [report["column"], report["groups"], worst["group"], worst["images"], _value(worst)]
            if worst
            else [report["column"], report["groups"], "all too small to compare", "", ""]
        )
    return _table(["column", "groups", "worst", "images", "accuracy"], rows)


def _audit(audit: Mapping[str, Any] | None) -> list[str]:
    if not audit:
        return ["Open: none was given (`leukemia-tf audit`, then `leukemia-tf report RUN --audit FOLDER`)."]
    counts = ", ".join(f"{count:,} {name}" for name, count in audit["severities"].items())
    lines = [f"{audit['images']:,} images: {counts}.", ""]
    rows = [[entry["kind"], entry["severity"], entry["count"]] for entry in audit["findings"]]
    return lines + (_table(["finding", "severity", "number"], rows) if rows else [])


def _checklists(items: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for name in dict.fromkeys(item["checklist"] for item in items):
        of_list = [item for item in items if item["checklist"] == name]
        still = [item for item in of_list if not item["answer"]]
        lines += _heading(f"{name}: {len(of_list) - len(still)} of {len(of_list)} items answered")
        rows = [[f"{item['item']} {item['about']}", item["answer"]] for item in of_list if item["answer"]]
        lines += _table(["item", "answer"], rows) + ["", "Open, for the authors:", ""]
        lines += [f"- [ ] {item['item']} {item['about']}" for item in still]
    return lines


def _heading(text: str) -> list[str]:
    return ["", f"## {text}", ""]


def _value(entry: Mapping[str, Any]) -> str:
    if entry["value"] is None:
        return "not defined"
    text = f"{entry['value']:.4f}"
    return text if entry["low"] is None else f"{text} [{entry['low']:.4f}, {entry['high']:.4f}]"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_text(cell) for cell in row) + " |" for row in lines]


def _text(value: Any) -> str:
    """On one line, and nothing that Markdown or HTML would take for its own."""
    text = " ".join(str("" if value is None else value).encode("utf-8", "replace").decode("utf-8").split())
    for mark in "\\`|<>*[]":
        text = text.replace(mark, {"<": "&lt;", ">": "&gt;"}.get(mark, f"\\{mark}"))
    return text
