"""How hard is the embedded synthetic sample, and how much does a split by image flatter a score on it?

The same model is trained and tested twice on the same images: once with test subjects that it never saw
(split by subject) and once with test images drawn at random (split by image). Four levels:

* ``colour``: mean and deviation of the three channels, logistic regression. Should stay near chance by
  subject: the stain is no clue to the class.
* ``cues``: the generator's own standardised cues, logistic regression. What a reader could reach who
  measures each cue of a cell without error.
* ``features``: pooled features of a frozen ImageNet backbone, logistic regression.
* ``finetuned``: that backbone trained as a whole with flips and quarter turns (a small network from scratch
  where no weights are given).

The first three are tested on all five folds of every split seed, the last on ``--finetune-folds`` of them.

    python experiments/benchmarks/sample_difficulty.py --weights FOLDER

FOLDER holds ``<backbone>_notop.weights.h5`` files (float32, as ``keras.applications`` saves them). Writes
``experiments/results/sample_difficulty.csv`` (a row for each model, split and seed) and ``.json`` (means and
ranges).
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.metrics import accuracy_score, roc_auc_score  # noqa: E402
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from leukemia_tf.data.sample import render_sample  # noqa: E402
from leukemia_tf.data.sample.cell import draw_cell  # noqa: E402
from leukemia_tf.data.sample.store import VERSION  # noqa: E402
from leukemia_tf.data.sample.subject import CUES, draw_subject, generator  # noqa: E402
from leukemia_tf.files import write_json, write_text  # noqa: E402

LEVELS = ("subject", "image")
_NAME = re.compile(r"UID_(?P<subject>H?(?P<number>\d+))_(?P<field>\d+)_(?P<cell>\d+)_(?P<label>all|hem)\.bmp")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=pathlib.Path, help="folder of <backbone>_notop.weights.h5 files")
    parser.add_argument("--backbone", default="MobileNetV2", help="a constructor of keras.applications")
    parser.add_argument("--models", default="colour,cues,features,finetuned")
    parser.add_argument("--sample-seeds", type=int, nargs="+", default=[0], help="seeds of the renderer")
    parser.add_argument("--split-seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--finetune-folds", type=int, default=1, help="folds of each split seed, 1 to 5")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--cache", type=pathlib.Path, help="default: the package's cache")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parents[1] / "results")
    args = parser.parse_args()

    rows = []
    for sample_seed in args.sample_seeds:
        images, labels, subjects, cues = read_sample(sample_seed, args)
        for model in args.models.split(","):
            if model == "colour":
                inputs = np.concatenate([images.mean((1, 2)), images.std((1, 2))], axis=1)
            elif model == "cues":
                inputs = cues
            elif model == "features":
                if args.weights is None:
                    continue
                inputs = backbone_features(images, args)
            else:
                inputs = images
            for split_seed in args.split_seeds:
                for level in LEVELS:
                    started = time.monotonic()
                    row = measure(model, inputs, labels, subjects, level, split_seed, args)
                    row = {"sample_seed": sample_seed, "model": model_name(model, args)} | row
                    rows.append(row)
                    print(*row.values(), f"{time.monotonic() - started:.0f} s", flush=True)
    write_results(pd.DataFrame(rows), args)


def read_sample(seed: int, args: argparse.Namespace):
    """Return images (uint8 RGB), labels (1 = ALL), subject names and the generator's cues, in path order."""
    folder = render_sample(seed, cache_dir=args.cache)
    paths = sorted(folder.glob("*/*.bmp"))
    found = [_NAME.fullmatch(path.name) for path in paths]
    images = np.stack([cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths])
    labels = np.array([int(match["label"] == "all") for match in found])
    subjects = np.array([match["subject"] for match in found])
    cues = []
    for match, label in zip(found, labels):
        subject = draw_subject(seed, "ALL" if label else "HEM", int(match["number"]))
        image = 4 * (int(match["field"]) - 1) + int(match["cell"]) - 1
        cell = draw_cell(subject, generator(seed, int(label), int(match["number"]), 1, image))
        cues.append([cell.cues[cue] for cue in CUES])
    return images, labels, subjects, np.array(cues)


def measure(model, inputs, labels, subjects, level, split_seed, args) -> dict:
    """Train and test on the folds of one split; accuracy and AUC over the pooled test images."""
    if level == "subject":
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=split_seed).split(inputs, labels, subjects)
    else:
        folds = StratifiedKFold(5, shuffle=True, random_state=split_seed).split(inputs, labels)
    truth, scores, tested, aucs = [], [], set(), []
    for number, (train, test) in enumerate(folds):
        if model == "finetuned" and number >= args.finetune_folds:
            break
        if level == "subject":
            assert not set(subjects[train]) & set(subjects[test])
        fit = finetune if model == "finetuned" else regression
        scores.append(fit(inputs[train], labels[train], inputs[test], split_seed, args))
        truth.append(labels[test])
        tested |= set(subjects[test])
        aucs.append(roc_auc_score(truth[-1], scores[-1]))
    truth, scores = np.concatenate(truth), np.concatenate(scores)
    return {
        "split_by": level,
        "split_seed": split_seed,
        "test_images": len(truth),
        "test_subjects": len(tested),
        "accuracy": round(float(accuracy_score(truth, scores > 0.5)), 4),
        "auc": round(float(np.mean(aucs)), 4),
    }


