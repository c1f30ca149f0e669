"""LiteRT (TensorFlow Lite) files, in float32 or in 8-bit integers."""

from __future__ import annotations

import warnings

import numpy as np
import tensorflow as tf

from leukemia_tf.errors import RunError
from leukemia_tf.export.graph import Served
from leukemia_tf.export.quiet import quiet_stderr

_SOFTMAX = 25
_CONVOLUTIONS = (3, 4, 9)
"""`BuiltinOperator` of the format: SOFTMAX; CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED."""
_LEAST_SCALE = 1e-6
"""An activation in steps below this is one that is always 0: the ranges of images in [0, 255] lie far above."""


def convert_litert(served: Served, representative: np.ndarray | None = None, *, float_layers: int = 1) -> bytes:
    """A `.tflite` file with one signature, ``serving_default``, which takes batches of any size.

    In 8 bits weights are quantised symmetrically, each channel on its own, and activations over the ranges that
    representative images show. Input and output stay float32, and so do two ends: the first convolutions, whose
    channels differ most in range (in 8 bits one alone cost .5 points of accuracy, measured on PBC-64), and what comes
    after the logits, because a probability in steps of 1/256 is too coarse for calibration and thresholds.

    Args:
        served: the model.
        representative: float32 or uint8 (N, S, S, 3) in [0, 255], training images, for 8 bits; None for float32.
        float_layers: how many convolutions, counted from the image, stay float32 in a file of 8 bits; 1 or more.

    Raises:
        RunError: if the converter does not know an operation.
    """
    function = served.serve.get_concrete_function()

    def converter() -> tf.lite.TFLiteConverter:
        return tf.lite.TFLiteConverter.from_concrete_functions([function], served)

    with quiet_stderr():
        try:
            plain = converter().convert()
            return plain if representative is None else _quantised(converter(), plain, representative, float_layers)
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise RunError(f"TensorFlow cannot convert this model to LiteRT: {first.strip()[:300]}") from error


def _quantised(
    converter: tf.lite.TFLiteConverter, plain: bytes, representative: np.ndarray, float_layers: int
) -> bytes:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.float32(image)[None]] for image in representative)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    left = _first_layers(plain, float_layers) + _after_logits(plain)
    with warnings.catch_warnings():
        # The debugger opens its model with `tf.lite.Interpreter`, which says that LiteRT is a package of its own now.
        warnings.filterwarnings("ignore", category=UserWarning)
        # It is TensorFlow's own way to leave named operations in float32.
        debugger = tf.lite.experimental.QuantizationDebugger(
            converter=converter,
            debug_dataset=converter.representative_dataset,
            debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=left),
        )
        content = bytes(debugger.get_nondebug_quantized_model())
        silent = _silent(content)
        if silent:
            debugger.options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=left + silent)
            content = bytes(debugger.get_nondebug_quantized_model())
    return content


def _silent(content: bytes) -> list[str]:
    """Names of operations whose output never left 0, such as units that died in training, and of what takes it.

    Their scale is so small that XNNPACK refuses the whole file.
    """
    model, graph = _parsed(content)
    silent = set()
    for index, tensor in enumerate(graph.tensors):
        scale = tensor.quantization.scale if tensor.quantization else None
        # Weights have their numbers in a buffer, and may have one scale for each channel.
        computed = model.buffers[tensor.buffer].data is None
        if computed and scale is not None and len(scale) == 1 and scale[0] < _LEAST_SCALE:
            silent.add(index)
    operators = [op for op in graph.operators if silent & {*op.inputs.tolist(), *op.outputs.tolist()}]
    return [graph.tensors[index].name.decode() for op in operators for index in op.outputs]


def _first_layers(plain: bytes, count: int) -> list[str]:
    """Names of what a float32 file does to pixels, with the first `count` convolutions of each branch."""
    model, graph = _parsed(plain)
    codes = _codes(model)
    passed = {index: 0 for index in graph.inputs.tolist()}  # tensor -> convolutions before it
    names = []
    for operator in graph.operators:  # in the order in which they run
        before = min((passed[index] for index in operator.inputs.tolist() if index in passed), default=count)
        if before < count:
            names += [graph.tensors[index].name.decode() for index in operator.outputs]
            after = before + (codes[operator.opcodeIndex] in _CONVOLUTIONS)
            passed |= {index: after for index in operator.outputs.tolist()}
    return names


def _after_logits(plain: bytes) -> list[str]:
    """Names of what a float32 file computes from its logits, which are the input of its first softmax from the end."""
    model, graph = _parsed(plain)
    codes = _codes(model)
    outputs = {item.name.decode(): item.tensorIndex for item in model.signatureDefs[0].outputs}
    makers = {index: operator for operator in graph.operators for index in operator.outputs}
    raw = makers[outputs["raw_probabilities"]]
    if codes[raw.opcodeIndex] != _SOFTMAX:
        raise ValueError("the probabilities do not come from a softmax")
    after = {raw.inputs[0]}
    names = []
    for operator in graph.operators:  # in the order in which they run
        if after & set(operator.inputs.tolist()):
            after |= set(operator.outputs.tolist())
            names += [graph.tensors[index].name.decode() for index in operator.outputs]
    return names


def _codes(model) -> list[int]:
    return [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]


def _parsed(content: bytes):
    """The file as objects, and its only graph."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    return model, model.subgraphs[0]
