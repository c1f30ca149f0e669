"""The items of CLAIM 2024 and TRIPOD+AI that the files of a run answer; the others are left to the authors.

CLAIM: Tejani et al., Radiology: Artificial Intelligence 6, 2024. TRIPOD+AI: Collins et al., BMJ 385, 2024. The items
stand in ``checklists.json`` in words of our own; the checklists themselves are what counts.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Callable, Mapping

_METRIC = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "auc": "AUC", "f1_macro": "macro F1"}


def answer_checklists(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every item with its answer, or null where it is open.

    Args:
        facts: of `build_metadata`.

    Returns:
        Dictionaries with ``checklist``, ``item``, ``about`` and ``answer``.
    """
    file = resources.files("leukemia_tf.evaluation").joinpath("checklists.json")
    items = json.loads(file.read_text(encoding="utf-8"))
    answers = {name: answer(facts) for name, answer in _ANSWERS.items()}
    return [{**item, "answer": answers[item["answer"]] if item["answer"] else None} for item in items]


def _data_source(facts: Mapping[str, Any]) -> str:
    data = facts["data"]
    parts = [data.get("title") or data.get("name") or "not stated"]
    parts += [str(data[key]) for key in ("citation", "homepage") if data.get(key) not in (None, "", "not stated")]
    return "; ".join(parts)


def _partition(facts: Mapping[str, Any]) -> str:
    data = facts["data"]
    sizes = ", ".join(
        f"{name or 'unused'} {split['n_images']:,} images"
        + (f" of {split['n_subjects']:,} subjects" if split["n_subjects"] else "")
        for name, split in data["splits"].items()
    )
    return f"Split by {data['split_level']}, seed {facts['recipe']['seed']}: {sizes}; SHA-256 {data['split_hash']}"


def _disjoint(facts: Mapping[str, Any]) -> str:
    if facts["data"]["leakage"]:
        return "LEAKY: images of one subject lie in several splits"
    level = facts["data"]["split_level"]
    if facts["data"]["n_subjects"]:
        return f"Subjects: none lies in two splits (split by {level})"
    return f"Images (split by {level}); subjects are not known, so one may lie in two splits"


def _preprocessing(facts: Mapping[str, Any]) -> str:
    data = facts["recipe"]["data"]
    text = f"RGB of 8 bits, resized to {data['image_size']} x {data['image_size']} pixels (bilinear, antialiased)"
    colour = data.get("colour", "none")
    return text + (f"; colours: {colour}" if colour != "none" else "; colours as they are")


def _missing(facts: Mapping[str, Any]) -> str:
    skipped = facts["data"]["skipped"]
    if skipped:
        return f"{skipped:,} unusable images left out"
    return "Every image was read; an unusable one stops the run"


def _subset(facts: Mapping[str, Any]) -> str:
    unused = facts["data"]["splits"].get("", {}).get("n_images", 0)
    return f"{unused:,} images were in no split" if unused else "All readable images"


def _training(facts: Mapping[str, Any]) -> str:
    recipe = facts["recipe"]
    if not recipe["phases"]:
        return f"{recipe['model']['builder']}, fitted in one go; hyperparameters in recipe.json"
    phases = "; ".join(
        f"{phase['name']}: {phase['layers']}, at most {phase['epochs']} epochs, {phase['optimizer']}, learning rate "
        f"{phase['learning_rate']:g}"
        for phase in recipe["phases"]
    )
    return f"{phases}; augmentation {recipe['data']['policy']}, batches of {recipe['data']['batch_size']}"


def _selection(facts: Mapping[str, Any]) -> str:
    recipe = facts["recipe"]
    if not recipe["phases"]:
        return "None: one fit"
    return f"Weights of the epoch with the best {recipe['monitor']} ({recipe['mode']}); the test images are not used"


def _ensemble(facts: Mapping[str, Any]) -> str:
    backbones = facts["recipe"]["model"]["options"].get("backbones")
    return f"Features of {', '.join(backbones)} put together in one model" if backbones else "None"


def _software(facts: Mapping[str, Any]) -> str:
    packages = facts["environment"].get("packages", {})
    return ", ".join(f"{name} {version}" for name, version in packages.items() if version)


def _uncertainty(facts: Mapping[str, Any]) -> str:
    how = facts["bootstrap"]
    return (
        f"{100 * how['confidence']:g} % {how['method']} bootstrap, {how['resamples']:,} resamples of "
        f"{how['n_units']:,} {how['unit']}s; Wilson's interval for counts of independent ones"
    )


def _performance(facts: Mapping[str, Any]) -> str:
    parts = [f"{short} {_figure(facts['metrics'][name])}" for name, short in _METRIC.items()]
    worst = [
        f"worst {report['column']}: {report['worst']['group']}, accuracy {_figure(report['worst'])}"
        for report in facts["subgroups"]
        if report["worst"]
    ]
    return "; ".join(parts + worst)


def _diagnostic(facts: Mapping[str, Any]) -> str:
    parts = [f"{name} {_figure(facts['metrics'][name])}" for name in ("sensitivity", "specificity")]
    return "; ".join(parts) + f", {facts['n_images']:,} test images"


