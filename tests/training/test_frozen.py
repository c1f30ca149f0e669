"""Phases of the head alone: backbones as in prediction, and features that are computed once."""

from __future__ import annotations

import errno
import logging
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.training import FeatureCache, Phase, TimeBudget, fit_phases
from leukemia_tf.training import frozen as frozen_module
from tests.training.test_resume import KillAt, Killed
from tests.training.tiny import STEPS, arrays, make_model, val_batches

HEAD = (Phase("head", layers="head", epochs=5, learning_rate=1e-2, plateau_patience=2),)
BOTH = (*HEAD, Phase("fine", layers="top:3", epochs=2, learning_rate=1e-3))
TOPS = (Phase("fine", layers="top:2", epochs=5, learning_rate=1e-2, freeze_batchnorm=False, feature_views=2),)
"""The backbone's last convolution open, and its features from below that kept."""
VIEWS = 2
CALLS: list[int] = []


def train_batches(first_epoch: int) -> tf.data.Dataset:
    """Endless batches of 8, a function of the epoch's number alone; `CALLS` counts the images that were made."""

    def epochs():
        epoch = first_epoch
        while True:
            CALLS.append(epoch)
            images, labels = arrays(8 * STEPS, 100 + epoch)
            for step in range(STEPS):
                yield images[8 * step : 8 * step + 8], labels[8 * step : 8 * step + 8]
            epoch += 1

    return tf.data.Dataset.from_generator(epochs, output_signature=(tf.TensorSpec((8, 8, 8, 3)), tf.TensorSpec((8, 1))))


def train_of_views(first_epoch: int, before: int = 0) -> tf.data.Dataset:
    """The images of the first `VIEWS` epochs again and again: epoch e those of epoch e modulo VIEWS, shuffled anew.

    A second phase, of the epochs from `before` on, begins with the first view again.
    """

    def epochs():
        epoch = first_epoch
        while True:
            number = epoch - before if epoch >= before else epoch
            images, labels = arrays(8 * STEPS, 100 + number % VIEWS)
            order = np.arange(8 * STEPS)
            if number >= VIEWS:
                order = np.random.Generator(np.random.Philox(np.random.SeedSequence([0, number])))
                order = order.permutation(8 * STEPS)
            for step in range(STEPS):
                rows = order[8 * step : 8 * step + 8]
                yield images[rows], labels[rows]
            epoch += 1

    return tf.data.Dataset.from_generator(epochs, output_signature=(tf.TensorSpec((8, 8, 8, 3)), tf.TensorSpec((8, 1))))


def cache_in(folder, **changes) -> FeatureCache:
    given = {"train_key": "t", "val_key": "v", "train_rows": 8 * STEPS, "val_rows": 20, "batch_size": 8, "views": VIEWS}
    return FeatureCache(**{**given, "folder": folder, **changes})


def val_of_20():
    """The last batch is a partial one."""
    return tf.data.Dataset.from_tensor_slices(arrays(20, 7)).batch(8)


def fit(run_dir, cache=None, phases=HEAD, model=None, train=train_batches, **options):
    model = model or make_model()
    history = fit_phases(
        model, train, val_of_20(), phases, run_dir, steps_per_epoch=STEPS, feature_cache=cache, progress=False,
        **options,
    )  # fmt: skip
    return model, history


