"""Compare runs that were judged on the same test images: table, plot and page."""

from __future__ import annotations

import hashlib
import os
import pathlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Sequence

from leukemia_tf.errors import InputError
from leukemia_tf.files import read_json, write_json, write_text
from leukemia_tf.recipes.run import RESEARCH_USE, Run
from leukemia_tf.recipes.summary import GROUP_FILE, POOLED_FILE

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.evaluation import Comparison

METRICS = ("accuracy", "balanced_accuracy", "auc")
"""What is compared unless other metrics are asked for."""

_TESTS = {
    "mcnemar": "exact McNemar test of the images that one model alone has right",
    "delong": "DeLong's test of two areas under the ROC curve",
    "bootstrap": "paired bootstrap, twice the share of resampled differences beyond 0",
}


@dataclass(frozen=True)
class Judged:
    """A folder with ``predictions.csv`` and ``metrics.json``.

    Attributes:
        facts: ``recipe``, ``title``, ``seed``, ``synthetic``, ``split_hash`` and ``status`` of the run that it belongs
            to, as far as they are known.
    """

    path: pathlib.Path
    name: str
    frame: pd.DataFrame
    classes: tuple[str, ...]
    metrics: dict[str, Any]
    facts: dict[str, Any]


@dataclass(frozen=True)
class ComparedRuns:
    """What `compare_runs` wrote.

    Attributes:
        folder: with ``comparison.csv``, ``.json``, ``.png`` and ``.html``.
        values, differences: tables of `leukemia_tf.evaluation.compare_models`.
        lines: sentences that say how it was done, to be shown with the figures.
        notices: lines that a reader must see before the figures.
    """

    folder: pathlib.Path
    values: pd.DataFrame
    differences: pd.DataFrame
    lines: list[str]
    notices: list[str]


def compare_runs(
    folders: Sequence[str | os.PathLike],
    *,
    metrics: Sequence[str] = METRICS,
    baseline: str | os.PathLike | None = None,
    output: str | os.PathLike | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
) -> ComparedRuns:
    """Compare two runs or more on the test images that they share, and write the comparison.

    Args:
        folders: of runs, of repeated runs with pooled predictions, or ``evaluations/<data>`` of runs.
        metrics: some of `leukemia_tf.evaluation.METRICS`.
        baseline: one of `folders`, that each other is compared with; default: every pair.
        output: where to write; default ``comparisons/<name>_<name>...``.
        bootstrap, seed: resamples of the intervals, and their seed.

    Raises:
        InputError: if a folder holds no predictions, one is named twice, or they were not judged on the same images
            with the same classes, labels and subjects.
        RunError: if the output folder cannot be written.
    """
    from leukemia_tf.evaluation import align_models, compare_models, plot_comparison, save_figure

    judged = _read_all(folders)
    frames = {each.name: each.frame for each in judged}
    classes = judged[0].classes
    shared = next(iter(align_models(frames, classes, argument="RUN").values()))
    if baseline is not None:
        baseline = _named(judged, baseline)
    found = compare_models(frames, classes, metrics=metrics, baseline=baseline, bootstrap=bootstrap, seed=seed)
    lines, notices = _explain(found.differences, bootstrap, seed), _notices(judged)
    label_lines = sorted(f"{path}\t{label}\n" for path, label in zip(shared.paths, shared.labels))
    folder = pathlib.Path(output or pathlib.Path("comparisons") / _file_name(frames))
    write_text(folder / "comparison.csv", found.differences.to_csv(index=False, lineterminator="\n"))
    write_json(
        folder / "comparison.json",
        {
            "runs": [
                {"name": each.name, "path": str(each.path), **each.facts, "stamp": each.metrics.get("stamp")}
                for each in judged
            ],
            "classes": list(classes),
            "test_images": len(shared.labels),
            "test_hash": hashlib.sha256("".join(label_lines).encode("utf-8", "surrogateescape")).hexdigest(),
            "bootstrap": {"resamples": bootstrap, "seed": seed, "confidence": 0.95},
            "values": _records(found.values),
            "differences": _records(found.differences),
            "how": lines,
            "notices": notices,
            "research_use": RESEARCH_USE,
        },
    )
    save_figure(folder / "comparison.png", plot_comparison(found.differences, found.values))
    _write_page(folder, judged, found, lines, notices)
    return ComparedRuns(folder, found.values, found.differences, lines, notices)


