"""A teacher's outputs that are kept: the right one for every image and view, in a file for the next run."""

from __future__ import annotations

import logging
import types

import keras
import numpy as np
import pandas as pd
import pytest

from leukemia_tf.data import make_pipeline
from leukemia_tf.data.augment import get_policy
from leukemia_tf.errors import InputError
from leukemia_tf.training.distillation import Distillation, TapDistiller, outputs_to_keep, teacher_outputs
from tests.training.test_distiller import network

SIZE, IMAGES = 16, 10
SETTINGS = Distillation(attention=1.0, fusion=1.0, fusion_width=4)


def make(seed=1):
    keras.utils.set_random_seed(0)
    return TapDistiller(network(SIZE, (4, 6), 2, seed=seed), network(SIZE, (3, 4), 2, seed=9), SETTINGS)


@pytest.fixture(scope="module")
def distiller():
    return make()


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), dtype=np.uint8)


def batches(pixels, policy, known=None, **options):
    table = pd.DataFrame({"path": [str(row) for row in range(IMAGES)], "label": list("ab" * (IMAGES // 2))})
    manifest = types.SimpleNamespace(classes=("a", "b"))
    options = {"image_size": SIZE, "batch_size": 5, "policy": policy, "seed": 3, "labels": "categorical", **options}
    return make_pipeline(table, manifest=manifest, pixels=pixels, known=known, **options)


@pytest.mark.parametrize("policy", ["none", "d4"])
def test_every_image_of_a_batch_comes_with_what_the_teacher_says_of_it(distiller, pixels, policy, tmp_path):
    views = get_policy(policy).views
    kept = teacher_outputs(distiller, pixels, views, cache_dir=tmp_path)
    assert {name: values.shape[:2] for name, values in kept.items()} == dict.fromkeys(kept, (IMAGES, views))
    assert {"logits", "attention_1", "attention_2", "fusion"} == set(kept)
    # Two epochs: every image is seen under views that differ.
    for x, _ in batches(pixels, policy, kept, training=True, repeat=2):
        for name, values in distiller.teacher_outputs(x["image"]).items():
            np.testing.assert_allclose(x[name], values, rtol=1e-4, atol=1e-5)
    plain = [images.numpy() for images, _ in batches(pixels, policy, training=True, repeat=2)]
    same = [x["image"].numpy() for x, _ in batches(pixels, policy, kept, training=True, repeat=2)]
    np.testing.assert_array_equal(plain, same)


def test_the_next_run_finds_the_file_and_another_teacher_does_not(distiller, pixels, tmp_path, monkeypatch):
    first = teacher_outputs(distiller, pixels, 1, cache_dir=tmp_path)
    monkeypatch.setattr(TapDistiller, "teacher_outputs", _refuse_batches(TapDistiller.teacher_outputs))
    again = teacher_outputs(make(), pixels, 1, cache_dir=tmp_path)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    for other, images in ((make(seed=2), pixels), (make(), pixels[::-1]), (make(), pixels[:5])):
        with pytest.raises(AssertionError, match="asked"):
            teacher_outputs(other, images, 1, cache_dir=tmp_path)


def _refuse_batches(ask):
    def refuse(self, images):
        if not isinstance(images, np.ndarray):  # one image of zeros, for the shapes, is no question
            raise AssertionError("asked")
        return ask(self, images)

    return refuse


@pytest.mark.parametrize(
    "views, epochs, cache, keep, words",
    [
        (None, 100, "on", False, "other pixels each time"),
        (1, 2, "auto", True, "once for each image and view, 10 times"),
        (8, 8, "auto", False, "8 views an image and 8 epochs"),
        (8, 9, "auto", True, "80 times"),
        (8, 2, "on", True, "80 times"),
        (1, 100, "off", False, ""),
    ],
)
def test_what_is_kept(distiller, views, epochs, cache, keep, words, caplog):
    logging.getLogger("leukemia_tf").propagate = True
    with caplog.at_level(logging.INFO, "leukemia_tf"):
        assert outputs_to_keep(distiller, IMAGES, views, epochs, cache) is keep
    assert words in caplog.text


def test_too_much_is_not_kept(distiller, caplog):
    assert not outputs_to_keep(distiller, 10**9, 1, 50, "auto")
    assert outputs_to_keep(distiller, 10**9, 1, 50, "on")


def test_views_of_policies():
    assert [get_policy(name).views for name in ("none", "d4", "cells")] == [1, 8, None]


def test_known_values_that_do_not_fit_are_refused(pixels):
    wrong = (("d4", (IMAGES, 1, 2), True), ("cells", (IMAGES, 8), True), ("none", (IMAGES, 1), False))
    for policy, shape, training in wrong:
        with pytest.raises(InputError, match="`known` is for training"):
            batches(pixels, policy, {"logits": np.zeros(shape, np.float32)}, training=training)
