import keras
import numpy as np
import pytest
from keras import layers

from leukemia_tf.errors import InputError
from leukemia_tf.models import backbones_of, describe_open, load_model, open_layers


def small_backbone(name: str) -> keras.Model:
    """Two blocks of convolution (4 filters, 3 x 3) and batch normalisation, one of them inside a Sequential."""
    inputs = keras.Input((8, 8, 3))
    x = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization()], name="stem")(inputs)
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, x, name=name)


# Parameters by hand: convolution 3*3*3*4+4 = 112 and 3*3*4*4+4 = 148, normalisation 4*4, of which 8 train.
STEM, CONV, NORM, HEAD_NORM, DENSE = 112, 148, 8, 16, 9


@pytest.fixture
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = layers.Concatenate()([small_backbone("a")(inputs), small_backbone("b")(inputs)])
    x = layers.BatchNormalization(name="head_norm")(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="head")(x), name="small")


def trainable(model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)


HEAD = HEAD_NORM + DENSE
CASES = [
    ("head", True, HEAD),
    ("top:1", True, HEAD),
    ("top:2", True, HEAD),
    ("top:2", False, HEAD + 2 * NORM),
    ("top:3", True, HEAD + 2 * CONV),
    ("top:3", False, HEAD + 2 * (CONV + NORM)),
    ("top:4", True, HEAD + 2 * (CONV + STEM)),
    ("top:99", False, HEAD + 2 * (CONV + STEM + 2 * NORM)),
    ("all", True, HEAD + 2 * (CONV + STEM)),
    ("all", False, HEAD + 2 * (CONV + STEM + 2 * NORM)),
    ("head", False, HEAD),
]


@pytest.mark.parametrize("which, freeze, expected", CASES)
def test_numbers(model, which, freeze, expected):
    open_layers(model, which, freeze_batchnorm=freeze)
    assert trainable(model) == expected


def test_the_choice_does_not_depend_on_the_ones_before(model):
    """Setting `trainable` to the value it has reaches no inner layer on TensorFlow; the order must not tell."""
    for which, freeze, expected in [*CASES, *reversed(CASES)]:
        open_layers(model, which, freeze_batchnorm=freeze)
        assert trainable(model) == expected, which


def test_works_on_a_loaded_model(model, tmp_path):
    open_layers(model, "head")
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    assert [b.name for b in backbones_of(again)] == ["a", "b"] and trainable(again) == HEAD
    open_layers(again, "top:3", freeze_batchnorm=False)
    assert trainable(again) == HEAD + 2 * (CONV + NORM)


def test_description(model):
    open_layers(model, "top:3")
    a, b, head = describe_open(model)
    assert a == {"backbone": "a", "layers": 5, "open": 1, "parameters": 112 + 16 + 148 + 16, "trainable": 148}
    assert b == {**a, "backbone": "b"}
    assert head["backbone"] == "head" and head["parameters"] == 32 + 9 and head["trainable"] == HEAD
    assert sum(row["parameters"] for row in (a, b, head)) == model.count_params()


@pytest.mark.parametrize("which", ["top", "top:0", "top:-1", "top:x", "heads", "", None, 5])
def test_refuses(model, which):
    with pytest.raises(InputError, match="`which` must be"):
        open_layers(model, which)


@pytest.mark.parametrize("which", ["head", "top:50"])
def test_without_backbone(which):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)], name="plain")
    with pytest.raises(InputError, match='`plain` has no backbone.*"all"'):
        open_layers(model, which)
    model.trainable = False
    open_layers(model, "all")
    assert trainable(model) == 5 and describe_open(model)[0]["trainable"] == 5


def fit_once(model, which, freeze):
    open_layers(model, which, freeze_batchnorm=freeze)
    model.compile("sgd", "binary_crossentropy")
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (8, 8, 8, 3)), rng.integers(0, 2, (8, 1))
    # By position: nested backbones of one kind have weights of one path.
    before = model.get_weights()
    model.fit(images, labels, batch_size=4, epochs=1, verbose=0)
    moved = [not np.array_equal(old, new) for old, new in zip(before, model.get_weights())]
    return [weight.path for weight, yes in zip(model.weights, moved) if yes]


def test_fit_moves_what_is_open_and_nothing_else(model):
    moved = fit_once(model, "head", True)
    assert {path.split("/")[0] for path in moved} == {"head", "head_norm"}
    moved = fit_once(model, "top:3", True)
    assert any(path.endswith("conv/kernel") for path in moved)
    assert not any("norm/" in path and "head_norm" not in path for path in moved)


def test_open_batch_normalisation_moves(model):
    moved = fit_once(model, "all", False)
    assert sum(path.endswith("moving_mean") for path in moved) == 5
