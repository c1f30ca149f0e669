import ast
import pathlib

import numpy as np
import pytest

import leukemia_tf
from leukemia_tf.errors import InputError
from leukemia_tf.models import build_model, describe_model, list_models, register_model, registry
from leukemia_tf.models.figures import model_figures
from harness import check_builder, random_images

# Options that make each registered model small enough for a test. A new model needs a line here.
TINY = {
    "attention_cnn": {"image_size": 32, "weights": None, "backbone": "mobilenetv2"},
    "filter_token": {"image_size": 64, "weights": None, "backbone": "mobilenetv2", "num_tokens": 4},
    "mha_efficientnet": {"image_size": 64, "weights": None, "backbone": "mobilenetv2"},
    "ensemble": {"image_size": 32, "weights": None, "backbones": ("mobilenetv2", "mobilenetv2")},
    "basic_cnn": {"image_size": 32},
    "bloodmnist_cnn2": {"image_size": 32},
    "bloodmnist_cnn3": {"image_size": 32},
    "bloodmnist_cnn4": {"image_size": 48},
    "bloodmnist_cnn_bn": {"image_size": 32},
    "bloodmnist_cnn_dropout": {"image_size": 32},
    "bloodmnist_cnn_se": {"image_size": 32},
    "bloodmnist_inception": {"image_size": 32},
    "bloodmnist_residual": {"image_size": 32},
    "bloodmnist_resnet18": {"image_size": 32},
    "bloodmnist_vgg16": {"image_size": 32},
    "bloodmnist_vgg16_cbam": {"image_size": 32},
    "bloodmnist_vgg16_se": {"image_size": 32},
    "bloodmnist_vgg16_slim": {"image_size": 32},
    "efficientnetb3_max": {"image_size": 32, "weights": None, "backbone": "mobilenetv2"},
    "mlffakd_student": {"image_size": 32},
    "mlffakd_tiny_student": {"image_size": 32},
    "mlffakd_teacher": {"image_size": 32, "weights": None, "backbone": "mobilenetv2"},
    "transfer": {"image_size": 32, "weights": None, "backbone": "mobilenetv2"},
}


@pytest.fixture
def scratch(monkeypatch):
    """A registry that forgets what the test puts in."""
    list_models()
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


NETWORKS = [name for name in list_models() if describe_model(name)["kind"] == "keras"]

# Parameters of the published systems, as they were counted from the originals, and of those whose details are not
# published. The files of the models build them and count; figures.json is what a script found.
PUBLISHED = {
    "ensemble": 99_181_968,
    "filter_token": 10_794_148,
    "efficientnetb3_max": 11_183_408,
    "basic_cnn": 8_294_753,
    "mha_efficientnet": 30_643_237,
    "attention_cnn": 14_149_024,
    "mlffakd_teacher": 10_797_368,
    "mlffakd_student": 11_190_729,
    "bloodmnist_cnn4": 130_792,
    "bloodmnist_cnn3": 171_624,
    "bloodmnist_cnn_dropout": 549_032,
    "bloodmnist_cnn_bn": 626_024,
    "bloodmnist_cnn_se": 287_807,
    "bloodmnist_resnet18": 11_195_016,
    "bloodmnist_vgg16": 5_787_560,
    "bloodmnist_vgg16_slim": 4_607_400,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameters(name):
    assert describe_model(name)["parameters"] == model_figures(name)["parameters"] == PUBLISHED[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_model(name, tmp_path):
    options = TINY[name]
    check_builder(
        lambda: build_model(name, num_classes=2, **options),
        image_size=options["image_size"],
        num_classes=2,
        tmp_path=tmp_path,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_model_with_other_classes_and_another_size(name):
    options = {**TINY[name], "image_size": TINY[name]["image_size"] + 32}
    model = build_model(name, num_classes=3, name="other", **options)
    assert model.name == "other" and model.output_shape == (None, 3)
    probabilities = model(random_images(2, options["image_size"]), training=False).numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)


def test_lists_by_pattern():
    assert "ensemble" in list_models() and list_models() == sorted(list_models())
    assert list_models("ens*") == ["ensemble"] and list_models("nothing*") == []


def test_description():
    entry = describe_model("ensemble")
    assert entry["system"] == "002-A" and entry["parameters"] == 99_181_968
    assert entry["options"]["image_size"] == 224 and entry["options"]["num_classes"] == 2
    assert "93.50" in entry["published"] and entry["summary"].startswith("Several backbones")


def test_unknown_name_suggests():
    with pytest.raises(InputError, match=r"did you mean ensemble\?.*Received: 'ensembel'"):
        build_model("ensembel")


def test_unknown_options_are_all_named():
    with pytest.raises(InputError) as caught:
        build_model("ensemble", imagesize=32, num_clases=3)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2 and "did you mean image_size" in lines[0] and "did you mean num_classes" in lines[1]


def test_register_and_build(scratch):
    @register_model("toy", system="x", reference="y", parameters=3, published="z")
    def toy(width=1):
        """A toy."""
        return width

    assert "toy" in list_models() and build_model("toy", width=5) == 5
    assert describe_model("toy")["options"] == {"width": 1} and describe_model("toy")["summary"] == "A toy."
    assert describe_model("toy")["kind"] == "keras"
    with pytest.raises(ValueError, match="must be new"):
        register_model("toy")(lambda: None)
    register_model("fitted", kind="sklearn")(lambda: None)
    assert describe_model("fitted")["kind"] == "sklearn"
    with pytest.raises(ValueError, match="one of .*Received: 'torch'"):
        register_model("other", kind="torch")


def test_package_offers_the_registry():
    assert leukemia_tf.list_models() == list_models()


@pytest.mark.parametrize("room", ["models", "layers", "losses"])
def test_rooms_are_free_of_tensorflow(room):
    """Models, layers and losses use Keras only, so that they run on its other backends too."""
    for file in (pathlib.Path(leukemia_tf.__file__).parent / room).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "tensorflow"], file
