"""Images of ten subjects in a few kilobytes, a network of eight weights, and a model of scikit-learn's kind."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import cv2
import keras
import numpy as np

from leukemia_tf.models import list_models, register_model, registry
from leukemia_tf.models.heads import classify
from leukemia_tf.recipes import DataSpec, ModelSpec, Recipe
from leukemia_tf.training import Phase

SUBJECTS, EACH = 12, 4


class Greyness:
    """Class 1 in the share of how dark an image is among the training images."""

    def __init__(self, power: float = 1.0):
        self.power = power

    def fit(self, train_pixels, train_labels, val_pixels=None, val_labels=None, seed=0):
        self.lowest, self.highest = np.percentile(train_pixels.mean((1, 2, 3)), (0, 100)).tolist()
        self.shift = 0.02 * seed
        return self

    def predict_proba(self, pixels):
        share = (self.highest - pixels.mean((1, 2, 3))) / (self.highest - self.lowest)
        share = np.clip(share + self.shift, 0, 1) ** self.power
        return np.stack([1 - share, share], 1)

    def save(self, path):
        path.write_text(json.dumps(vars(self)))


def load_greyness(path) -> Greyness:
    """What `Greyness.save` wrote."""
    model = Greyness()
    vars(model).update(json.loads(pathlib.Path(path).read_text()))
    return model


def write_images(root: pathlib.Path, columns: str = "path,label,subject", folds: int = 0) -> pathlib.Path:
    """48 images of 12 subjects, blasts a little darker; returns a CSV table of them.

    With `folds`, subject s lies in a folder ``fold_<s // 2 modulo folds>``, and two more of each class in ``later``.
    """
    random = np.random.default_rng(0)
    lines = [columns]
    for subject in range(SUBJECTS + (4 if folds else 0)):
        label = ("healthy", "blast")[subject % 2]
        place = f"fold_{subject // 2 % folds}/" if folds else ""
        place = "later/" if subject >= SUBJECTS else place
        for number in range(EACH):
            image = np.clip(random.normal((150, 120)[subject % 2] + 15 * random.normal(), 40, (20, 20, 3)), 0, 255)
            name = f"{place}{label}_s{subject}_{number}.png"
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / name), image.astype(np.uint8))
            lines.append(f"{name},{label},s{subject}")
    (root / "table.csv").write_text("\n".join(lines) + "\n")
    return root / "table.csv"


def register(monkeypatch) -> None:
    """Register both models for one test, and leave plots and exports out."""
    list_models()  # so that all others are registered before the copy
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    monkeypatch.setattr("leukemia_tf.evaluation.report.save_plots", lambda *arguments, **options: {})
    monkeypatch.setattr("leukemia_tf.recipes.export.write_saved_model", lambda *arguments, **options: None)
    monkeypatch.setattr("leukemia_tf.recipes.run._load_estimator", load_greyness)

    @register_model("tiny")
    def tiny(num_classes=2, image_size=16):
        inputs = keras.Input((image_size, image_size, 3), name="image")
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
        return keras.Model(inputs, classify(keras.layers.Dropout(0.2)(x), num_classes, two_class_units=2))

    @register_model("greyness", kind="sklearn")
    def greyness(num_classes=2, image_size=16, power=1.0):
        return Greyness(power)


def network(data: pathlib.Path, **changes) -> Recipe:
    """A recipe of one epoch."""
    return Recipe(
        name="tiny",
        title="Tiny network",
        model=ModelSpec("tiny", weights="none"),
        data=DataSpec(source=str(data), image_size=16, batch_size=8),
        phases=(Phase("all", epochs=2, learning_rate=1e-2),),
        deterministic="off",  # the switch stays for the process, and XLA does without
        bootstrap=30,
        **changes,
    )


def estimator(data: pathlib.Path, power: float = 1.0, **changes) -> Recipe:
    """A recipe that is fitted in one go."""
    return dataclasses.replace(
        network(data, **changes),
        name="greyness",
        title="Greyness",
        model=ModelSpec("greyness", {"power": power}, weights="none"),
        phases=(),
    )
