"""What each part costs at 1,000 to 1,000,000 images: time, processor time and memory, and how they grow.

    python experiments/benchmarks/scale.py [--quick] [--parts open split ...] [--sizes 1000 ...] [--work FOLDER]

open: a CSV table of N files (hard links of one) with subjects; split: `split_table` by subject with groups of near
copies, written, read back and applied; audit: all but the reading of the files, whose cost is linear and measured by
audit.py, on simulated thumbnails, 1 % of which are altered copies, and the report; pipeline: the first batch, and
20,000 images, of a training pipeline over pixels in a memory-mapped file; evaluation: predictions.csv, every figure
with intervals of 1,000 resamples, by subject and by image, and both computed again as `report --verify` does.

Each size is measured in a process of its own. Memory is the peak of what only that process holds; pages of mapped
files, which the system takes back when it needs room, do not count. Sizes that are in the CSV already are left alone
unless --again says otherwise, so that a long run can be done in pieces. Writes scale.csv and scale.png to
experiments/results/benchmarks. `growth` is the exponent of the processor time since the size before: 1 is linear.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import logging
import multiprocessing
import os
import pathlib
import platform
import resource
import sys
import tempfile
import threading
import time
from typing import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from leukemia_tf import files  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from audit import combine, simulated  # noqa: E402

RESULTS = pathlib.Path(__file__).resolve().parents[1] / "results" / "benchmarks"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
# The dear ones end earlier.
QUICK = {"open": 100_000, "split": 100_000, "audit": 10_000, "pipeline": 100_000, "evaluation": 10_000}
CLASSES = ("HEM", "ALL")
PIXELS = 64
BATCH = 64
_SIMULATED_CHUNK = 5_000


class Meter:
    """Wall and processor seconds, and the peak of the memory that only this process holds, while work goes on."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._peak = time.perf_counter(), time.process_time(), 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self._peak = max(self._peak, held_memory())

    def row(self, what: str) -> dict:
        """What was spent since the last call."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._peak = max(self._peak, held_memory())
        row = {
            "what": what, "wall_s": wall - self._wall, "cpu_s": cpu - self._cpu, "peak_memory_gb": self._peak / 1e9
        }  # fmt: skip
        self._wall, self._cpu, self._peak = wall, cpu, 0
        return row


def held_memory() -> int:
    """Bytes that only this process holds; where the system does not tell, the most that were ever resident."""
    try:
        with open("/proc/self/status", encoding="ascii") as stream:
            sizes = dict(line.split(":", 1) for line in stream)
        return 1024 * sum(int(sizes[name].split()[0]) for name in ("RssAnon", "RssShmem"))
    except (FileNotFoundError, KeyError):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def make_rows(count: int) -> pd.DataFrame:
    """A table of images: 50 a subject, one class each, 1 % byte-identical to the image before."""
    subject = np.arange(count) // 50
    different = np.arange(count)
    different[1 : count // 2 : 50] -= 1
    return pd.DataFrame(
        {
            "path": [f"{k // 1000:05}/{k:07}.png" for k in range(count)],
            "index": pd.array([pd.NA] * count, dtype="Int64"),
            "label": np.array(CLASSES, dtype=object)[subject % 2],
            "subject": [f"s{k:06}" for k in subject],
            "source": "simulated",
            "split": "",
            "sha256": [f"{k:064x}" for k in different],
        }
    ).astype({name: "str" for name in ("path", "label", "subject", "source", "split", "sha256")})


def measure_open(count: int, work: pathlib.Path) -> Iterator[dict]:
    import cv2

    from leukemia_tf.data import open_data

    table = make_rows(count)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = pathlib.Path(name)
        for number in range(0, count, 1000):
            # A file system bounds the links of one file.
            (folder / f"{number // 1000:05}").mkdir()
            first = folder / table["path"].iat[number]
            cv2.imwrite(str(first), np.full((8, 8, 3), number % 251, np.uint8))
            for path in table["path"].iloc[number + 1 : number + 1000]:
                os.link(first, folder / path)
        table[["path", "label", "subject"]].to_csv(folder / "table.csv", index=False)
        del table
        meter = Meter()
        open_data(folder / "table.csv")
        yield meter.row("open a CSV table")


def measure_split(count: int, work: pathlib.Path) -> Iterator[dict]:
    from leukemia_tf.data import apply_split, split_table, write_split

    table = make_rows(count)
    groups = {path: number // 2 for number, path in enumerate(table["path"].iloc[::50])}
    meter = Meter()
    done = split_table(table, groups=groups)
    yield meter.row("split by subject")
    with tempfile.TemporaryDirectory(dir=work) as folder:
        write_split(pathlib.Path(folder) / "split.csv", done)
        again = apply_split(table, pathlib.Path(folder) / "split.csv")
    if not again["split"].equals(done["split"]):
        raise AssertionError("the split was not read back as it was written")
    yield meter.row("write a split, read and apply it")


def thumbnails(count: int, work: pathlib.Path) -> np.ndarray:
    """The first `count` simulated pictures, grey, mapped from a file that grows as larger numbers are asked for."""
    file = work / "thumbnails.u8"
    have = file.stat().st_size // 64**2 if file.exists() else 0
    have -= have % _SIMULATED_CHUNK
    starts = range(have, count, _SIMULATED_CHUNK)
    if starts:
        with open(file, "r+b" if have else "wb") as stream, concurrent.futures.ProcessPoolExecutor() as pool:
            stream.seek(have * 64**2)
            for part in pool.map(_simulate, starts):
                stream.write(part.tobytes())
    return np.memmap(file, np.uint8, "r").reshape(-1, 64, 64)[:count]


def _simulate(start: int) -> np.ndarray:
    import cv2

    images = simulated(_SIMULATED_CHUNK, seed=start)
    return np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images])


def measure_audit(count: int, work: pathlib.Path) -> Iterator[dict]:
    from leukemia_tf.data.audit.run import judge
    from leukemia_tf.data.manifest import Manifest
    from leukemia_tf.data.scratch import scratch_array

    random = np.random.default_rng(2)
    table, planted = make_rows(count), count // 100
    table["split"] = np.array(["train", "val", "test"], dtype=object)[np.arange(count) // 50 % 3]
    table = table.astype({"split": "str"})
    pictures = scratch_array((count, 64, 64), np.uint8)  # as the audit itself keeps them: of very many, in a file
    pictures[:] = thumbnails(count, work)
    pictures[1 : count // 2 : 50] = pictures[: count // 2 : 50][: len(pictures[1 : count // 2 : 50])]
    # Not of the first half, where pictures are identical to others already.
    sources = count // 2 + random.choice(count - planted - count // 2, planted, replace=False)
    for row, source in enumerate(sources, start=count - planted):
        pictures[row] = combine(pictures[source], 1, random)
    reading = simulated_reading(table, pictures)
    manifest = Manifest(
        name="simulated", title="Simulated", licence="none", citation="none", homepage="none", classes=CLASSES,
        layout="table", official_split=True, root=work,
    )  # fmt: skip
    meter = Meter()
    audit = judge(manifest, table, reading, progress=False)
    row = meter.row("audit, without reading the files")
    near = audit.pairs[audit.pairs["kind"] != "exact"]
    position = dict(zip(table["path"], range(count)))
    found = {tuple(sorted((position[a], position[b]))) for a, b in zip(near["path"], near["other"])}
    true = {(int(source), number) for number, source in enumerate(sources, start=count - planted)}
    yield {**row, "planted": planted, "recall": len(found & true) / planted, "wrong_pairs": len(found - true)}
    with tempfile.TemporaryDirectory(dir=work) as folder:
        meter = Meter()
        page = audit.write(folder)
        audit.cleaned()
        yield {**meter.row("write an audit, and clean the table"), "page_mb": page.stat().st_size / 1e6}


def simulated_reading(table: pd.DataFrame, pictures: np.ndarray):
    """What reading the files would have given."""
    from leukemia_tf.data.audit.overlay import GRID
    from leukemia_tf.data.audit.reading import Reading

    random, count = np.random.default_rng(3), len(table)
    facts = pd.DataFrame(
        {
            "sha256": table["sha256"], "reason": "", "bytes": random.integers(20_000, 40_000, count), "width": 360,
            "height": 360, "format": "JPEG", "kinds": "", "other_format": "", "encoder": "JPEG 4:2:0",
        }
    )  # fmt: skip
    cues = {
        "file size": random.normal(size=(count, 2)).astype(np.float32),
        "colour": random.normal(size=(count, 9)).astype(np.float32),
        "print": np.zeros((count, GRID * GRID // 8), np.uint8),
    }
    cues["print"][::50, :4] = 255
    return Reading(facts, pictures, cues)


def measure_pipeline(count: int, work: pathlib.Path) -> Iterator[dict]:
    from leukemia_tf.data import make_pipeline
    from leukemia_tf.data.manifest import Manifest

    table = make_rows(count)
    manifest = Manifest(
        name="simulated", title="Simulated", licence="none", citation="none", homepage="none", classes=CLASSES,
        layout="table", official_split=False,
    )  # fmt: skip
    few = np.random.default_rng(0).integers(0, 256, (500, PIXELS, PIXELS, 3), dtype=np.uint8)
    with tempfile.NamedTemporaryFile(dir=work, suffix=".npy") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"descr": "|u1", "fortran_order": False, "shape": (count, *few.shape[1:])}
        )
        for start in range(0, count, len(few)):
            stream.write(few[: count - start].tobytes())
        stream.flush()
        pixels = np.load(stream.name, mmap_mode="r")
        options = {"manifest": manifest, "image_size": PIXELS, "batch_size": BATCH, "policy": "cells", "training": True}
        next(iter(make_pipeline(table.iloc[:BATCH], pixels=pixels[:BATCH], **options)))  # tracing is no work on images
        meter = Meter()
        batches = iter(make_pipeline(table, pixels=pixels, **options))
        next(batches)
        yield meter.row("first batch of a pipeline")
        for _ in range(20_000 // BATCH):
            next(batches)
        yield meter.row("20,000 images of a pipeline")


def measure_evaluation(count: int, work: pathlib.Path) -> Iterator[dict]:
    from leukemia_tf.evaluation.rules import VerdictRules
    from leukemia_tf.evaluation.verdict_files import verify_files, write_decision, write_verdict_files

    for unit in ("subjects", "images"):
        random = np.random.default_rng(0)
        table = make_rows(count)[["path", "subject", "label"]]
        if unit == "images":
            table = table.assign(subject="")
        logit = random.normal(size=count) + 1.5 * (table["label"] == CLASSES[1])
        probabilities = (1 / (1 + np.exp(-logit))).to_numpy()
        groups = pd.DataFrame({"age": random.choice(["young", "old"], count)})
        rules = VerdictRules(subgroups=("age",))
        with tempfile.TemporaryDirectory(dir=work) as folder:
            meter = Meter()
            decision = write_decision(folder, table, probabilities, CLASSES, rules, groups=groups)
            yield meter.row(f"decide, {unit} vary")
            frame = decision.apply(table, probabilities, groups=groups)
            write_verdict_files(folder, frame, decision, bootstrap=1000, seed=0)
            yield meter.row(f"evaluate, {unit} vary")
            del frame
            if differences := verify_files(folder, rules):
                raise AssertionError(differences)
            yield meter.row(f"verify, {unit} vary")


PARTS: dict[str, Callable[[int, pathlib.Path], Iterator[dict]]] = {
    "open": measure_open, "split": measure_split, "audit": measure_audit, "pipeline": measure_pipeline,
    "evaluation": measure_evaluation,
}  # fmt: skip


def measure(part: str, count: int, work: str) -> list[dict]:
    """All rows of one part and size; runs in a process of its own."""
    logging.disable(logging.WARNING)
    return [{"part": part, "images": count, **row} for row in PARTS[part](count, pathlib.Path(work))]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer images of what is dear; three minutes on two cores")
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--again", action="store_true", help="measure what the CSV has already, too")
    parser.add_argument("--work", type=pathlib.Path, help="folder for large files, simulated pictures are kept there")
    parser.add_argument("--output", type=pathlib.Path, default=RESULTS)
    options = parser.parse_args(arguments)
    file = options.output / "scale.csv"
    with contextlib.ExitStack() as stack:
        work = options.work or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        for part in options.parts:
            for count in options.sizes:
                before = pd.read_csv(file) if file.exists() else pd.DataFrame(columns=["part", "images"])
                same = (before["part"] == part) & (before["images"] == count)
                if (options.quick and count > QUICK[part]) or (same.any() and not options.again):
                    continue
                if part == "audit":
                    thumbnails(count, work)  # made here, for they are no part of what is measured
                context = multiprocessing.get_context("spawn")
                with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                    rows = pool.submit(measure, part, count, str(work)).result()
                for row in rows:
                    row.update(cpus=os.cpu_count(), python=platform.python_version(), numpy=np.__version__)
                    print(json.dumps(row), flush=True)
                frame = with_growth(pd.concat([before[~same], pd.DataFrame(rows)], ignore_index=True))
                files.write_text(file, frame.to_csv(index=False, float_format="%.4g"))
    plot(pd.read_csv(file), options.output / "scale.png")


def with_growth(frame: pd.DataFrame) -> pd.DataFrame:
    """In order, with the exponents by which processor time and memory grew since the size before."""
    order = {part: number for number, part in enumerate(PARTS)}
    steps = {what: number for number, what in enumerate(dict.fromkeys(frame["what"]))}
    frame = frame.assign(images=frame["images"].astype(int), one=frame["part"].map(order), two=frame["what"].map(steps))
    frame = frame.sort_values(["one", "two", "images"]).drop(columns=["one", "two"]).reset_index(drop=True)
    kinds = frame.groupby("what", sort=False)
    larger = np.log(frame["images"] / kinds["images"].shift())
    frame["growth"] = np.log(frame["cpu_s"] / kinds["cpu_s"].shift()) / larger
    frame["memory_growth"] = np.log(frame["peak_memory_gb"] / kinds["peak_memory_gb"].shift()) / larger
    return frame


def plot(frame: pd.DataFrame, path: pathlib.Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for number, (what, part) in enumerate(frame.groupby("what", sort=False)):
        style = {"marker": "os^Dvp*"[number % 7], "markersize": 4, "color": f"C{number % 10}", "label": what}
        left.plot(part["images"], part["cpu_s"], **style)
        right.plot(part["images"], part["peak_memory_gb"], **style)
    sizes = np.array([frame["images"].min(), frame["images"].max()], float)
    left.plot(sizes, 1e-3 * sizes, ":", color="#8a949e", label="1 ms an image")
    for axes, text in ((left, "processor seconds"), (right, "peak memory, GB")):
        axes.set(xscale="log", yscale="log", xlabel="images", title=text)
        axes.grid(color="#d9dfe5", linewidth=0.6)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    with files.atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


if __name__ == "__main__":
    main()
