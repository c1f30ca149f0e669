"""Exported models, opened with the runtime of their format and asked for what they know of a batch of pixels.

Nothing here imports TensorFlow unless a SavedModel is opened.
"""

from __future__ import annotations

import concurrent.futures
import importlib.util
import logging
import os
import pathlib
import queue
from typing import Any

import numpy as np

from leukemia_tf.errors import InputError, RunError
from leukemia_tf.export.quiet import quiet_stderr
from leukemia_tf.files import read_json

log = logging.getLogger(__name__)

FILES = {
    "saved_model": "saved_model.pb",
    "litert": "model.tflite",
    "litert-int8": "model.tflite",
    "onnx": "model.onnx",
}
"""Formats, and the file in the folder of each."""
METADATA = "model.json"
RUNTIMES = {"litert": "ai_edge_litert", "litert-int8": "ai_edge_litert", "onnx": "onnxruntime"}
CONVERTERS = {"onnx": "tf2onnx"}
_PIECE = 4
"""Images that a LiteRT interpreter of one thread takes at a time."""
_MOST_BYTES = 2**30
"""Of all LiteRT interpreters of a model, each of which keeps the weights once more."""


def has_runtime(name: str) -> bool:
    """Whether what opens a format is installed."""
    return name not in RUNTIMES or importlib.util.find_spec(RUNTIMES[name]) is not None


def check_runtimes(formats: list[str], *, converting: bool = False) -> None:
    """Raise an `InputError` that names the extra to install, where a format's runtime or converter is absent."""
    for name in formats:
        for module in (RUNTIMES.get(name), CONVERTERS.get(name) if converting else None):
            if module and importlib.util.find_spec(module) is None:
                raise InputError(
                    f"`{name}` needs {module}: python -m pip install 'leukemia-tf[export]'. Received: not installed"
                )


def read_metadata(folder: str | os.PathLike, name: str) -> dict[str, Any]:
    """What lies beside an exported file: classes, image size, value range, resize, notice, colour, decision.

    Raises:
        InputError: if there is no export of that format.
    """
    folder = pathlib.Path(folder)
    if not (folder / FILES[name]).is_file():
        raise InputError(f"`{folder}` is what `leukemia-tf export RUN --to {name}` writes. Received: nothing there")
    place = folder / "assets.extra" if name == "saved_model" else folder
    return read_json(place / METADATA)


class Runner:
    """A model of any format: ``runner(pixels)`` gives named arrays, as `leukemia_tf.export.graph.Served` names them.

    Args:
        folder: what `leukemia-tf export` wrote for one format.
        name: the format, one of `FILES`.
        threads: of the runtime; 0 for as many as there are processors.

    Raises:
        InputError: if there is no such export, or its runtime is not installed.
        RunError: if the runtime cannot open the file.
    """

    def __init__(self, folder: str | os.PathLike, name: str, *, threads: int = 0):
        check_runtimes([name])
        self.name = name
        self.metadata = read_metadata(folder, name)
        path = pathlib.Path(folder) / FILES[name]
        opened = {"saved_model": _saved_model, "onnx": _onnx}.get(name, _litert)
        try:
            self._call = opened(path, threads or os.cpu_count() or 1)
        except Exception as error:  # each runtime raises errors of its own
            raise RunError(f"`{path}` cannot be opened as `{name}`: {' '.join(str(error).split())[:300]}") from error

    def __call__(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """From RGB pixels uint8 or float32 (B, S, S, 3) in [0, 255] to arrays with B rows."""
        return self._call(pixels)


def _litert(path: pathlib.Path, threads: int):
    """Few images are shared by all threads; of many, each thread takes a few at a time for an interpreter of its own.

    The second wastes no time on waiting for each other, and what lies between layers stays in the processor's cache:
    32 images took a quarter less processor time than in one piece (MobileNetV2 at 128 pixels).
    """
    single = _interpreter(path, threads)
    workers = max(1, min(threads, _MOST_BYTES // path.stat().st_size))
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    idle: queue.SimpleQueue = queue.SimpleQueue()
    opened = 0

    def part(images: np.ndarray) -> dict[str, np.ndarray]:
        interpreter = idle.get()
        try:
            return interpreter(images)
        finally:
            idle.put(interpreter)

    def call(images: np.ndarray) -> dict[str, np.ndarray]:
        nonlocal opened
        if len(images) < _PIECE * workers or workers == 1:
            return single(images)
        while opened < workers:
            idle.put(_interpreter(path, threads // workers))
            opened += 1
        found = list(pool.map(part, [images[start : start + _PIECE] for start in range(0, len(images), _PIECE)]))
        return {name: np.concatenate([values[name] for values in found]) for name in found[0]}

    return call


def _interpreter(path: pathlib.Path, threads: int):
    """One interpreter, for one caller at a time."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def opened(resolver: OpResolverType):
        with quiet_stderr():
            interpreter = Interpreter(str(path), num_threads=threads, experimental_op_resolver_type=resolver)
            interpreter.allocate_tensors()
        return interpreter

    try:
        interpreter = opened(OpResolverType.AUTO)
    except RuntimeError:
        # XNNPACK refuses scales far apart, such as those of units that never answer; the plain kernels take them.
        log.info("`%s` runs without XNNPACK", path)
        interpreter = opened(OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    signature = interpreter.get_signature_runner()
    (given,) = signature.get_input_details().values()
    outputs = {name: details["index"] for name, details in signature.get_output_details().items()}
    batch = 1

    def call(images: np.ndarray) -> dict[str, np.ndarray]:
        nonlocal batch
        if len(images) != batch:
            interpreter.resize_tensor_input(given["index"], images.shape)
            interpreter.allocate_tensors()
            batch = len(images)
        # Straight into the model's memory; the view must not outlive this line.
        interpreter.tensor(given["index"])()[...] = images
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in outputs.items()}

    return call


def _onnx(path: pathlib.Path, threads: int):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (given,), names = session.get_inputs(), [output.name for output in session.get_outputs()]

    def call(images: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, {given.name: _floats(images)}), strict=True))

    return call


def _saved_model(path: pathlib.Path, threads: int):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path.parent))
    serve = loaded.signatures["serving_default"]

    def call(images: np.ndarray) -> dict[str, np.ndarray]:
        found = serve(images=tf.constant(_floats(images)))
        return {name: values.numpy() for name, values in found.items() if name != "classes"}

    call.keep = loaded  # the signature holds no reference to the variables that it reads
    return call


def _floats(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images, np.float32)
