"""ONNX files, for ONNX Runtime and whatever else reads them."""

from __future__ import annotations

import logging

from leukemia_tf.errors import RunError
from leukemia_tf.export.graph import INPUT, Served
from leukemia_tf.export.quiet import quiet_stderr

OPSET = 18


def convert_onnx(served: Served) -> bytes:
    """An ONNX model that takes batches of any size; inputs and outputs have the names that `Served` gives them.

    It goes through tf2onnx, as ``keras.Model.export(format="onnx")`` does, which for its part takes a model with its
    own outputs only, and would leave the calibration outside.

    Args:
        served: the model.

    Raises:
        RunError: if the converter does not know an operation.
    """
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    failed = _Errors()
    logger = logging.getLogger("tf2onnx")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.addHandler(failed)
    try:
        with quiet_stderr():
            function = served.serve.get_concrete_function()
            # `tf2onnx.convert.from_function` takes tensors that layers keep, such as ImageNet's mean, for inputs.
            frozen = convert_variables_to_constants_v2(function)
            names = dict(zip([output.name for output in frozen.outputs], sorted(function.structured_outputs)))
            model, _ = tf2onnx.convert.from_graph_def(
                frozen.graph.as_graph_def(),
                name="leukemia_tf",
                input_names=[frozen.inputs[0].name],
                output_names=list(names),
                tensors_to_rename={frozen.inputs[0].name: INPUT, **names},
                opset=OPSET,
            )
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise RunError(f"tf2onnx cannot convert this model to ONNX: {error}") from error
    finally:
        logger.removeHandler(failed)
        logger.setLevel(level)
        logger.propagate = propagate
    if failed.lines:
        raise RunError(f"tf2onnx cannot convert this model to ONNX: {failed.lines[0]}")
    return model.SerializeToString()


class _Errors(logging.Handler):
    """tf2onnx logs what it cannot convert, and goes on."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().split())[:300])
