"""System 002-B: the two other detection networks of Automated-Leukemia-Diagnosis.

Command::

    python experiments/run.py efficientnetb3_max              # the embedded synthetic sample
    python experiments/run.py efficientnetb3_max --data FOLDER
    python experiments/run.py basic_cnn --data FOLDER
    python experiments/run.py efficientnetb3_max_as_published --data FOLDER
    python experiments/run.py basic_cnn_as_published --data FOLDER

``efficientnetb3_max``: EfficientNetB3 with maximum pooling, BatchNormalization, Dense 256 ReLU with L1 and L2
penalties, Dropout .45, Dense 1 sigmoid; 11,183,408 parameters, of which the head has 396,801 that train.
``basic_cnn``: convolutions of 32, 64 and 95 filters, Dense 128 ReLU, Dropout .5, a softmax over 2; 8,294,753
parameters.

What the original reported: EfficientNetB3 .8475 on 1,200 validation images (its best epoch, the ninth of ten), basic
CNN .88 on 50 validation images. Both sets hold augmented copies and were split by image. Neither was tested.

Corrected in the defaults, kept in the ``_as_published`` recipes:

- the last 100 layers of EfficientNetB3 were opened and compiled at Adamax 1e-5, but never trained; here they are a
  second phase, batch normalisation frozen;
- the basic CNN saw 750 images for 3 epochs; here all of them, for up to 30, with early stopping;
- its softmax was trained with binary cross-entropy. For two classes that is the same number as categorical
  cross-entropy (both terms are equal, and averaged), so nothing changes here; for more classes it would;
- its ``augment=True`` never augmented anything, and EfficientNetB3 had no augmentation: policy ``none``.

Corrected everywhere: the split is by subject wherever subjects are known. The optimizer of the basic CNN is not in the
part that could be read; Adam at Keras's 1e-3 stands in for it.
"""

from __future__ import annotations

from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.recipes.card import Card
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe
from leukemia_tf.recipes.small import for_sample, for_smoke
from leukemia_tf.training.phase import Phase

_SOURCE = {"system": "002-B", "source": "yaniv-11/Automated-Leukemia-Diagnosis"}
_B3 = {
    **_SOURCE,
    "reported": "accuracy .8475, n = 1,200",
    "protocol": "validation, best of ten epochs, image-level split of an augmented set with copies of one cell",
}
_CNN = {
    **_SOURCE,
    "reported": "accuracy .88, n = 50",
    "protocol": "validation, image-level split of an augmented set with copies of one cell",
}

_EFFICIENTNETB3_MAX = Recipe(
    name="efficientnetb3_max",
    title="EfficientNetB3 with maximum pooling (system 002-B), two phases",
    model=ModelSpec("efficientnetb3_max", {"backbone": "efficientnetb3", "norm_momentum": 0.99}),
    data=DataSpec(image_size=224, batch_size=16, policy="cells"),
    phases=(
        Phase("head", layers="head", epochs=10, learning_rate=1e-4, optimizer="adamax", patience=4),
        Phase("fine-tune", layers="top:100", epochs=10, learning_rate=1e-5, optimizer="adamax", patience=4),
    ),
    on_sample={
        **for_sample(64, 32, {"head": 3, "fine-tune": 2}, norm_momentum=0.9),  # 360 training images are few steps
        "phases.head.learning_rate": 1e-3,
        "phases.fine-tune.learning_rate": 1e-4,
    },
    on_smoke=for_smoke("head", "fine-tune", backbone="mobilenetv2"),
    card=Card(
        **_B3,
        faults=(
            "second phase compiled and never trained: corrected",
            "no augmentation: corrected",
            "split by image: corrected",
        ),
    ),
)

_EFFICIENTNETB3_MAX_AS_PUBLISHED = Recipe(
    name="efficientnetb3_max_as_published",
    verdict=VerdictRules.fixed(),
    title="EfficientNetB3 with maximum pooling as system 002-B ran it, head only",
    model=ModelSpec("efficientnetb3_max", {"backbone": "efficientnetb3", "norm_momentum": 0.99}),
    data=DataSpec(image_size=224, batch_size=16, policy="none", fractions=(0.8, 0.12, 0.08)),
    phases=(
        Phase("head", layers="head", epochs=10, learning_rate=1e-4, optimizer="adamax", frozen_dropout=True),
    ),
    feature_views=0,
    on_sample=for_sample(64, 32, {"head": 5}, norm_momentum=0.9),
    on_smoke=for_smoke("head", backbone="mobilenetv2"),
    card=Card(
        **_B3,
        faults=(
            "second phase compiled and never trained: kept",
            "no augmentation: kept",
            "split by image: corrected",
        ),
    ),
)

_BASIC_CNN = Recipe(
    name="basic_cnn",
    title="Three convolutions from scratch (system 002-B)",
    model=ModelSpec("basic_cnn", {"dropout": 0.5}, weights="none"),
    data=DataSpec(image_size=224, batch_size=32, policy="cells"),
    phases=(Phase("train", epochs=30, learning_rate=1e-3, patience=6, plateau_patience=3),),
    on_sample=for_sample(64, 32, {"train": 10}),
    on_smoke=for_smoke("train"),
    card=Card(
        **_CNN,
        faults=(
            "binary cross-entropy on a softmax (for two classes the same number): corrected",
            "750 images, 3 epochs: corrected",
            "augmentation that never ran: corrected",
            "split by image: corrected",
        ),
    ),
)

_BASIC_CNN_AS_PUBLISHED = Recipe(
    name="basic_cnn_as_published",
    verdict=VerdictRules.fixed(),
    title="Three convolutions from scratch as system 002-B ran them: 750 images, 3 epochs",
    model=ModelSpec("basic_cnn", {"dropout": 0.5}, weights="none"),
    data=DataSpec(image_size=224, batch_size=32, policy="none", max_train_images=750, max_val_images=50),
    phases=(Phase("train", epochs=3, learning_rate=1e-3),),
    loss="binary_crossentropy",
    on_sample=for_sample(64, 32, {"train": 3}),
    on_smoke=for_smoke("train"),
    card=Card(
        **_CNN,
        faults=(
            "binary cross-entropy on a softmax (for two classes the same number): kept",
            "750 images, 3 epochs: kept",
            "augmentation that never ran: kept",
            "split by image: corrected",
        ),
    ),
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        _EFFICIENTNETB3_MAX,
        _EFFICIENTNETB3_MAX_AS_PUBLISHED,
        _BASIC_CNN,
        _BASIC_CNN_AS_PUBLISHED,
    )
}
