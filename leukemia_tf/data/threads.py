"""Threads for work on images: decoding, resizing and hashing release Python's lock."""

from __future__ import annotations

import collections
import concurrent.futures
import os
import queue
import threading
from typing import Callable, Iterable, Iterator, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `function(item)` in the order of `items`, with as many threads as there are processors.

    Only a few results wait to be taken, so memory stays small however long `items` is; when the caller stops early
    (an error, Ctrl-C), what has not begun is dropped.
    """
    workers = os.cpu_count() or 1
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    waiting: collections.deque = collections.deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= 8 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """Yield `items` in order, prepared by a thread of their own while the caller works on the ones before.

    At most `depth` of them wait. An error of `items` is raised here; when the caller stops early, so does the thread.
    """
    waiting: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def prepare() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                if not put((item, None)):
                    break
            else:
                put((None, StopIteration()))
        except BaseException as error:  # raised where the items are used
            put((None, error))
        finally:
            if hasattr(iterator, "close"):
                iterator.close()

    thread = threading.Thread(target=prepare, daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()
        thread.join()
