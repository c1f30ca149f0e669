"""The distiller: every term against a worked value, who learns and who does not, and what a weight of zero means."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.losses import BinaryCrossentropy
from leukemia_tf.models import load_model
from leukemia_tf.training import fit_phases
from leukemia_tf.training.distillation import Distillation, TapDistiller
from tests.training.test_resume import KillAt, Killed
from tests.training.tiny import PHASES, STEPS, make_model, train_batches, val_batches

ALL = Distillation(hard=0.5, logits=0.5, features=0.3, attention=0.2, fusion=0.1, fusion_width=6)


def network(size: int, widths: tuple[int, ...], units: int, *, seed: int, dropout: float = 0.0) -> keras.Model:
    """A map for each width, each half as large as the one before, then probabilities."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((size, size, 3), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    for number, width in enumerate(widths, start=1):
        x = layers.Conv2D(width, 3, strides=2, padding="same", name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"norm{number}")(x)
        x = layers.ReLU(name=f"map{number}")(x)
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    x = layers.Dense(units, name="logits")(x)
    return keras.Model(inputs, layers.Activation("sigmoid" if units == 1 else "softmax", name="probabilities")(x))


def pixels(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, (count, size, size, 3)).astype("float32")


def one_hot(count: int, classes: int) -> np.ndarray:
    return np.eye(classes, dtype="float32")[np.arange(count) % classes]


def distiller(settings, *, teacher_units=3, student_units=3, teacher_size=16, student_size=16, **options):
    teacher = network(teacher_size, (4, 6, 8), teacher_units, seed=1, dropout=0.5)
    student = network(student_size, (3, 4, 5), student_units, seed=2)
    model = TapDistiller(teacher, student, settings)
    loss = BinaryCrossentropy() if student_units == 1 else keras.losses.CategoricalCrossentropy()
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"], jit_compile=False, **options)
    return model


def softmax(x):
    exponents = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def loss_of(model, images, labels, **options):
    """The loss of a step, its terms, and what was compared."""
    model.reset_metrics()
    outputs = model(images, training=True)
    x = options.pop("x", images)
    loss = float(model.compute_loss(x, labels, outputs, **options))
    terms = {tracker.name.removesuffix("_loss"): float(tracker.result()) for tracker in model.term_trackers}
    return loss, terms, {key: np.asarray(value) for key, value in outputs.items()}


# ---- worked values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("squared", [True, False])
def test_softened_logits(squared):
    settings = Distillation(hard=0.25, logits=0.75, temperature=3.0, temperature_squared=squared)
    model, images, labels = distiller(settings), pixels(5, 16), one_hot(5, 3)
    loss, terms, outputs = loss_of(model, images, labels)
    logits = keras.Model(model.teacher.input, model.teacher.get_layer("logits").output)
    teacher = softmax(logits(images, training=False).numpy() / 3)
    student = softmax(outputs["logits"] / 3)
    divergence = np.mean(np.sum(teacher * np.log(teacher / student), axis=-1))
    entropy = -np.mean(np.sum(labels * np.log(softmax(outputs["logits"])), axis=-1))
    assert terms["logits"] == pytest.approx(9 * divergence, rel=1e-3)
    assert loss == pytest.approx(0.25 * entropy + 0.75 * divergence * (9 if squared else 1), rel=1e-4)


def test_softened_logits_by_hand():
    """Answers of 3/4 and 1/2 at T = 1: 3/4 ln(3/2) + 1/4 ln(1/2) = .130812."""
    model = distiller(Distillation(hard=0.0, logits=1.0, temperature=1.0), teacher_units=1, student_units=1)
    given = {"image": pixels(1, 16), "logits": np.array([[0.0, np.log(3.0)]], "float32")}
    outputs = {"probabilities": tf.constant([[0.5]]), "logits": tf.constant([[0.0, 0.0]])}
    assert float(model.compute_loss(given, tf.constant([[1.0]]), outputs)) == pytest.approx(0.130812, abs=1e-5)


