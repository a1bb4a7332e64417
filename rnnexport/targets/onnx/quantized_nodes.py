"""The nodes that take the place of a float32 operator and its weights.

Before: y = MatMul(x, W)
After:  y = DynamicQuantizeMatMul(x, q, scale)                                                     dynamic
        y = MatMulIntegerToFloat(QuantizeLinear(x, s, z), q, s, scale, z)                          int8
        y = MatMul(x, Mul(Cast(q), scale))                                                         weights
        y = MatMul(x, Cast(half))                                                                  float16

With `portable` the first two are MatMulInteger, Cast and Mul of ONNX itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from rnnexport.core.quantization import QuantizedPart
from rnnexport.ir.loop_body import constant, initializer
from rnnexport.quantization.calibration import ObservedRange
from rnnexport.quantization.weights import per_channel

if TYPE_CHECKING:
    from rnnexport.targets.onnx.quantized import Weight

_MICROSOFT = "com.microsoft"
_FLOAT, _INT32, _UINT8 = ir.DataType.FLOAT, ir.DataType.INT32, ir.DataType.UINT8
# How many times as large as the usual one the largest channel is where they are made even.
_UNEVEN = 4.0
_LARGEST_HALF = float(np.finfo(np.float16).max)


class Rewriter:
    """Rewrites the operators of one model. See `quantized.rewrite` for its arguments."""

    def __init__(self, model: ir.Model, form: str, found: Mapping[str, ObservedRange], *, portable: bool) -> None:
        self._model, self._form, self._ranges, self._portable = model, form, found, portable
        self._held: dict[ir.Value, ir.Value] = {}
        self._matrices: dict[tuple[ir.Value, float, int], tuple[ir.Value, ir.Value]] = {}
        self._before: list[ir.Node] = []
        self._count = 0

    def quantise(self, node: ir.Node, weights: Sequence[Weight]) -> list[QuantizedPart]:
        """Rewrite one operator, and say what became of its weights."""
        arrays = [_array(weight) for weight in weights]
        name, size = node.name or node.op_type, sum(array.nbytes for array in arrays)
        if not all(np.isfinite(array).all() for array in arrays):
            return [QuantizedPart(name, node.op_type, "", "a weight is not finite", size, size)]
        largest = max(float(np.abs(array).max(initial=0.0)) for array in arrays)
        if self._form == "float16" and largest > _LARGEST_HALF:
            return [QuantizedPart(name, node.op_type, "", f"a weight is {largest:.3g}", size, size)]
        how, why = self._by_integers(node, weights) if self._form in ("dynamic", "int8") else ("", "")
        if not how:
            for weight in weights:
                node.replace_input_with(weight.at, self._stored(weight))
            how = "float16 weights" if self._form == "float16" else "int8 weights, computed in float32"
        after = sum(array.size for array in arrays) * (2 if self._form == "float16" else 1)
        return [QuantizedPart(name, node.op_type, how, why, size, after)]

    def finish(self) -> None:
        """Put what makes float32 weights in front of all else."""
        graph = self._model.graph
        if self._before:
            first = next(iter(graph))
            graph.insert_before(first, self._before)

    def _by_integers(self, node: ir.Node, weights: Sequence[Weight]) -> tuple[str, str]:
        """(how, why not): of products of integers; the first is empty where there is no such operator."""
        if node.op_type == "LSTM":
            return self._lstm(node, weights)
        if node.op_type not in ("MatMul", "Gemm"):
            return "", f"ONNX Runtime has no {node.op_type} of integers"
        (weight, *others) = weights
        if others or weight.at != 1 or len(_array(weight).shape) != 2 or _number(node, "transA", 0):
            return "", "its matrix is not on the right"
        return self._product(node, weight), ""

    def _product(self, node: ir.Node, weight: Weight) -> str:
        """A MatMul or Gemm with a constant matrix."""
        name, x = self._name(node), node.inputs[0]
        assert x is not None  # of a product both operands are there
        known = self._ranges.get(str(x.name))
        factors = None if known is None or len(weight.value.uses()) > 1 else _factors(known, self._wide(node, weight))
        kernel, scales = self._matrix(node, weight, factors)
        made: list[ir.Node] = []
        if factors is not None and known is not None:
            made.append(_node("Mul", [x, self._constant(1 / factors, f"{name}/evened")], f"{name}/even"))
            made[0].outputs[0].shape = x.shape
            x, known = made[0].outputs[0], ObservedRange(known.low / factors, known.high / factors)
        bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
        fused = bias if bias is not None and self._fuses(node, bias) else None
        known = known if self._form == "int8" else None
        nodes, product, how = self._multiplied(name, x, kernel, scales, fused, known)
        made += nodes
        if bias is not None and fused is None:
            beta = _number(node, "beta", 1.0)
            if beta != 1.0:
                factor = self._constant(np.float32(beta), f"{name}/beta")
                made.append(_node("Mul", [bias, factor], f"{name}/bias"))
                bias = made[-1].outputs[0]
            made.append(_node("Add", [product, bias], f"{name}/sum"))
            product = made[-1].outputs[0]
        self._replace(node, made, product)
        return how

    def _wide(self, node: ir.Node, weight: Weight) -> np.ndarray:
        """The matrix that a product takes, (inputs, outputs), in float32."""
        matrix = _array(weight) if weight.axis else _array(weight).T
        return matrix * np.float32(_number(node, "alpha", 1.0))

    def _matrix(self, node: ir.Node, weight: Weight, factors: np.ndarray | None) -> tuple[ir.Value, ir.Value]:
        """(q, scale) of a matrix, once for all steps of a recurrence that is written out."""
        key = (weight.value, _number(node, "alpha", 1.0), weight.axis)
        if key not in self._matrices:
            matrix = self._wide(node, weight)
            if factors is not None:
                matrix = matrix * factors[:, np.newaxis]
            q, scale = per_channel(matrix, axis=1, along=0)
            name = self._name(node, "/matrix")
            self._matrices[key] = self._constant(q, f"{name}/int8"), self._constant(scale, f"{name}/scale")
        return self._matrices[key]

    def _fuses(self, node: ir.Node, bias: ir.Value) -> bool:
        """Whether the operators of ONNX Runtime take it: one number for each column."""
        known = constant(bias)
        row = known is not None and len(known.shape) == 1 and known.size > 1
        return row and not self._portable and _number(node, "beta", 1.0) == 1.0

    def _multiplied(
        self, name: str, x: ir.Value, q: ir.Value, scale: ir.Value, bias: ir.Value | None, known: ObservedRange | None
    ) -> tuple[list[ir.Node], ir.Value, str]:
        """(nodes, product, how): by the range of `x`, or that of each call."""
        end = [] if bias is None else [None, bias]
        if known is None and not self._portable:
            node = self._microsoft("DynamicQuantizeMatMul", [x, q, scale, *end], name)
            return [node], node.outputs[0], "int8 products, ranges of each call"
        if known is None:
            first = ir.Node("", "DynamicQuantizeLinear", [x], num_outputs=3, name=f"{name}/x")
            for at, (value, kind) in enumerate(zip(first.outputs, (_UINT8, _FLOAT, _UINT8), strict=True)):
                value.name, value.type = f"{name}/x:{at}", ir.TensorType(kind)
            rounded, step, zero = first.outputs
            how = "int8 products, ranges of each call"
        else:
            steps, zeros = known.affine()
            step, zero = self._constant(steps, f"{name}/step"), self._constant(zeros, f"{name}/zero")
            first = _node("QuantizeLinear", [x, step, zero], f"{name}/x", _UINT8)
            rounded, how = first.outputs[0], "int8 products, calibrated ranges"
        if not self._portable:
            node = self._microsoft("MatMulIntegerToFloat", [rounded, q, step, scale, zero, *end], name)
            return [first, node], node.outputs[0], how
        product = _node("MatMulInteger", [rounded, q, zero], f"{name}/product", _INT32)
        cast = _node("Cast", [product.outputs[0]], f"{name}/float", to=int(_FLOAT))
        both = _node("Mul", [step, scale], f"{name}/scales")
        scaled = _node("Mul", [cast.outputs[0], both.outputs[0]], name)
        return [first, product, cast, both, scaled], scaled.outputs[0], how

    def _lstm(self, node: ir.Node, weights: Sequence[Weight]) -> tuple[str, str]:
        """An LSTM whose products are of integers: W and R become (directions, inputs, 4H), a scale for each column."""
        if self._portable:
            return "", "DynamicQuantizeLSTM is ONNX Runtime's own"
        if len(weights) != 2 or _number(node, "layout", 0):
            return "", "its weights are computed"
        name = self._name(node)
        made: list[list[ir.Value]] = []
        for part, weight in zip("WR", weights, strict=True):
            pairs = [per_channel(matrix.T, axis=1, along=0) for matrix in _array(weight)]
            q, scale = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
            zeros = np.zeros(scale.shape, np.int8)
            parts = {"int8": q, "scale": scale, "zero": zeros}
            made.append([self._constant(array, f"{name}/{part}_{kind}") for kind, array in parts.items()])
        (w, w_scale, w_zero), (r, r_scale, r_zero) = made
        rest = [*node.inputs[3:], *[None] * (8 - len(node.inputs))]
        inputs = [node.inputs[0], w, r, *rest, w_scale, w_zero, r_scale, r_zero]
        attributes = [item for item in node.attributes.values() if item.name != "layout"]
        lstm = self._microsoft("DynamicQuantizeLSTM", inputs, name, attributes, len(node.outputs))
        for old, new in zip(node.outputs, lstm.outputs, strict=True):
            new.type, new.shape = old.type, old.shape
            self._take_over(old, new)
        node.graph.insert_before(node, [lstm])  # type: ignore[union-attr]  # it is one of its nodes
        node.graph.remove([node], safe=True)  # type: ignore[union-attr]
        return "int8 products, ranges of each step", ""

    def _stored(self, weight: Weight) -> ir.Value:
        """A weight as float32, from what is stored of it."""
        if weight.value not in self._held:
            self._held[weight.value] = self._from_stored(weight)
        return self._held[weight.value]

    def _from_stored(self, weight: Weight) -> ir.Value:
        array, name = _array(weight), self._name(weight.node, f"/weight_{weight.at}")
        if self._form == "float16":
            half = self._constant(array.astype(np.float16), f"{name}/float16")
            self._before.append(_node("Cast", [half], name, to=int(_FLOAT)))
        else:
            q, scale = _by_channel(array, weight)
            stored, scales = self._constant(q, f"{name}/int8"), self._constant(scale, f"{name}/scale")
            wide = _node("Cast", [stored], f"{name}/wide", to=int(_FLOAT))
            self._before += [wide, _node("Mul", [wide.outputs[0], scales], name)]
        value = self._before[-1].outputs[0]
        value.shape = ir.Shape(array.shape)
        return value

    def _replace(self, node: ir.Node, made: Sequence[ir.Node], product: ir.Value) -> None:
        (old,) = node.outputs
        product.type, product.shape = old.type, old.shape
        node.graph.insert_before(node, made)  # type: ignore[union-attr]  # it is one of its nodes
        self._take_over(old, product)
        node.graph.remove([node], safe=True)  # type: ignore[union-attr]

    def _take_over(self, old: ir.Value, new: ir.Value) -> None:
        """Let all that reads `old` read `new`, which has its name, so that outputs keep theirs."""
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        old.name, new.name = None, old.name

    def _microsoft(
        self,
        op: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        attributes: Sequence[ir.Attr] = (),
        outputs: int = 1,
    ) -> ir.Node:
        for holder in (self._model, self._model.graph):
            holder.opset_imports.setdefault(_MICROSOFT, 1)
        node = ir.Node(_MICROSOFT, op, inputs, attributes, num_outputs=outputs, name=name)
        for at, value in enumerate(node.outputs):
            value.name, value.type = f"{name}:{at}", ir.TensorType(_FLOAT)
        return node

    def _constant(self, array: np.ndarray | np.generic, name: str) -> ir.Value:
        return initializer(self._model.graph, np.asarray(array), name)

    def _name(self, node: ir.Node, end: str = "/quantized") -> str:
        self._count += 1
        return f"{node.name or node.op_type}{end}_{self._count}"


def _factors(known: ObservedRange, matrix: np.ndarray) -> np.ndarray | None:
    """What to divide each channel of what is multiplied by, and to multiply the rows of the matrix with.

    Channels of different sizes share one scale, in which the small ones vanish. The root of both sizes shares what is
    lost between the two operands (SmoothQuant, Xiao and others 2023). None where the channels are of about one size.
    """
    sizes = np.maximum(np.abs(known.low), np.abs(known.high)).astype(np.float64)
    rows = np.abs(matrix).max(axis=1).astype(np.float64)
    used = (sizes > 0) & (rows > 0)
    if len(sizes) != len(rows) or not used.any() or sizes.max() < _UNEVEN * np.median(sizes[used]):
        return None
    found = np.ones(len(sizes))
    found[used] = np.sqrt(sizes[used] / rows[used])
    return found.astype(np.float32)


def _array(weight: Weight) -> np.ndarray:
    tensor = constant(weight.value)
    assert tensor is not None  # it is a weight
    return np.asarray(tensor.numpy())


def _by_channel(array: np.ndarray, weight: Weight) -> tuple[np.ndarray, np.ndarray]:
    """(q, scale) that gives `array` as a product; a recurrent operator has channels in each direction."""
    if weight.node.op_type in ("LSTM", "GRU", "RNN"):
        q, scale = per_channel(array.reshape(-1, array.shape[-1]), axis=0)
        return q.reshape(array.shape), scale.reshape(*array.shape[:-1], 1)
    q, scale = per_channel(array, weight.axis)
    sizes = [1] * array.ndim
    sizes[weight.axis] = -1
    return q, scale.reshape(sizes)


def _node(op: str, inputs: Sequence[ir.Value | None], name: str, kind: ir.DataType = _FLOAT, **numbers: int) -> ir.Node:
    attributes = [ir.AttrInt64(key, number) for key, number in numbers.items()]
    node = ir.Node("", op, inputs, attributes, num_outputs=1, name=name)
    node.outputs[0].name, node.outputs[0].type = f"{name}:0", ir.TensorType(kind)
    return node


def _number(node: ir.Node, name: str, usual: float) -> float:
    found = node.attributes.get(name)
    return usual if found is None else float(found.value)