def maps_model(outputs=3) -> keras.Model:
    """Two backbones, one with a map, and a softmax head with batch normalisation and dropout."""
    keras.utils.set_random_seed(0)

    def backbone(name, pool):
        inner = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inner)
        x = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization()(x))
        return keras.Model(inner, keras.layers.GlobalAveragePooling2D()(x) if pool else x, name=name)

    image = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(backbone("map", False)(image))
    x = keras.layers.Concatenate()([x, backbone("vector", True)(image)])
    x = keras.layers.Dropout(0.4)(keras.layers.BatchNormalization()(x))
    return keras.Model(image, keras.layers.Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid")(x))


@pytest.fixture(autouse=True)
def log_is_heard(monkeypatch):
    """The command, in a test before in this process, may have turned the log to standard error alone."""
    monkeypatch.setattr(logging.getLogger("leukemia_tf"), "propagate", True)


@pytest.fixture(scope="module")
def uncached(tmp_path_factory):
    """The same two views, through the backbones in every epoch."""
    model, history = fit(tmp_path_factory.mktemp("uncached"), train=train_of_views)
    return model.get_weights(), history


def assert_equal_but_for_rounding(model, history, other_weights, other_history):
    for column in ("loss", "val_loss", "accuracy", "val_auc"):
        np.testing.assert_allclose(history[column], other_history[column], rtol=2e-5, err_msg=column)
    for there, here in zip(other_weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(here, there, atol=2e-5)


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """Both phases, uninterrupted."""
    folder = tmp_path_factory.mktemp("cached")
    CALLS.clear()
    model, history = fit(folder / "run", cache_in(folder / "features"), BOTH)
    return model.get_weights(), history, folder, list(CALLS)


def test_cached_training_equals_uncached_training_on_the_same_views(tmp_path, uncached):
    model, history = fit(tmp_path / "run", cache_in(tmp_path, dtype="float32"))
    assert_equal_but_for_rounding(model, history, *uncached)


def test_cached_maps_below_open_layers_train_them_as_the_images_do(tmp_path):
    """After a phase of the head; killed once on the way, it goes on from the files."""
    phases = [Phase("head", layers="head", epochs=1, learning_rate=1e-2), *TOPS]
    slow, slow_history = fit(tmp_path / "slow", None, phases, train=lambda first: train_of_views(first, 1))
    with pytest.raises(Killed):
        fit(tmp_path / "run", cache_in(tmp_path, dtype="float32"), phases, callbacks=[KillAt(14)])
    CALLS.clear()
    model, history = fit(tmp_path / "run", cache_in(tmp_path, dtype="float32"), phases)
    assert not CALLS
    assert_equal_but_for_rounding(model, history, slow.get_weights(), slow_history)
    before, after = make_model().get_layer("backbone"), model.get_layer("backbone")
    for layer, changed in (("first", False), ("norm", False), ("last", True)):
        pairs = zip(before.get_layer(layer).get_weights(), after.get_layer(layer).get_weights())
        assert any((one != other).any() for one, other in pairs) == changed, layer
    # Both views of phase 2 and the validation; the map is larger than the labels.
    assert sorted(np.load(file).ndim for file in tmp_path.glob("*.npy")) == [2, 2, 2, 4, 4, 4]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A phase of the head and one of the last layers, on features of the same views."""
    folder = tmp_path_factory.mktemp("shared")
    CALLS.clear()
    model, history = fit(folder / "run", cache_in(folder / "features", dtype="float32"), (*HEAD, *TOPS))
    return model.get_weights(), history, folder, list(CALLS)


def test_one_pass_serves_both_phases(tmp_path, shared):
    weights, history, folder, calls = shared
    # A generator may have begun the epoch after the one it was asked for.
    assert calls in ([0, 1], [0, 1, 2])
    slow = fit(tmp_path / "slow", None, (*HEAD, *TOPS), train=lambda first: train_of_views(first, HEAD[0].epochs))
    assert_equal_but_for_rounding(*slow, weights, history)
    # Features of both phases and labels, of both views and the validation.
    assert sorted(np.load(file).ndim for file in (folder / "features").glob("*.npy")) == [2] * 6 + [4] * 3


# Two phases of five epochs of 4 batches each.
@pytest.mark.parametrize(("batch", "keep"), [(3, True), (3, False), (26, True), (26, False)])
def test_a_shared_pass_is_killed_and_resumed_bit_for_bit(tmp_path, shared, batch, keep):
    folder = shared[2] / "features" if keep else tmp_path / "features"
    cache = cache_in(folder, dtype="float32")
    with pytest.raises(Killed):
        fit(tmp_path / "run", cache, (*HEAD, *TOPS), callbacks=[KillAt(batch)])
    if not keep:
        for file in folder.glob("*.npy"):
            file.unlink()
    model, history = fit(tmp_path / "run", cache, (*HEAD, *TOPS))
    for there, here in zip(shared[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)
    assert history.to_dict("list") == shared[1].to_dict("list")


def test_without_room_for_both_each_phase_sees_to_itself(tmp_path, shared, monkeypatch):
    asked = []

    def room(needed, **_):
        asked.append(needed)
        return len(asked) > 1

    monkeypatch.setattr(frozen_module, "make_room", room)
    CALLS.clear()
    model, history = fit(tmp_path / "run", cache_in(tmp_path, dtype="float32"), (*HEAD, *TOPS))
    assert asked[0] == asked[1] + asked[2] and len(asked) == 3
    assert CALLS.count(0) == 2
    assert_equal_but_for_rounding(model, history, *shared[:2])


def test_float16_features_stay_within_a_thousandth_of_the_loss(tmp_path, uncached):
    _, history = fit(tmp_path / "run", cache_in(tmp_path))
    for column in ("loss", "val_loss"):
        np.testing.assert_allclose(history[column], uncached[1][column], rtol=1e-3, err_msg=column)
    files = sorted(np.load(file).dtype.name for file in tmp_path.glob("*.npy"))
    assert files == ["float16"] * 3 + ["float32"] * 3  # two views and validation; features and labels


def test_maps_of_two_backbones_and_several_classes(tmp_path):
    def train(first_epoch):
        return train_of_views(first_epoch).map(classes_of)

    def classes_of(images, labels):
        return images, tf.one_hot(tf.cast(labels[:, 0], tf.int32) + 1, 3)

    results = []
    for cache in (cache_in(tmp_path, dtype="float32", val_rows=16), None):
        model = maps_model()
        # The folder keeps nothing from one to the other: the cached run reads train_of_views' first two epochs.
        history = fit_phases(
            model, train, val_batches().map(classes_of), HEAD, tmp_path / str(cache is None), steps_per_epoch=STEPS,
            feature_cache=cache, progress=False,
        )  # fmt: skip
        results.append((history, model.get_weights()))
    np.testing.assert_allclose(results[0][0]["loss"], results[1][0]["loss"], rtol=2e-5)
    for one, other in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_frozen_backbone_drops_nothing_unless_asked(tmp_path):
    """A head without dropout, at a rate of nearly 0, sees the loss that prediction has; with the backbone's own not."""

    def build():
        keras.utils.set_random_seed(0)
        inner = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(4, 3)(inner)
        x = keras.layers.Dropout(0.5)(keras.layers.Flatten()(x))
        base = keras.Model(inner, keras.layers.Activation("linear")(x), name="base")
        image = keras.Input((8, 8, 3))
        return keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(base(image)))

    images, labels = arrays(8 * STEPS, 100)
    losses = {}
    for layers, frozen_dropout in [("head", False), ("head", True), ("top:1", False), ("top:1", True)]:
        phase = Phase("one", layers=layers, epochs=1, learning_rate=1e-12, frozen_dropout=frozen_dropout)
        _, history = fit(tmp_path / layers / str(frozen_dropout), phases=[phase], model=build())
        losses[layers, frozen_dropout] = history["loss"][0]
    prediction = np.clip(build().predict(images, verbose=0), 1e-7, 1 - 1e-7)
    expected = -np.mean(labels * np.log(prediction) + (1 - labels) * np.log(1 - prediction))
    for (layers, frozen_dropout), loss in losses.items():
        assert (loss == pytest.approx(expected, rel=1e-5)) == (not frozen_dropout), layers
        assert abs(loss - expected) > 1e-3 or not frozen_dropout, layers


def test_images_are_made_once_a_view_and_a_second_run_makes_none(tmp_path, cached):
    _, _, folder, calls = cached
    # A generator may have begun the epoch after the one it was asked for.
    assert {epoch for epoch in calls if epoch < 5} <= {0, 1, 2} and {0, 1} <= set(calls)
    CALLS.clear()
    model, history = fit(tmp_path / "again", cache_in(folder / "features"), HEAD)
    assert not CALLS
    assert history.to_dict("list") == cached[1][:5].to_dict("list")


# Five epochs of 4 batches in phase 1, two in phase 2: while views are in use for the first and second time, at the end
# of the phase, and in phase 2.
@pytest.mark.parametrize(("batch", "keep"), [(3, True), (10, False), (20, True), (22, True)])
def test_killed_and_resumed_is_equal_bit_for_bit(tmp_path, cached, batch, keep):
    """... whether the files are still there or not."""
    folder = cached[2] / "features" if keep else tmp_path / "features"
    with pytest.raises(Killed):
        fit(tmp_path / "run", cache_in(folder), BOTH, callbacks=[KillAt(batch)])
    if not keep:
        for file in folder.glob("*.npy"):
            file.unlink()
    model, history = fit(tmp_path / "run", cache_in(folder), BOTH)
    for there, here in zip(cached[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)
    assert history.to_dict("list") == cached[1].to_dict("list")


def test_the_best_checkpoint_holds_the_whole_model(tmp_path, cached):
    # While it trains, the small file alone is written; at the end there is the whole one alone.
    checkpoints = tmp_path / "run" / "checkpoints"
    with pytest.raises(Killed):
        fit(tmp_path / "run", cache_in(cached[2] / "features"), callbacks=[KillAt(7)])
    assert sorted(file.name for file in checkpoints.iterdir()) == ["best.npz", "state.npz"]
    fit(tmp_path / "run", cache_in(cached[2] / "features"))
    assert sorted(file.name for file in checkpoints.iterdir()) == ["best.keras", "state.npz"]
    loaded = keras.models.load_model(tmp_path / "run" / "checkpoints" / "best.keras")
    best = pd.read_csv(tmp_path / "run" / "history.csv")["val_loss"].min()
    loaded.compile(loss="binary_crossentropy")
    # float16 features against the images themselves
    assert loaded.evaluate(val_of_20(), verbose=0) == pytest.approx(best, rel=1e-3)


@pytest.mark.parametrize(
    ("from_best", "views", "killed"), [(True, 0, False), (True, 2, True), (False, 2, False), (False, 0, True)]
)
def test_a_later_phase_that_is_worse_leaves_nothing_in_the_best_model(tmp_path, from_best, views, killed):
    """The best weights of a phase of the head belong to the backbone as it was then."""
    spoil = Phase("fine", layers="top:3", epochs=3, learning_rate=10.0, feature_views=views, from_best=from_best)
    head = Phase("head", layers="head", epochs=4, learning_rate=1e-2)
    run = tmp_path / "run"
    if killed:
        with pytest.raises(Killed):
            fit(run, cache_in(tmp_path, dtype="float32"), [head, spoil], callbacks=[KillAt(4 * STEPS + STEPS + 2)])
    model, history = fit(run, cache_in(tmp_path, dtype="float32"), [head, spoil])
    best = history["val_loss"].min()
    assert history["val_loss"][4:].min() > 2 * best
    for found in (model, keras.models.load_model(run / "checkpoints" / "best.keras")):
        found.compile(loss="binary_crossentropy")
        assert found.evaluate(val_of_20(), verbose=0) == pytest.approx(best, rel=1e-4)


def test_other_weights_or_images_have_other_files(tmp_path, cached):
    shutil.copytree(cached[2] / "features", tmp_path, dirs_exist_ok=True)
    phases = [Phase("head", layers="head", epochs=3)]
    fit(tmp_path / "one", cache_in(tmp_path), phases)
    count = len(list(tmp_path.glob("*.npy")))
    assert count == 6
    fit(tmp_path / "two", cache_in(tmp_path), phases, model=make_model(seed=1))
    # new features of both views and of validation; the labels are the same
    assert len(list(tmp_path.glob("*.npy"))) == count + 3
    fit(tmp_path / "three", cache_in(tmp_path, train_key="other"), phases)
    assert len(list(tmp_path.glob("*.npy"))) == count + 3 + 4


def test_a_damaged_file_is_made_anew(tmp_path, cached, caplog):
    shutil.copytree(cached[2] / "features", tmp_path / "features")
    file = max((tmp_path / "features").glob("*.npy"), key=lambda file: file.stat().st_size)
    data = file.read_bytes()
    file.write_bytes(data[:200] + b"\x55\xaa" + data[202:])
    _, history = fit(tmp_path / "run", cache_in(tmp_path / "features"))
    assert file.read_bytes() == data
    assert "made again" in caplog.text
    assert history.to_dict("list") == cached[1][:5].to_dict("list")


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch, caplog):
    def full(self, rows):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("leukemia_tf.data.features.FeatureWriter.write", full)
    with pytest.raises(RunError, match="no space left"):
        fit(tmp_path / "run", cache_in(tmp_path / "features"))
    assert not list((tmp_path / "features").iterdir())
    # Known beforehand: the phase goes on without, as an uncached one.
    monkeypatch.setattr(frozen_module, "make_room", lambda *_, **__: False)
    with pytest.raises(Killed):
        fit(tmp_path / "without", cache_in(tmp_path / "features"), callbacks=[KillAt(6)])
    assert "no space for the features of phase `head`" in caplog.text
    # ... and so it stays when there is space again.
    monkeypatch.undo()
    _, history = fit(tmp_path / "without", cache_in(tmp_path / "features"))
    assert len(history) == 5 and not list((tmp_path / "features").iterdir())


def test_large_features_go_into_float32(tmp_path, caplog):
    model = make_model()
    last = model.get_layer("backbone").get_layer("last")
    last.set_weights([weight + 1e6 for weight in last.get_weights()])
    _, history = fit(tmp_path / "run", cache_in(tmp_path), model=model)
    assert "beyond float16" in caplog.text and np.isfinite(history["loss"]).all()
    assert all(np.load(file).dtype == np.float32 for file in tmp_path.glob("*.npy"))


def test_a_spent_budget_ends_the_pass(tmp_path, monkeypatch):
    budget = TimeBudget(minutes=60)
    monkeypatch.setattr(budget, "_deadline", 0.0)
    _, history = fit(tmp_path / "run", cache_in(tmp_path / "features"), callbacks=[budget])
    assert not history.attrs["complete"] and not len(history)
    assert not list((tmp_path / "features").iterdir())


def test_short_phases_and_wrong_arguments(tmp_path):
    cache = cache_in(tmp_path / "features")
    assert Phase("head", layers="head", epochs=2).views_kept(2) == 0 and HEAD[0].views_kept(2) == 2
    assert Phase("top", layers="top:1", epochs=5).views_kept(2) == 0  # maps are large: only if asked
    assert Phase("all", epochs=5).views_kept(2) == 0
    with pytest.raises(InputError, match="`feature_views` of phase `p` needs something frozen"):
        Phase("p", layers="top:2", frozen_dropout=True, feature_views=1)
    fit(tmp_path / "short", cache, [Phase("head", layers="head", epochs=2)])
    assert not (tmp_path / "features").exists()
    with pytest.raises(InputError, match="`views` is 1 or more. Received: 0"):
        cache_in(tmp_path, views=0)
    with pytest.raises(InputError, match="`dtype` is 'float16' or 'float32'"):
        cache_in(tmp_path, dtype="int8")
    with pytest.raises(InputError, match="needs a function"):
        fit_phases(make_model(), val_batches(), None, HEAD, tmp_path, feature_cache=cache, monitor="loss")