def regression(train, labels, test, seed, args) -> np.ndarray:
    strength = 0.003 if train.shape[1] > 100 else 1.0
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))
    return model.fit(train, labels).predict_proba(test)[:, 1]


def model_name(model: str, args: argparse.Namespace) -> str:
    backbone = args.backbone if args.weights else "small network"
    return f"{model} ({backbone})" if model in ("features", "finetuned") else model


def build_backbone(args: argparse.Namespace):
    """Return a pooled backbone and the function that its pixels go through."""
    import keras

    shape = (args.image_size, args.image_size, 3)
    file = args.weights / f"{args.backbone.lower()}_notop.weights.h5"
    constructor = getattr(keras.applications, args.backbone)
    module = {"MobileNetV2": "mobilenet_v2", "EfficientNetB0": "efficientnet"}
    module = module.get(args.backbone, args.backbone.lower())
    backbone = constructor(weights=str(file), include_top=False, pooling="avg", input_shape=shape)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return backbone, getattr(keras.applications, module).preprocess_input


def resized(images: np.ndarray, size: int) -> np.ndarray:
    if images.shape[1] == size:
        return images
    return np.stack([cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images])


def backbone_features(images: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    backbone, preprocess = build_backbone(args)
    pixels = preprocess(resized(images, args.image_size).astype("float32"))
    return backbone.predict(pixels, batch_size=32, verbose=0)


def finetune(train, labels, test, seed, args) -> np.ndarray:
    """Train a whole network with flips and quarter turns; return the probability of ALL for ``test``."""
    import keras

    keras.utils.set_random_seed(seed)
    if args.weights is None:
        backbone, preprocess = small_network(args.image_size), lambda pixels: pixels / 127.5 - 1
    else:
        backbone, preprocess = build_backbone(args)
        for layer in backbone.layers:  # 480 images are too few to estimate the moving statistics anew
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    outputs = keras.layers.Dense(1)(keras.layers.Dropout(0.2)(backbone.output))
    model = keras.Model(backbone.input, outputs)
    batch = 32
    steps = len(train) // batch
    rate = keras.optimizers.schedules.CosineDecay(
        1e-6, args.epochs * steps, warmup_target=args.learning_rate, warmup_steps=steps
    )
    loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.05)
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
    train = preprocess(resized(train, args.image_size).astype("float32"))
    test = preprocess(resized(test, args.image_size).astype("float32"))

    rng = np.random.default_rng(seed)
    turns = np.stack([rng.integers(0, 8, len(train)) for _ in range(args.epochs)])
    for epoch in range(args.epochs):
        order = rng.permutation(len(train))
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            pixels = np.stack([turned(train[i], turns[epoch, i]) for i in chosen])
            model.train_on_batch(pixels, labels[chosen, None].astype("float32"))
    views = [turned(test, k, (1, 2)) for k in (0, 2)]
    logits = np.mean([model.predict(view, batch_size=64, verbose=0) for view in views], axis=0)
    keras.backend.clear_session()
    return 1 / (1 + np.exp(-logits[:, 0]))


def turned(pixels: np.ndarray, which: int, axes: tuple[int, int] = (0, 1)) -> np.ndarray:
    """One of the eight ways to lay a square, ``which`` from 0."""
    pixels = np.rot90(pixels, which % 4, axes)
    return np.ascontiguousarray(np.flip(pixels, axes[1]) if which >= 4 else pixels)


def small_network(size: int):
    import keras

    inputs = x = keras.Input((size, size, 3))
    for width in (32, 64, 128, 256):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = keras.layers.GroupNormalization(8)(x)
        x = keras.layers.Activation("relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))


def write_results(rows: pd.DataFrame, args: argparse.Namespace) -> None:
    write_text(args.out / "sample_difficulty.csv", rows.to_csv(index=False, lineterminator="\n"))
    summary, names = [], ("mean", "min", "max")
    for model in rows["model"].unique():
        one = rows[rows["model"] == model]
        entry = {"model": model}
        for level in LEVELS:
            chosen = one[one["split_by"] == level]
            entry[f"by_{level}"] = {
                "runs": len(chosen),
                "test_images": int(chosen["test_images"].sum()),
            } | {
                measure: {name: round(float(getattr(chosen[measure], name)()), 4) for name in names}
                for measure in ("accuracy", "auc")
            }
        entry["flattery_points"] = round(
            100 * (entry["by_image"]["accuracy"]["mean"] - entry["by_subject"]["accuracy"]["mean"]), 2
        )
        summary.append(entry)
        print(model, *(entry[f"by_{level}"]["accuracy"] for level in LEVELS), entry["flattery_points"])
    settings = {
        "sample_version": VERSION,
        "synthetic": True,
        "weights": "ImageNet" if args.weights else "random",
        "epochs": args.epochs,
        "image_size": args.image_size,
        "learning_rate": args.learning_rate,
        "finetune_folds": args.finetune_folds,
        "majority_accuracy": round(17 / 30, 4),
    }
    write_json(args.out / "sample_difficulty.json", {"settings": settings, "models": summary})


if __name__ == "__main__":
    main()
