import keras
import numpy as np
import pytest
from harness import assert_close, enliven, random_images
from scipy.signal import correlate

from leukemia_tf.models import build_model


@pytest.mark.parametrize(
    "name, total",
    [
        # By hand: convolutions 448 + 4640, dense 14 x 14 x 32 x 64 + 64, classifier 64 x 8 + 8.
        ("bloodmnist_cnn2", 448 + 4640 + 14 * 14 * 32 * 64 + 64 + 520),
        ("bloodmnist_cnn3", 171_624),
        ("bloodmnist_cnn4", 130_792),
        ("bloodmnist_cnn_dropout", 549_032),
        ("bloodmnist_cnn_bn", 626_024),
        ("bloodmnist_cnn_se", 287_807),
    ],
)
def test_published_counts(name, total):
    model = build_model(name)
    assert model.count_params() == total
    assert model.input_shape == (None, 64, 64, 3) and model.output_shape == (None, 8)


@pytest.mark.parametrize("name, trainable", [("bloodmnist_cnn_bn", 625_032), ("bloodmnist_cnn_se", 287_455)])
def test_published_trainable_counts(name, trainable):
    model = build_model(name)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trainable


def test_sizes_of_files_in_the_report():
    """The report's megabytes are float32 weights in KiB by 1000: 0.51 for CNN-4 and 0.67 for CNN-3."""
    sizes = [build_model(name).count_params() * 4 / 1024 / 1000 for name in ("bloodmnist_cnn4", "bloodmnist_cnn3")]
    assert [round(size, 2) for size in sizes] == [0.51, 0.67]


def test_plain_network_is_what_it_says():
    """CNN-2 on one small image, computed with SciPy and NumPy."""
    keras.utils.set_random_seed(0)
    model = build_model("bloodmnist_cnn2", image_size=16)
    image = random_images(1, 16)[0]
    x = image.astype("float64") / 255
    for position in (1, 2):
        kernel, bias = model.get_layer(f"conv{position}").get_weights()
        maps = [correlate(x, kernel[..., channel], mode="valid")[..., 0] for channel in range(kernel.shape[-1])]
        x = np.maximum(np.stack(maps, axis=-1) + bias, 0)
        rows, columns = x.shape[0] // 2, x.shape[1] // 2
        x = x[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2, -1).max(axis=(1, 3))
    kernel, bias = model.get_layer("head_dense").get_weights()
    x = np.maximum(x.ravel() @ kernel + bias, 0)
    kernel, bias = model.get_layer("logits").get_weights()
    expected = np.exp(x @ kernel + bias)
    assert_close(model(image[None], training=False)[0], expected / expected.sum(), 1e-5)


def test_order_of_layers():
    model = build_model("bloodmnist_cnn_se")
    names = [layer.name for layer in model.layers]
    for position in (1, 2, 3):
        unit = [f"conv{position}", f"conv{position}_norm", f"conv{position}_relu"]
        start = names.index(unit[0])
        assert names[start : start + 5] == [*unit, f"attention{position}", f"pool{position}"]
    assert names[-6:] == ["flatten", "head_dense", "head_norm", "head_relu", "logits", "probabilities"]
    # Squeeze and excitation by hand: C x h + h + h x C + C with h = C / 16.
    counts = [model.get_layer(f"attention{position}").count_params() for position in (1, 2, 3)]
    assert counts == [49, 162, 580]


@pytest.mark.parametrize("name", ["bloodmnist_cnn_dropout", "bloodmnist_cnn_bn"])
def test_dropout(name, tmp_path):
    """The rate reaches the layer, changes training alone, and leaves names and weights as they are."""
    keras.utils.set_random_seed(0)
    model, none, half = (
        build_model(name, image_size=16, **options) for options in ({}, {"dropout": 0}, {"dropout": 0.5})
    )
    assert [m.get_layer("head_dropout").rate for m in (model, none, half)] == [0.4, 0.0, 0.5]
    assert [layer.name for layer in model.layers] == [layer.name for layer in none.layers]
    assert model.count_params() == none.count_params() == half.count_params()
    images = random_images(16, 16)
    enliven(half, images)
    half.save_weights(tmp_path / "half.weights.h5")
    none = build_model(name, image_size=16, dropout=0, weights=tmp_path / "half.weights.h5")
    none.save_weights(tmp_path / "none.weights.h5")
    half = build_model(name, image_size=16, dropout=0.5, weights=tmp_path / "none.weights.h5")
    assert_close(half(images, training=False), none(images, training=False), 1e-6)
    assert np.abs(half(images, training=True) - half(images, training=False)).max() > 1e-2


@pytest.mark.parametrize("name, default, penalised", [("bloodmnist_cnn_bn", 0, 5), ("bloodmnist_cnn_se", 1e-4, 4)])
def test_l2(name, default, penalised):
    """The penalty is the factor times the sum of the squares of the kernels, all but the classifier's."""
    for factor in (0, 1e-2):
        model = build_model(name, image_size=16, l2=factor)
        kernels = [layer.kernel for layer in model.layers if hasattr(layer, "kernel") and layer.name != "logits"]
        assert len(kernels) == penalised and len(model.losses) == (penalised if factor else 0)
        expected = factor * sum(np.square(kernel.numpy().astype("float64")).sum() for kernel in kernels)
        np.testing.assert_allclose(sum(float(loss) for loss in model.losses), expected, rtol=1e-5)
    kernel = build_model(name, image_size=16).get_layer("conv1").kernel_regularizer
    assert (kernel.l2 if kernel else 0) == pytest.approx(default)


def test_l2_adds_to_the_loss_of_fit():
    images, labels = random_images(8, 16), np.eye(8)
    losses = []
    for factor in (0, 0.1):
        keras.utils.set_random_seed(0)
        model = build_model("bloodmnist_cnn_bn", image_size=16, dropout=0, l2=factor)
        penalty = sum(float(loss) for loss in model.losses)
        model.compile(keras.optimizers.SGD(0.0), "categorical_crossentropy", jit_compile=False)
        losses.append(model.fit(images, labels, batch_size=8, verbose=0).history["loss"][0] - penalty)
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
