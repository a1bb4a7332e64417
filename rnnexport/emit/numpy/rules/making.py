"""Constants, casts, and arrays made of sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, Size, UnwrittenError, Use, call, literal
from rnnexport.emit.numpy.rules.common import (
    FLOATS,
    Rule,
    as_array,
    dtype_of,
    method,
    result_dtype,
    unchanged,
)
from rnnexport.emit.numpy.rules.sizes import elements_of, tuple_of

# TensorProto.DataType, by number.
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}


def dtype_named(number: int) -> str:
    """The NumPy name of an ONNX dtype.

    Raises:
        UnwrittenError: NumPy has none.
    """
    if number not in _DTYPES:
        raise UnwrittenError(f"to the dtype of number {number}")
    return _DTYPES[number]


def converted(x: Operand, name: str) -> Expression:
    """It in another dtype."""
    if x.dtype == name:
        return unchanged(x)
    if name in ("float16", "bfloat16"):
        rounding = "as_half" if name == "float16" else "as_bfloat16"
        whole = as_array(x)
        return call(rounding, whole.text, "dtype", uses=[whole, dtype_of("float32")], helper=True)
    dtype = dtype_of(name)
    if x.rank == 0:
        return call("np.asarray", x.expression.text, dtype.text, uses=[x.expression, dtype])
    return method(x, "astype", dtype.text, uses=[dtype])


def _cast(use: Use) -> Expression:
    return converted(use.operand(0), dtype_named(int(use.attributes["to"])))


def filled(shape: Expression, value: Any, name: str) -> Expression:
    """An array of one number: `np.zeros((B, 64), dtype)`."""
    value = np.asarray(value)
    dtype = dtype_of(name)
    kind = () if name == "float64" else (dtype.text,)
    if value == 0 and not np.signbit(value.astype(np.float64)):
        return call("np.zeros", shape.text, *kind, uses=[shape, dtype])
    if value == 1:
        return call("np.ones", shape.text, *kind, uses=[shape, dtype])
    number = literal(value)
    return call("np.full", shape.text, number.text, dtype.text, uses=[shape, dtype])


def shape_text(operand: Operand) -> Expression:
    """A shape that an input gives: a tuple of sizes, or the vector."""
    elements = elements_of(operand)
    return operand.expression if elements is None else Expression(tuple_of(elements))


def _constant_of_shape(use: Use) -> Expression:
    value = np.asarray(use.attributes.get("value", np.zeros(1, np.float32)))
    return filled(shape_text(use.operand(0)), value.ravel()[0], str(value.dtype))


def _range(use: Use) -> Expression:
    start, limit, step = (use.operand(at) for at in range(3))
    name = result_dtype(use)
    given = [part.expression for part in (start, limit, step)]
    if name is None:
        raise UnwrittenError("of unknown dtype")
    dtype = dtype_of(name)
    if name in FLOATS:
        return call("float_range", *(part.text for part in given), dtype.text, uses=[*given, dtype], helper=True)
    texts = [part.text for part in given]
    if step.elements == (1,):
        texts = texts[1:2] if start.elements == (0,) else texts[:2]
    kind = [] if name == "int64" else [f"dtype={dtype.text}"]
    return call("np.arange", *texts, *kind, uses=given)


def _eye(use: Use) -> Expression:
    x = use.operand(0)
    number = use.attributes.get("dtype")
    name = x.dtype if number is None else dtype_named(int(number))
    dtype, offset = dtype_of(name), int(use.attributes.get("k", 0))
    whole = as_array(x)
    more = [f"k={offset}"] if offset else []
    return call("np.eye", f"*{whole.within(Binding.ATOM)}.shape", *more, f"dtype={dtype.text}", uses=[whole, dtype])


def _one_hot(use: Use) -> Expression:
    indices, depth, values = (use.operand(at) for at in range(3))
    sizes: tuple[Size, ...] | None = depth.elements
    count = Expression(str(sizes[0])) if sizes else depth.expression
    if sizes is None and depth.rank != 0:
        count = call(f"{count.within(Binding.ATOM)}.item", uses=[count])
    axis = int(use.attributes.get("axis", -1))
    whole = as_array(indices)
    more = [] if axis == -1 else [f"axis={axis}"]
    parts = [whole, count, values.expression]
    return call("one_hot", *(part.text for part in parts), *more, uses=parts, helper=True)


RULES: Mapping[str, Rule] = {
    "Cast": _cast,
    "ConstantOfShape": _constant_of_shape,
    "EyeLike": _eye,
    "OneHot": _one_hot,
    "Range": _range,
}
