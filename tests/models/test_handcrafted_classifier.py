"""The classifier on handcrafted features: fitting, files, and features of a network beside them."""

import io
import json
import logging
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skops.io
from harness import enliven, random_images
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from leukemia_tf.errors import InputError
from leukemia_tf.models import build_model, describe_model
from leukemia_tf.models.handcrafted import (
    HandcraftedClassifier,
    alpha_integration,
    extract_many,
    handcrafted,
    load_handcrafted,
)

QUICK = {"image_size": 48, "families": ["color", "lbp"]}


def textures(number, size=48, classes=2, seed=0):
    """Classes that differ in the direction of their stripes only: random colours, places and noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % classes
    y, x = np.mgrid[:size, :size]
    images = []
    for label in labels:
        along = (x, y, x + y)[label] * 0.7 + rng.uniform(0, 6)
        image = rng.uniform(80, 160, 3) + 40 * np.sin(along)[..., None] + rng.normal(0, 12, (size, size, 3))
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    return np.stack(images), labels


@pytest.fixture(scope="module")
def train():
    return textures(48)


@pytest.fixture(scope="module")
def test():
    return textures(24, seed=1)


@pytest.fixture(scope="module")
def fitted(train):
    """The soft vote on all 1434 features."""
    return handcrafted(image_size=48).fit(*train, progress=False)


# --- fitting and predicting ------------------------------------------------------------------------------------------


def test_vote_tells_two_textures_apart(fitted, test):
    probabilities = fitted.predict_proba(test[0])
    assert probabilities.shape == (24, 2) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(probabilities.argmax(axis=1) == test[1]) > 0.9
    assert len(fitted.feature_names) == 1434 and 1 < fitted.components < 48
    assert fitted.predict_proba(test[0][:0]).shape == (0, 2)


@pytest.mark.parametrize("classifier", ["random_forest", "logistic", "knn", "naive_bayes", "gradient_boosting", "mlp"])
def test_each_classifier_goes_into_a_file_and_comes_back(classifier, train, test, tmp_path):
    options = {"image_size": 48, "families": ["gabor", "lbp"], "classifier": classifier}
    model = handcrafted(**options).fit(*train, seed=3, progress=False)
    probabilities = model.predict_proba(test[0])
    assert np.mean(probabilities.argmax(axis=1) == test[1]) > 0.7
    np.testing.assert_array_equal(
        probabilities, handcrafted(**options).fit(*train, seed=3, progress=False).predict_proba(test[0])
    )
    model.save(tmp_path / "model.skops")
    again = load_handcrafted(tmp_path / "model.skops")
    np.testing.assert_array_equal(again.predict_proba(test[0]), probabilities)
    assert again.config() == model.config() and again.feature_names == model.feature_names


def test_vote_is_the_mean_of_the_four(train, test):
    """The same with scikit-learn's parts one by one."""
    model = handcrafted(**QUICK).fit(*train, seed=5, progress=False)
    scaler, components = StandardScaler(), PCA(0.95, svd_solver="full")
    known = components.fit_transform(scaler.fit_transform(extract_many(train[0], QUICK["families"]).astype(float)))
    new = components.transform(scaler.transform(extract_many(test[0], QUICK["families"]).astype(float)))
    members = (
        GaussianNB(),
        KNeighborsClassifier(5, weights="distance"),
        RandomForestClassifier(100, random_state=5),
        LogisticRegression(max_iter=5000),
    )
    expected = np.mean([member.fit(known, train[1]).predict_proba(new) for member in members], axis=0)
    np.testing.assert_allclose(model.predict_proba(test[0]), expected, atol=1e-5)
    assert model.components == components.n_components_