@pytest.mark.parametrize("teacher_units, student_units", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_two_classes_in_either_form(teacher_units, student_units):
    """One sigmoid unit of logit z is the softmax of (0, z): a Bernoulli distribution, softened."""
    settings = Distillation(hard=0.0, logits=1.0, temperature=2.0)
    model = distiller(settings, teacher_units=teacher_units, student_units=student_units)
    images = pixels(4, 16)
    labels = one_hot(4, 2) if student_units == 2 else one_hot(4, 2)[:, 1:]
    loss, _, outputs = loss_of(model, images, labels)
    p = softened_second(model.teacher(images, training=False).numpy(), 2.0)
    q = softened_second(outputs["probabilities"], 2.0)
    bernoulli = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert loss == pytest.approx(4 * bernoulli.mean(), rel=2e-3)


def softened_second(probabilities, temperature):
    second = probabilities[:, -1].astype("float64")
    return 1 / (1 + np.exp(-np.log(second / (1 - second)) / temperature))


def test_maps_are_compared_at_the_smaller_size_and_the_terms_add_up():
    model, images, labels = distiller(ALL, teacher_size=32), pixels(3, 32), one_hot(3, 3)
    loss, terms, outputs = loss_of(model, images, labels)
    given = {key: value.numpy() for key, value in model.teacher_outputs(images).items()}
    for term in ("features", "attention", "fusion"):
        errors = [np.mean((given[key] - outputs[key]) ** 2) for key in given if key.startswith(term)]
        assert terms[term] == pytest.approx(np.mean(errors), rel=1e-4)
        assert 0 < terms[term] < 4
    assert {key: value.shape[1:] for key, value in given.items()} == {
        "features_1": (8, 8, 4), "features_2": (4, 4, 6), "features_3": (2, 2, 8),
        "attention_1": (8, 8), "attention_2": (4, 4), "attention_3": (2, 2), "fusion": (2, 2, 6), "logits": (3,),
    }  # fmt: skip
    expected = 0.5 * terms["hard"] + 0.5 * terms["logits"]
    expected += 0.3 * terms["features"] + 0.2 * terms["attention"] + 0.1 * terms["fusion"]
    assert loss == pytest.approx(expected, rel=1e-5)


def test_the_teacher_sees_what_it_would_see_alone():
    """Its own size and preprocessing, inference mode: the answers are those of the model by itself."""
    model = distiller(Distillation(), teacher_size=16, student_size=8)
    images = pixels(3, 16)
    alone = np.log(model.teacher.predict_on_batch(images))
    logits = model.teacher_outputs(images)["logits"].numpy()
    np.testing.assert_allclose(logits - logits[:, :1], alone - alone[:, :1], atol=1e-5)
    seen = tf.image.resize(images, (8, 8), antialias=True).numpy()
    np.testing.assert_allclose(model(images), model.student(seen, training=False), atol=1e-5)


# ---- who learns --------------------------------------------------------------------------------------------------


def test_gradients_reach_the_student_and_its_projections_and_never_the_teacher():
    model, images, labels = distiller(ALL), pixels(4, 16), one_hot(4, 3)
    everything = [weight.value for weight in model.weights]
    with tf.GradientTape() as tape:
        tape.watch(everything)
        loss = model.compute_loss(images, labels, model(images, training=True))
    gradients = dict(zip((id(weight) for weight in model.weights), tape.gradient(loss, everything)))
    for weight in [*model.teacher.weights, *model.teacher_readings.weights]:
        assert gradients[id(weight)] is None, weight.path
    # Squeeze and excitation is left out: of maps so narrow it has one hidden unit, which may be off.
    kernels = [weight for weight in model.trainable_weights if weight.path.endswith("kernel")]
    kernels = [weight for weight in kernels if not weight.path.split("/")[-2] in ("squeeze", "excite")]
    assert len(kernels) == 4 + 3 + (3 + 1)  # the student's, three projections, the fusion's
    assert all(np.abs(gradients[id(weight)]).max() > 0 for weight in kernels)
    fixed = {id(weight) for weight in [*model.teacher.weights, *model.teacher_readings.weights]}
    assert not fixed & {id(weight) for weight in model.trainable_weights}


def test_the_student_moves_towards_the_teacher_of_which_nothing_moves():
    model = distiller(Distillation(hard=0.0, logits=1.0, features=1.0, attention=1.0, fusion=1.0, fusion_width=6))
    images, labels = pixels(16, 16), one_hot(16, 3)
    fixed = [*model.teacher.get_weights(), *model.teacher_readings.get_weights()]
    student = model.student.get_weights()
    _, before, _ = loss_of(model, images, labels)
    model.fit(images, labels, batch_size=8, epochs=8, verbose=0)
    _, after, _ = loss_of(model, images, labels)
    assert all(after[term] < before[term] for term in model.settings.used), (before, after)
    for there, here in zip(fixed, [*model.teacher.get_weights(), *model.teacher_readings.get_weights()], strict=True):
        np.testing.assert_array_equal(there, here)
    assert all(np.abs(there - here).max() > 0 for there, here in zip(student, model.student.get_weights()))


def test_the_student_runs_once_a_step():
    """Keras's distiller runs it twice, which moves the statistics of its normalisation twice."""
    model, images = distiller(ALL), pixels(8, 16)
    norm = model.student.get_layer("norm1")
    seen = keras.Model(model.student.input, model.student.get_layer("conv1").output)(images).numpy()
    model.train_on_batch(images, one_hot(8, 3))
    expected = (1 - norm.momentum) * seen.mean(axis=(0, 1, 2))
    np.testing.assert_allclose(norm.moving_mean, expected, rtol=1e-4)


# ---- killed and resumed ------------------------------------------------------------------------------------------


def distil_in_phases(run_dir, callbacks=()):
    """A student with a backbone, in two phases, the second of which begins with the best of the first."""
    settings = Distillation(attention=0.5, features=0.5, fusion=0.5, fusion_width=4, student_taps=("backbone/last",))
    settings = dataclasses.replace(settings, teacher_taps=("backbone/first",))
    student, teacher = make_model(), make_model(seed=1)
    keras.utils.set_random_seed(2)
    model = TapDistiller(teacher, student, settings)
    history = fit_phases(
        model, train_batches, val_batches(), PHASES, run_dir, steps_per_epoch=STEPS, callbacks=callbacks, progress=False
    )
    return model, history


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return *distil_in_phases(folder), folder


def test_killed_and_resumed_is_equal_bit_for_bit(tmp_path, uninterrupted):
    """In the first batch of the second phase, which begins with what the first left beside the best student."""
    whole, history, _ = uninterrupted
    with pytest.raises(Killed):
        distil_in_phases(tmp_path, [KillAt(9)])
    model, again = distil_in_phases(tmp_path)
    assert len(model.student_readings.weights) > 0
    for there, here in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(there, here)
    assert again.to_dict("list") == history.to_dict("list")


def test_the_checkpoint_holds_the_student_alone(uninterrupted):
    model, history, folder = uninterrupted
    kept = load_model(folder / "checkpoints" / "best.keras")
    assert [weight.shape for weight in kept.weights] == [weight.shape for weight in model.student.weights]
    assert {"logits_loss", "features_loss", "attention_loss", "fusion_loss", "hard_loss"} < set(history)
    images = next(iter(val_batches()))[0]
    np.testing.assert_array_equal(kept.predict_on_batch(images), model.student.predict_on_batch(images))


def test_another_teacher_is_refused(tmp_path):
    settings = Distillation()
    refused = pytest.raises(RunError, match="began with other weights")
    for seed, outcome in ((1, contextlib.nullcontext()), (2, refused)):
        model = TapDistiller(make_model(seed=seed), make_model(), settings)
        with outcome:
            fit_phases(
                model, train_batches, None, PHASES[:1], tmp_path, steps_per_epoch=STEPS, monitor="loss", progress=False
            )


# ---- a weight of zero --------------------------------------------------------------------------------------------


def test_without_terms_a_training_is_the_same_to_the_last_bit(tmp_path):
    """Dropout, batch normalisation, two phases, class weights, a penalty: all as without a teacher."""
    weights = []
    for wrapped in (False, True):
        model = make_model()
        model.layers[-1].kernel_regularizer = keras.regularizers.L2(0.01)
        if wrapped:
            model_to_fit = TapDistiller(make_model(seed=3), model, Distillation(hard=1.0, logits=0.0))
        history = fit_phases(
            model_to_fit if wrapped else model,
            train_batches,
            val_batches(),
            # The student of a distiller drops units in its frozen backbone too.
            [dataclasses.replace(phase, frozen_dropout=True) for phase in PHASES],
            tmp_path / str(wrapped),
            class_weight={0: 1.0, 1: 2.0},
            steps_per_epoch=STEPS,
            progress=False,
        )
        weights.append([*model.get_weights(), history[["loss", "val_loss", "accuracy"]].to_numpy()])
    for plain, distilled in zip(*weights, strict=True):
        np.testing.assert_array_equal(plain, distilled)


@pytest.mark.parametrize("term", ["logits", "features", "attention", "fusion"])
def test_a_term_of_weight_zero_is_not_built(term):
    names = {"logits": 0.0, "features": 1.0, "attention": 1.0, "fusion": 1.0, term: 0.0}
    if term != "logits":
        names["logits"] = 1.0
    model = distiller(Distillation(hard=0.0, **names))
    outputs = model.teacher_outputs(pixels(2, 16))
    assert {key.split("_")[0] for key in outputs} == {name for name in names if name != term}
    alone = distiller(Distillation(hard=1.0, logits=0.0))
    assert not alone.teacher_readings.weights and not alone.student_readings.weights
    assert alone.student_taps == ()


# ---- kept outputs, evaluation, errors ----------------------------------------------------------------------------


def test_kept_outputs_of_the_teacher_give_the_same_loss():
    model, images, labels = distiller(ALL), pixels(4, 16), one_hot(4, 3)
    asked, _, _ = loss_of(model, images, labels)
    model = distiller(ALL)
    kept = {"image": images, **{key: value.numpy() for key, value in model.teacher_outputs(images).items()}}
    outputs = model(kept, training=True)
    assert float(model.compute_loss(kept, labels, outputs)) == pytest.approx(asked, rel=1e-6)


def test_an_evaluation_is_that_of_the_student():
    model = distiller(ALL, weighted_metrics=[])
    images, labels = pixels(6, 16), one_hot(6, 3)
    found = model.evaluate(images, labels, batch_size=6, verbose=0, return_dict=True)
    probabilities = model.student.predict_on_batch(images)
    assert found["loss"] == pytest.approx(-np.mean(np.log(probabilities[np.arange(6), np.arange(6) % 3])), rel=1e-5)
    assert set(found) == {"loss", "accuracy"}
    np.testing.assert_array_equal(model.predict_on_batch(images), probabilities)


def test_a_round_trip_of_the_configuration():
    model = distiller(ALL)
    config = json.loads(json.dumps(model.get_config()))
    again = TapDistiller.from_config(config)
    assert again.settings == model.settings and again.student_taps == model.student_taps
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in model.weights]


