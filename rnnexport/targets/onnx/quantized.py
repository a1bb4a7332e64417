"""ONNX models with quantised weights: which operator each is rewritten to, by the form that is asked for.

| form | products with a constant matrix | LSTM | other weights |
| --- | --- | --- | --- |
| dynamic | of integers, by the range of each call | DynamicQuantizeLSTM | int8, computed in float32 |
| int8 | of integers, by the ranges that calibration found | DynamicQuantizeLSTM | int8, computed in float32 |
| weights | int8, computed in float32 | the same | the same |
| float16 | half precision, computed in float32 | the same | the same |

ONNX Runtime has no GRU and no RNN of integers: for the first two forms they are lowered to a Scan, in whose step the
products are. What is computed in float32 is a Cast and a Mul of a constant, which ONNX Runtime folds when it loads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.quantization import QuantizedPart
from rnnexport.ir.loop_body import constant
from rnnexport.quantization.calibration import ObservedRange, Saturation
from rnnexport.targets.base import ExportOptions
from rnnexport.targets.onnx.outside import with_arrays, without_arrays
from rnnexport.targets.onnx.quantized_nodes import Rewriter
from rnnexport.targets.onnx.quantized_ranges import outside, ranges
from rnnexport.targets.onnx.wire import write_model

if TYPE_CHECKING:
    from rnnexport.source.trace import Graphs

_INTEGER = ("dynamic", "int8")
# Where the weights of an operator are among its inputs, and their axis of channels.
_WEIGHTS: Mapping[str, Mapping[int, int]] = {
    "MatMul": {0: 0, 1: -1},
    "Gemm": {0: 0, 1: -1},
    "LSTM": {1: 1, 2: 1},
    "GRU": {1: 1, 2: 1},
    "RNN": {1: 1, 2: 1},
    "Conv": {1: 0},
    "ConvTranspose": {1: 1},
    "Gather": {0: 0},
    "Einsum": {0: -1, 1: -1},
}
# Values of a constant of other operators (a table of positions, say) from which it is a weight as well.
_LARGE = 1024


@dataclass(frozen=True, eq=False)
class Weight:
    """A constant matrix, and the operator that it is a weight of.

    Attributes:
        node: the operator.
        at: which input it is.
        value: the constant.
        axis: that of its channels.
    """

    node: ir.Node
    at: int
    value: ir.Value
    axis: int


class Quantizer:
    """See `targets.base.Quantizer`.

    Args:
        graphs, feeds, options: see `Target.export`.
    """

    def __init__(self, graphs: Graphs, feeds: Sequence[Arrays], options: ExportOptions) -> None:
        self._graphs, self._feeds, self._options = graphs, feeds, options
        self._lowered: dict[bool, tuple[ir.Model, tuple[LoweringDecision, ...]]] = {}
        self._ranges: Mapping[str, ObservedRange] | None = None

    def write(
        self, path: Path, form: str, calls: Sequence[Arrays], only: frozenset[str] | None = None
    ) -> tuple[tuple[QuantizedPart, ...], tuple[LoweringDecision, ...]]:
        model, lowered = self._model(form)
        found = self._known_ranges(calls) if form in _INTEGER else {}
        copy = model.clone()
        parts = rewrite(copy, form, found, portable=self._options.lowering.portable, only=only)
        without_arrays(copy, partial(onnx.checker.check_model, full_check=False))
        write_model(path, *with_arrays(copy))
        return parts, lowered

    def calibrates(self, form: str) -> bool:
        return form in _INTEGER

    def separates(self, form: str) -> bool:
        return True

    def saturation(self, form: str, calls: Sequence[Arrays]) -> Saturation | None:
        if form != "int8" or self._ranges is None:
            return None
        return outside(self._model(form)[0], self._ranges, calls)

    def size(self, path: Path) -> int | None:
        return None

    def _model(self, form: str) -> tuple[ir.Model, tuple[LoweringDecision, ...]]:
        from rnnexport.targets.onnx.export import lowered_model

        integer = form in _INTEGER
        if integer not in self._lowered:
            options = self._options
            if integer:
                without = ("GRU", "RNN", "LSTM") if options.lowering.portable else ("GRU", "RNN")
                options = replace(options, lowering=replace(options.lowering, without=without))
            self._lowered[integer] = lowered_model(self._graphs, self._feeds, options)
        return self._lowered[integer]

    def _known_ranges(self, calls: Sequence[Arrays]) -> Mapping[str, ObservedRange]:
        if self._ranges is None:
            self._ranges = ranges(self._model("int8")[0], calls)
        return self._ranges


def quantizer(graphs: Graphs, feeds: Sequence[Arrays], options: ExportOptions) -> Quantizer:
    """What quantises a model. Raises as `Target.export`, later."""
    return Quantizer(graphs, feeds, options)


def rewrite(
    model: ir.Model,
    form: str,
    found: Mapping[str, ObservedRange],
    *,
    portable: bool = False,
    only: frozenset[str] | None = None,
) -> tuple[QuantizedPart, ...]:
    """Quantise the weights of `model`, in place.

    Args:
        model: in float32.
        form: one of the table above.
        found: the ranges of what is multiplied, by its name: for `int8`, where that of each call is taken of what has
            none, and for `dynamic` to see how its channels differ in size.
        portable: whether the products are to be of ONNX's own operators, which ONNX Runtime fuses.
        only: the operators that are quantised; None for all.

    Returns:
        What became of each weight.
    """
    rewriter = Rewriter(model, form, found, portable=portable)
    parts: list[QuantizedPart] = []
    for node, weights in list(_by_node(model)):
        if only is None or node.name in only:
            parts += rewriter.quantise(node, weights)
    rewriter.finish()
    RemoveUnusedNodesPass()(model)
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        if not model.graph.initializers[name].is_graph_output():
            model.graph.initializers.pop(name)
    return tuple(parts)


def _by_node(model: ir.Model) -> Iterator[tuple[ir.Node, Sequence[Weight]]]:
    for node in model.graph.all_nodes():
        found = [one for at in range(len(node.inputs)) if (one := _weight(node, at)) is not None]
        if found:
            yield node, found


def _weight(node: ir.Node, at: int) -> Weight | None:
    value = node.inputs[at]
    tensor = None if value is None else constant(value)
    if value is None or tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) < 2:
        return None
    known = {} if node.domain else _WEIGHTS.get(node.op_type, {})
    if at in known:
        turned = node.op_type == "Gemm" and at == 1 and _flag(node, "transB")
        return Weight(node, at, value, 0 if turned else known[at])
    large = tensor.size >= _LARGE and not known
    return Weight(node, at, value, -1) if large else None


def _flag(node: ir.Node, name: str) -> bool:
    return name in node.attributes and bool(node.attributes[name].as_int())
