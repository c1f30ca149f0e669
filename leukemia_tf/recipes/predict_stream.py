"""Predict folders of any size: images are read beside the model, rows written as they are done, memory stays small.

Neither reading nor writing takes TensorFlow; with an export to LiteRT or ONNX none is loaded. The pixels are those of
the pipeline, and so are the rows.
"""

from __future__ import annotations

import collections
import itertools
import logging
import os
import time
import warnings
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator

import numpy as np

from leukemia_tf.data.decode_pillow import read_with_pillow
from leukemia_tf.data.header import BrokenImage
from leukemia_tf.data.image_files import ImageFiles
from leukemia_tf.data.progress import RateLine
from leukemia_tf.data.resize_sparse import resize_image
from leukemia_tf.data.threads import ahead, map_threads
from leukemia_tf.errors import InputError
from leukemia_tf.recipes.answering import AUTO, FORMATS, Answer, fastest_format, file_sha256, open_model
from leukemia_tf.recipes.predict_file import PredictionFile, read_origin, rows_text
from leukemia_tf.recipes.run import RESEARCH_USE, Run

if TYPE_CHECKING:
    import pandas as pd

    from leukemia_tf.evaluation.decision import Decision

log = logging.getLogger(__name__)

_MOST_NAMED = 1000
"""Broken files that an error names."""
_ROWS, _SECONDS = 512, 2.0
"""Rows are written when so many wait, or when it is so long ago that some were."""
_BATCHES_AHEAD = 3

Batch = tuple[list[str], np.ndarray]
"""Paths, and pixels uint8 [B, S, S, 3]."""


def predict_files(
    run: Run,
    images: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    output: str | os.PathLike | None = None,
    write: Callable[[bytes], Any] | None = None,
    format: str = AUTO,
    batch_size: int = 32,
    threads: int = 0,
    skip_broken: bool = False,
    progress: bool = False,
) -> int:
    """Classify image files and folders of them, as `predict_images` does, into a CSV.

    Args:
        run: a finished training.
        images: files, or folders that are searched through.
        output: the CSV. The same call goes on with one that it began, and adds what came into the folders since.
        write: takes the CSV in pieces, where there is no `output`.
        format: ``keras`` (the run's own model); one of its exports, ``saved_model``, ``litert``, ``litert-int8``,
            ``onnx``; or ``auto``, see `chosen_format`.
        batch_size: images a step.
        threads: of LiteRT and ONNX Runtime; 0 for as many as there are processors. Images are read by as many as there
            are processors in any case.
        skip_broken: leave out files that cannot be read, and count them in the log.
        progress: show progress on standard error.

    Returns:
        How many images have their row in the CSV.

    Raises:
        InputError: for a missing file, a folder without images, an export that is missing or of another model, or a CSV
            of another model; and for broken files (all named), once the rows of all others are written.
        RunError: if the CSV cannot be written.
    """
    if batch_size < 1:
        raise InputError(f"`batch_size` is 1 or more. Received: {batch_size}")
    if threads < 0:
        raise InputError(f"`threads` is 1 or more, or 0 for all processors. Received: {threads}")
    files = ImageFiles(images)
    format = chosen_format(run, format, output)
    decision, ask = run.decision, open_model(run, format, threads=threads)
    rows = PredictionFile(output, _origin(run, format)) if output is not None else _Pieces(write)
    broken = _Broken()
    rate = RateLine(max(len(files) - rows.kept, 0), "predicting images", progress)
    try:
        wanted = (path for path in files if path not in rows)
        done = rows.kept
        for part in _parts(_answers(ask, wanted, run.info["image_size"], batch_size, broken), rate):
            frame = _frame(decision, part)
            rows.append(frame)
            done += len(frame)
        rate.end()
        broken.report(done, output, skip_broken)
        rows.finish(images=done, left_out=broken.count)
        return done
    finally:
        rows.close()


def chosen_format(run: Run, format: str, output: str | os.PathLike | None = None) -> str:
    """What ``auto`` stands for: the format that `output` was begun with, else `fastest_format`.

    Args:
        run: a finished training.
        format: ``auto``, or a format that is returned as it is.
        output: the CSV, where there is one.
    """
    if format != AUTO:
        return format
    if output is not None:
        # An export that came in between must not end what another format began.
        begun = read_origin(output)
        if begun.get("format") in FORMATS and begun == _origin(run, begun["format"]):
            return begun["format"]
    format = fastest_format(run)
    log.info("the model is read as %s", format)
    return format


