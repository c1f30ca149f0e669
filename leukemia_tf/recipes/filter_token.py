"""System 002-C: the filter-token classifier (ALL or healthy) of Automated-Leukemia-Diagnosis.

Command::

    python experiments/run.py filter_token                    # the embedded synthetic sample
    python experiments/run.py filter_token --data FOLDER      # real images

EfficientNetB0's 49 positions are keys and values for 64 learned filter tokens (cross-attention of 8 heads), then two
self-attention blocks, the mean token, Dense 512 ReLU, Dropout .4, Dense 1 sigmoid; 10,794,148 parameters.

What the original reported: accuracy .9122 on 592 images (confusion matrix HEM [289, 28], ALL [24, 251]), in its README;
on which split is not said. Its code is not public, so there is nothing to keep or correct, and no ``as_published``.

Unknown, and chosen here: optimizer, learning rate, schedule, which layers train, batch size, augmentation and split.
The tokens start at random before a finished backbone, so they train alone first (AdamW 5e-4, one epoch of warm-up, as
transformers want it), then everything at a twentieth of that rate, both down a cosine. Chosen, not measured.
"""

from __future__ import annotations

from leukemia_tf.recipes.card import Card
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe
from leukemia_tf.recipes.small import for_sample, for_smoke
from leukemia_tf.training.phase import Phase

_DEFAULT = Recipe(
    name="filter_token",
    title="Filter-token CNN-Transformer (system 002-C), two phases",
    model=ModelSpec("filter_token", {"backbone": "efficientnetb0"}),
    data=DataSpec(image_size=224, batch_size=32, policy="cells"),
    phases=(
        Phase(
            "head",
            layers="head",
            epochs=10,
            learning_rate=5e-4,
            optimizer="adamw",
            optimizer_config={"weight_decay": 1e-4},
            schedule="cosine",
            warmup_epochs=1,
            patience=4,
        ),
        Phase(
            "fine-tune",
            layers="all",
            epochs=15,
            learning_rate=2.5e-5,
            optimizer="adamw",
            optimizer_config={"weight_decay": 1e-4},
            schedule="cosine",
            warmup_epochs=1,
            patience=5,
        ),
    ),
    on_sample=for_sample(64, 32, {"head": 3, "fine-tune": 2}),
    on_smoke=for_smoke("head", "fine-tune", image_size=64, backbone="mobilenetv2"),  # a map of 2 x 2
    card=Card(
        system="002-C",
        source="yaniv-11/Automated-Leukemia-Diagnosis (README only)",
        reported="accuracy .9122, n = 592",
        protocol="not said; the code is not public",
    ),
)

RECIPES = {_DEFAULT.name: _DEFAULT}
