import keras
import numpy as np
import pytest
import tensorflow as tf

from leukemia_tf.losses import BinaryCrossentropy

RANDOM = np.random.default_rng(0)


def branches() -> keras.Model:
    """One sigmoid output on two branches."""
    inputs = keras.Input((5,))
    x = keras.layers.Add()([keras.layers.Dense(4, activation="relu")(inputs), keras.layers.Dense(4)(inputs)])
    return keras.Model(inputs, keras.layers.Activation("sigmoid")(keras.layers.Dense(1)(x)))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("width", [1, 3])
def test_values_are_those_of_keras_and_of_the_formula(width, smoothing):
    labels = RANDOM.integers(0, 2, (6, width)).astype("float32")
    found = RANDOM.uniform(0.05, 0.95, (6, width)).astype("float32")
    value = float(BinaryCrossentropy(label_smoothing=smoothing)(labels, found))
    assert value == pytest.approx(float(keras.losses.BinaryCrossentropy(label_smoothing=smoothing)(labels, found)))
    target = labels * (1 - smoothing) + smoothing / 2
    assert value == pytest.approx(-np.mean(target * np.log(found) + (1 - target) * np.log(1 - found)), rel=1e-5)


def test_of_a_model_it_is_the_cross_entropy_of_the_logits():
    """A weight of 100 makes probabilities of exactly 0 and 1, wrong ones too, and their gradient must be there."""
    model = branches()
    images = RANDOM.normal(size=(16, 5)).astype("float32")
    labels = RANDOM.integers(0, 2, (16, 1)).astype("float32")
    dense = model.layers[-2]
    dense.set_weights([dense.get_weights()[0] * 100, dense.get_weights()[1]])
    logits = keras.Model(model.input, dense.output)(images).numpy().astype("float64")
    found = model(images).numpy()
    assert ((found == 1) & (labels == 0)).any()

    @tf.function
    def gradient(images, labels):
        with tf.GradientTape() as tape:
            loss = BinaryCrossentropy()(labels, model(images, training=True))
        return loss, tape.gradient(loss, dense.bias.value)

    loss, slope = gradient(images, labels)
    expected = np.logaddexp(0, logits) - labels * logits
    assert float(loss) == pytest.approx(expected.mean(), rel=1e-5)
    assert float(slope[0]) == pytest.approx((1 / (1 + np.exp(-logits)) - labels).mean(), rel=1e-4)


def test_the_gradient_of_the_logit_is_no_sum():
    """Terms of a sum are added in the order in which they happen to be ready; a step has to be free of them."""
    model = branches()
    logit = model.layers[-2].output

    def sums(loss) -> int:
        @tf.function
        def step(images, labels):
            with tf.GradientTape() as tape:
                value = loss(labels, model(images, training=True))
            return tape.gradient(value, [weight.value for weight in model.trainable_weights])

        graph = step.get_concrete_function(tf.TensorSpec((8, 5)), tf.TensorSpec((8, 1))).graph
        return sum(op.type == "AddN" and len(op.inputs) > 2 for op in graph.get_operations())

    assert logit.shape == (None, 1)
    assert sums(BinaryCrossentropy()) == 0
    # If this fails, Keras's own loss has become repeatable, and ours can go.
    assert sums(keras.losses.BinaryCrossentropy()) == 1


def test_config_round_trip():
    loss = keras.losses.deserialize(keras.losses.serialize(BinaryCrossentropy(label_smoothing=0.1)))
    assert isinstance(loss, BinaryCrossentropy) and loss.label_smoothing == 0.1
