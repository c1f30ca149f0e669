"""Shortcuts: a cue that tells all, one that tells nothing, one that only tells the subject; print that recurs."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from leukemia_tf.data.audit.overlay import GRID, find_print, frequency, outer, recurring_prints
from leukemia_tf.data.audit.shortcuts import encoder_sources, measure_shortcuts

from tests.data.audit.audit_pictures import draw

RANDOM = np.random.default_rng(0)


def test_auc_of_known_cues():
    labels = np.repeat(["a", "b", "c"], 80)
    values = {"a": 0.0, "b": 1.0, "c": 2.0}
    cues = {
        "colour": np.array([[values[label], 5.0] for label in labels], np.float32),
        "border": RANDOM.normal(size=(240, 3)).astype(np.float32),
        "resolution": np.full((240, 2), 224, np.float32),
        "corners": np.array([[label == "a"] for label in labels], np.float32),
    }
    found = measure_shortcuts(cues, labels, np.arange(240)).set_index("cue")
    assert list(found.index)[:2] == ["colour", "corners"]
    assert found.loc["colour", "auc"] == 1.0 and found.loc["colour", "low"] == 1.0
    # One class is certain, two are 50:50 beside it: AUC 1, 0.75 and 0.75.
    each = json.loads(found.loc["corners", "per_class"])
    assert each["a"] == 1.0 and each["b"] == pytest.approx(0.75, abs=0.03)
    assert found.loc["corners", "auc"] == pytest.approx(5 / 6, abs=0.02)
    assert found.loc["resolution", "auc"] == 0.5 and found.loc["resolution", "high"] == 0.5
    assert 0.35 < found.loc["border", "auc"] < 0.65
    assert found.loc["border", "low"] < found.loc["border", "auc"] < found.loc["border", "high"]


def test_a_cue_that_only_names_the_subject_tells_nothing_of_new_ones():
    subjects = np.repeat(np.arange(40), 10)
    labels = np.where(RANDOM.permutation(40) % 2, "a", "b")[subjects]
    cue = {"file size": subjects[:, None].astype(np.float32)}
    apart = measure_shortcuts(cue, labels, subjects)["auc"].iat[0]
    leaking = measure_shortcuts(cue, labels, np.arange(400))["auc"].iat[0]
    assert leaking > 0.95 and apart < 0.75


def test_small_classes_are_left_out():
    labels = np.array(["a"] * 30 + ["b"] * 30 + ["c"] * 3)
    found = measure_shortcuts({"colour": RANDOM.normal(size=(63, 1))}, labels, np.arange(63))
    assert set(json.loads(found["per_class"].iat[0])) == {"a", "b"} and found["images"].iat[0] == 60
    assert len(measure_shortcuts({"colour": np.zeros((5, 1))}, np.array(list("aabbb")), np.arange(5))) == 0


def test_encoder_sources_are_counted():
    facts = pd.DataFrame(
        {"reason": ["", "", "", "x"], "width": [4, 4, 8, 4], "height": 4, "encoder": ["JPEG", "JPEG", "PNG", "JPEG"]}
    )
    found = encoder_sources(facts, pd.Series(["a", "b", "b", "a"]))
    assert found.to_dict("records") == [
        {"made": "4 x 4, JPEG", "images": 2, "a": 1, "b": 1}, {"made": "8 x 4, PNG", "images": 1, "a": 0, "b": 1}
    ]  # fmt: skip


def with_print(image, text, colour):
    image = image.copy()
    cv2.putText(image, text, (120, 190), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1)
    cv2.line(image, (125, 195), (170, 195), colour, 1)
    return image


def test_print_at_one_place_is_found_with_its_place_and_images():
    pictures = [draw(number, 200) for number in range(80)]
    labels = np.array(["a", "b"] * 40)
    shown = np.zeros(80, bool)
    for number in range(80):
        if number % 2 == 0 or number % 8 == 1:
            pictures[number] = with_print(pictures[number], "50 um", (0, 0, 0) if number % 2 else (200, 20, 20))
            shown[number] = True
    masks = np.stack([find_print(picture) for picture in pictures])
    prints, hits = recurring_prints(masks, labels)
    assert len(prints) >= 1
    np.testing.assert_array_equal(hits.any(1), shown)
    left, top, right, bottom = prints[0].box
    assert 0.55 < left < 0.7 and 0.85 < top < 0.95 and 0.8 < right < 0.95 and 0.9 < bottom <= 1.0
    assert frequency(masks)[outer()].max() == pytest.approx(shown.mean(), abs=0.05)


def test_cells_are_no_print():
    masks = np.stack([find_print(draw(number, 160)) for number in range(60)])
    assert masks.shape == (60, GRID * GRID // 8)
    prints, hits = recurring_prints(masks, np.array(["a", "b"] * 30))
    assert prints == [] and hits.shape == (60, 0)
    # Print scattered over the picture does not recur.
    scattered = []
    for number in range(60):
        image = draw(number, 160)
        place = tuple(int(v) for v in np.random.default_rng(number).integers(10, 120, 2))
        scattered.append(find_print(cv2.putText(image, "x", place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1)))
    assert recurring_prints(np.stack(scattered), np.array(["a", "b"] * 30))[0] == []