def test_same_seed_same_probabilities(train, test):
    found = [handcrafted(**QUICK).fit(*train, seed=seed, progress=False).predict_proba(test[0]) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1e-4


def test_three_classes():
    model = handcrafted(3, 48, families=["gabor"], classifier="logistic")
    model.fit(*textures(45, classes=3), progress=False)
    images, labels = textures(30, classes=3, seed=1)
    probabilities = model.predict_proba(images)
    assert probabilities.shape == (30, 3) and np.mean(probabilities.argmax(axis=1) == labels) > 0.9


def test_one_image_a_class_is_enough(test):
    model = handcrafted(**QUICK).fit(*textures(2), progress=False)
    assert model.components == 1 and np.isfinite(model.predict_proba(test[0])).all()


def test_accuracy_on_val_is_logged(train, test, caplog):
    caplog.set_level(logging.INFO, logger="leukemia_tf")
    model = handcrafted(**QUICK, classifier="naive_bayes").fit(*train, *test)
    accuracy = np.mean(model.predict_proba(test[0]).argmax(axis=1) == test[1])
    assert f"accuracy {accuracy:.4f} on 24 images of val" in caplog.text
    assert f"120 features, {model.components} components" in caplog.text


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_classes": 1}, "`num_classes` must be .*Received: 1"),
        ({"image_size": 8}, "`image_size` must be .*at least 16.*Received: 8"),
        ({"classifier": "svm"}, "`classifier` must be one of vote.*Received: 'svm'"),
        ({"families": ["hog"]}, "`families` must be .*Received"),
        ({"variance": 1.0}, "`variance` must be .*Received: 1.0"),
        ({"cnn_features": "alexnet"}, "`backbone` must be one of .*Received: 'alexnet'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        handcrafted(**{"image_size": 48, **options})


def test_wrong_data(train):
    images, labels = train
    model = handcrafted(3, **QUICK)
    with pytest.raises(InputError, match="class 2 of 3 has no example"):
        model.fit(images, labels)
    with pytest.raises(InputError, match="class indices from 0 to 2. Received: 0 to 3"):
        model.fit(images, labels * 3)
    with pytest.raises(InputError, match="one for each of the 48 images. Received: float64"):
        model.fit(images, labels / 2)
    with pytest.raises(InputError, match=r"`train_pixels` must be a uint8 array \(N, 48, 48, 3\). Received: uint8"):
        model.fit(images[:, :32], labels)
    with pytest.raises(InputError, match="belong together"):
        model.fit(images, labels, val_labels=labels)
    with pytest.raises(InputError, match="must be fitted before it predicts"):
        model.predict_proba(images)
    with pytest.raises(InputError, match="must differ from each other"):
        handcrafted(**QUICK).fit(np.repeat(images[:1], 4, axis=0), np.array([0, 1, 0, 1]))


# --- files -----------------------------------------------------------------------------------------------------------


def test_file_holds_no_pickle(fitted, test, tmp_path):
    fitted.save(tmp_path / "model.skops")
    with zipfile.ZipFile(tmp_path / "model.skops") as archive:
        endings = {name.rpartition(".")[2] for name in archive.namelist()}
        facts = json.loads(archive.read("leukemia_tf.json"))
    assert endings <= {"json", "npy"} and facts["options"]["classifier"] == "vote"
    assert set(facts["versions"]) >= {"scikit-learn", "OpenCV"}
    np.testing.assert_array_equal(
        load_handcrafted(tmp_path / "model.skops").predict_proba(test[0]), fitted.predict_proba(test[0])
    )
    assert [file.name for file in tmp_path.iterdir()] == ["model.skops"]


def rewrite(path, *, facts=None, pipeline=None, drop=()):
    """The same file with other options or another object in it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if facts:
        members["leukemia_tf.json"] = json.dumps({**json.loads(members["leukemia_tf.json"]), **facts})
    if pipeline is not None:
        with zipfile.ZipFile(io.BytesIO(skops.io.dumps(pipeline))) as archive:
            members = {
                "leukemia_tf.json": members["leukemia_tf.json"],
                **{name: archive.read(name) for name in archive.namelist()},
            }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if name not in drop:
                archive.writestr(name, content)


class Malicious(StandardScaler):
    """A type of somebody else's, which says when it comes to life."""

    def __setstate__(self, state):
        raise AssertionError("an untrusted type was built")


def test_untrusted_types_are_refused(fitted, tmp_path):
    path = tmp_path / "model.skops"
    fitted.save(path)
    steps = dict(fitted.pipeline.steps)
    rewrite(path, pipeline=Pipeline(list({**steps, "scaler": Malicious()}.items())))
    with pytest.raises(InputError, match="not trusted, and nothing of it was loaded: .*Malicious"):
        load_handcrafted(path)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"pipeline": StandardScaler()}, "holds a StandardScaler, not the pipeline"),
        ({"facts": {"format": 99}}, "its format is 99"),
        ({"drop": ["leukemia_tf.json"]}, "cannot be read"),
        ({"drop": ["schema.json"]}, "cannot be read"),
        ({"facts": {"options": {"widgets": 3}}}, "cannot be read"),
    ],
)
def test_foreign_and_damaged_files(change, message, fitted, tmp_path):
    path = tmp_path / "model.skops"
    fitted.save(path)
    rewrite(path, **change)
    with pytest.raises(InputError, match=message):
        load_handcrafted(path)


