"""Teacher and student in one model that trains the student."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from leukemia_tf.errors import InputError
from leukemia_tf.layers._maps import resize_map
from leukemia_tf.models.taps import default_taps, run_with_taps, tap_shapes
from leukemia_tf.training.distillation.readings import Readings
from leukemia_tf.training.distillation.settings import Distillation

IMAGE = "image"
PROBABILITIES = "probabilities"


@keras.saving.register_keras_serializable(package="leukemia_tf")
class TapDistiller(keras.distillation.Distiller):
    """`keras.distillation.Distiller` for models that end in probabilities, with maps from inside nested backbones.

    Compile and fit it like any model; `student` is then trained and is an ordinary model. What differs from Keras:

    - The student runs once a step. Keras's runs it again for the features, with other dropout, and moves the
      statistics of its normalisation twice.
    - Sizes may differ: each network gets the images in its own size, whichever they come in. So may the form of two
      classes, one sigmoid unit or two softmax columns.
    - Logits are taken from in front of the last activation. One sigmoid unit of logit z counts as the logits (0, z).
    - Class weights and penalties on weights count, as in a training without a teacher.
    - In evaluation the teacher rests, and the loss is that of the labels: comparable with any other training's.

    The teacher is frozen and runs in inference mode; no gradient reaches it. Its fusion has weights of its own, which
    stay as they began: if both fusions learned, both would learn to agree on a constant.

    Args:
        teacher, student: functional models of images in [0, 255], with the same classes.
        settings: which terms, with which weights; its fields for finding a teacher are not looked at.
        name: of the model.

    Call arguments:
        inputs: images (B, S, S, 3) in [0, 255]; or ``{"image": images, key: a teacher's output, ...}`` with what
            `teacher_outputs` gave, and then the teacher is not asked.

    Returns:
        The student's probabilities. In training a dict of them and of everything that is compared.

    Raises:
        InputError: for models with other classes, or taps that are not there.
    """

    def __init__(self, teacher, student, settings: Distillation, name="distiller", **kwargs):
        _check_classes(teacher, student)
        terms = {}
        for term in settings.used:
            if term == "logits":
                # Not the loss's default, "kl_divergence": for the function of that name Keras 3.15 takes no softmax.
                divergence = keras.losses.KLDivergence()
                terms[term] = keras.distillation.LogitsDistillation(settings.temperature, divergence)
            else:
                terms[term] = keras.distillation.FeatureDistillation("mse")
        # Keras multiplies the divergence by the temperature squared.
        weights = {term: getattr(settings, term) for term in terms}
        if "logits" in weights and not settings.temperature_squared:
            weights["logits"] /= settings.temperature**2
        # Images stay float32 under a policy of mixed precision, as they do in front of a functional model.
        super().__init__(
            teacher, student, list(terms.values()), list(weights.values()), name=name, autocast=False, **kwargs
        )
        self.settings = settings
        self.teacher_taps, self.student_taps = _pair_taps(teacher, student, settings)
        shapes = tap_shapes(teacher, self.teacher_taps), tap_shapes(student, self.student_taps)
        self.teacher_readings = Readings(settings, shapes[0], shapes[1], fixed=True, name="teacher_readings")
        self.student_readings = Readings(settings, shapes[1], shapes[0], fixed=False, name="student_readings")
        self.term_trackers = [keras.metrics.Mean(name=f"{term}_loss") for term in ("hard", *terms)]

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """As `keras.Model.compile`; `loss` is a ``keras.losses.Loss`` of labels and probabilities."""
        if not isinstance(loss, keras.losses.Loss):
            raise InputError(f"`loss` is an object of `keras.losses`, of labels and probabilities. Received: {loss!r}")
        super().compile(optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def call(self, inputs, training=False):
        images = _sized(inputs[IMAGE] if isinstance(inputs, dict) else inputs, self.student)
        if not training:
            return self.student(images, training=False)
        if not self.settings.used:
            return {PROBABILITIES: self.student(images, training=True)}
        output, logits, maps = run_with_taps(self.student, images, self.student_taps, training=True)
        found = self.student_readings([maps[tap] for tap in self.student_taps], training=True)
        return {PROBABILITIES: output, "logits": _of_classes(logits), **found}

    def teacher_outputs(self, images) -> dict[str, Any]:
        """All of the teacher that the loss compares: logits (B, C), and what `Readings` gives of its maps."""
        _, logits, maps = run_with_taps(self.teacher, _sized(images, self.teacher), self.teacher_taps, training=False)
        found = self.teacher_readings([maps[tap] for tap in self.teacher_taps], training=False)
        if "logits" in self.settings.used:
            found["logits"] = _of_classes(logits)
        return {key: ops.stop_gradient(value) for key, value in found.items()}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The weighted sum of all terms; in evaluation, that of the labels."""
        learning = isinstance(y_pred, dict)
        hard = self._student_loss(y, y_pred[PROBABILITIES] if learning else y_pred, sample_weight)
        parts = [hard if not learning or self.settings.hard == 1 else self.settings.hard * hard]
        if learning:
            values = {"hard": hard}
            if self.settings.used:
                kept = isinstance(x, dict)
                given = {key: x[key] for key in x if key != IMAGE} if kept else self.teacher_outputs(x)
                for term, loss, weight in zip(
                    self.settings.used, self.distillation_losses, self.distillation_loss_weights, strict=True
                ):
                    pairs = [(given[key], y_pred[key]) for key in sorted(given) if key.split("_")[0] == term]
                    values[term] = sum(loss.compute_loss(*_float32(pair)) for pair in pairs) / len(pairs)
                    parts.append(weight * values[term])
            for tracker, value in zip(self.term_trackers, values.values(), strict=True):
                tracker.update_state(value)
        # As Keras adds them up, so that without any term a training is the same to the last bit.
        parts += [ops.sum(ops.cast(loss, hard.dtype)) for loss in self.losses]
        return ops.sum(parts) if len(parts) > 1 else parts[0]

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        if not isinstance(y_pred, dict):
            return super().compute_metrics(x, y, y_pred, sample_weight)
        found = super().compute_metrics(x, y, y_pred[PROBABILITIES], sample_weight)
        return {**found, **{tracker.name: tracker.result() for tracker in self.term_trackers}}

    @property
    def metrics(self):
        """Loss and compiled metrics; the terms are no metrics of an evaluation, in which the teacher rests."""
        own = (self.student_loss_tracker, self.distillation_loss_tracker, self.total_loss_tracker)
        hidden = {id(metric) for metric in (*own, *getattr(self, "term_trackers", ()))}
        return [metric for metric in super().metrics if id(metric) not in hidden]

    @property
    def metrics_variables(self):
        """With those of the terms: JAX carries only what is named here from step to step."""
        return super().metrics_variables + [v for metric in self.term_trackers for v in metric.variables]

    def reset_metrics(self):
        super().reset_metrics()
        for tracker in self.term_trackers:
            tracker.reset_state()

    def get_config(self):
        return {
            "teacher": keras.saving.serialize_keras_object(self.teacher),
            "student": keras.saving.serialize_keras_object(self.student),
            "settings": dataclasses.asdict(self.settings),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        models = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("teacher", "student")}
        settings = {key: tuple(item) if isinstance(item, list) else item for key, item in config["settings"].items()}
        return cls(**models, settings=Distillation(**settings), name=config["name"])

    # Keras asks both networks for equal inputs and outputs here; what must be equal is checked above.

    def _validate_input_compatibility(self, teacher, student):
        pass

    def _validate_output_compatibility(self, teacher, student):
        pass


def _check_classes(teacher: keras.Model, student: keras.Model) -> None:
    classes = [max(2, model.output_shape[-1]) for model in (teacher, student)]
    if classes[0] != classes[1]:
        raise InputError(f"`teacher` and `student` have the same classes. Received: {classes[0]} and {classes[1]}")


def _pair_taps(teacher: keras.Model, student: keras.Model, settings: Distillation):
    """Names of the taps of both, as many; none where no term looks at maps."""
    if not (settings.features or settings.attention or settings.fusion):
        return (), ()
    default = _same_resolutions(teacher, student)
    taps = settings.teacher_taps or default[0], settings.student_taps or default[1]
    if len(taps[0]) != len(taps[1]):
        if settings.teacher_taps or settings.student_taps:
            raise InputError(
                "`teacher_taps` and `student_taps` are compared one by one, so they are as many. "
                f"Received: {', '.join(taps[0])} and {', '.join(taps[1])}"
            )
        count = min(map(len, taps))
        taps = taps[0][-count:], taps[1][-count:]
    return tuple(taps[0]), tuple(taps[1])


def _same_resolutions(teacher: keras.Model, student: keras.Model):
    """The default taps of both that have the same share of their image's side; all of them where none have."""
    found = []
    for model in (teacher, student):
        taps = default_taps(model)
        shapes = tap_shapes(model, taps)
        found.append({round(model.input_shape[1] / shape[0]): tap for tap, shape in zip(taps, shapes)})
    shared = [share for share in found[0] if share in found[1]]
    return tuple([taps[share] for share in shared] if shared else tuple(taps.values()) for taps in found)


def _sized(images, model: keras.Model):
    """Images in the size that the model takes."""
    return resize_map(ops.convert_to_tensor(images), model.input_shape[1:3])


def _float32(tensors):
    return [ops.cast(tensor, "float32") for tensor in tensors]


def _of_classes(logits):
    """Logits with a column a class: those of one sigmoid unit are the second of two, the first of which is 0."""
    return ops.concatenate([ops.zeros_like(logits), logits], axis=-1) if logits.shape[-1] == 1 else logits
