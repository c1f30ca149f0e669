"""System 000 as it was meant, and any trained run as the teacher of a small student.

Command::

    python experiments/run.py mlffakd --data FOLDER                          # trains EfficientNetB3, then ResNet-18
    python experiments/run.py mlffakd_as_published --data FOLDER
    python experiments/run.py mlffakd_tiny --data FOLDER --teacher runs/mlffakd_teacher-...
    python experiments/run.py distil_ensemble --data FOLDER --teacher runs/ensemble-...
    python experiments/run.py bloodmnist_cnn_se --data FOLDER --teacher RUN  # any recipe of a network learns as well

``--teacher`` takes the folder of a finished run of a network with the same classes, of any size and kind; the student
then is judged on the teacher's split. Without it the teacher is trained first, in the folder ``teacher`` of the run.
After the training the student is a model like any other: ``model.keras`` holds it alone. ``agreement.json`` says how
far it says what its teacher says.

What the original reported: accuracy .9833 of the student and .9861 of the teacher, 354 and 355 of 360 test images on a
split by image (see `mlffakd_student`), which cannot tell the two apart.

MLFFAKD stands for multi-layer feature fusion, attention and knowledge distillation. What the original runs is the
last alone: half the cross-entropy, half the divergence of answers softened by a temperature of 7. Modules for
attention (1x1 convolution, ReLU, squeeze and excitation, for maps of 64, 128 and 256 channels) and for fusion (448
channels to 256) are defined and never called. Here they are: each tap's map of the student projected onto the
teacher's (``features``), where each map is strong (``attention``), and all three fused (``fusion``), each with a
weight of its own. A weight of 0 leaves a term out, such as ``--set distillation.fusion=0``. The original gives no
weights for them; these are chosen by us.

Corrected in ``mlffakd``, kept in ``mlffakd_as_published``: the terms that were never called; the missing square of
the temperature, without which the divergence's gradient is a 49th; dropout on the logits; the cyclic rate, stepped
with each batch; no augmentation. Corrected in both: the teacher runs in inference mode, where the original left it in
training mode (answers that depend on the batch, statistics that drift); the best epoch is tested; the teacher gets
the pixels that its weights want. The student is larger than its teacher in both, as published: 11.2 against 10.8
million parameters.

``mlffakd_tiny`` has a student that is small: 0.37 million parameters, a 29th, and 5.5 times fewer operations.
``distil_ensemble`` puts the ensemble of system 002 into the same student, a 265th of its parameters. What each term
is worth is measured by ``experiments/benchmarks/distillation.py``: on PBC-64, with EfficientNetB0 as the teacher
(.984), a student of a nineteenth of its parameters, twelve epochs and three seeds, the student alone reaches .974, with
softened logits .977, with feature maps too .976, with attention and fused maps too .976 (3,421 test images, each within
about .005). The logits gain in every seed, though in none more than luck could; fusion and attention add nothing to
them. Whether they pay in a long training, as is known of softened logits (Beyer et al., "Knowledge distillation: A good
teacher is patient and consistent", CVPR 2022), was not measured.
"""

from __future__ import annotations

import dataclasses

from leukemia_tf.recipes.card import Card
from leukemia_tf.recipes.mlffakd import RECIPES as ALONE
from leukemia_tf.recipes.recipe import DataSpec, ModelSpec, Recipe
from leukemia_tf.recipes.small import for_sample, for_smoke
from leukemia_tf.training.distillation.settings import Distillation
from leukemia_tf.training.phase import Phase

_STUDENT, _PUBLISHED = ALONE["mlffakd_student"], ALONE["mlffakd_student_as_published"]
_MEANT = Distillation(
    teacher_recipe="mlffakd_teacher", temperature=7.0, features=0.25, attention=0.25, fusion=0.25, fusion_width=256
)
_TINY_PHASE = Phase(
    "all",
    epochs=40,
    learning_rate=2e-3,
    optimizer="adamw",
    optimizer_config={"weight_decay": 1e-4},
    schedule="one_cycle",
)
_NO_DOWNLOAD = {"distillation.teacher_weights": "none"}
_SMALL_TEACHER = {**_NO_DOWNLOAD, "distillation.teacher_recipe": "bloodmnist_cnn_bn"}

_MLFFAKD = dataclasses.replace(
    _STUDENT,
    name="mlffakd",
    title="ResNet-18 taught by EfficientNetB3: logits, features, attention and fused maps (system 000)",
    distillation=_MEANT,
    on_smoke={**_STUDENT.on_smoke, **_NO_DOWNLOAD},
    card=dataclasses.replace(
        _STUDENT.card,
        faults=(
            "fusion and attention defined and never called: corrected",
            "no square of the temperature: corrected",
            "teacher in training mode: corrected",
            *_STUDENT.card.faults,
        ),
    ),
)

_AS_PUBLISHED = dataclasses.replace(
    _PUBLISHED,
    name="mlffakd_as_published",
    title="ResNet-18 taught by EfficientNetB3 as it ran: logits alone (system 000)",
    distillation=Distillation(teacher_recipe="mlffakd_teacher", temperature=7.0, temperature_squared=False),
    on_smoke={**_PUBLISHED.on_smoke, **_SMALL_TEACHER},
    card=dataclasses.replace(
        _PUBLISHED.card,
        faults=(
            "fusion and attention defined and never called: kept",
            "no square of the temperature: kept",
            "teacher in training mode: corrected",
            *_PUBLISHED.card.faults,
        ),
    ),
)

_TINY = Recipe(
    name="mlffakd_tiny",
    title="A small student taught by EfficientNetB3 (after system 000)",
    model=ModelSpec("mlffakd_tiny_student", {"dropout": 0.2, "width": 1.0}, weights="none"),
    data=DataSpec(image_size=224, batch_size=32, policy="d4", fractions=(0.8, 0.1, 0.1)),
    phases=(_TINY_PHASE,),
    monitor="val_accuracy",
    mode="max",
    distillation=dataclasses.replace(_MEANT, temperature=4.0),
    on_sample=for_sample(64, 32, {"all": 15}),
    on_smoke={**for_smoke("all"), **_SMALL_TEACHER},
    card=Card(system="000", source=_STUDENT.card.source, faults=("a student larger than its teacher: corrected",)),
)

_ENSEMBLE = dataclasses.replace(
    _TINY,
    name="distil_ensemble",
    title="The ensemble of system 002, or any trained run, in a small student",
    data=DataSpec(image_size=224, batch_size=32, policy="d4"),
    distillation=Distillation(teacher_recipe="ensemble", temperature=4.0),
    card=_TINY.card,
)

RECIPES = {recipe.name: recipe for recipe in (_MLFFAKD, _AS_PUBLISHED, _TINY, _ENSEMBLE)}