def value_rows(values: pd.DataFrame) -> list[list[str]]:
    """A row a run: its name and each metric with its interval, as text."""
    rows = {name: [name] for name in dict.fromkeys(values["model"])}
    for row in values.itertuples():
        rows[row.model].append(f"{row.value:.4f} [{row.low:.4f}, {row.high:.4f}]")
    return list(rows.values())


def difference_rows(differences: pd.DataFrame) -> list[list[str]]:
    """A row a metric and pair: what is subtracted, the difference with its interval, the test and its p values."""
    return [
        [
            row.metric.replace("_", " "),
            f"{row.second} - {row.first}",
            f"{row.difference:+.4f} [{row.low:+.4f}, {row.high:+.4f}]",
            row.test,
            _p(row.p_value),
            _p(row.p_holm),
        ]
        for row in differences.itertuples()
    ]


DIFFERENCE_HEADER = ("metric", "runs", "difference [95 %]", "test", "p", "p, Holm")
"""Header of `difference_rows`."""


def _read_all(folders: Sequence[str | os.PathLike]) -> list[Judged]:
    from leukemia_tf.evaluation import read_predictions

    paths = [pathlib.Path(folder) for folder in folders]
    twice = [path for index, path in enumerate(paths) if path.resolve() in [p.resolve() for p in paths[:index]]]
    if len(paths) < 2 or twice:
        raise InputError(
            "`RUN` is the folder of a run, two or more different ones. Received: " + ", ".join(map(str, paths))
        )
    judged = []
    for path, name in zip(paths, _names(paths)):
        _check_judged(path)
        frame, classes = read_predictions(path / "predictions.csv")
        judged.append(Judged(path, name, frame, classes, read_json(path / "metrics.json"), _facts(path)))
    first = judged[0]
    for each in judged[1:]:
        if set(each.classes) != set(first.classes):
            raise InputError(
                f"`RUN`: the runs must have the same classes; received {', '.join(each.classes)} in `{each.name}` and "
                f"{', '.join(first.classes)} in `{first.name}`"
            )
    return judged


def _check_judged(path: pathlib.Path) -> None:
    missing = [name for name in ("predictions.csv", "metrics.json") if not (path / name).is_file()]
    if not missing:
        return
    what = f"a folder without {missing[0]}: is its training finished?" if path.is_dir() else "no such folder"
    if (path / GROUP_FILE).is_file():
        inside = sorted(item.name for item in path.iterdir() if (item / "predictions.csv").is_file())
        what = f"repeated runs: name one of them, {', '.join(inside)}" if inside else "repeated runs, none finished"
    raise InputError(f"`RUN` is the folder of a finished run, or one of its evaluations. Received: {path} ({what})")


def _facts(path: pathlib.Path) -> dict[str, Any]:
    """What is known of the run in a folder, of the run that a folder of its ``evaluations/`` belongs to, or of pooled
    runs."""
    if (path / POOLED_FILE).is_file():
        return read_json(path / POOLED_FILE)
    above = path.resolve().parent
    folder = above.parent if above.name == "evaluations" else path
    if not (folder / "recipe.json").is_file():
        return {}
    run = Run(folder)
    recipe, info = run.recipe, run.info
    return {
        "recipe": recipe.name,
        "title": recipe.title,
        "seed": recipe.seed,
        "synthetic": bool(info.get("manifest", {}).get("synthetic")),
        "split_hash": info.get("split_hash"),
        "status": info.get("status"),
    }


