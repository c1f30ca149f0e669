"""A thread that prepares what comes next, and the line that says how fast it goes."""

from __future__ import annotations

import threading

import pytest

from leukemia_tf.data.progress import RateLine
from leukemia_tf.data.threads import ahead


def test_all_items_in_order():
    assert list(ahead(range(100), 3)) == list(range(100))
    assert list(ahead([], 3)) == []


def test_the_next_one_is_prepared_while_the_caller_works():
    prepared = threading.Event()

    def items():
        yield 1
        prepared.set()
        yield 2

    for item in ahead(items(), 1):
        assert prepared.wait(10)


def test_no_more_wait_than_asked_for():
    begun = []

    def items():
        for number in range(50):
            begun.append(number)
            yield number

    stream = ahead(items(), 2)
    next(stream)
    # One in the caller's hands, two that wait, one in the thread's hands.
    assert not threading.Event().wait(0.3) and len(begun) <= 4
    stream.close()


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise ValueError("broken")

    stream = ahead(items(), 3)
    assert next(stream) == 1
    with pytest.raises(ValueError, match="broken"):
        next(stream)


def test_a_caller_who_stops_ends_the_thread():
    closed = threading.Event()

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    before = threading.active_count()
    stream = ahead(items(), 2)
    next(stream)
    stream.close()
    assert closed.is_set() and threading.active_count() == before


def test_rate_and_time_left():
    line = RateLine(1000, "predicting images", enabled=False)
    assert line.line(0.0) == "predicting images: 0 of 1,000, 0.0 a second, 0:00:00 left"
    line.add(250)
    # 250 in 100 seconds: the other 750 take 300.
    assert line.line(100.0) == "predicting images: 250 of 1,000, 2.5 a second, 0:05:00 left"
