"""System 001: the VGG16, VGG19 and "Xception" that its attention model was compared with.

Command::

    python experiments/run.py transfer_xception_001                       # the embedded synthetic sample
    python experiments/run.py transfer_vgg16_001 --data FOLDER            # and _vgg19_, _xception_
    python experiments/run.py transfer_xception_001_as_published --data FOLDER

VGG: all numbers of the last map, Dense 4096, 1024 and 256 with ReLU and dropout, a softmax over 2. Xception: global
average, Dense 1024, 512 and 128, a softmax over 2. The originals also have channel attention behind the backbone,
batch normalisation in the head and three rates of dropout, which the model ``transfer`` has not.

What the original reported: weighted F1 on validation images, at the best epoch chosen by it: VGG16 .8683, VGG19 .5001
(collapsed), "Xception" .8933, on splits that hold augmented copies. The VGG16 92.60, VGG19 91.75 and Xception 90.76 of
its README were not trained there; 92.60 is a figure of Oliveira and Dantas (2021).

Corrected in the defaults, kept in the ``_as_published`` recipes:

- "Xception" was a ResNet-50: loading Xception failed, and the code fell back on the other without a word in the
  tables;
- the focal loss weighs HEM three times as much as ALL (alpha .75 and .25) on balanced data; here alpha is .5 for both
  and each class weighs by its inverse frequency.

Not as the original, in all of them: it trained head (1e-4) and backbone (1e-5) at once, with cosines that restart after
10 and 30 epochs; here the head goes first, then everything at 1e-5, each down one cosine. The split is by subject
wherever subjects are known.
"""

from __future__ import annotations

from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.recipes.card import Card
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe
from leukemia_tf.recipes.small import for_sample, for_smoke
from leukemia_tf.training.phase import Phase

# Name in print -> weighted F1, backbone, what it really was, pooling, dense layers.
_BASELINES = {
    "VGG16": (".8683", "vgg16", "vgg16", "flatten", [4096, 1024, 256]),
    "VGG19": (".5001", "vgg19", "vgg19", "flatten", [4096, 1024, 256]),
    "Xception": (".8933", "xception", "resnet50", "avg", [1024, 512, 128]),
}

_OPTIMIZER = {
    "optimizer": "adamw",
    "optimizer_config": {"weight_decay": 1e-5, "global_clipnorm": 1.0},
    "schedule": "cosine",
    "patience": 20,
    "min_delta": 0.001,
}


def _recipe(printed: str, as_published: bool) -> Recipe:
    score, named, real, pooling, dense = _BASELINES[printed]
    done = "kept" if as_published else "corrected"
    fallback = () if named == real else (f"Xception that was a ResNet-50: {done}",)
    return Recipe(
        name=f"transfer_{printed.lower()}_001" + ("_as_published" if as_published else ""),
        verdict=VerdictRules.fixed() if as_published else VerdictRules(),
        title=f"{printed} with a dense head, two phases ("
        + (f"system 001, with its faults{': a ResNet-50' if fallback else ''})" if as_published else "system 001)"),
        model=ModelSpec(
            "transfer",
            {
                "backbone": real if as_published else named,
                "pooling": pooling,
                "dense": dense,
                "dropout": 0.5,
                "two_class_units": 2,
                "as_published": False,  # its pixels were what the backbones want
            },
        ),
        data=DataSpec(
            image_size=224,
            batch_size=16,
            policy="published_001_baselines",
            fractions=(0.8, 0.1, 0.1),
            balance="none" if as_published else "class_weight",
        ),
        phases=(
            Phase("head", layers="head", epochs=10, learning_rate=1e-4, **_OPTIMIZER),
            Phase(
                "fine-tune",
                layers="all",
                epochs=90,
                learning_rate=1e-5,
                freeze_batchnorm=not as_published,
                **_OPTIMIZER,
            ),
        ),
        loss="categorical_focal_crossentropy",
        loss_config={"alpha": [0.75, 0.25] if as_published else 0.5, "gamma": 2.0},
        monitor="val_f1_weighted",
        mode="max",
        on_sample=for_sample(80 if named == "xception" else 48, 16, {"head": 2, "fine-tune": 2}),
        on_smoke=for_smoke("head", "fine-tune", backbone="mobilenetv2", dense=[32, 16]),
        card=Card(
            system="001",
            source="DouglasBragaMestrado/tf_efficientnetv2_b3-C-NMC-2019, train_cnn.ipynb",
            reported=f"weighted F1 {score}",
            protocol="validation, best epoch selected on it, splits that hold augmented copies",
            faults=(
                *fallback,
                f"HEM weighed threefold on balanced data: {done}",
                "more images in its splits than the data set has: corrected",
            ),
        ),
    )


RECIPES = {
    recipe.name: recipe for recipe in (_recipe(name, published) for published in (False, True) for name in _BASELINES)
}
