"""A one-line progress display for long loops over images."""

from __future__ import annotations

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
