"""LiteRT and ONNX files of small models against Keras, and their calibration against NumPy's."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np
import pytest
from keras import layers

import leukemia_tf.export.runners as runners
from leukemia_tf.errors import InputError, RunError
from leukemia_tf.evaluation import Calibration
from leukemia_tf.export.graph import Served
from leukemia_tf.export.runners import FILES, Runner, check_runtimes
from leukemia_tf.files import write_json
from leukemia_tf.models.heads import classify

for module in ("ai_edge_litert", "onnxruntime", "tf2onnx"):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"needs {module}: pip install 'leukemia-tf[export]'", allow_module_level=True)

SIZE = 16
CALIBRATIONS = {
    2: [
        None,
        {"method": "temperature", "parameters": {"temperature": 0.4}},
        {"method": "platt", "parameters": {"slopes": [1.7], "intercepts": [-0.4]}},
        {
            "method": "isotonic",
            "parameters": {"given": [[0.2, 0.45, 0.4500001, 0.9]], "calibrated": [[0, 0.3, 0.6, 1]]},
        },
    ],
    3: [
        {"method": "temperature", "parameters": {"temperature": 2.5}},
        {"method": "platt", "parameters": {"slopes": [1.2, 0.3, 2.0], "intercepts": [0.1, 0.0, -1.0]}},
        {
            "method": "isotonic",
            "parameters": {"given": [[0.1, 0.5], [0.2, 0.3, 0.8], [0.4]], "calibrated": [[0, 1], [0, 0.5, 1], [0.2]]},
        },
    ],
}


def make_model(num_classes: int, own_end: bool = False) -> keras.Model:
    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.Rescaling(1 / 64, offset=-2)(image))
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = layers.Flatten()(x)
    end = layers.Dense(num_classes, "softmax")(x) if own_end else classify(x, num_classes)
    return keras.Model(image, end)


@pytest.fixture(scope="module")
def pixels():
    # Images of different brightness and colour, so that probabilities differ.
    random = np.random.default_rng(0)
    level = random.uniform(20, 235, (60, 1, 1, 3))
    return np.clip(random.normal(level, 30, (60, SIZE, SIZE, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", params=[2, 3])
def case(request, pixels):
    """Classes, model and its probabilities, one column a class."""
    model = make_model(request.param)
    found = model.predict(pixels, verbose=0).astype(np.float64)
    if request.param == 2:
        found = np.concatenate([1 - found, found], axis=1)
    return [f"class {index}" for index in range(request.param)], model, found


def opened(folder, name: str, content: bytes, **options) -> Runner:
    folder.mkdir(parents=True)
    (folder / FILES[name]).write_bytes(content)
    write_json(folder / "model.json", {})
    return Runner(folder, name, **options)


def expected(calibration, classes, raw) -> np.ndarray:
    if calibration is None:
        return raw
    return Calibration(classes=classes, n_images=1, **calibration).apply(raw)


@pytest.mark.parametrize("name", ["litert", "onnx"])
def test_calibrated_probabilities_are_those_of_numpy(case, pixels, name, tmp_path):
    from leukemia_tf.export.litert import convert_litert
    from leukemia_tf.export.onnx import convert_onnx

    classes, model, raw = case
    for number, calibration in enumerate(CALIBRATIONS[len(classes)]):
        served = Served(model, classes=classes, image_size=SIZE, calibration=calibration)
        content = convert_litert(served) if name == "litert" else convert_onnx(served)
        found = opened(tmp_path / str(number), name, content)(pixels)
        assert found["probabilities"].dtype == np.float32
        np.testing.assert_allclose(found["raw_probabilities"], raw, atol=2e-6)
        # A calibration with a step 1e-7 wide shows float32.
        atol = 1e-5 if calibration is None or calibration["method"] != "isotonic" else 1e-3
        np.testing.assert_allclose(found["probabilities"], expected(calibration, classes, raw), atol=atol)


def test_a_batch_of_any_size_gives_the_same_rows(case, pixels, tmp_path):
    from leukemia_tf.export.litert import convert_litert
    from leukemia_tf.export.onnx import convert_onnx

    classes, model, raw = case
    served = Served(model, classes=classes, image_size=SIZE)
    for name, content in (("litert", convert_litert(served)), ("onnx", convert_onnx(served))):
        runner = opened(tmp_path / name, name, content)
        for start, stop in ((0, 1), (1, 8), (8, 9), (9, 60), (0, 1)):
            np.testing.assert_allclose(runner(pixels[start:stop])["probabilities"], raw[start:stop], atol=2e-6)
        assert runner(pixels[:5])["features"].shape == (5, model.get_layer("logits").input.shape[1])
        assert runner(np.float32(pixels[:2]))["logits"].shape == (2, model.get_layer("logits").units)


def test_many_interpreters_give_the_rows_of_one(case, pixels, tmp_path, monkeypatch):
    from leukemia_tf.export.litert import convert_litert

    classes, model, _ = case
    threads: list[int] = []
    interpreter = runners._interpreter
    monkeypatch.setattr(runners, "_interpreter", lambda path, count: interpreter(path, threads.append(count) or count))
    content = convert_litert(Served(model, classes=classes, image_size=SIZE))
    one = opened(tmp_path / "one", "litert", content, threads=1)
    three = opened(tmp_path / "three", "litert", content, threads=3)
    for count in (1, 11, 12, 59, 60, 5):
        found, expected = three(pixels[:count]), one(pixels[:count])
        assert sorted(found) == sorted(expected)
        for name, values in expected.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6, err_msg=f"{name}, {count}")
    assert threads == [1, 3, 1, 1, 1]
    # Where they would not fit beside each other there are fewer, with the same threads together.
    monkeypatch.setattr(runners, "_MOST_BYTES", 2 * len(content))
    threads.clear()
    opened(tmp_path / "two", "litert", content, threads=5)(pixels)
    assert threads == [5, 2, 2]


def test_eight_bits_inside_floats_outside(case, pixels, tmp_path):
    from leukemia_tf.export.litert import convert_litert

    classes, model, raw = case
    calibration = CALIBRATIONS[len(classes)][-2]  # Platt
    served = Served(model, classes=classes, image_size=SIZE, calibration=calibration)
    content = convert_litert(served, pixels[:40])
    runner = opened(tmp_path / "int8", "litert-int8", content)
    found = runner(pixels)
    assert 0 < np.abs(found["raw_probabilities"] - raw).mean() < 0.03
    # What comes after the logits is computed in float32: it follows from the file's own raw probabilities.
    follows = expected(calibration, classes, found["raw_probabilities"].astype(np.float64))
    np.testing.assert_allclose(found["probabilities"], follows, atol=3e-4)
    assert len(np.unique(found["raw_probabilities"][:, 0])) > 20
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0]
    weights = [tensor for tensor in graph.tensors if tensor.type == schema.TensorType.INT8 and len(tensor.shape) == 4]
    # The second convolution, with a scale for each of its 8 channels; the first one stays float32.
    assert 8 in [len(tensor.quantization.scale) for tensor in weights]
    assert graph.tensors[graph.inputs[0]].type == schema.TensorType.FLOAT32


def test_more_layers_stay_in_float32_on_demand(pixels):
    from ai_edge_litert import schema_py_generated as schema

    from leukemia_tf.export.litert import convert_litert

    served = Served(make_model(3), classes=["a", "b", "c"], image_size=SIZE)

    def kernels(float_layers: int) -> list[str]:
        content = convert_litert(served, pixels[:10], float_layers=float_layers)
        graph = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0]
        kinds = {schema.TensorType.INT8: "int8", schema.TensorType.FLOAT32: "float32"}
        return sorted(kinds[tensor.type] for tensor in graph.tensors if list(tensor.shape[1:3]) == [3, 3])

    assert kernels(1) == ["float32", "int8"] and kernels(2) == ["float32", "float32"]


def test_units_that_never_answer_do_not_stop_eight_bits(pixels, tmp_path):
    """XNNPACK refuses a file with an activation that is always 0 in steps of 1e-8; such layers stay in float32."""
    from leukemia_tf.export.litert import convert_litert

    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(layers.Rescaling(1 / 255)(image))
    gate = layers.Dense(2, "relu", bias_initializer=keras.initializers.Constant(-100.0))(
        layers.GlobalAveragePooling2D()(x)
    )
    x = layers.Multiply()([x, layers.Reshape((1, 1, 8))(layers.Dense(8, "sigmoid")(gate))])
    model = keras.Model(image, classify(layers.GlobalAveragePooling2D()(x), 3))
    served = Served(model, classes=["a", "b", "c"], image_size=SIZE)
    runner = opened(tmp_path / "int8", "litert-int8", convert_litert(served, pixels[:20]))
    found = runner(pixels)["probabilities"]
    np.testing.assert_allclose(found, model.predict(pixels, verbose=0), atol=0.03)


def test_a_model_with_an_end_of_its_own(pixels, tmp_path):
    from leukemia_tf.export.litert import convert_litert

    model = make_model(3, own_end=True)
    runner = opened(tmp_path / "x", "litert", convert_litert(Served(model, classes=["a", "b", "c"], image_size=SIZE)))
    found = runner(pixels)
    assert sorted(found) == ["probabilities", "raw_probabilities"]
    np.testing.assert_allclose(found["probabilities"], model.predict(pixels, verbose=0), atol=2e-6)


def test_classes_must_fit():
    with pytest.raises(InputError, match="`classes` has one name for each of the 3 outputs"):
        Served(make_model(3), classes=["a", "b"], image_size=SIZE)


@pytest.mark.parametrize("name, module", [("litert", "ai_edge_litert"), ("onnx", "onnxruntime")])
def test_an_absent_runtime_is_one_line_that_names_the_extra(name, module, monkeypatch, tmp_path):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda given: None if given == module else there(given))
    with pytest.raises(InputError, match=rf"`{name}` needs {module}: .*leukemia-tf\[export\]"):
        Runner(tmp_path, name)
    check_runtimes(["saved_model"], converting=True)


def test_what_is_no_export_is_refused(tmp_path):
    with pytest.raises(InputError, match="leukemia-tf export RUN --to onnx"):
        Runner(tmp_path, "onnx")
    (tmp_path / "model.tflite").write_bytes(b"TFL3 and nothing more")
    write_json(tmp_path / "model.json", {})
    with pytest.raises(RunError, match="cannot be opened as `litert`"):
        Runner(tmp_path, "litert")
