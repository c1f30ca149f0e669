"""The report is one safe file that says what was measured, on what, and how sure that is."""

from __future__ import annotations

import base64
import html.parser
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from leukemia_tf.evaluation.metrics import LEAKY_SPLIT, compute_metrics
from leukemia_tf.evaluation.plots import most_confident_errors
from leukemia_tf.evaluation.predictions import make_predictions
from leukemia_tf.evaluation.report import summarize_table, write_report

ATTACK = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Page(html.parser.HTMLParser):
    """Tags with attributes, text outside ``style``, and whether tags are closed in order."""

    VOID = {"meta", "img", "br", "link", "input"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def inputs(classes=("hem", "all"), subjects=True, synthetic=False, path="cells/{}.png", n_images=40):
    generator = np.random.default_rng(0)
    labels = np.arange(n_images) % len(classes)
    scores = generator.random((n_images, len(classes))) + 0.5 * np.eye(len(classes))[labels]
    table = pd.DataFrame(
        {
            "path": [path.format(i) for i in range(n_images)],
            "subject": [f"s{i // 4}" for i in range(n_images)] if subjects else [""] * n_images,
            "label": [classes[i] for i in labels],
            "split": "test",
        }
    )
    frame = make_predictions(table, scores / scores.sum(axis=1, keepdims=True), classes)
    whole = pd.concat([table, table.assign(split="train", subject="t" if subjects else "")], ignore_index=True)
    captions = most_confident_errors(frame)["caption"]
    return {
        "title": "A run",
        "recipe": {
            "model": {"builder": "ensemble", "options": {"dropout": 0.5}, "weights": "imagenet"},
            "phases": [
                {"name": "head", "epochs": 2, "patience": 0, "frozen": False, "config": {}},
                {"name": "all", "epochs": 3, "patience": 0, "frozen": False, "config": {}},
            ],
        },
        "environment": {"command": ["leukemia-tf", "train", "x y"], "versions": {"keras": "3.15.1"}},
        "manifest": {"title": "Cells", "synthetic": synthetic, "licence": "CC0", "known_faults": ["one fault"]},
        "table": summarize_table(whole, classes, level="subject" if subjects else "image", split_hash="ab" * 32),
        "metrics": compute_metrics(frame, classes, bootstrap=50),
        "predictions": frame,
        "history": pd.DataFrame({"phase": ["head", "all"], "epoch": [0, 0], "loss": [1.0, 0.5]}),
        "pixels_of_errors": [(generator.integers(0, 255, (300, 200, 3), dtype=np.uint8), text) for text in captions],
        "skipped": [{"path": "broken.png", "reason": "truncated"}, {"path": "b2.png", "reason": "truncated"}],
        "notices": ["mind the gap"],
    }


def test_what_the_page_says(tmp_path):
    given = inputs()
    path = write_report(tmp_path, **given)
    assert path == tmp_path / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    metrics = given["metrics"]
    assert page.open == []
    assert page.text.count("Research use only. Not a medical device.") == 2
    assert "SYNTHETIC" not in page.text
    for name in ("accuracy", "sensitivity", "specificity", "f1_weighted", "balanced_accuracy"):
        entry = metrics[name]
        shown = f"{100 * entry['value']:.1f} % {100 * entry['low']:.1f} % to {100 * entry['high']:.1f} %"
        assert shown in page.text, name
    assert f"{metrics['auc']['value']:.3f} {metrics['auc']['low']:.3f} to {metrics['auc']['high']:.3f}" in page.text
    assert "Sensitivity (all)" in page.text
    assert "95 % percentile bootstrap, 50 resamples of 10 subjects with 40 test images, seed 0." in page.text
    assert "By subject: no subject has images in two splits." in page.text and "ab" * 32 in page.text
    assert "All 40 (1) 40 (10)" in page.text  # train, test; subjects in brackets
    assert "truncated 2" in page.text and "one fault" in page.text and "mind the gap" in page.text
    assert "Model ensemble, evaluated on Cells, 40 test images of 10 subjects" in page.text
    assert "Name Epochs Frozen head 2 False all 3 False" in page.text  # columns that say nothing are left out
    assert "model.options.dropout 0.5" in page.text
    assert "leukemia-tf train 'x y'" in page.text and "versions.keras 3.15.1" in page.text
    assert "leukemia-tf report . --verify" in page.text


def test_the_page_needs_nothing_else(tmp_path):
    text = write_report(tmp_path, **inputs()).read_text(encoding="utf-8")
    page = Page(text)
    assert len(text.encode()) < 5_000_000
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not re.search(r"(src|href|action)=\"(?!data:image/png;base64,)", text)
    assert "url(" not in text and "@import" not in text
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) >= 6
    for attributes in images:
        assert attributes["alt"]
        data = base64.b64decode(attributes["src"].removeprefix("data:image/png;base64,"))
        Image.open(io.BytesIO(data)).verify()
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    assert ("html", {"lang": "en"}) in page.tags
    assert any(attributes.get("name") == "viewport" for _, attributes in page.tags)


