"""System 001-A, extras: handcrafted features and classical classifiers, beside its attention CNN.

Command::

    python experiments/run.py handcrafted                     # the embedded synthetic sample
    python experiments/run.py handcrafted --data FOLDER       # real images
    python experiments/run.py handcrafted_fusion --data FOLDER
    python experiments/run.py handcrafted_as_published --data FOLDER

1434 features of an image: 66 of colour (RGB, HSV), 75 of grey-level co-occurrence and edges, 19 of the cell's shape,
160 Fourier descriptors of its outline, 1024 of the cosine transform, 36 of Gabor filters, 54 of local binary patterns;
StandardScaler, principal components with 95 % of the variance, a classifier. There is nothing to train by gradients, so
these recipes have no phases and no augmentation.

``handcrafted`` is the mean probability of naive Bayes, 5 nearest neighbours, a random forest and logistic regression.
``handcrafted_fusion`` puts the pooled features of a frozen EfficientNetB0 beside the 1434.
``handcrafted_as_published`` is the original's "hybrid": it was given the image and the features, and its network used
the features only (512, 256, 2 units, Adam 3e-5, batches of 16, 50 epochs; here without dropout and class weights).

What the original reported, weighted F1 on its validation split, by which each was chosen: soft vote .8398, hybrid
.7069, alpha integration (the power mean of the five best, .3) .8492, where its network alone had .9555.

Corrected in ``handcrafted`` and ``handcrafted_fusion``, kept in ``handcrafted_as_published``:

- the hybrid is a hybrid: the features of a network are used.

Corrected in all three:

- eccentricity was not a number for every cell and became 0, the energy of the grey image was summed in 8 bits;
- the outline's points were not equally spaced, and 0 stood for a constant among its descriptors;
- the cell was all above the grey level 30, which is right on black (C-NMC) only; here it is found by Otsu's threshold;
- scaler, components and classifiers were compared on the split whose figure was reported; here nothing is chosen, and
  the test split is read once;
- augmented copies lay in all three splits; here the images are those of the data set, split by subject.
"""

from __future__ import annotations

import dataclasses

from leukemia_tf.evaluation.rules import VerdictRules
from leukemia_tf.recipes.card import Card
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe

_FAMILIES = ["color", "glcm", "morphology", "contour", "dct", "gabor", "lbp"]
_OPTIONS = {
    "classifier": "vote",
    "families": _FAMILIES,
    "cnn_features": None,
    "variance": 0.95,
    "as_published": False,
}
_SMOKE = {
    "data.image_size": 32,
    "data.batch_size": 8,
    "data.max_train_images": 16,
    "data.max_val_images": 8,
    "bootstrap": 50,
}
_PROTOCOL = "validation, selected on it; augmented copies in all splits"
_SOURCE = "DouglasBragaMestrado/leukemia_cnn"

_VOTE = Recipe(
    name="handcrafted",
    title="Handcrafted features, soft vote of four classifiers (system 001-A, extras)",
    model=ModelSpec("handcrafted", _OPTIONS, weights="none"),
    data=DataSpec(image_size=224, policy="none"),
    phases=(),
    card=Card(
        system="001-A",
        source=_SOURCE,
        reported="F1 .8398 (weighted)",
        protocol=_PROTOCOL,
        faults=(
            "features that were never a number or constant: corrected",
            "cell found on a black background only: corrected",
            "figure on the split that chose the model: corrected",
        ),
    ),
    on_sample={"data.image_size": 128},
    on_smoke=_SMOKE,
)

_FUSION = dataclasses.replace(
    _VOTE,
    name="handcrafted_fusion",
    title="Handcrafted features with those of a frozen EfficientNetB0, soft vote (what system 001-A meant by hybrid)",
    model=ModelSpec("handcrafted", {**_OPTIONS, "cnn_features": "efficientnetb0"}),
    card=dataclasses.replace(
        _VOTE.card,
        reported="",
        protocol="",
        faults=("the hybrid ignored the image: corrected", *_VOTE.card.faults),
    ),
    on_smoke={**_SMOKE, "model.options.cnn_features": "mobilenetv2"},
)

_AS_PUBLISHED = dataclasses.replace(
    _VOTE,
    name="handcrafted_as_published",
    verdict=VerdictRules.fixed(),
    title="The hybrid as system 001-A ran it: a network on handcrafted features that never sees the image",
    model=ModelSpec(
        "handcrafted",
        {**_OPTIONS, "classifier": "mlp", "cnn_features": "efficientnetb0", "as_published": True},
        weights="none",
    ),
    card=dataclasses.replace(
        _VOTE.card,
        reported="F1 .7069 (weighted)",
        faults=("the hybrid ignored the image: kept", *_VOTE.card.faults),
    ),
)

RECIPES = {recipe.name: recipe for recipe in (_VOTE, _FUSION, _AS_PUBLISHED)}
