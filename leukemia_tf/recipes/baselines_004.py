"""System 004: the five frozen baselines that its attention model was compared with.

Command::

    python experiments/run.py transfer_efficientnetb0_004                     # the embedded synthetic sample
    python experiments/run.py transfer_resnet50_004 --data FOLDER             # also inceptionv3, densenet121, vgg19
    python experiments/run.py transfer_resnet50_004_as_published --data FOLDER

A frozen ImageNet backbone, global average pooling (ResNet50: all 100,352 numbers of its last map), Dense 256 ReLU,
Dropout .5, a softmax over 2. Trainable: ResNet50 25.69 million, EfficientNetB0 .328, InceptionV3 (299 pixels) .525,
DenseNet121 .263, VGG19 .132.

What the original reported, validation accuracy at the last of 100 epochs (training in brackets): ResNet50 .8749
(.8450), EfficientNetB0 .8649 (.8595), InceptionV3 .8186 (.8106), DenseNet121 .8518 (.8498), VGG19 .8443 (.8689), on
an image-level split in which the patients of C-NMC are shared. The test figures are random pairing, see
``mha_efficientnet``.

Corrected in the defaults, kept in the ``_as_published`` recipes:

- all backbones got raw pixels of 0..255, which of these only EfficientNet wants (so it has no ``_as_published``);
- of the augmentation that the paper describes only the horizontal flip ran; here the described list does
  (``published_004_described``);
- 100 epochs without a stop rule; here early stopping and a smaller rate on a plateau.

Corrected everywhere: the split is by subject wherever subjects are known; the best epoch is kept, not the last.
"""

from __future__ import annotations

from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.recipes.card import Card
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe
from leukemia_tf.recipes.small import for_sample, for_smoke
from leukemia_tf.training.phase import Phase

# Backbone -> its name in print, validation accuracy at the last epoch, image size, pooling.
_BASELINES = {
    "resnet50": ("ResNet50", ".8749", 224, "flatten"),
    "efficientnetb0": ("EfficientNetB0", ".8649", 224, "avg"),
    "inceptionv3": ("InceptionV3", ".8186", 299, "avg"),
    "densenet121": ("DenseNet121", ".8518", 224, "avg"),
    "vgg19": ("VGG19", ".8443", 224, "avg"),
}


def _recipe(backbone: str, as_published: bool) -> Recipe:
    printed, accuracy, size, pooling = _BASELINES[backbone]
    done = "kept" if as_published else "corrected"
    faults = () if backbone == "efficientnetb0" else (f"backbone fed raw pixels: {done}",)
    phase = Phase("head", layers="head", epochs=100, learning_rate=1e-3, frozen_dropout=True)
    if not as_published:
        phase = Phase("head", layers="head", epochs=100, learning_rate=1e-3, patience=10, plateau_patience=5)
    return Recipe(
        name=f"transfer_{backbone}_004" + ("_as_published" if as_published else ""),
        verdict=VerdictRules.fixed() if as_published else VerdictRules(),
        title=f"Frozen {printed} with a dense head " + ("as system 004 ran it" if as_published else "(system 004)"),
        model=ModelSpec(
            "transfer",
            {
                "backbone": backbone,
                "pooling": pooling,
                "dense": [256],
                "dropout": 0.5,
                "two_class_units": 2,
                "as_published": as_published,
            },
        ),
        data=DataSpec(
            image_size=size,
            batch_size=32,
            policy="published_004" if as_published else "published_004_described",
            fractions=(0.7, 0.15, 0.15),
        ),
        phases=(phase,),
        feature_views=0 if as_published else 4,
        on_sample=for_sample(80 if backbone == "inceptionv3" else 64, 32, {"head": 5}),
        on_smoke=for_smoke("head", backbone="mobilenetv2"),
        card=Card(
            system="004",
            source="Jaffer74/Automated-Leukemia-Detection, notebook and report",
            reported=f"accuracy {accuracy}, n = 1,599",
            protocol="validation, last of 100 epochs, image-level split that shares patients; its test figures are "
            "random pairing",
            faults=(
                *faults,
                f"described augmentation never used: {done}",
                "test labels in another order than the predictions: corrected",
                "split by image: corrected",
            ),
        ),
    )


_ALL = [_recipe(backbone, False) for backbone in _BASELINES] + [
    _recipe(backbone, True) for backbone in _BASELINES if backbone != "efficientnetb0"
]

RECIPES = {recipe.name: recipe for recipe in _ALL}
