"""Who is measured: for each peer one function from a model and a size to a call without arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from benchmarks.cells import Size
from benchmarks.subject import Runner, Subject

TORCH_MISSING = "torch is not installed: pip install '.[bench]'"
TORCH_CELLS = ("simple_rnn", "lstm", "gru")


@dataclass(frozen=True)
class Choices:
    """What the command line says about the peers.

    Attributes:
        form: the lowering of ours.
        tflite_max_steps: the longest sequence that is unrolled for TFLite.
    """

    form: str = "auto"
    tflite_max_steps: int = 100


@dataclass(frozen=True)
class NotMeasured:
    """Why a peer has nothing to measure here."""

    why: str


@dataclass(frozen=True)
class Peer:
    """One column of the table.

    Attributes:
        name: for `--peers`.
        title: for the table.
        what: how it was run, for the notes and the JSON.
        runner: makes the call that is measured. Raises whatever a peer raises.
        file: the ONNX file that is run, where it is one.
    """

    name: str
    title: str
    what: str
    runner: Callable[[Subject, Size, Choices], Runner | NotMeasured]
    file: Callable[[Subject, Choices], Path] | None = None


def _our_file(subject: Subject, choices: Choices) -> Path:
    return subject.onnx_file(choices.form)


def _their_file(subject: Subject, choices: Choices) -> Path:
    return subject.tf2onnx_file


def _ours(subject: Subject, size: Size, choices: Choices) -> Runner:
    return subject.onnx_runner(_our_file(subject, choices), size)


def _tf2onnx(subject: Subject, size: Size, choices: Choices) -> Runner:
    return subject.onnx_runner(_their_file(subject, choices), size)


def _tensorflow(subject: Subject, size: Size, choices: Choices) -> Runner:
    concrete = subject.concrete
    tensors = [tf.constant(array) for array in subject.feed(size)]
    return lambda: list(concrete(*tensors))


def _tflite(subject: Subject, size: Size, choices: Choices) -> Runner | NotMeasured:
    if size.timesteps > choices.tflite_max_steps:
        return NotMeasured(f"{size.timesteps} steps are above --tflite-max-steps {choices.tflite_max_steps}")
    interpreter = Interpreter(str(subject.tflite_file(size)), num_threads=1)
    interpreter.allocate_tensors()
    # The file orders its inputs and outputs as it likes; its signature names them.
    signature = interpreter.get_signature_runner()
    places = {name: detail["index"] for name, detail in signature.get_input_details().items()}
    arrays = {places[name]: array for name, array in subject.by_name(size, list(places)).items()}
    details = signature.get_output_details()
    outputs = [details[name]["index"] for name in subject.output_names]

    def run() -> list[np.ndarray]:
        for place, array in arrays.items():
            interpreter.set_tensor(place, array)
        interpreter.invoke()
        return [interpreter.get_tensor(place) for place in outputs]

    return run


def _torch(subject: Subject, size: Size, choices: Choices) -> Runner | NotMeasured:
    if subject.cell.name not in TORCH_CELLS:
        return NotMeasured("torch.nn has no such layer")
    if find_spec("torch") is None:
        return NotMeasured(TORCH_MISSING)
    from benchmarks import torch_layers

    torch_layers.one_thread()
    layer = torch_layers.layer(subject.cell.name, subject.model.get_weights())
    (x_BTF,) = map(torch_layers.tensor, subject.feed(size))
    return lambda: torch_layers.run(layer, x_BTF)


OURS, TF2ONNX = "ours", "tf2onnx"
PEERS = (
    Peer(OURS, "ours", "rnnexport, one file for all batches and lengths, ONNX Runtime on one thread", _ours, _our_file),
    Peer(TF2ONNX, "tf2onnx", "tf2onnx with its own rewriters, same session options as ours", _tf2onnx, _their_file),
    Peer("tensorflow", "TF", "the concrete function of TensorFlow, dynamic batch and length, one thread", _tensorflow),
    Peer("tflite", "TFLite", "unrolled TFLite of rnnexport, batch and length fixed, LiteRT on one thread", _tflite),
    Peer("torch", "torch.nn", "the layer of torch.nn with the same weights, inference mode, one thread", _torch),
)
PEERS_BY_NAME = {peer.name: peer for peer in PEERS}
