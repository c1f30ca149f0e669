"""A one-line progress display for long loops over images."""

from __future__ import annotations

import datetime
import logging
import sys
import time
from typing import Iterable, Iterator, TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")


def track(items: Iterable[Item], total: int, doing: str, enabled: bool = True) -> Iterator[Item]:
    """Yield `items` while showing how far it is, on standard error when that is a terminal; log one line at the end.

    Args:
        items: what to loop over.
        total: how many items there are.
        doing: what is done to them, "reading images".
        enabled: False shows and logs nothing.
    """
    show = enabled and sys.stderr.isatty()
    start = shown = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        if show and (number == total or time.monotonic() - shown > 0.2):
            shown = time.monotonic()
            sys.stderr.write(f"\r{doing}: {number:,} of {total:,}" + ("\n" if number == total else ""))
            sys.stderr.flush()
    if enabled:
        log.info("%s: %s in %.1f s", doing, f"{total:,}", time.monotonic() - start)


class RateLine:
    """Progress of work that comes in pieces, with rate and time left, on standard error when that is a terminal.

    Args:
        total: how many items there are.
        doing: what is done to them, "predicting images".
        enabled: False shows and logs nothing.
    """

    def __init__(self, total: int, doing: str, enabled: bool = True):
        self.total, self.doing, self.enabled = total, doing, enabled
        self.done = 0
        self._start = self._shown = time.monotonic()

    def add(self, count: int) -> None:
        """`count` more are done."""
        self.done += count
        now = time.monotonic()
        if self.enabled and sys.stderr.isatty() and (now - self._shown > 0.2 or self.done >= self.total):
            self._shown = now
            sys.stderr.write("\r" + self.line(now - self._start) + ("\n" if self.done >= self.total else "\x1b[K"))
            sys.stderr.flush()

    def line(self, seconds: float) -> str:
        """What is shown after so many seconds."""
        rate = self.done / max(seconds, 1e-9)
        left = round((self.total - self.done) / rate) if self.done else 0
        clock = datetime.timedelta(seconds=left)
        return f"{self.doing}: {self.done:,} of {self.total:,}, {rate:,.1f} a second, {clock} left"

    def end(self) -> None:
        """Log one line that says how long it took."""
        if self.enabled:
            seconds = time.monotonic() - self._start
            rate = self.done / max(seconds, 1e-9)
            log.info("%s: %s in %.1f s (%s a second)", self.doing, f"{self.done:,}", seconds, f"{rate:,.1f}")
