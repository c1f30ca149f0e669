"""System 004: EfficientNetB0 with multi-head attention (Jaffer74, Automated-Leukemia-Detection).

Command::

    python experiments/run.py mha_efficientnet                # the embedded synthetic sample
    python experiments/run.py mha_efficientnet --data FOLDER  # real images
    python experiments/run.py mha_efficientnet_as_published --data FOLDER

EfficientNetB0, multi-head attention (4 heads, key_dim 1280) over the 49 positions of its last map, pooling, Dense 256
and Dense 128 with LeakyReLU .1, BatchNormalization and dropout, a softmax over 2; 30,643,237 parameters.

What the original reported: validation accuracy .9406 (training .9822) at the last of 100 epochs, on an image-level
split in which the patients of C-NMC are shared. Its test report (.56 to .59 for every model) compares shuffled
predictions with labels in file order and says nothing of the model.

Corrected in ``mha_efficientnet``, kept in ``mha_efficientnet_as_published``:

- attention came after pooling, over a sequence of one, where its weights are 1 always: 26 million parameters for one
  linear map. Here it sees the 49 positions, as the paper's text has it;
- "unfreeze the last 20 layers" did nothing, because nothing was frozen: all layers trained at Adam 1e-5 for 100 epochs.
  Here the head trains first, then the last 20 layers too, batch normalisation frozen;
- of the augmentation that the paper describes only the horizontal flip ran; here the described list does
  (``published_004_described``; its rescaling by 1/255 would be a second one, and is left out).

Corrected everywhere: the split is by subject wherever subjects are known; predictions keep the names of their images;
the best epoch is kept, where the original had the last. The rate and length of the head's phase are chosen, not
measured.
"""

from __future__ import annotations

from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.recipes.card import Card
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe
from leukemia_tf.recipes.small import for_sample, for_smoke
from leukemia_tf.training.phase import Phase

_SOURCE = {
    "system": "004",
    "source": "Jaffer74/Automated-Leukemia-Detection, notebook and report",
    "reported": "accuracy .9406, n = 1,599",
    "protocol": "validation, last of 100 epochs, image-level split that shares patients; its test figures are random "
    "pairing",
}

_CORRECTED = Recipe(
    name="mha_efficientnet",
    title="EfficientNetB0 with attention over its 49 positions (system 004), two phases",
    model=ModelSpec("mha_efficientnet", {"as_published": False, "backbone": "efficientnetb0"}),
    data=DataSpec(image_size=224, batch_size=32, policy="published_004_described", fractions=(0.7, 0.15, 0.15)),
    phases=(
        Phase("head", layers="head", epochs=10, learning_rate=1e-4, patience=4),
        Phase("fine-tune", layers="top:20", epochs=90, learning_rate=1e-5, patience=8),
    ),
    on_sample={
        **for_sample(64, 32, {"head": 3, "fine-tune": 2}),
        "phases.head.learning_rate": 1e-3,
        "phases.fine-tune.learning_rate": 1e-4,
    },
    on_smoke=for_smoke("head", "fine-tune", image_size=64, backbone="mobilenetv2"),  # a map of 2 x 2
    card=Card(
        **_SOURCE,
        faults=(
            "attention over a sequence of one: corrected",
            "freezing that froze nothing: corrected",
            "described augmentation never used: corrected",
            "test labels in another order than the predictions: corrected",
            "split by image: corrected",
        ),
    ),
)

_AS_PUBLISHED = Recipe(
    name="mha_efficientnet_as_published",
    verdict=VerdictRules.fixed(),
    title="EfficientNetB0 with multi-head attention as system 004 ran it, faults included",
    model=ModelSpec("mha_efficientnet", {"as_published": True, "backbone": "efficientnetb0"}),
    data=DataSpec(image_size=224, batch_size=32, policy="published_004", fractions=(0.7, 0.15, 0.15)),
    phases=(Phase("all", layers="all", epochs=100, learning_rate=1e-5, freeze_batchnorm=False),),
    on_sample=for_sample(64, 32, {"all": 4}),
    on_smoke=for_smoke("all", backbone="mobilenetv2"),
    card=Card(
        **_SOURCE,
        faults=(
            "attention over a sequence of one: kept",
            "freezing that froze nothing: kept",
            "described augmentation never used: kept",
            "test labels in another order than the predictions: corrected",
            "split by image: corrected",
        ),
    ),
)

RECIPES = {recipe.name: recipe for recipe in (_CORRECTED, _AS_PUBLISHED)}
