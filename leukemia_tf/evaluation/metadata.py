"""What a run is, in one dictionary of JSON values: ``metadata.json``, from which the model card is written."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import pandas as pd

from leukemia_tf import __version__
from leukemia_tf.evaluation.checklists import answer_checklists
from leukemia_tf.evaluation.metrics import METRICS
from leukemia_tf.evaluation.plots import most_confident_errors

VERSION = 1


def build_metadata(
    *,
    title: str,
    recipe: Mapping[str, Any],
    environment: Mapping[str, Any],
    manifest: Mapping[str, Any],
    table: Mapping[str, Any],
    metrics: Mapping[str, Any],
    decision: Mapping[str, Any],
    predictions: pd.DataFrame,
    skipped: Sequence[Mapping[str, str]] = (),
    notices: Sequence[str] = (),
    audit: Mapping[str, Any] | None = None,
    external: Sequence[str] = (),
) -> dict[str, Any]:
    """Collect the facts and answer the checklists from them.

    Args:
        title, recipe, environment, manifest, table, metrics, predictions, skipped, notices, audit: as of
            `render_report`; ``metrics`` of `compute_verdict`.
        decision: of `Decision.to_dict`.
        external: names of other data that the run was judged on.
    """
    of = manifest.get("title") or manifest.get("name") or "the training data"
    errors = most_confident_errors(predictions)
    facts: dict[str, Any] = {
        "version": VERSION,
        "written_by": f"leukemia_tf {__version__}",
        "title": title,
        "research_use_only": "Research use only. Not a medical device, not for diagnosis.",
        "intended_use": f"Research on telling {_join(metrics['classes'])} apart in images like those of {of}.",
        "out_of_scope": [
            "Any decision about a patient.",
            "Images of another stain, magnification, microscope or camera, unless the model was judged on such images.",
            "Classes other than those named: every image is given one of them.",
            *(["Real images: this model was trained on rendered ones."] if manifest.get("synthetic") else []),
        ],
        "data": {
            **{key: manifest.get(key) for key in ("name", "title", "licence", "citation", "homepage", "synthetic")},
            "known_faults": list(manifest.get("known_faults") or ()),
            **table,
            "leakage": bool(metrics.get("stamp")),
            "skipped": len(skipped),
        },
        "recipe": dict(recipe),
        "environment": dict(environment),
        "notices": list(notices),
        "classes": list(metrics["classes"]),
        "positive_class": metrics["positive_class"],
        "n_images": metrics["n_images"],
        "n_subjects": metrics["n_subjects"],
        "bootstrap": dict(metrics["bootstrap"]),
        "metrics": {name: metrics[name] for name in METRICS},
        "confusion_matrix": metrics["confusion_matrix"],
        "per_class": metrics["per_class"],
        "calibration": _calibration(metrics, decision),
        **{key: metrics[key] for key in ("operating_point", "out_of_distribution", "test_time_augmentation")},
        "abstention": {key: metrics["selective"][key] for key in ("area", "chosen", "test", "reason")},
        "subjects": {key: value for key, value in metrics["subjects"].items() if key != "fractions"},
        "subgroups": [
            {"column": report["column"], "groups": len(report["groups"]), "worst": report["worst"]}
            for report in metrics["subgroups"]
        ],
        "failure_gallery": errors[["path", "label", "prediction", "confidence"]].to_dict(orient="records"),
        "audit": dict(audit) if audit else None,
        "external": list(external),
    }
    return {**facts, "checklists": answer_checklists(facts)}


def _calibration(metrics: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Any]:
    """The figures without the bins, and what was fitted."""
    found = metrics["calibration"]
    brief = {
        when: {key: found[when][key] for key in ("ece", "adaptive_ece", "nll", "brier")} if found.get(when) else None
        for when in ("before", "after")
    }
    return {"method": found.get("method"), "reason": found.get("reason"), "fitted": decision["calibration"], **brief}


def _join(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}"
