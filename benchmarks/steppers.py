"""Ways of stepping one row of a model: by Keras, by TensorFlow, and by each target that rnnexport exports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import rnnexport
from benchmarks.host import one_thread_session
from benchmarks.step_models import StepModel, stepped_by_keras
from rnnexport.core.signature import Signature, argument_name
from rnnexport.targets.base import STEP
from rnnexport.targets.registry import target


@dataclass(frozen=True, eq=False)
class Stepper:
    """A model on its way through a sequence.

    Attributes:
        step: goes on by one timestep, from an array (1, 1, F) to one (1, 1, O).
        reset: goes back to the initial state.
    """

    step: Callable[[np.ndarray], np.ndarray]
    reset: Callable[[], None]

    def run(self, xs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Every step of a sequence from the initial state."""
        self.reset()
        return [np.array(self.step(x)) for x in xs]


class Files:
    """One model with the artifacts that its steppers share, each made when it is first asked for.

    Attributes:
        spec: which model.
        model: the live one.
    """

    def __init__(self, spec: StepModel, model: Any, folder: Path) -> None:
        self.spec = spec
        self.model = model
        self._folder = folder

    def artifact(self, to: str) -> Path:
        """What rnnexport makes of the model for one row and one timestep a call."""
        path = self._folder / f"{self.spec.name}{target(to).suffix}"
        if not path.exists():
            sizes: dict[str, Any] = {} if self.spec.twin is None else {"batch": 1, "stream": 1}
            rnnexport.export(self.model, to, path, verify=False, **sizes)
        return path

    @cached_property
    def twin(self) -> Any:
        """The stateful model that Keras steps."""
        return stepped_by_keras(self.spec, self.model)


@dataclass(frozen=True)
class Kind:
    """One way of stepping.

    Attributes:
        name: for the JSON.
        title: for the table.
        what: how it is run, for the notes.
        make: makes it. Raises whatever a peer raises.
    """

    name: str
    title: str
    what: str
    make: Callable[[Files], Stepper]


class _Window:
    """The last timesteps, which the caller of a convolution has to keep; nothing where it looks at one."""

    def __init__(self, files: Files, step: Callable[[np.ndarray], np.ndarray]) -> None:
        self._files = files
        self._length = files.spec.window
        self._step = step
        self.reset()

    def reset(self) -> None:
        self._last = np.zeros((1, self._length, self._files.model.inputs[0].shape[-1]), "float32")
        for layer in self._files.twin.layers:
            if getattr(layer, "stateful", False):
                layer.reset_state()

    def step(self, x: np.ndarray) -> np.ndarray:
        if self._length == 1:
            return self._step(x)
        self._last = np.concatenate([self._last[:, 1:], x], axis=1)
        return self._step(self._last)


def _windowed(files: Files, step: Callable[[np.ndarray], np.ndarray]) -> Stepper:
    window = _Window(files, step)
    return Stepper(window.step, window.reset)


def _predict(files: Files) -> Stepper:
    return _windowed(files, files.twin.predict_on_batch)


def _function(files: Files) -> Stepper:
    twin = files.twin
    spec = tf.TensorSpec(twin.inputs[0].shape, tf.float32)
    concrete = tf.function(lambda x: twin(x, training=False), input_signature=[spec]).get_concrete_function()
    return _windowed(files, lambda x: concrete(tf.constant(x)).numpy())


class _Carried:
    """Steps a function that takes the states as inputs and gives them as outputs."""

    def __init__(
        self, run: Callable[[dict[str, Any]], Any], signature: Signature, tensor: Callable[[Any], Any]
    ) -> None:
        self._run = run
        self._tensor = tensor
        self._input, self._output = signature.inputs[0].name, signature.outputs[0].name
        self._names = [(argument_name(state.input.name), state.output.name) for state in signature.states]
        self._fresh = {argument_name(state.input.name): state.start(1) for state in signature.states}

    def reset(self) -> None:
        self._states = {name: self._tensor(array) for name, array in self._fresh.items()}

    def step(self, x: np.ndarray) -> Any:
        found = self._run({self._input: self._tensor(x), **self._states})
        self._states = {before: found[after] for before, after in self._names}
        return found[self._output]


def _signature(path: Path, to: str) -> Signature:
    proof = target(to).read_proof(path)
    assert proof is not None
    return proof.provenance.signature


def _stepper(carried: _Carried) -> Stepper:
    carried.reset()
    return Stepper(carried.step, carried.reset)


def _onnx(files: Files) -> Stepper:
    path = files.artifact("onnx")
    session = one_thread_session(path)
    names = [tensor.name for tensor in session.get_outputs()]

    def run(feed: dict[str, Any]) -> dict[str, Any]:
        return dict(zip(names, session.run(None, feed), strict=True))

    return _stepper(_Carried(run, _signature(path, "onnx"), np.asarray))


def _runtime(to: str, files: Files) -> Stepper:
    from rnnexport import runtime

    stream = runtime.open(files.artifact(to))
    return Stepper(stream.step, stream.reset)


def _tflite(files: Files) -> Stepper:
    path = files.artifact("tflite")
    runner = Interpreter(str(path), num_threads=1).get_signature_runner(STEP)
    return _stepper(_Carried(lambda feed: runner(**feed), _signature(path, "tflite"), np.asarray))


def _saved_model(files: Files) -> Stepper:
    path = files.artifact("saved-model")
    loaded = tf.saved_model.load(str(path))
    made = _stepper(
        _Carried(lambda feed: loaded.signatures[STEP](**feed), _signature(path, "saved-model"), tf.constant)
    )
    return Stepper(lambda x: made.step(x).numpy(), made.reset)


STEPPERS = (
    Kind("predict", "predict_on_batch", "Keras, the stateful model; a window of inputs before a convolution", _predict),
    Kind("function", "tf.function", "the concrete function of the same model, its states variables", _function),
    Kind("saved-model", "SavedModel", "the signature `step` in TensorFlow, states handed on as tensors", _saved_model),
    Kind("tflite", "TFLite", "the signature `step` in LiteRT, on one thread", _tflite),
    Kind("onnx", "ONNX Runtime", "the session alone, on one thread, states handed on as arrays", _onnx),
    Kind(
        "runtime",
        "rnnexport.runtime",
        "`rnnexport.runtime.open(file).step(x)` of the same ONNX file, with all of the session's threads",
        partial(_runtime, "onnx"),
    ),
)
STEPPERS_BY_NAME = {kind.name: kind for kind in STEPPERS}
OURS = ("saved-model", "tflite", "onnx", "runtime")