@pytest.mark.parametrize(
    "settings, options, words",
    [
        (Distillation(), {"student_units": 4}, "the same classes. Received: 3 and 4"),
        (Distillation(attention=1.0, student_taps=("map9",)), {}, "such as map1, map2, map3.*'map9'|as many"),
        (Distillation(attention=1.0, student_taps=("map1", "map2", "logits")), {}, "Received: 'logits'"),
    ],
)
def test_wrong_models_are_named(settings, options, words):
    with pytest.raises(InputError, match=words):
        distiller(settings, **options)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"logits": -1.0}, "`distillation.logits` is a weight of 0 or more. Received: -1.0"),
        ({"hard": 0.0, "logits": 0.0}, "above 0 among hard, logits, features, attention, fusion"),
        ({"temperature": 0.0}, "`distillation.temperature` is a number above 0"),
        ({"fusion_width": 0}, "`distillation.fusion_width`"),
        ({"cache": "yes"}, "'auto', 'on' or 'off'. Received: 'yes'"),
        ({"teacher_taps": ("a", "b"), "student_taps": ("c",)}, "as many. Received: 2 and 1"),
    ],
)
def test_wrong_settings_are_named(changes, words):
    with pytest.raises(InputError, match=words):
        Distillation(**changes)


def test_a_loss_is_an_object():
    model = distiller(Distillation())
    with pytest.raises(InputError, match="`loss` is an object of `keras.losses`.*'mse'"):
        model.compile("adam", "mse")


