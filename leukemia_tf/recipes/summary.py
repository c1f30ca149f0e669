"""The summary of repeated runs: spread over folds and seeds, and the pooled predictions of a cross-validation."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any, Sequence

from leukemia_tf.files import write_json, write_text
from leukemia_tf.recipes.recipe import Recipe
from leukemia_tf.recipes.run import RESEARCH_USE, Run

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95

GROUP_FILE = "group.json"
"""What a group of runs was begun with."""

POOLED_FILE = "pooled.json"
"""What the pooled predictions in a folder are of."""

HEADER = ("metric", "mean", "sd", "min to max", "t interval of the mean", "pooled [interval]")
"""Header of `summary_rows`."""


@dataclasses.dataclass(frozen=True)
class Part:
    """One run of a group.

    Attributes:
        name: its folder within the group's, such as ``fold-2``, ``seed-1`` or ``seed-1/fold-2``.
        seed: of the run.
        fold: number of the fold that it is tested on, from 1; 0 without folds.
        recipe: of the run.
    """

    name: str
    seed: int
    fold: int
    recipe: Recipe


def is_finished(path: pathlib.Path) -> bool:
    """Whether a folder holds a finished run."""
    return (path / "recipe.json").is_file() and Run(path).finished


def write_summary(folder: pathlib.Path, recipe: Recipe, parts: Sequence[Part]) -> dict[str, Any] | None:
    """Write ``summary.csv``, ``.json``, ``.png`` and ``.html``, ``runs.csv``, and the pooled predictions.

    Predictions are pooled where every fold of a seed is finished: into ``predictions.csv`` and ``metrics.json`` of the
    group's folder, or of the seed's where there are several.

    Args:
        folder: of the group.
        recipe: as it was given.
        parts: all runs of the group.

    Returns:
        Contents of ``summary.json``; None as long as no run is finished.
    """
    from leukemia_tf.evaluation import plot_spread, save_figure
    from leukemia_tf.evaluation.metrics import METRICS

    done = [part for part in parts if is_finished(folder / part.name)]
    if not done:
        return None
    runs = _runs_table(folder, done, METRICS)
    first = Run(folder / done[0].name)
    info, stamp = first.info, first.metrics.get("stamp", "")
    pooled = _pool(folder, recipe, parts, done, info, stamp)
    spread, over = _spread(runs, parts, METRICS)
    summary = {
        "recipe": recipe.name,
        "title": recipe.title,
        "data": recipe.data.source,
        "synthetic": bool(info["manifest"].get("synthetic")),
        "stamp": stamp,
        "classes": info["classes"],
        "split_level": info["split_level"],
        "seeds": sorted({part.seed for part in parts}),
        "folds": len({part.fold for part in parts if part.fold}),
        "planned": len(parts),
        "finished": len(done),
        "missing": [part.name for part in parts if part not in done],
        "confidence": CONFIDENCE,
        "t_interval_over": over,
        "spread": spread,
        "pooled": pooled,
        "how": _explain(parts, over, spread, pooled),
        "runs": runs.astype(object).where(runs.notna(), None).to_dict(orient="records"),
        "research_use": RESEARCH_USE,
    }
    write_json(folder / "summary.json", summary)
    write_text(folder / "summary.csv", _csv(summary, METRICS))
    write_text(folder / "runs.csv", runs.to_csv(index=False, lineterminator="\n"))
    save_figure(folder / "summary.png", plot_spread(runs, spread, pooled, METRICS))
    _write_page(folder, summary, done)
    return summary


def summary_rows(summary: dict[str, Any]) -> list[list[str]]:
    """A row a metric, as text, under `HEADER`."""
    rows = []
    for name, entry in summary["spread"].items():
        pooled = summary["pooled"].get(name, {"value": None, "low": None, "high": None})
        rows.append(
            [
                name.replace("_", " "),
                _number(entry["mean"]),
                _number(entry["sd"]),
                _limits(entry["min"], entry["max"], "{} to {}"),
                _limits(entry["low"], entry["high"]),
                f"{_number(pooled['value'])} {_limits(pooled['low'], pooled['high'])}".replace("- -", "-"),
            ]
        )
    return rows


def _runs_table(folder: pathlib.Path, done: Sequence[Part], metrics: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for part in done:
        found = Run(folder / part.name).metrics
        rows.append(
            {
                "run": part.name,
                "seed": part.seed,
                "fold": part.fold,
                "test_images": found["n_images"],
                "test_subjects": found["n_subjects"],
                **{name: found[name]["value"] for name in metrics},
            }
        )
    return pd.DataFrame(rows).astype({name: float for name in metrics})


def _of_seeds(parts: Sequence[Part], done: Sequence[Part]) -> dict[int, list[Part]]:
    """The parts of each seed that is complete."""
    seeds: dict[int, list[Part]] = {}
    for part in parts:
        seeds.setdefault(part.seed, []).append(part)
    return {seed: own for seed, own in seeds.items() if all(part in done for part in own)}


def _pool(
    folder: pathlib.Path, recipe: Recipe, parts: Sequence[Part], done: Sequence[Part], info: dict[str, Any], stamp: str
) -> dict[str, Any]:
    """Pool the folds of each complete seed and write them; figures of all together. Empty without folds."""
    import pandas as pd

    from leukemia_tf.evaluation import (
        compute_metrics,
        pooled_intervals,
        read_predictions,
        write_metrics,
        write_predictions,
    )

    complete = _of_seeds(parts, done) if parts[0].fold else {}
    frames = []
    for seed, own in complete.items():
        found = [read_predictions(folder / part.name / "predictions.csv") for part in own]
        classes = found[0][1]
        frame = pd.concat([frame for frame, _ in found]).sort_values("path", kind="stable", ignore_index=True)
        frames.append(frame)
        place = (folder / own[0].name).parent
        write_predictions(place / "predictions.csv", frame)
        metrics = compute_metrics(frame, classes, bootstrap=recipe.bootstrap, seed=recipe.seed)
        write_metrics(place / "metrics.json", {"stamp": stamp, **metrics} if stamp else metrics)
        write_json(
            place / POOLED_FILE,
            {
                "recipe": recipe.name,
                "title": f"{recipe.title}; {len(own)} folds pooled",
                "seed": seed,
                "synthetic": bool(info["manifest"].get("synthetic")),
            },
        )
    if not frames:
        return {}
    found = pooled_intervals(frames, classes, bootstrap=recipe.bootstrap, seed=recipe.seed, confidence=CONFIDENCE)
    return {**found, "seeds": list(complete), "resamples": recipe.bootstrap}


def _spread(runs: pd.DataFrame, parts: Sequence[Part], metrics: Sequence[str]) -> tuple[dict[str, dict], str]:
    """Spread of each metric over the finished runs, and over what its t interval is.

    With several seeds and folds the runs are far from independent: the interval is then of the means of the seeds.
    """
    from leukemia_tf.evaluation import summarize_spread

    both = parts[0].fold and len({part.seed for part in parts}) > 1
    done = [part for part in parts if part.name in set(runs["run"])]
    complete = _of_seeds(parts, done)
    found = {}
    for name in metrics:
        entry = summarize_spread(runs[name], CONFIDENCE)
        if both:
            of_seeds = runs[runs["seed"].isin(complete)].groupby("seed")[name].mean()
            means = summarize_spread(of_seeds, CONFIDENCE)
            entry |= {"low": means["low"], "high": means["high"]}
        found[name] = entry
    return found, "seed" if both or not parts[0].fold else "fold"


def _explain(parts: Sequence[Part], over: str, spread: dict[str, Any], pooled: dict[str, Any]) -> list[str]:
    folds, seeds = bool(parts[0].fold), len({part.seed for part in parts})
    if not folds:
        lines = [
            "The spread is over training alone (initial weights, order, augmentation, dropout): all runs have one "
            "split, and what other patients would change is told by the interval of each run."
        ]
    else:
        what = "folds and seeds" if seeds > 1 else "folds"
        lines = [
            f"The spread over {what} mixes other training images with other test images; because the folds train on "
            "mostly the same images they are not independent, and no unbiased estimate of the variance of a "
            "cross-validation exists (Bengio and Grandvalet, 2004), so read the t interval as a description."
        ]
    units = f"the means of {seeds} seeds" if folds and seeds > 1 else f"{over}s"
    lines.append(f"t interval: Student's 95 % interval of {units}; sd is that of single runs.")
    if pooled:
        times = f", mean of {len(pooled['seeds'])} seeds" if len(pooled["seeds"]) > 1 else ""
        lines.append(
            f"Pooled: the {pooled['n_images']:,} images, each predicted by the model that had not seen it{times}; 95 % "
            f"percentile interval by {pooled['resamples']:,} resamples of {pooled['n_units']:,} {pooled['unit']}s. "
            "Pooled areas rank probabilities of different models against each other, which can lower them."
        )
        if pooled["unit"] == "image":
            lines.append("Subjects are not known: several images of one subject make that interval too narrow.")
    undefined = [name.replace("_", " ") for name, entry in spread.items() if 0 < entry["n"] < spread["accuracy"]["n"]]
    if undefined:
        lines.append(f"Not defined in every run, and left out there: {', '.join(undefined)}.")
    return lines


def _csv(summary: dict[str, Any], metrics: Sequence[str]) -> str:
    import pandas as pd

    pooled = summary["pooled"]
    rows = []
    for name in metrics:
        entry, own = summary["spread"][name], pooled.get(name, {})
        rows.append(
            {
                "metric": name,
                **{key: entry[key] for key in ("n", "mean", "sd", "min", "max")},
                "t_over": summary["t_interval_over"],
                "t_low": entry["low"],
                "t_high": entry["high"],
                "pooled": own.get("value"),
                "pooled_low": own.get("low"),
                "pooled_high": own.get("high"),
                "pooled_unit": pooled.get("unit"),
                "pooled_units": pooled.get("n_units"),
            }
        )
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def _write_page(folder: pathlib.Path, summary: dict[str, Any], done: Sequence[Part]) -> None:
    from leukemia_tf.evaluation.page import links, paragraphs, picture, table, write_page

    metrics = list(summary["spread"])
    rows = [
        [
            str(run["seed"]),
            str(run["fold"] or "-"),
            f"{run['test_images']:,}",
            _count(run["test_subjects"]),
            *("-" if run[name] is None else f"{run[name]:.3f}" for name in metrics),
        ]
        for run in summary["runs"]
    ]
    header = ["seed", "fold", "images", "subjects", *(name.replace("_", " ") for name in metrics)]
    data = pathlib.PurePath(summary["data"]).name
    notices = []
    if summary["missing"]:
        notices.append(f"Not finished yet: {', '.join(summary['missing'])}. The same command goes on with them.")
    write_page(
        folder / "summary.html",
        title=summary["title"],
        subtitle=f"{summary['finished']} of {summary['planned']} runs on {data}, split by {summary['split_level']}",
        sections={
            "Spread": picture(
                folder / "summary.png", "Each run, the mean with its interval, the pooled figure", kind="wide mid"
            )
            + table(HEADER, summary_rows(summary), numeric=range(1, len(HEADER)))
            + paragraphs(*summary["how"]),
            "Each run": table(header, rows, numeric=range(1, len(header)))
            + links({part.name: f"{part.name}/report.html" for part in done}),
        },
        synthetic=summary["synthetic"],
        stamp=summary["stamp"],
        notices=notices,
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{int(value):,}"


def _limits(low: float | None, high: float | None, form: str = "[{}, {}]") -> str:
    return "-" if low is None else form.format(_number(low), _number(high))
