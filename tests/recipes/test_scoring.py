"""Scores of a table in parts are those of the table at once, and the pixels are asked for part by part."""

import keras
import numpy as np
import pandas as pd

from leukemia_tf.data import load_manifest
from leukemia_tf.recipes import scoring


def test_parts_give_what_the_whole_gives(monkeypatch):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(5, 3, activation="relu")(inputs))
    logits = keras.layers.Dense(2, name="logits")(keras.layers.Rescaling(1 / 255)(features))
    model = keras.Model(inputs, keras.layers.Softmax()(logits))
    pixels = np.random.default_rng(0).integers(0, 256, (31, 8, 8, 3), dtype=np.uint8)
    manifest = load_manifest("sample")
    labels = [manifest.classes[row % 2] for row in range(31)]
    table = pd.DataFrame({"path": [f"{row}.png" for row in range(31)], "label": labels})
    scorer = scoring.Scorer(model, manifest, image_size=8, batch_size=4)
    scorer.fit_detector(table, pixels)
    assert not scorer.reason
    whole, scores = scorer(table, pixels)

    asked = []

    def read(rows):
        asked.append(rows)
        return pixels[rows]

    monkeypatch.setattr(scoring, "_PART_BYTES", 2 * 4 * 8 * 8 * 3)
    parts, part_scores = scorer(table, read)
    assert asked == [slice(0, 8), slice(8, 16), slice(16, 24), slice(24, 32)]
    np.testing.assert_array_equal(parts, whole)
    assert set(part_scores) == set(scores) == {"energy", "mahalanobis"}
    for name in scores:
        np.testing.assert_allclose(part_scores[name], scores[name], rtol=1e-6)
