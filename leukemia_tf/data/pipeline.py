"""From a table and its pixels to batches: a tf.data pipeline whose batches follow from (seed, epoch, step)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from leukemia_tf.data.augment.policy import Policy, get_policy
from leukemia_tf.data.augment.python_calls import python_call
from leukemia_tf.data.balance import BALANCES, epoch_length, epoch_order, label_indices
from leukemia_tf.data.pixel_reader import PendingPixels
from leukemia_tf.data.pixels import load_pixels
from leukemia_tf.data.untuned import PARALLEL_CALLS, untuned
from leukemia_tf.errors import InputError

if TYPE_CHECKING:
    from leukemia_tf.data.manifest import Manifest

LABELS = ("auto", "binary", "categorical")

# No Python here looks at a tensor's value, and translating it all (the policy's steps too) takes a second.
_as_it_is = tf.autograph.experimental.do_not_convert


def make_pipeline(
    table: pd.DataFrame,
    *,
    manifest: Manifest,
    image_size: int,
    batch_size: int,
    policy: str | Policy | dict | Sequence[dict] = "none",
    training: bool = False,
    seed: int = 0,
    first_epoch: int = 0,
    repeat: int | None = None,
    labels: str = "auto",
    balance: str = "none",
    pixels: np.ndarray | PendingPixels | None = None,
    known: dict[str, np.ndarray] | None = None,
    num_parallel_calls: int | None = None,
) -> tf.data.Dataset:
    """Batches of ``(images, labels)`` of one split.

    Images are RGB float32 in [0, 255], always; what a backbone wants beyond that is inside the model. The batches
    of a training pipeline are a function of (seed, epoch, step): they do not depend on how many threads prepare
    them, and ``first_epoch=k`` starts with exactly the batches that epoch ``k`` of a longer run has.

    Args:
        table: the rows of the split, all of them (choosing a split is the caller's part).
        manifest: gives ``classes`` in label order, and the folder of the files.
        image_size: side S of the images in pixels.
        batch_size: images in a batch.
        policy: augmentation, see :func:`leukemia_tf.data.augment.get_policy`; only used when training.
        training: True shuffles anew each epoch, augments, and drops the last partial batch (a table smaller than
            one batch gives one batch of all its rows). False gives the table's order once, images unchanged, the
            last batch kept.
        seed: 0 to 2**31 - 1.
        first_epoch: number of the first epoch, 0 or more.
        repeat: epochs to give when training; None never ends (one epoch is :func:`steps_per_epoch` batches).
        labels: "binary" ([B, 1], 1 where the label is ``manifest.classes[1]``), "categorical" (one-hot [B, C]),
            or "auto": binary for two classes.
        balance: "none", or "oversample" to show every class equally often when training, see
            :func:`leukemia_tf.data.balance.epoch_order`.
        pixels: uint8 ``[N, S, S, 3]``, RGB, row ``i`` for row ``i`` of the table; an array, a ``np.memmap``, or those
            of a :class:`leukemia_tf.data.PixelReader`, of which a batch waits for its own rows alone. None reads them
            with :func:`leukemia_tf.data.load_pixels`.
        known: what else is known of each image under each of the policy's ``views``, name -> float32 ``[N, views,
            ...]``, when training. Batches are then ``({"image": images, name: values, ...}, labels)``.
        num_parallel_calls: batches prepared at a time; None is one for each processor, up to 16.

    Returns:
        A dataset with known cardinality. The batch dimension is static when ``training``.

    Raises:
        InputError: wrong arguments, an unknown label, or pixels that do not fit the table.
    """
    _check(table, image_size, batch_size, seed, first_epoch, repeat, labels, balance, manifest.classes)
    chosen = get_policy(policy, image_size)
    indices = label_indices(table, manifest.classes)
    if pixels is None:
        pixels = load_pixels(manifest, table, image_size)
    expected = (len(table), image_size, image_size, 3)
    if pixels.dtype != np.uint8 or pixels.shape != expected:
        raise InputError(f"`pixels` must be uint8 {list(expected)}, got {pixels.dtype} {list(pixels.shape)}")
    for name, values in (known or {}).items():
        if not training or values.shape[:2] != (len(table), chosen.views):
            raise InputError(
                f"`known` is for training, for each image and view of a policy of few views; got `{name}` "
                f"{list(values.shape)} for {len(table)} images and {chosen.views} views"
            )

    targets = tf.constant(_encode_labels(indices, len(manifest.classes), labels))
    parallel = PARALLEL_CALLS if num_parallel_calls is None else num_parallel_calls

    def gather(rows):
        # A Python call, since a memory-mapped file cannot be a tensor, and an array would have to be copied into one.
        images = python_call(
            lambda numbers: np.asarray(pixels[numbers]),
            [rows],
            tf.uint8,
            lambda numbers: np.zeros((len(numbers), *pixels.shape[1:]), np.uint8),
        )
        images = tf.ensure_shape(images, [rows.shape[0], image_size, image_size, 3])
        return images, tf.gather(targets, rows)

    if training:
        dataset = _epochs(indices, batch_size, balance, seed, first_epoch, repeat)

        def look_up(values, rows, views):
            found = python_call(
                lambda numbers, drawn: values[numbers, drawn],
                [rows, views],
                tf.float32,
                lambda numbers, drawn: np.zeros((len(numbers), *values.shape[2:]), np.float32),
            )
            return tf.ensure_shape(found, [rows.shape[0], *values.shape[2:]])

        def augmented(rows, batch_seed):
            images, encoded = chosen(*gather(rows), batch_seed)
            if known is None:
                return images, encoded
            views = chosen.drawn_views(rows.shape[0], batch_seed)
            return {"image": images, **{name: look_up(known[name], rows, views) for name in known}}, encoded

        dataset = dataset.map(_as_it_is(augmented), num_parallel_calls=parallel, deterministic=True)
        steps = steps_per_epoch(table, batch_size, training=True, balance=balance)
        count = tf.data.INFINITE_CARDINALITY if repeat is None else repeat * steps
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    else:
        dataset = tf.data.Dataset.range(len(table)).batch(batch_size)

        def unchanged(rows):
            images, encoded = gather(rows)
            return tf.cast(images, tf.float32), encoded

        dataset = dataset.map(_as_it_is(unchanged), num_parallel_calls=parallel, deterministic=True)
    options = tf.data.Options()
    options.deterministic = True
    # Several processes that train together take their share of each batch, not of the files.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return untuned(dataset.with_options(options))


def fill_last_batch(dataset: tf.data.Dataset, rows: int, batch_size: int) -> tf.data.Dataset:
    """Give every batch of one pass the same static size, and each row a weight: the filling has 0.

    A mean over batches of the weighted loss, as Keras takes it (divided by the size of the batch), is the mean over the
    images: real rows weigh ``rows of all batches / rows``.

    Args:
        dataset: one pass of ``(images, labels)``.
        rows: images in it.
        batch_size: of its batches; the last may be smaller.

    Returns:
        ``(images, labels, weights)``, weights float32 [B]. The filling repeats the last image.
    """
    weight = -(-rows // batch_size) * batch_size / rows

    def fill(images, labels):
        given = tf.shape(images)[0]

        def filled(tensor):
            repeated = tf.repeat(tensor[-1:], batch_size - given, axis=0)
            return tf.ensure_shape(tf.concat([tensor, repeated], axis=0), [batch_size, *tensor.shape[1:]])

        weights = tf.where(tf.range(batch_size) < given, tf.constant(weight, tf.float32), 0.0)
        return filled(images), filled(labels), tf.ensure_shape(weights, [batch_size])

    return dataset.map(_as_it_is(fill), num_parallel_calls=PARALLEL_CALLS, deterministic=True)


def steps_per_epoch(
    table: pd.DataFrame | int, batch_size: int, training: bool = True, balance: str = "none"
) -> int:
    """How many batches :func:`make_pipeline` gives in one epoch.

    Args:
        table: the table, or its number of rows (enough unless ``training`` with ``balance="oversample"``).
        batch_size, training, balance: as for :func:`make_pipeline`.
    """
    if balance not in BALANCES:
        raise InputError(f"`balance` must be one of {', '.join(BALANCES)}, got {balance!r}")
    if isinstance(table, (int, np.integer)):
        if training and balance == "oversample":
            raise InputError('`table` must be the table with balance="oversample", got a number of rows')
        count = int(table)
    else:
        codes = pd.factorize(table["label"])[0]
        count = epoch_length(codes, balance if training else "none")
    if batch_size < 1 or count < 1:
        raise InputError(f"`table` and `batch_size` must be at least 1, got {count} and {batch_size}")
    return max(1, count // batch_size) if training else -(-count // batch_size)


def _epochs(indices, batch_size, balance, seed, first_epoch, repeat) -> tf.data.Dataset:
    """Row numbers and a seed for each batch: (int64 ``[B]``, int32 ``[2]``)."""
    length = epoch_length(indices, balance)
    batch = min(batch_size, length)
    steps = length // batch

    def one_epoch(epoch):
        order = python_call(
            lambda number: epoch_order(indices, seed, int(number), balance),
            [epoch],
            tf.int64,
            lambda number: np.zeros(length, np.int64),
        )
        rows = tf.reshape(order[: steps * batch], [steps, batch])
        fold = tf.random.experimental.stateless_fold_in
        epoch_seed = fold(tf.constant([seed, 0], tf.int32), epoch)
        seed_spec = tf.TensorSpec([2], tf.int32)
        seeds = tf.map_fn(lambda step: fold(epoch_seed, step), tf.range(steps), fn_output_signature=seed_spec)
        return tf.data.Dataset.from_tensor_slices((rows, seeds))

    last = np.iinfo(np.int64).max if repeat is None else first_epoch + repeat
    return tf.data.Dataset.range(first_epoch, last).flat_map(_as_it_is(one_epoch))


def _encode_labels(indices: np.ndarray, classes: int, labels: str) -> np.ndarray:
    if labels == "binary" or (labels == "auto" and classes == 2):
        return indices.astype(np.float32)[:, None]
    return np.eye(classes, dtype=np.float32)[indices]


def _check(table, image_size, batch_size, seed, first_epoch, repeat, labels, balance, classes) -> None:
    wrong = []

    def whole(name, value, low, high=None):
        number = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not number or value < low or (high is not None and value > high):
            limits = f"{low} or more" if high is None else f"from {low} to {high}"
            wrong.append(f"`{name}` must be a whole number, {limits}, got {value!r}")

    whole("image_size", image_size, 1)
    whole("batch_size", batch_size, 1)
    whole("seed", seed, 0, 2**31 - 1)
    whole("first_epoch", first_epoch, 0)
    if repeat is not None:
        whole("repeat", repeat, 1)
    if labels not in LABELS:
        wrong.append(f"`labels` must be one of {', '.join(LABELS)}, got {labels!r}")
    elif labels == "binary" and len(classes) != 2:
        wrong.append(f'`labels` can be "binary" for two classes only, got {", ".join(classes)}')
    if balance not in BALANCES:
        wrong.append(f"`balance` must be one of {', '.join(BALANCES)}, got {balance!r}")
    if not len(table):
        wrong.append("`table` must hold at least one row, got an empty table")
    if wrong:
        raise InputError("\n".join(wrong))
