"""Bits of integers by arithmetic, in opsets that have no operators for them: those below 18."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from rnnexport.conversion.handlers.making import Handler, Rewrite, Tensor

_FIRST_OPSET = 18
_HALF = 32
_LEAST = np.iinfo(np.int64).min
# Of two bits, 0 or 1.
_OF_TWO = {"BitwiseAnd": "Mul", "BitwiseOr": "Max", "BitwiseXor": "Sub"}


def bitwise(node: Rewrite) -> None:
    """BitwiseAnd, BitwiseOr or BitwiseXor: of 63 bits each, and of the sign."""
    dtype = node.dtype(node.inputs[0])
    if node.opset >= _FIRST_OPSET or dtype == np.uint64:
        node.last(node.op, *node.inputs)
        return
    wide = [node("Cast", value, to=onnx.TensorProto.INT64) for value in node.inputs]
    zero, axis = node.constant(np.array(0, np.int64)), node.constant(np.array([-1], np.int64))
    signs = [node("Less", value, zero) for value in wide]
    least = node.constant(np.array(_LEAST, np.int64))
    # A negative number is what its other bits are, less 2 ** 63.
    rests = [node("Where", sign, node("Sub", value, least), value) for sign, value in zip(signs, wide, strict=True)]
    powers = node.constant(2 ** np.arange(63, dtype=np.int64))
    two = node.constant(np.array(2, np.int64))
    bits = [node("Mod", node("Div", node("Unsqueeze", rest, axis), powers), two) for rest in rests]
    found = _combined(node, bits)
    # ONNX Runtime adds integers up in float64, which holds 53 bits.
    places = np.arange(63)
    parts = [np.where(half, 2 ** (places % _HALF), 0) for half in (places < _HALF, places >= _HALF)]
    first, second = (
        node("ReduceSum", node("Mul", found, node.constant(part.astype(np.int64))), axis, keepdims=0) for part in parts
    )
    low = node("Add", first, node("Mul", second, node.constant(np.array(2**_HALF, np.int64))))
    ones = [node("Cast", sign, to=onnx.TensorProto.INT64) for sign in signs]
    high = node("Where", node("Equal", _combined(node, ones), zero), zero, least)
    node.last("Cast", node("Add", low, high), to=onnx.helper.np_dtype_to_tensor_dtype(dtype))


def _combined(node: Rewrite, bits: list[Tensor]) -> Tensor:
    found = node(_OF_TWO[node.op], *bits)
    return node("Abs", found) if node.op == "BitwiseXor" else found


def _inverted(node: Rewrite) -> None:
    """All bits turned: -1 - x, or of a number without a sign the largest less x."""
    (x,) = node.inputs
    dtype = node.dtype(x)
    if dtype == np.uint64 or (dtype.kind == "u" and node.opset >= _FIRST_OPSET):
        node.last("BitwiseNot", x)
        return
    most = node.constant(np.array(-1 if dtype.kind == "i" else np.iinfo(dtype).max, np.int64))
    wide = node("Cast", x, to=onnx.TensorProto.INT64)  # there is no difference of short integers
    node.last("Cast", node("Sub", most, wide), to=node.result_dtype)


def _same_bits(node: Rewrite) -> None:
    """Bitcast of an integer to one of the same size, with a sign or without: a cast keeps the bits."""
    (x,) = node.inputs
    one, other = node.dtype(x), onnx.helper.tensor_dtype_to_np_dtype(node.result_dtype)
    if one.kind in "iu" and other.kind in "iu" and one.itemsize == other.itemsize:
        node.last("Cast", x, to=node.result_dtype)
    else:
        node.last("Bitcast", x)  # which ONNX has not: it is refused by name


HANDLERS: Mapping[str, Handler] = {
    "Bitcast": _same_bits,
    "BitwiseOr": bitwise,
    "BitwiseXor": bitwise,
    "Invert": _inverted,
}
