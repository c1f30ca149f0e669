"""The goals of speed, size and memory, each with what was measured and whether that meets it, from the result files."""

from __future__ import annotations

import json
import pathlib
from typing import Any, Callable, Iterator

import pandas as pd

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results"

Rows = Iterator[dict[str, Any]]


def measure_goals(results: pathlib.Path = RESULTS) -> list[dict[str, Any]]:
    """One row a goal.

    Args:
        results: the folder ``experiments/results``.

    Returns:
        ``part``, ``goal``, ``wanted``, ``measured``, ``met`` (yes, no, or not measured) and ``file``.
    """
    rows = []
    for file, part, what, read in SOURCES:
        path = results / file
        found = list(read(_open(path))) if path.exists() else []
        found = found or [{"goal": what, "wanted": "", "measured": "", "met": "not measured"}]
        rows += [{"part": part, **row, "file": file} for row in found]
    return rows


def row(goal: str, value: float, wanted: float, unit: str = "x", *, at_least: bool = True, also: bool = True) -> dict:
    """A goal, what was wanted and measured, and whether it is met.

    Args:
        goal: in words.
        value: that was measured; NaN where it was not.
        wanted: bound, which meets the goal itself where ``at_least``.
        unit: behind the numbers.
        at_least: whether larger is better; otherwise the value is to be less than `wanted`.
        also: a further condition, which the words name.
    """
    sign = "at least" if at_least else "under"
    good = value >= wanted if at_least else value < wanted
    known = not pd.isna(value)
    return {
        "goal": goal,
        "wanted": f"{sign} {wanted:g}{unit}",
        "measured": f"{value:.3g}{unit}" if known else "",
        "met": ("yes" if good and also else "no") if known else "not measured",
    }


def _open(path: pathlib.Path) -> Any:
    return json.loads(path.read_text()) if path.suffix == ".json" else pd.read_csv(path)


def feature_cache(table: pd.DataFrame) -> Rows:
    for data, seeds in table.groupby("data", sort=False):
        first, mean = seeds.iloc[0], seeds.mean(numeric_only=True)
        images = f"{data}, {first['train_images']} images, {first['image_size']} px"
        if len(seeds) > 1:
            images += f", mean of {len(seeds)} seeds"
        yield row(f"epoch of the head on cached features, end to end = 1 ({images})", mean["epoch_ratio"], 50)
        if seeds["whole_ratio"].notna().all():
            ours, its = mean["cached_kept_accuracy"], mean["notebook_kept_accuracy"]
            scores = f"validation accuracy of the epoch that is kept {ours:.3f}, the notebook's {its:.3f}"
            goal = f"whole two-phase run, the notebook's = 1, at equal or better score ({images}; {scores})"
            # A busy machine can lengthen either run.
            yield row(goal, min(mean["whole_ratio"], mean["whole_cpu_ratio"]), 3, also=ours >= its)


def pipeline(table: pd.DataFrame) -> Rows:
    (cells,) = table[table["what"] == "policy cells"].itertuples()
    yield row("policy `cells`, decoding = 1", cells.to_decode, 0.5)
    yield row("policy `cells`, stock Keras layers = 1", float(cells.to_stock), 10)


def first_step(table: pd.DataFrame) -> Rows:
    begins = table[table["measured"].notna()].iloc[0]
    yield row(f"first training step on {begins['files']:,} new files", begins["measured"], 10, " s", at_least=False)


def feed(table: pd.DataFrame) -> Rows:
    for found in table[table["stands_for_cores"] == table["stands_for_cores"].max()].itertuples():
        goal = (
            f"simulated {found.gpu} training EfficientNetB0 at 224 px ({found.images_per_s} images/s, {found.cores} "
            f"cores, which stands for {found.stands_for_cores}) is kept busy"
        )
        yield row(goal, 100 * found.busy, 90, " %")


def feed_gpu(table: pd.DataFrame) -> Rows:
    for found in table.itertuples():
        goal = (
            f"{found.device} training EfficientNetB0 at {found.size} px ({found.layers} open, {found.precision}, "
            f"{found.images_per_s_ready:.0f} images/s, {found.cores} cores) is kept busy"
        )
        yield row(goal, 100 * found.busy, 90, " %")


def inference(table: pd.DataFrame) -> Rows:
    for found in table.itertuples():
        at_least = "less than" not in found.goal
        text = found.goal.removesuffix(", at least").removesuffix(", less than")
        unit = " points" if "points" in text else "x"
        yield row(f"{found.run}: {text}", found.measured, found.wanted, unit, at_least=at_least)


def start(table: pd.DataFrame) -> Rows:
    for found in table.itertuples():
        of = f" ({found.run})" if isinstance(found.run, str) else ""
        yield row(f"cold start, `{found.what}`{of}", found.seconds, found.goal, " s", at_least=False)


def distillation(verdict: dict[str, Any]) -> Rows:
    kept = verdict["accuracy_kept"]["everything"]
    yield row("student taught with every term keeps of its teacher's accuracy", 100 * kept, 99, " %")
    yield row("student's parameters, how many times fewer", verdict["parameters_ratio"], 10)
    for batch, ratio in verdict["speed_ratio"].items():
        yield row(f"student's speed at batch {batch}, the teacher's = 1", ratio, 5)


def audit(table: pd.DataFrame) -> Rows:
    last = table.iloc[-1]
    yield row(f"audit of {int(last['images']):,} files, decoding = 1", last["speed_to_decode_wall"], 0.5)


def bootstrap(table: pd.DataFrame) -> Rows:
    worst = table.loc[table["wall_seconds"].idxmax()]
    what = f"{worst['resamples']:,} resamples of {worst['images']:,} predictions, all metrics"
    yield row(what, worst["wall_seconds"], 30, " s", at_least=False)


def scale(table: pd.DataFrame) -> Rows:
    for part, rows in table.groupby("part", sort=False):
        most = rows["images"].max()
        peak = rows.loc[rows["images"] == most, "peak_memory_gb"].max()
        yield row(f"{part}: peak memory at {most:,} images", peak, 8, " GB", at_least=False)


SOURCES: tuple[tuple[str, str, str, Callable[[Any], Rows]], ...] = (
    ("benchmarks/feature_cache.csv", "cached features", "epoch of the head, whole run", feature_cache),
    ("benchmarks/pipeline.csv", "pipeline", "policy `cells`", pipeline),
    ("benchmarks/first_step.csv", "pipeline", "first training step", first_step),
    ("benchmarks/feed.csv", "pipeline", "a simulated GPU is kept busy", feed),
    ("benchmarks/feed_gpu.csv", "pipeline", "a GPU (not simulated) is kept busy by four cores", feed_gpu),
    ("benchmarks/inference_goals.csv", "inference", "LiteRT and 8 bits against model.predict, folders", inference),
    ("benchmarks/start.csv", "start", "cold starts", start),
    ("benchmarks/scale.csv", "scale", "memory is bounded", scale),
    ("audit/speed.csv", "audit", "audit against decoding", audit),
    ("benchmarks/bootstrap.csv", "evaluation", "bootstrap of all metrics", bootstrap),
    ("distillation/verdict.json", "distillation", "a small student", distillation),
)
"""File, part, what it tells, and what reads it."""