def test_everything_from_outside_is_escaped(tmp_path):
    classes = (ATTACK, 'with, "quotes"', "$title ${x}")
    given = inputs(classes, path=ATTACK + "{}")
    given["title"] = given["manifest"]["title"] = given["manifest"]["licence"] = ATTACK
    given["manifest"] |= {"citation": ATTACK, "homepage": ATTACK, "known_faults": [ATTACK], "name": ATTACK}
    given["recipe"] = {ATTACK: ATTACK, "model": ATTACK, "phases": [{ATTACK: ATTACK}]}
    given["environment"] = {ATTACK: {ATTACK: ATTACK}, "command": ATTACK}
    given["skipped"] = [{"path": ATTACK, "reason": ATTACK}]
    given["notices"] = [ATTACK, "not utf-8 \udcff and \x00"]
    given["table"] |= {"split_level": ATTACK, "split_hash": ATTACK}
    text = write_report(tmp_path, **given).read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert "<script" not in text and "<img src=x" not in text
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.text.count("<script>alert(1)</script>") > 15
    assert "$title ${x}" in page.text


def test_the_badge_of_synthetic_data(tmp_path):
    page = Page(write_report(tmp_path, **inputs(synthetic=True)).read_text(encoding="utf-8"))
    assert page.text.index("SYNTHETIC DATA") < page.text.index("Results")
    assert any(attributes.get("class") == "synthetic" for _, attributes in page.tags)


def test_unknown_subjects_are_a_warning(tmp_path):
    text = Page(write_report(tmp_path, **inputs(subjects=False)).read_text(encoding="utf-8")).text
    assert "Subjects are not known. Images were resampled as if they were independent" in text
    assert "50 resamples of 40 images, seed 0." in text
    assert "images of one subject may lie on both sides" in text


def test_the_least_that_a_page_needs(tmp_path):
    given = inputs(n_images=1)
    given |= {"history": None, "pixels_of_errors": None, "skipped": [], "notices": [], "recipe": {}, "environment": {}}
    given |= {"manifest": {}, "table": {}}
    page = Page(write_report(tmp_path / "new" / "run", **given).read_text(encoding="utf-8"))
    assert page.open == []
    assert "n/a no image of class `all`" in page.text
    assert "No intervals: one image has no interval. 1 test image of 1 subject." in page.text
    assert "Most confident errors" not in page.text and "The command was not recorded." in page.text


def test_many_large_pictures_stay_small(tmp_path):
    given = inputs()
    noise = np.random.default_rng(0).integers(0, 255, (500, 400, 3), dtype=np.uint8)
    given["pixels_of_errors"] = [(noise, f"picture {i}") for i in range(40)]
    given["skipped"] = [{"path": f"{i}.png", "reason": f"reason {i}"} for i in range(5000)]
    path = write_report(tmp_path, **given)
    assert path.stat().st_size < 5_000_000
    text = Page(path.read_text(encoding="utf-8")).text
    assert "picture 11" in text and "picture 12" not in text
    assert "and 4,950 more" in text


def test_a_stamp_stands_above_all_else(tmp_path, monkeypatch):
    monkeypatch.setattr("leukemia_tf.evaluation.report.save_plots", lambda *arguments, **options: {})
    given = inputs(synthetic=True)
    assert 'class="stamp"' not in write_report(tmp_path / "clean", **given).read_text(encoding="utf-8")
    given["metrics"] = {"stamp": LEAKY_SPLIT, **given["metrics"]}
    text = write_report(tmp_path / "leaky", **given).read_text(encoding="utf-8")
    assert text.index("SYNTHETIC DATA") < text.index('class="stamp"') < text.index("<h1>")
    assert "LEAKY SPLIT Images of one subject lie in several splits; these figures flatter" in Page(text).text
    given["metrics"]["stamp"] = ATTACK
    assert ATTACK not in write_report(tmp_path / "hostile", **given).read_text(encoding="utf-8")


@pytest.mark.parametrize("known", [True, False])
def test_summary_counts_images_and_subjects(known):
    table = pd.DataFrame(
        {
            "label": ["a", "a", "b", "b", "a"],
            "subject": ["s1", "s1", "s2", "s1", "s3" if known else ""],
            "split": ["train", "train", "train", "train", "test"],
        }
    )
    table.attrs["split_level"] = "subject"
    summary = summarize_table(table, ["a", "b"], split_hash="00")
    assert summary == {
        "n_images": 5,
        "n_subjects": 3 if known else None,
        "split_level": "subject",
        "split_hash": "00",
        "splits": {
            "train": {"images": {"a": 2, "b": 2}, "subjects": {"a": 1, "b": 2}, "n_images": 4, "n_subjects": 2},
            "test": {
                "images": {"a": 1, "b": 0},
                "subjects": {"a": 1 if known else None, "b": 0},
                "n_images": 1,
                "n_subjects": 1 if known else None,
            },
        },
    }
