"""What the synthetic images hold: cues that differ and overlap, subjects of one kind, fair stains."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leukemia_tf.data.sample import Cell, draw_cell, draw_image, draw_subject, field, store
from leukemia_tf.data.sample.subject import BETWEEN_SUBJECTS, CUES, generator

SUBJECTS, CELLS = 150, 8


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[list[Cell]]]:
    return {
        label: [
            [draw_cell(subject, generator(3, number, cell)) for cell in range(CELLS)]
            for number, subject in enumerate(draw_subject(3, label, n) for n in range(1, SUBJECTS + 1))
        ]
        for label in ("HEM", "ALL")
    }


def values(cells: list[list[Cell]], name: str) -> np.ndarray:
    return np.array([[getattr(cell, name) for cell in one] for one in cells], float)


# More of it, or less of it, in a blast.
@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("diameter", True),
        ("nuclear_ratio", True),
        ("chromatin_scale", False),
        ("chromatin_contrast", False),
        ("chromatin_density", False),
        ("irregularity", True),
        ("notch", True),
        ("nucleoli", True),
        ("basophilia", True),
        ("vacuoles", True),
    ],
)
def test_each_cue_differs_and_overlaps(drawn, name, more):
    healthy, ill = values(drawn["HEM"], name), values(drawn["ALL"], name)
    assert (ill.mean() > healthy.mean()) == more
    truth = np.repeat([0, 1], healthy.size)
    auc = roc_auc_score(truth, np.concatenate([healthy.ravel(), ill.ravel()]) * (1 if more else -1))
    assert 0.52 < auc < 0.90, "a cue that decides alone makes the sample too easy"


def test_cues_have_the_distance_they_claim(drawn):
    for cue, distance in CUES.items():
        ill, healthy = (
            np.array([[cell.cues[cue] for cell in one] for one in drawn[label]]) for label in ("ALL", "HEM")
        )
        truth = np.repeat([0, 1], ill.size)
        auc = roc_auc_score(truth, np.concatenate([healthy.ravel(), ill.ravel()]))
        # Two normal curves of deviation 1 that lie d apart: AUC = Phi(d / sqrt 2).
        assert auc == pytest.approx(norm.cdf(distance / np.sqrt(2)), abs=0.05)


def test_cells_of_a_subject_resemble_each_other(drawn):
    # Intraclass correlation from a one-way analysis of variance, over all cues.
    shares = []
    for cue in CUES:
        z = np.array([[cell.cues[cue] for cell in one] for one in drawn["HEM"]])
        within = z.var(axis=1, ddof=1).mean()
        between = z.mean(axis=1).var(ddof=1) - within / CELLS
        shares.append(between / (between + within))
    assert np.mean(shares) == pytest.approx(BETWEEN_SUBJECTS, abs=0.05)


def test_optics_do_not_know_the_class():
    def optics(label: str) -> np.ndarray:
        rows = []
        for number in range(1, 301):
            subject = dataclasses.asdict(draw_subject(11, label, number))
            numbers = [subject[key] for key in subject if key not in ("name", "label", "cues")]
            rows.append(np.concatenate([np.ravel(number) for number in numbers]))
        return np.array(rows)

    healthy, ill = optics("HEM"), optics("ALL")
    error = np.sqrt(healthy.var(axis=0) / len(healthy) + ill.var(axis=0) / len(ill))
    assert np.all(np.abs(healthy.mean(axis=0) - ill.mean(axis=0)) < 4 * error)
    np.testing.assert_allclose(healthy.std(axis=0), ill.std(axis=0), rtol=0.25)


def test_mean_colour_does_not_tell_the_class():
    plan = [("HEM", n, k) for n in range(1, 41) for k in (0, 4)] + [
        ("ALL", n, k) for n in range(1, 41) for k in (0, 4)
    ]
    colours = np.array([store.render_image(5, *entry, size=32).mean(axis=(0, 1)) for entry in plan])
    truth = np.array([label == "ALL" for label, *_ in plan])
    groups = np.array([f"{label}{number}" for label, number, _ in plan])
    model = make_pipeline(StandardScaler(), LogisticRegression())
    scores = cross_val_predict(
        model, colours, truth, groups=groups, cv=StratifiedGroupKFold(5), method="predict_proba"
    )[:, 1]
    # 80 subjects: the deviation of an AUC by chance is about 0.065.
    assert abs(roc_auc_score(truth, scores) - 0.5) < 0.17


@pytest.mark.parametrize("ratio", [0.55, 0.75, 0.90])
def test_the_nucleus_has_the_area_that_the_ratio_asks_for(ratio):
    cell = draw_cell(draw_subject(0, "HEM", 1), generator(0))
    cell = dataclasses.replace(cell, nuclear_ratio=ratio, vacuoles=0, nucleoli=0, notch=0.1, diameter=11.0)
    measured = []
    for key in range(6):
        nuclear, _, body = field._white_cell(cell, 256, 10.4, np.array([128.0, 128.0]), generator(key))
        nucleus = (nuclear > 0.3).astype(np.uint8)
        outlines, _ = cv2.findContours(nucleus, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        measured.append(max(cv2.contourArea(outline) for outline in outlines) / (body > 0.5).sum())
        assert np.sqrt(4 * (body > 0.5).sum() / np.pi) / 10.4 == pytest.approx(11.0, rel=0.06)
    assert np.mean(measured) == pytest.approx(ratio, abs=0.04)


def test_the_cell_lies_in_the_middle_and_is_darker_than_its_field():
    for label in ("HEM", "ALL"):
        subject = draw_subject(1, label, 1)
        image = draw_image(subject, draw_cell(subject, generator(1)), 64, generator(2), generator(3))
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        green = image[..., 1].astype(float)  # what the nuclear dye absorbs most
        assert green[26:38, 26:38].mean() < 0.6 * np.median(green)


def test_light_is_that_of_beer_and_lambert(monkeypatch):
    # Without cells, film, noise, blur and vignette a field of density d has the grey
    # level 255 * light * 10^-d.
    subject = dataclasses.replace(
        draw_subject(0, "HEM", 1),
        gradient=(0.0, 0.0),
        vignette=0.0,
        gamma=1.0,
        noise=0.0,
        plasma=0.0,
        stain=1.0,
    )
    flat = np.full((64, 64), 0.5, np.float32)
    zero = np.zeros((64, 64), np.float32)
    monkeypatch.setattr(field, "_white_cell", lambda *a: (flat, zero.copy(), zero.copy()))
    monkeypatch.setattr(field, "_red_cells", lambda *a: zero.copy())
    monkeypatch.setattr(field, "_platelets", lambda *a: None)

    class Still:
        def normal(self, mean, deviation, size=None):
            return mean

    cell = draw_cell(subject, generator(0))
    image = draw_image(subject, cell, 32, generator(0), Still())
    expected = 255 * np.array(subject.light) * 10 ** (-0.5 * np.array(subject.nuclear))
    assert np.abs(image - expected).max() <= 0.51
