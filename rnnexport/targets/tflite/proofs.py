"""Which recurrences are what UNIDIRECTIONAL_SEQUENCE_LSTM computes, by the proof that the lowering to ONNX has.

    i, f = S(W x + R h + p c + b);  c' = f c + i g(W x + R h + b);  o = S(W x + R h + p c' + b);  h' = o g(c')

S is the logistic function, g tanh or relu, the same in both places. States begin at zero, no step is left out. The
equation is that of `lstm_eval` of LiteRT. That takes no g as well, and is wrong there: it multiplies o with what its
memory held before instead of c' (seen with ai-edge-litert 2.3.0). The weights are those of the cell, gate by gate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from rnnexport.conversion.boundary import hold_weights
from rnnexport.conversion.cleanup import clean_up, quiet
from rnnexport.conversion.convert import require_converted
from rnnexport.ir.lengths import Refusal
from rnnexport.ir.loop_body import Constants
from rnnexport.ir.loop_invariants import is_zero, without_twins
from rnnexport.ir.recurrence import Recurrence, recognise
from rnnexport.ir.terms import Terms
from rnnexport.lowering.cells import LINEAR, Activation, Cell
from rnnexport.lowering.native import native
from rnnexport.source.trace import Graphs

# The function g by the name of what the operator calls its fused activation.
_SQUASHED = {Activation("Tanh"): "TANH", Activation("Relu"): "RELU"}


@dataclass(frozen=True, eq=False)
class LSTM:
    """The weights of an LSTM, float32, by gate: `i`, `f`, `g` and `o`.

    Attributes:
        what: it is, in words.
        kernel: (U, I) each.
        recurrent: (U, U) each.
        bias: (U,) each.
        peephole: (U,) each; empty where there is none, `g` has none.
        squash: g, as the operator calls it.
    """

    what: str
    kernel: Mapping[str, np.ndarray]
    recurrent: Mapping[str, np.ndarray]
    bias: Mapping[str, np.ndarray]
    peephole: Mapping[str, np.ndarray]
    squash: str

    @property
    def width(self) -> int:
        """U."""
        return len(self.bias["i"])


def proven(graphs: Graphs) -> dict[str, LSTM | str]:
    """For each loop, by its name in the graph, the LSTM that it is, or why it is none that the operator computes.

    Raises:
        ConversionError: the model has no ONNX form, which is what the proof reads.
    """
    found = require_converted(graphs)
    model: ir.Model = found.model.clone()
    hold_weights(model, found.weights)
    with quiet():
        clean_up(model)
        ShapeInferencePass(check_type=False, strict_mode=False)(model)
    loops = [node for node in model.graph if node.op_type == "Loop" and not node.domain]
    return {(loop.name or "").removesuffix("_loop"): _read(loop) for loop in loops}


def _read(loop: ir.Node) -> LSTM | str:
    constants = Constants()
    recurrence = recognise(loop, Terms())
    if isinstance(recurrence, Refusal):
        return recurrence.reason
    recurrence = without_twins(recurrence)
    own = native(recurrence, constants)
    if isinstance(own, Refusal):
        return own.reason
    if own.masked:
        return "a mask leaves steps out"
    return _reason(recurrence, own.cell) or _lstm(own.cell)


def _reason(recurrence: Recurrence, cell: Cell) -> str:
    """Why the operator does not compute a cell that ONNX has; empty where it does."""
    if cell.op != "LSTM" or cell.cell is None:
        return f"it is a {cell.op}, and LiteRT has a fused operator for LSTM alone"
    gate, inner, outer = cell.functions
    if gate != Activation("Sigmoid"):
        return f"its gates are {gate.name}, and those of the operator are Sigmoid"
    if inner != outer or inner not in _SQUASHED:
        names = " and ".join("none" if one == LINEAR else one.name for one in (inner, outer))
        return f"its activations are {names}, and the operator has one, Tanh or Relu, for both"
    if not all(is_zero(state.initial) for state in recurrence.states):
        return "it does not begin at zero, where the operator begins"
    leaves = {leaf for gate in cell.gates for leaf in gate.inputs}
    if len(leaves) != 1 or next(iter(leaves)).op != "Element":
        return "it reads something else than one sequence"
    r_GHH = np.stack([gate.recurrent for gate in cell.gates])
    if not np.any(r_GHH[:, ~np.eye(r_GHH.shape[1], dtype=bool)]) and r_GHH.shape[1] > 1:
        return "its units do not read each other"
    return ""


def _lstm(cell: Cell) -> LSTM:
    """The operator's weights of the gates, which ONNX has in the order i o f g."""
    gates = dict(zip("iofg", cell.gates, strict=True))
    (leaf,) = {leaf for gate in cell.gates for leaf in gate.inputs}
    size = cell.hidden.lanes.width
    width = max(gate.inputs[leaf].shape[0] for gate in cell.gates if leaf in gate.inputs)
    nothing = np.zeros((width, size))

    def single(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}

    peepholes = {name: gates[name].peephole for name in "ifo"}
    return LSTM(
        cell.what,
        single({name: gate.inputs.get(leaf, nothing).T for name, gate in gates.items()}),
        single({name: gate.recurrent.T for name, gate in gates.items()}),
        single({name: gate.bias for name, gate in gates.items()}),
        single(peepholes) if any(np.any(array) for array in peepholes.values()) else {},
        _SQUASHED[cell.functions[1]],
    )
