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
    """Bitcast of an integer to one of the same size, where a cast keeps the bits; and of float32 to int32 and back."""
    (x,) = node.inputs
    one, other = node.dtype(x), onnx.helper.tensor_dtype_to_np_dtype(node.result_dtype)
    if one.kind in "iu" and other.kind in "iu" and one.itemsize == other.itemsize:
        node.last("Cast", x, to=node.result_dtype)
    elif one == np.float32 and other in (np.int32, np.uint32):
        _bits_of_float(node, x)
    elif one in (np.int32, np.uint32) and other == np.float32:
        _float_of_bits(node, x)
    else:
        node.last("Bitcast", x)  # which ONNX has not: it is refused by name


# Of float32: bits of the fraction, the least normal exponent, and what an exponent is stored with.
_FRACTION, _LEAST_EXPONENT, _BIAS = 23, -126, 127
_POWERS = 2.0 ** np.arange(_LEAST_EXPONENT, 128, dtype=np.float64)


def _bits_of_float(node: Rewrite, x: Tensor) -> None:
    """The exponent by comparison with all powers of two, the fraction by an exact quotient; one NaN for all."""
    size, zero = node("Abs", x), node.number(0, x)
    powers, axis = node.constant(_POWERS.astype(np.float32)), node.constant(np.array([-1], np.int64))
    is_above = node("GreaterOrEqual", node("Unsqueeze", size, axis), powers)
    stored = node("ReduceSum", node("Cast", is_above, to=onnx.TensorProto.INT64), axis, keepdims=0)
    none, one = (node.constant(np.array(value, np.int64)) for value in (0, 1))
    at = node("Max", node("Sub", stored, one), none)
    part = node("Div", size, node("Gather", powers, at))
    part = node("Sub", part, node("Cast", node("Min", stored, one), to=onnx.TensorProto.FLOAT))
    fraction = node("Cast", node("Mul", part, node.number(2.0**_FRACTION, x)), to=onnx.TensorProto.INT64)
    bits = node("Add", node("Mul", stored, node.constant(np.array(2**_FRACTION, np.int64))), fraction)
    infinite = node.constant(np.array(255 << _FRACTION, np.int64))
    bits = node("Where", node("Equal", size, node.number(np.inf, x)), infinite, bits)
    quiet = node.constant(np.array((255 << _FRACTION) | 1 << (_FRACTION - 1), np.int64))
    is_minus = node("Or", node("Less", x, zero), node("Less", node("Div", node.number(1, x), x), zero))
    top = node.constant(np.array(2**31 if node.result_dtype == onnx.TensorProto.UINT32 else -(2**31), np.int64))
    bits = node("Where", is_minus, node("Add", bits, top), bits)
    node.last("Cast", node("Where", node("IsNaN", x), quiet, bits), to=node.result_dtype)


def _float_of_bits(node: Rewrite, x: Tensor) -> None:
    """The inverse."""
    wide = node("Cast", x, to=onnx.TensorProto.INT64)
    numbers = {value: node.constant(np.array(value, np.int64)) for value in (0, 1, 2**_FRACTION, 2**31, 2**32)}
    wide = node("Mod", wide, numbers[2**32])
    is_minus = node("Not", node("Less", wide, numbers[2**31]))
    wide = node("Mod", wide, numbers[2**31])
    stored, fraction = node("Div", wide, numbers[2**_FRACTION]), node("Mod", wide, numbers[2**_FRACTION])
    scales = np.concatenate([_POWERS[:1], _POWERS, [np.inf]]).astype(np.float32)
    is_normal = node("Cast", node("Min", stored, numbers[1]), to=onnx.TensorProto.FLOAT)
    part = node(
        "Mul", node("Cast", fraction, to=onnx.TensorProto.FLOAT), node.constant(np.array(2.0**-_FRACTION, np.float32))
    )
    found = node("Mul", node("Add", part, is_normal), node("Gather", node.constant(scales), stored))
    no_number = node(
        "And", node("Equal", stored, node.constant(np.array(255, np.int64))), node("Less", numbers[0], fraction)
    )
    found = node("Where", no_number, node.constant(np.array(np.nan, np.float32)), found)
    node.last("Where", is_minus, node("Neg", found), found)


HANDLERS: Mapping[str, Handler] = {
    "Bitcast": _same_bits,
    "BitwiseOr": bitwise,
    "BitwiseXor": bitwise,
    "Invert": _inverted,
}