def _clusters(facts: Mapping[str, Any]) -> str | None:
    reports = [report for report in facts["subgroups"] if report["worst"]]
    if not reports:
        return None
    return "; ".join(
        f"by {report['column']} ({report['groups']} groups): lowest accuracy {_figure(report['worst'])} in "
        f"{report['worst']['group']}"
        for report in reports
    )


def _calibration(facts: Mapping[str, Any]) -> str:
    found = facts["calibration"]
    if not found["after"]:
        return f"Not recalibrated ({found['reason'] or 'not asked for'})"
    before, after = found["before"]["ece"], found["after"]["ece"]
    return f"{found['method']}, fitted on validation: expected calibration error on test {before:.4f} to {after:.4f}"


def _output(facts: Mapping[str, Any]) -> str:
    point = facts["operating_point"].get("chosen")
    if not point:
        return "A probability for each class; the most probable class is predicted"
    where = "fixed beforehand" if point["rule"] == "fixed" else f"chosen on validation ({point['rule']})"
    return f"Probabilities; {facts['positive_class']} from {point['threshold']:.4g}, {where}"


def _robustness(facts: Mapping[str, Any]) -> str | None:
    views = facts["test_time_augmentation"]
    if "weights" not in views:
        return None
    return f"{len(views['views'])} rotations and flips averaged: accuracy {_figure(views['accuracy'])}"


def _poor_input(facts: Mapping[str, Any]) -> str:
    text = "Files that cannot be decoded are refused"
    strange = facts["out_of_distribution"]
    if "share" in strange:
        text += f"; images unlike those of training are flagged ({100 * strange['share']:.1f} % of the test images)"
    chosen = facts["abstention"]["chosen"]
    return text + (f"; below a confidence of {chosen['threshold']:.4g} the model abstains" if chosen else "")


def _limitations(facts: Mapping[str, Any]) -> str | None:
    known = [*facts["notices"], *facts["data"]["known_faults"]]
    if not facts["data"]["n_subjects"]:
        known.append("subjects are not known")
    return "Known to the software, for the authors to go on: " + "; ".join(known) if known else None


def _preparation(facts: Mapping[str, Any]) -> str | None:
    audit = facts["audit"]
    if not audit:
        return None
    counts = ", ".join(f"{count} {name}" for name, count in audit["severities"].items())
    return f"Audited for broken files, copies, leaks and shortcuts: {counts}"


def _sample_size(facts: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{row['class']} {row['images']:,}" for row in facts["per_class"])
    subjects = f" of {facts['n_subjects']:,} subjects" if facts["n_subjects"] else ""
    return f"Test: {facts['n_images']:,} images{subjects} ({counts}). No calculation was made beforehand"


def _figure(entry: Mapping[str, Any]) -> str:
    if entry["value"] is None:
        return "not defined"
    text = f"{entry['value']:.3f}"
    return text if entry["low"] is None else f"{text} ({entry['low']:.3f} to {entry['high']:.3f})"


_ANSWERS: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "technology": lambda facts: f"{facts['title']} ({facts['recipe']['model']['builder']})",
    "data_source": _data_source,
    "exclusions": lambda facts: f"Every image of the data set; {_missing(facts)[0].lower()}{_missing(facts)[1:]}",
    "preprocessing": _preprocessing,
    "subset": _subset,
    "missing": _missing,
    "partition": _partition,
    "disjoint": _disjoint,
    "test_size": _sample_size,
    "sample_size": _sample_size,
    "model": lambda facts: f"{facts['recipe']['model']['builder']} of recipe.json; every layer in model.keras",
    "software": _software,
    "initial_weights": lambda facts: {"none": "Random, from the seed"}.get(
        facts["recipe"]["model"]["weights"], f"Backbones: {facts['recipe']['model']['weights']}"
    ),
    "training": _training,
    "selection": _selection,
    "ensemble": _ensemble,
    "metrics": lambda facts: ", ".join(name.replace("_", " ") for name in facts["metrics"])
    + "; calibration errors, Brier score, risk and coverage; ROC, precision-recall and reliability plots",
    "uncertainty": _uncertainty,
    "robustness": _robustness,
    "internal": lambda facts: f"Test split of {facts['data'].get('name') or 'the data'}, {facts['n_images']:,} images",
    "external": lambda facts: f"Judged on {', '.join(facts['external'])}" if facts["external"] else None,
    "flow": lambda facts: f"{_partition(facts)}. {_missing(facts)}",
    "performance": _performance,
    "diagnostic": _diagnostic,
    "failures": lambda facts: f"The {len(facts['failure_gallery'])} most confident errors, shown in the report",
    "limitations": _limitations,
    "details": lambda facts: f"leukemia_tf is Apache-2.0; command: {facts['environment'].get('command')}",
    "availability": lambda facts: f"Software Apache-2.0; data: {facts['data'].get('licence') or 'licence not stated'}",
    "preparation": _preparation,
    "predictors": lambda facts: "The pixels of one image, nothing else",
    "clusters": _clusters,
    "calibration": _calibration,
    "use": lambda facts: "model.keras with decision.json, or the folder saved_model alone; `leukemia-tf predict`",
    "imbalance": lambda facts: {
        "none": "Nothing was done",
        "class_weight": "Classes weighted in the loss",
        "oversample": "Each class drawn equally often in training",
    }[facts["recipe"]["data"]["balance"]],
    "output": _output,
    "poor_input": _poor_input,
}