def test_options_that_do_not_fit_the_pipeline(fitted, tmp_path):
    path = tmp_path / "model.skops"
    fitted.save(path)
    rewrite(path, facts={"options": {**fitted.config(), "families": ["lbp"]}})
    with pytest.raises(InputError, match="2 classes by 1434 features, its options speak of 2 and 54"):
        load_handcrafted(path)


def test_wrong_paths(fitted, tmp_path):
    with pytest.raises(InputError, match="must end in .skops"):
        fitted.save(tmp_path / "model.pkl")
    with pytest.raises(InputError, match="must be fitted before it is saved"):
        handcrafted(**QUICK).save(tmp_path / "model.skops")
    with pytest.raises(InputError, match="`.skops` file that exists"):
        load_handcrafted(tmp_path / "missing.skops")
    (tmp_path / "text.skops").write_text("no archive", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read as a handcrafted classifier"):
        load_handcrafted(tmp_path / "text.skops")
    fitted.save(tmp_path / "half.skops")
    content = (tmp_path / "half.skops").read_bytes()
    (tmp_path / "half.skops").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be read as a handcrafted classifier"):
        load_handcrafted(tmp_path / "half.skops")


def test_another_version_is_told_in_one_line(fitted, tmp_path, caplog):
    path = tmp_path / "model.skops"
    fitted.save(path)
    load_handcrafted(path)
    assert not caplog.records
    rewrite(path, facts={"versions": {"scikit-learn": "0.1", "OpenCV": "1.2"}})
    load_handcrafted(path)
    assert len(caplog.records) == 1 and "scikit-learn 0.1 and OpenCV 1.2; here is" in caplog.text


def test_needs_no_tensorflow_without_a_network(tmp_path):
    code = f"""
import sys
import numpy as np
from leukemia_tf.models.handcrafted import HandcraftedClassifier, load_handcrafted
pixels = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
model = HandcraftedClassifier(2, 16, families=["lbp"]).fit(pixels, np.arange(6) % 2)
model.save({str(tmp_path / "model.skops")!r})
load_handcrafted({str(tmp_path / "model.skops")!r}).predict_proba(pixels)
print(sorted({{"tensorflow", "keras"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- features of a network -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fusion(train):
    """Fitted with a random network whose features depend on the image."""
    model = build_model(
        "handcrafted",
        image_size=48,
        weights=None,
        cnn_features="mobilenetv2",
        families=["color"],
        classifier="logistic",
    )
    network = model.cnn._model
    network.trainable = True
    enliven(network, random_images(16, 48))
    network.trainable = False
    return model.fit(*train, progress=False)


def test_fusion_takes_the_features_of_the_network(fusion, test):
    assert len(fusion.feature_names) == 66 + 1280 and fusion.feature_names[66] == "mobilenetv2_0"
    features = fusion.features(test[0])
    expected = fusion.cnn._model(test[0].astype("float32"), training=False).numpy()
    np.testing.assert_allclose(features[:, 66:], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(features[:, :66], extract_many(test[0], ["color"]))
    probabilities = fusion.predict_proba(test[0])
    np.testing.assert_allclose(fusion.pipeline.predict_proba(features), probabilities, atol=1e-6)
    features[:, 66:] = np.random.default_rng(0).permutation(features[:, 66:])
    assert np.abs(fusion.pipeline.predict_proba(features) - probabilities).max() > 0.05


class Stripes:
    """Stands for a network with one feature: which way the stripes run."""

    backbone, width = "stripes", 1

    def __call__(self, pixels, *, progress):
        steps = [np.abs(np.diff(pixels.astype(float), axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2)]
        return (steps[0] - steps[1])[:, None].astype(np.float32)


def test_fusion_sees_what_the_colours_do_not_show(train, test):
    """Both classes have the same colours, so that only the feature beside them can tell them apart."""
    right = []
    for cnn in (None, Stripes()):
        model = handcrafted(image_size=48, families=["color"], classifier="random_forest", variance=0.99)
        model.cnn = cnn
        model.fit(*train, progress=False)
        right.append(np.mean(model.predict_proba(test[0]).argmax(axis=1) == test[1]))
    assert right[0] < 0.75 < 0.9 < right[1]


def test_fusion_file_holds_the_weights(fusion, test, tmp_path):
    fusion.save(tmp_path / "model.skops")
    again = load_handcrafted(tmp_path / "model.skops")
    assert again.cnn_features == "mobilenetv2" and again.config() == fusion.config()
    np.testing.assert_array_equal(again.predict_proba(test[0]), fusion.predict_proba(test[0]))
    rewrite(tmp_path / "model.skops", drop=["backbone.weights.h5"])
    with pytest.raises(InputError, match="the weights of mobilenetv2 are missing"):
        load_handcrafted(tmp_path / "model.skops")


def test_as_published_never_looks_at_the_image():
    model = build_model("handcrafted", image_size=48, cnn_features="mobilenetv2", as_published=True)
    assert isinstance(model, HandcraftedClassifier) and model.cnn is None and len(model.feature_names) == 1434


def test_registered():
    entry = describe_model("handcrafted")
    assert entry["kind"] == "sklearn" and entry["system"] == "001-A" and entry["options"]["classifier"] == "vote"
    assert list(entry["options"])[:3] == ["num_classes", "image_size", "weights"]


# --- late fusion -----------------------------------------------------------------------------------------------------


def test_alpha_integration():
    one, other = np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([[0.5, 0.5], [0.3, 0.7]])
    np.testing.assert_allclose(alpha_integration([one, other], 1), (one + other) / 2, rtol=1e-6)
    geometric = np.sqrt(one * other)
    np.testing.assert_allclose(
        alpha_integration([one, other], 0), geometric / geometric.sum(axis=1, keepdims=True), rtol=1e-6
    )
    first, second = ((a**0.3 / 2 + b**0.3 / 2) ** (1 / 0.3) for a, b in ((0.9, 0.5), (0.1, 0.5)))
    assert alpha_integration([one, other])[0] == pytest.approx([first / (first + second), second / (first + second)])
    assert np.isfinite(alpha_integration([np.eye(2), np.eye(2)[::-1]], 0)).all()


@pytest.mark.parametrize(
    "probabilities, alpha, message",
    [
        ([np.eye(2)], 0.3, "two or more arrays.*Received: 1 of"),
        ([np.eye(2), np.eye(3)], 0.3, "one shape"),
        ([np.eye(2), np.ones((2, 2))], 0.3, "sum to 1 in each row"),
        ([np.eye(2), np.eye(2)], 2, "`alpha` must be a number from 0 to 1. Received: 2"),
    ],
)
def test_alpha_integration_refuses(probabilities, alpha, message):
    with pytest.raises(InputError, match=message):
        alpha_integration(probabilities, alpha)