def _names(paths: Sequence[pathlib.Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    parts = [[part for part in path.resolve().parts if part != "evaluations"] for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _named(judged: Sequence[Judged], baseline: str | os.PathLike) -> str:
    for each in judged:
        if pathlib.Path(baseline).resolve() == each.path.resolve() or str(baseline) == each.name:
            return each.name
    names = ", ".join(each.name for each in judged)
    raise InputError(f"`--baseline` is one of the runs, {names}. Received: {baseline}")


def _explain(differences: pd.DataFrame, bootstrap: int, seed: int) -> list[str]:
    first = differences.iloc[0]
    lines = [
        f"{first.n_images:,} test images, the same for all runs; 95 % percentile intervals by {bootstrap:,} resamples "
        f"(seed {seed}) of {first.n_units:,} {first.unit}s, the same draws for every run.",
    ]
    for test, rows in differences.groupby("test", sort=False):
        names = ", ".join(name.replace("_", " ") for name in dict.fromkeys(rows["metric"]))
        alike = ", which allows for images of one subject being alike" if first.unit == "subject" else ""
        lines.append(f"p of {names}: {_TESTS[test]}{alike}.")
    lines.append(
        f"Each run is one training, or one cross-validation: the intervals tell what other {first.unit}s would change, "
        "not what another seed would (--seeds of a training)."
    )
    tests = int(differences["p_value"].notna().sum())
    lines.append(
        f"Multiplicity: Holm's correction over all {tests} tests of the table; the intervals are not corrected."
        if tests > 1
        else "Multiplicity: one test, nothing to correct."
    )
    return lines


def _notices(judged: Sequence[Judged]) -> list[str]:
    notices = [f"{each.name}: {each.metrics['stamp']}" for each in judged if each.metrics.get("stamp")]
    notices += [
        f"{each.name}: its training is not finished ({each.facts['status']})"
        for each in judged
        if each.facts.get("status", "finished") != "finished"
    ]
    if len({each.facts["split_hash"] for each in judged if each.facts.get("split_hash")}) > 1:
        notices.append("The splits of the runs differ: they learned from other images. The test images are the same.")
    return notices


def _write_page(
    folder: pathlib.Path, judged: Sequence[Judged], found: Comparison, lines: list[str], notices: list[str]
) -> None:
    from leukemia_tf.evaluation.page import paragraphs, picture, table, write_page

    metrics = list(dict.fromkeys(found.values["metric"]))
    runs = [
        [each.name, each.facts.get("title", "not known"), (each.facts.get("split_hash") or "-")[:12], str(each.path)]
        for each in judged
    ]
    write_page(
        folder / "comparison.html",
        title="Comparison of " + ", ".join(each.name for each in judged),
        subtitle=lines[0],
        sections={
            "Plot": picture(
                folder / "comparison.png",
                "Above, each run's figure with its interval; below, the differences",
            )
            + paragraphs("A difference is filled where its corrected p is below .05."),
            "Each run": table(
                ["run", *(name.replace("_", " ") for name in metrics)],
                value_rows(found.values),
                numeric=range(1, len(metrics) + 1),
            ),
            "Differences": table(DIFFERENCE_HEADER, difference_rows(found.differences), numeric=(2, 4, 5))
            + paragraphs(*lines[1:]),
            "Runs": table(["run", "recipe", "split", "folder"], runs),
        },
        synthetic=any(each.facts.get("synthetic") for each in judged),
        stamp=next((each.metrics["stamp"] for each in judged if each.metrics.get("stamp")), ""),
        notices=notices,
    )


def _p(value: float) -> str:
    return "n/a" if value != value else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON values; NaN becomes null."""
    return frame.astype(object).where(frame.notna(), None).to_dict(orient="records")


def _file_name(names: Sequence[str]) -> str:
    text = "_".join(name.replace("/", "-") for name in names)
    return text if len(text) <= 80 else f"{text[:70]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