def _answers(
    ask: Callable[[np.ndarray], Answer], paths: Iterable[str], size: int, batch_size: int, broken: _Broken
) -> Iterator[tuple[list[str], Answer]]:
    """Paths and answers batch by batch, while threads read the batches to come."""

    def read(path: str) -> tuple[str, np.ndarray | BrokenImage]:
        try:
            return path, resize_image(read_with_pillow(path), size)
        except BrokenImage as error:
            return path, error

    def batches() -> Iterator[Batch]:
        readable = (item for item in map_threads(read, paths) if broken.passes(*item))
        while batch := list(itertools.islice(readable, batch_size)):
            yield [path for path, _ in batch], np.stack([pixels for _, pixels in batch])

    with warnings.catch_warnings():
        # Pillow warns about odd metadata; what matters is whether the pixels can be read.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for batch_paths, pixels in ahead(batches(), _BATCHES_AHEAD):
            yield batch_paths, ask(pixels)


def _parts(
    answers: Iterator[tuple[list[str], Answer]], rate: RateLine
) -> Iterator[list[tuple[list[str], Answer]]]:
    """Several batches at a time, since making rows of few costs nearly as much as of many."""
    part: list[tuple[list[str], Answer]] = []
    began = time.monotonic()
    for paths, answer in answers:
        part.append((paths, answer))
        rate.add(len(paths))
        if sum(len(paths) for paths, _ in part) >= _ROWS or time.monotonic() - began > _SECONDS:
            yield part
            part, began = [], time.monotonic()
    if part:
        yield part


def _frame(decision: Decision, part: list[tuple[list[str], Answer]]) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame({"path": [path for paths, _ in part for path in paths]})
    probabilities = np.concatenate([answer[0] for _, answer in part])
    scores = {name: np.concatenate([answer[1][name] for _, answer in part]) for name in part[0][1][1]}
    return decision.apply(table, probabilities, scores).drop(columns=["label", "subject"])


def _origin(run: Run, format: str) -> dict[str, Any]:
    """What the rows of a CSV follow from."""
    decision = run.path / "decision.json"
    return {
        "model_sha256": file_sha256(run.model_path),
        "decision_sha256": file_sha256(decision) if decision.exists() else None,
        "format": format,
        "notice": RESEARCH_USE,
    }


class _Pieces:
    """Rows for a stream: `PredictionFile` without a file, which knows of no rows before."""

    kept = 0

    def __init__(self, write: Callable[[bytes], Any]):
        self._write, self._header = write, True

    def __contains__(self, path: str) -> bool:
        return False

    def append(self, frame: pd.DataFrame) -> None:
        self._write(rows_text(frame, header=self._header))
        self._header = False

    def finish(self, **facts: Any) -> None:
        pass

    def close(self) -> None:
        pass


class _Broken:
    """The files that could not be read."""

    def __init__(self) -> None:
        self.count = 0
        self._first: collections.deque[str] = collections.deque()

    def passes(self, path: str, found: np.ndarray | BrokenImage) -> bool:
        """Whether `found` is an image; what is not is remembered."""
        if not isinstance(found, BrokenImage):
            return True
        self.count += 1
        if len(self._first) < _MOST_NAMED:
            self._first.append(f"`{path}`: {found.reason}")
        return False

    def report(self, done: int, output: str | os.PathLike | None, skip_broken: bool) -> None:
        """Say what was left out: in a warning, or in an error unless `skip_broken`."""
        if not self.count:
            return
        if not done:
            raise InputError(f"`images` holds no image that can be read. Received: {self.count} files, all broken")
        if skip_broken:
            log.warning("%d images are left out; first %s", self.count, self._first[0])
            return
        lines = list(self._first)
        if self.count > len(lines):
            lines.append(f"and {self.count - len(lines):,} more")
        where = f"; the {done:,} others are in `{output}`" if output else ""
        raise InputError(
            "\n".join([*lines, f"{self.count:,} images are not usable; --skip-broken leaves them out{where}"])
        )
