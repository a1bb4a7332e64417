"""How far tanh and the logistic function of ONNX Runtime's operators are from float64, in recurrent ones and alone.

    python -m benchmarks.kernels [--markdown FILE]

Each operator computes the function of 500,000 numbers from -12 to 12, a row each, every other gate held open or
shut. The errors are relative to 1, which a tanh is near most of the time.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from benchmarks.support.page import placed
from rnnexport.artifact.atomic_write import staged

START, END = "<!-- kernels -->\n", "<!-- end of kernels -->\n"
_NUMBERS = np.concatenate([np.linspace(-12, 12, 400_001), np.linspace(-1, 1, 100_001)]).astype(np.float32)
_OPEN, _SHUT = 100.0, -100.0  # biases of a gate whose logistic function is 1 or 0 in float32
# The gates of each operator, in the order of ONNX (ONNX: Operators, GRU and LSTM).
_GATES = {"RNN": "h", "GRU": "zrh", "LSTM": "iofc"}
_ATTRIBUTES = {"RNN": {}, "GRU": {"linear_before_reset": 1}, "LSTM": {}}


def tanh(x: np.ndarray) -> np.ndarray:
    """In float64."""
    return np.tanh(x.astype(np.float64))


def logistic(x: np.ndarray) -> np.ndarray:
    """In float64."""
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def elementwise(operator: str) -> np.ndarray:
    """What an operator of one input gives for each number."""
    node = helper.make_node(operator, ["x"], ["y"])
    return _ran(node, {})


def recurrent(operator: str, gate: str, biases: Mapping[str, float], output: str = "y") -> np.ndarray:
    """What a recurrent operator of one unit gives for each number, in one timestep from a state of 0.

    Args:
        operator: of ONNX.
        gate: the one that the number goes to.
        biases: of the others.
        output: `y`, the output, or `c`, the state beside it.
    """
    gates = _GATES[operator]
    W, R, B = np.zeros((1, len(gates), 1)), np.zeros((1, len(gates), 1)), np.zeros((1, 2 * len(gates)))
    W[0, gates.index(gate)] = 1
    for name, bias in biases.items():
        B[0, gates.index(name)] = bias
    names = ["y", "h", "c"] if operator == "LSTM" else ["y", "h"]
    node = helper.make_node(operator, ["x", "W", "R", "B"], names, hidden_size=1, **_ATTRIBUTES[operator])
    return _ran(node, {"W": W, "R": R, "B": B}, output)


def _ran(node: onnx.NodeProto, weights: Mapping[str, np.ndarray], output: str = "y") -> np.ndarray:
    count = len(_NUMBERS)
    x = _NUMBERS.reshape(1, count, 1)
    held = [
        helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.astype(np.float32).ravel())
        for name, array in weights.items()
    ]
    graph = helper.make_graph(
        [node],
        "kernel",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run([output], {"x": x})
    return np.asarray(found).reshape(count)


def rows() -> list[tuple[str, str, float]]:
    """(operator, what it computes, the largest error) of each."""
    told = {
        ("Tanh", "tanh"): elementwise("Tanh") - tanh(_NUMBERS),
        ("Sigmoid", "logistic"): elementwise("Sigmoid") - logistic(_NUMBERS),
        ("RNN", "tanh"): recurrent("RNN", "h", {}) - tanh(_NUMBERS),
        # c = i * tanh(x), with i open and o, f shut.
        ("LSTM", "tanh"): recurrent("LSTM", "c", {"i": _OPEN, "f": _SHUT}, "c") - tanh(_NUMBERS),
        # c = i * tanh(100).
        ("LSTM", "logistic"): recurrent("LSTM", "i", {"c": _OPEN, "f": _SHUT}, "c") - logistic(_NUMBERS),
        # h = (1 - z) * tanh(x), with z shut.
        ("GRU", "tanh"): recurrent("GRU", "h", {"z": _SHUT}) - tanh(_NUMBERS),
        # h = (1 - z(x)) * tanh(100).
        ("GRU", "1 - logistic"): recurrent("GRU", "z", {"h": _OPEN}) - (1 - logistic(_NUMBERS)),
    }
    return [(*key, float(np.abs(error).max())) for key, error in told.items()]


def markdown(found: Sequence[tuple[str, str, float]]) -> str:
    """The table of docs/runtimes.md."""
    lines = [f"| onnxruntime {onnxruntime.__version__} | computes | largest error |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {operator} | {what} | {error:.1e} |" for operator, what, error in found)])


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there, between its marks")
    asked = parser.parse_args()
    table = markdown(rows())
    print(table)
    if asked.markdown is not None:
        page = asked.markdown.read_text() if asked.markdown.exists() else ""
        with staged(asked.markdown) as path:
            path.write_text(placed(page, f"{table}\n", START, END))


if __name__ == "__main__":
    main()
