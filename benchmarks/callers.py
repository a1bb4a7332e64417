"""Ways of calling a whole model: by Keras, by TensorFlow, by ONNX Runtime, by the NumPy program of rnnexport."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import rnnexport
from benchmarks.cells import call
from benchmarks.host import one_thread_session
from rnnexport.core.signature import Signature, argument_name
from rnnexport.targets.numpy.program import opened
from rnnexport.targets.registry import target

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True, eq=False)
class Caller:
    """A model that can be called; one with states goes on from where the last call ended.

    Attributes:
        call: from the inputs to the outputs, both in the order of the model's.
        reset: goes back to the initial states.
    """

    call: Callable[[Arrays], Sequence[Any]]
    reset: Callable[[], None]

    def run(self, feeds: Sequence[Arrays]) -> list[np.ndarray]:
        """The outputs of calls on these inputs, one call after the other from the initial states."""
        self.reset()
        return [np.array(output) for feed in feeds for output in self.call(feed)]


class Exported:
    """One model with its artifacts, each made when it is first asked for.

    Attributes:
        name: of the model.
        model: the live one.
    """

    def __init__(self, name: str, model: Any, folder: Path) -> None:
        self.name = name
        self.model = model
        self._folder = folder

    def artifact(self, to: str) -> Path:
        """What rnnexport makes of the model; its proof is left out, which takes longer than all the rest."""
        path = self._folder / f"{self.name}{target(to).suffix}"
        if not path.exists():
            rnnexport.export(self.model, to, path, verify=False)
        return path

    @cached_property
    def signature(self) -> Signature:
        """What goes into the artifacts and comes out."""
        proof = target("onnx").read_proof(self.artifact("onnx"))
        assert proof is not None
        return proof.provenance.signature

    def reset(self) -> None:
        """Let the live model begin anew, which carries the states of its stateful layers."""
        for layer in self.model.layers:
            if getattr(layer, "stateful", False):
                layer.reset_state()

    def eager(self, feeds: Sequence[Arrays]) -> list[np.ndarray]:
        """The truth: see `Caller.run`."""
        return Caller(lambda feed: call(self.model, [tf.constant(array) for array in feed]), self.reset).run(feeds)


@dataclass(frozen=True)
class Kind:
    """One way of calling.

    Attributes:
        name: for the JSON.
        title: for the table.
        what: how it is run, for the notes.
        make: makes it. Raises whatever a peer raises.
    """

    name: str
    title: str
    what: str
    make: Callable[[Exported], Caller]


def _one_or_all(arrays: Arrays) -> Any:
    return arrays[0] if len(arrays) == 1 else list(arrays)


def _predict(exported: Exported) -> Caller:
    model = exported.model

    def run(feed: Arrays) -> list[Any]:
        return list(keras.tree.flatten(model.predict(_one_or_all(feed), batch_size=len(feed[0]), verbose=0)))

    return Caller(run, exported.reset)


def _on_batch(exported: Exported) -> Caller:
    model = exported.model
    return Caller(lambda feed: list(keras.tree.flatten(model.predict_on_batch(_one_or_all(feed)))), exported.reset)


def _function(exported: Exported) -> Caller:
    model = exported.model
    specs = [tf.TensorSpec(tensor.shape, tf.float32) for tensor in model.inputs]
    concrete = tf.function(lambda *xs: call(model, xs), input_signature=specs).get_concrete_function()

    def run(feed: Arrays) -> list[np.ndarray]:
        return [output.numpy() for output in concrete(*map(tf.constant, feed))]

    return Caller(run, exported.reset)


class _Session:
    """A session of ONNX Runtime, its states handed on as arrays."""

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session, self._signature = session, signature
        self._inputs = [argument_name(spec.name) for spec in signature.inputs]
        self._states = [argument_name(state.input.name) for state in signature.states]
        self._names = [spec.name for spec in signature.all_outputs]
        self.reset()

    def reset(self) -> None:
        self._carried: dict[str, np.ndarray] | None = None

    def run(self, feed: Arrays) -> list[np.ndarray]:
        if self._carried is None:
            fresh = self._signature.fresh_states(len(feed[0]))
            self._carried = {argument_name(name): array for name, array in fresh.items()}
        found = self._session.run(self._names, dict(zip(self._inputs, feed, strict=True)) | self._carried)
        outputs: list[np.ndarray] = found[: len(self._signature.outputs)]
        self._carried = dict(zip(self._states, found[len(outputs) :], strict=True))
        return outputs


def _onnx(exported: Exported) -> Caller:
    session = _Session(one_thread_session(exported.artifact("onnx")), exported.signature)
    return Caller(session.run, session.reset)


def _numpy(exported: Exported) -> Caller:
    model = opened(exported.artifact("numpy"))
    if len(model.OUTPUTS) == 1:
        return Caller(lambda feed: [model(*feed)], model.reset)
    return Caller(lambda feed: list(model(*feed).values()), model.reset)


KINDS = (
    Kind("numpy", "program", "the class of the program that `rnnexport numpy` writes, called in float32", _numpy),
    Kind("predict", "predict", "`keras.Model.predict(x, batch_size=B, verbose=0)`", _predict),
    Kind("on_batch", "predict_on_batch", "`keras.Model.predict_on_batch(x)`", _on_batch),
    Kind("function", "tf.function", "the concrete function of the model, from arrays to arrays", _function),
    Kind("onnx", "ONNX Runtime", "the ONNX file of rnnexport, its recurrences lowered", _onnx),
)
OURS, AIM = "numpy", "predict"
