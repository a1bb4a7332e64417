"""What is known when a program is written, as Python: constants, attributes of operators, dtypes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from rnnexport.emit.numpy.expression import Binding, Expression, Operand
from rnnexport.emit.numpy.rules.common import literal
from rnnexport.ir.terms import Term

# The dtypes that NumPy gives a list of literals.
_OWN = (np.bool_, np.int64, np.float64)


def written_constant(array: np.ndarray) -> Expression:
    """A constant that is written where it is used: a number, or a few of them."""
    if array.ndim == 0:
        return literal(array)
    texts = np.array([literal(item).text for item in array.ravel()], object).reshape(array.shape).tolist()
    listed = str(texts).replace("'", "")
    if array.dtype == np.float32:
        return Expression(f"np.array({listed}, dtype)", needs_dtype=True)
    return Expression(f"np.array({listed})" if array.dtype in _OWN else f"np.array({listed}, np.{array.dtype})")


def as_array(written: Expression, term: Term) -> Expression:
    """What is written as a Python number, as an array of its dtype: where no operator is there to make it one."""
    if (written.elements is None and term.op != "Const") or term.dtype is None:
        return written
    if term.op == "Const" and term.array.ndim:
        return written
    kind = "dtype" if term.dtype == ir.DataType.FLOAT else f"np.{term.dtype.numpy()}"
    return Expression(f"np.asarray({written.text}, {kind})", helpers=written.helpers, needs_dtype=kind == "dtype")


def exact_number(operand: Operand) -> Operand:
    """A number to compare with as all its digits; any other operand as it is."""
    value = operand.value
    if value is None or value.ndim or value.dtype.kind != "f" or not np.isfinite(value):
        return operand
    text = repr(float(value))
    return replace(operand, expression=Expression(text, Binding.UNARY if text.startswith("-") else Binding.ATOM))


def attribute_value(attribute: ir.Attr) -> object:
    """As a Python value; a tensor is an array."""
    value = attribute.value
    if attribute.type == ir.AttributeType.TENSOR:
        return value.numpy()
    return list(value) if isinstance(value, tuple) else value


def dtype_name(dtype: ir.DataType | None) -> str | None:
    """The NumPy name, and `bfloat16`; None where it is not known."""
    if dtype is None:
        return None
    return "bfloat16" if dtype == ir.DataType.BFLOAT16 else str(dtype.numpy().name)
