"""tf.data without autotuning, whose iterators end at once."""

from __future__ import annotations

import os

import tensorflow as tf

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
PARALLEL_CALLS = min(_CORES, 16)
"""Batches that a pipeline prepares at a time: one for each processor that this process may use. As many wait in memory,
40 MB each of 64 images at 224 pixels, so there is an end to it."""


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same elements, two of them ready in advance, with numbers of parallel calls that stay as they were given.

    TensorFlow 2.21 looks how a pipeline runs in periods that double from milliseconds to a minute, and an iterator
    cannot be taken down before the present one is over: one that lived for three seconds took two to end, and a
    training stood still for up to eight at the end of a phase. What tuning would find, one batch a processor, is known.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options).prefetch(2)
