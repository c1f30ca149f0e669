"""System 002-A: the three-backbone concatenation ensemble of Automated-Leukemia-Diagnosis.

Command::

    python experiments/run.py ensemble                        # the embedded synthetic sample
    python experiments/run.py ensemble --data FOLDER          # real images
    python experiments/run.py ensemble_as_published --data FOLDER

EfficientNetB3, ResNet152V2 and ConvNeXtTiny, ImageNet weights, pooled and concatenated (4352 features), then
BatchNormalization, Dense 512 ReLU, Dropout .5, Dense 1 sigmoid; 99,181,968 parameters.

What the original reported: accuracy .9350 on 800 held-out images (confusion matrix [[398, 17], [35, 350]]), an
image-level split of an augmented set in which, by the generator's code, about a third of the healthy images are
copies of one cell. No figure for unseen subjects exists.

Corrected in ``ensemble``, kept in ``ensemble_as_published``:

- ResNet152V2 was fed pixels of 0..255 where it wants -1..1;
- one phase with the last 50 layers of each backbone open from the start, batch normalisation included, where the
  README describes two phases: head first, then the top of the backbones, batch normalisation frozen;
- the augmentation was defined and never applied (policy ``none``; the list it defined is ``published_002``);
- the decision threshold .7, which costs sensitivity, came from nowhere;
- the split was by image; both recipes here split by subject wherever subjects are known.

On the sample the image size and the epochs are cut so that the run ends in minutes on two CPU cores.
"""

from __future__ import annotations

from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.recipes.card import Card
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe
from leukemia_tf.training.phase import Phase

_BACKBONES = ["efficientnetb3", "resnet152v2", "convnexttiny"]

_SOURCE = {
    "system": "002-A",
    "source": "yaniv-11/Automated-Leukemia-Diagnosis",
    "reported": "accuracy .9350, n = 800",
    "protocol": "held-out images at threshold .7, image-level split of an augmented set with copies of one cell",
}

_CORRECTED = Recipe(
    name="ensemble",
    title="Concatenation ensemble of pretrained backbones (system 002-A), two phases",
    model=ModelSpec("ensemble", {"backbones": _BACKBONES, "as_published": False, "norm_momentum": 0.99}),
    data=DataSpec(image_size=224, batch_size=16, policy="cells"),
    phases=(
        Phase("head", layers="head", epochs=10, learning_rate=1e-3, patience=4, plateau_patience=2),
        Phase("fine-tune", layers="top:50", epochs=15, learning_rate=1e-4, patience=5, plateau_patience=3),
    ),
    on_sample={
        "model.options.norm_momentum": 0.9,  # 360 training images are few steps
        "data.image_size": 48,
        "data.batch_size": 32,
        "phases.head.epochs": 1,
        "phases.fine-tune.epochs": 2,
    },
    on_smoke={
        "data.image_size": 32,
        "data.batch_size": 8,
        "data.max_train_images": 16,
        "data.max_val_images": 8,
        "model.options.backbones": ["mobilenetv2", "efficientnetb0"],
        "phases.head.epochs": 1,
        "phases.fine-tune.epochs": 1,
        "bootstrap": 50,
    },
    card=Card(
        **_SOURCE,
        faults=(
            "ResNet152V2 fed raw pixels: corrected",
            "one phase with batch normalisation open: corrected",
            "augmentation defined and never applied: corrected",
            "threshold .7 without a reason: corrected",
            "split by image: corrected",
        ),
    ),
)

_AS_PUBLISHED = Recipe(
    name="ensemble_as_published",
    verdict=VerdictRules.fixed(0.7),
    title="Three-backbone ensemble as system 002-A ran it, faults included",
    model=ModelSpec("ensemble", {"backbones": _BACKBONES, "as_published": True, "norm_momentum": 0.99}),
    data=DataSpec(image_size=224, batch_size=16, policy="none", fractions=(0.8, 0.12, 0.08)),
    phases=(
        Phase(
            "single phase",
            layers="top:50",
            epochs=15,
            learning_rate=1e-4,
            patience=5,
            plateau_patience=3,
            freeze_batchnorm=False,
            frozen_dropout=True,
        ),
    ),
    on_sample={"data.image_size": 48, "data.batch_size": 32, "phases.0.epochs": 3},
    on_smoke={
        **{key: value for key, value in _CORRECTED.on_smoke.items() if not key.startswith("phases")},
        "phases.0.epochs": 1,
    },
    card=Card(
        **_SOURCE,
        faults=(
            "ResNet152V2 fed raw pixels: kept",
            "one phase with batch normalisation open: kept",
            "augmentation defined and never applied: kept",
            "threshold .7 without a reason: kept",
            "split by image: corrected",
        ),
    ),
)

RECIPES = {recipe.name: recipe for recipe in (_CORRECTED, _AS_PUBLISHED)}
