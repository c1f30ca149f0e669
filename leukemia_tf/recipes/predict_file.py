"""The CSV of a long prediction: rows are appended as they are done, and the same command goes on after a kill."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import pathlib
from typing import TYPE_CHECKING, Any

from leukemia_tf.errors import InputError
from leukemia_tf.files import explain_write_errors, read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

SIDE = ".json"
"""``FILE.csv.json`` beside ``FILE.csv`` says which model the rows are of, and whether all are there."""


def rows_text(frame: pd.DataFrame, *, header: bool) -> bytes:
    """Rows as CSV (UTF-8; file names that are not keep their bytes), each number so that it reads back bit for bit."""
    # The csv writer quotes a line feed but not a lone carriage return, which would then read as the end of a row.
    returns = frame["path"].str.contains("\r", regex=False).any()
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    text = frame.to_csv(None, index=False, header=header, lineterminator="\n", quoting=quoting)
    return text.encode("utf-8", errors="surrogateescape")


def read_origin(path: str | os.PathLike) -> dict[str, Any]:
    """Which model the rows of a CSV that was begun are of; empty where nothing was."""
    side = _side(pathlib.Path(path))
    return read_json(side).get("origin", {}) if side.exists() else {}


class PredictionFile:
    """Rows on disk, and the paths that are among them.

    Args:
        path: of the CSV. A file that an earlier call began is continued: what of its last row was cut off is removed.
        origin: which model the rows are of, as JSON values; those of another one are refused.

    Attributes:
        kept: how many rows were there.

    Raises:
        InputError: if there are rows of another model, or the file is of another kind.
        RunError: if it cannot be written.
    """

    def __init__(self, path: str | os.PathLike, origin: dict[str, Any]):
        self.path = pathlib.Path(path)
        self._side = _side(self.path)
        self._origin = origin
        self._done: set[bytes] = set()
        self.header_there = False
        with explain_write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size:
                self._continue()
            self.kept = len(self._done)
            self._write_side("in progress")
            self._file = open(self.path, "ab", buffering=0)

    def _continue(self) -> None:
        there = read_json(self._side) if self._side.exists() else {}
        if there.get("origin") != self._origin:
            what = "of another model or decision" if there else f"a file without `{self._side.name}` beside it"
            raise InputError(
                f"`{self.path}` is a new file, or one that this prediction began; remove it or name another. "
                f"Received: {what}"
            )
        with open(self.path, "rb+") as file:
            end = 0
            for number, (row, end_of_row) in enumerate(_complete_rows(file)):
                if number:
                    self._done.add(_digest(row[0]))
                self.header_there = True
                end = end_of_row
            file.truncate(end)

    def __contains__(self, path: str) -> bool:
        return _digest(path) in self._done

    def append(self, frame: pd.DataFrame) -> None:
        """Write rows; they are on their way to the disk when this returns."""
        with explain_write_errors(self.path):
            text = memoryview(rows_text(frame, header=not self.header_there))
            while text:
                text = text[self._file.write(text) :]
        self.header_there = True

    def finish(self, **facts: Any) -> None:
        """Close the file; `facts` go into the file beside it."""
        with explain_write_errors(self.path):
            os.fsync(self._file.fileno())
            self._file.close()
            self._write_side("complete", **facts)

    def close(self) -> None:
        """Close the file as it is; the same command goes on."""
        self._file.close()

    def _write_side(self, status: str, **facts: Any) -> None:
        write_json(self._side, {"status": status, "origin": self._origin, **facts})


def _side(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + SIDE)


def _complete_rows(file: io.BufferedRandom):
    """Yield (fields, offset of the end) of each row that ends with a line feed outside of quotes."""
    record, offset, fields = b"", 0, 0
    for line in file:
        offset += len(line)
        record += line
        if not line.endswith(b"\n") or record.count(b'"') % 2:
            continue
        (row,) = csv.reader([record.decode("utf-8", errors="surrogateescape")], strict=True)
        # A power failure may leave zeros.
        if (fields and len(row) != fields) or "\0" in row[0]:
            return
        fields = fields or len(row)
        yield row, offset
        record = b""


def _digest(path: str) -> bytes:
    """16 bytes that stand for a path: a million names would not be small."""
    return hashlib.blake2b(path.encode("utf-8", errors="surrogateescape"), digest_size=16).digest()