@pytest.mark.slow
def test_a_step_in_half_precision():
    """All terms: the loss is about that of float32."""
    images, labels = pixels(8, 16), one_hot(8, 3)
    losses = []
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        try:
            model = distiller(ALL)
            losses.append(model.train_on_batch(images, labels, return_dict=True)["loss"])
        finally:
            keras.config.set_dtype_policy("float32")
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


_IN_JAX = """
import json, sys
import keras, numpy as np
from leukemia_tf.training.distillation import Distillation, TapDistiller
assert keras.backend.backend() == "jax"
config, settings = json.load(open(sys.argv[1] + "/models.json"))
networks = [keras.models.model_from_json(text) for text in config]
model = TapDistiller(*networks, Distillation(**settings))
model.compile(keras.optimizers.SGD(0.1), keras.losses.CategoricalCrossentropy(), metrics=["accuracy"])
arrays = np.load(sys.argv[1] + "/arrays.npz")
model(arrays["x"][:2], training=True)
model.set_weights([arrays[f"weight_{i}"] for i in range(len(model.weights))])
print(json.dumps(model.fit(arrays["x"], arrays["y"], 4, 2, verbose=0, shuffle=False).history))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax: pip install 'leukemia-tf[test]'")
def test_a_training_under_jax_is_the_same(tmp_path):
    """From the same weights, term by term; JAX carries from step to step only the state that the model names."""
    model = distiller(ALL)
    x, y = pixels(8, 16), one_hot(8, 3)
    model(x[:2], training=True)
    networks = [model.teacher.to_json(), model.student.to_json()]
    (tmp_path / "models.json").write_text(json.dumps([networks, dataclasses.asdict(ALL)]))
    weights = {f"weight_{number}": values for number, values in enumerate(model.get_weights())}
    np.savez(tmp_path / "arrays.npz", x=x, y=y, **weights)
    expected = model.fit(x, y, 4, 2, verbose=0, shuffle=False).history
    # Compiling is most of the work.
    settings = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    environment = {**os.environ, "KERAS_BACKEND": "jax", **settings}
    command = [sys.executable, "-c", _IN_JAX, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(expected) and {f"{term}_loss" for term in ("hard", *ALL.used)} < set(found)
    for name, values in expected.items():
        assert min(values) > 0
        np.testing.assert_allclose(found[name], values, rtol=1e-4, err_msg=name)
