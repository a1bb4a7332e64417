"""One operator: what a rule writes, run as Python, beside ONNX Runtime's answer."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, NotImplemented

from rnnexport.emit.numpy.expression import Expression, Operand, OutputSpec, UnwrittenError, Use, literal
from rnnexport.emit.numpy.operators import closure_of, source_of
from rnnexport.emit.numpy.rules import rule_of

OPSET = 18
# What the program knows of shapes when the rule is asked: all of them, ranks alone, nothing.
SHAPES, RANKS, NOTHING = "shapes", "ranks", "nothing"
NO_KERNEL = (NotImplemented, InvalidGraph, Fail, InvalidArgument)
WIDENED = {"float16": np.float64, "float32": np.float64, "bfloat16": np.float64}


@dataclass(frozen=True)
class Node:
    """An operator on arrays.

    Attributes:
        op: the ONNX operator.
        inputs: x0, x1 ...; None for one that is left out.
        attributes: as ONNX has them.
        constant: the numbers of the inputs that the rule knows the values of.
        outputs: how many the operator has.
        letters: names of sizes, by size: {2: "B"}; the rule sees the name, not the number, except in constants.
    """

    op: str
    inputs: tuple[np.ndarray | None, ...]
    attributes: Mapping[str, Any]
    constant: tuple[int, ...] = ()
    outputs: int = 1
    letters: Mapping[int, str] | None = None


def use_of(node: Node, known: str = SHAPES, answers: Sequence[np.ndarray] = ()) -> Use:
    """What a rule is given; `answers` tell dtypes and shapes of the outputs."""
    inputs = tuple(
        None if array is None else _operand(f"x{at}", array, at in node.constant, known, node.letters or {})
        for at, array in enumerate(node.inputs)
    )
    results = tuple(OutputSpec(str(a.dtype), _shape(a, known, node.letters or {})) for a in answers)
    attributes = {name: _attribute(value) for name, value in node.attributes.items()}
    return Use(node.op, inputs, attributes, results or (OutputSpec(None, None),) * node.outputs)


def _operand(name: str, array: np.ndarray, constant: bool, known: str, letters: Mapping[int, str]) -> Operand:
    if not constant:
        return Operand(Expression(name), str(array.dtype), _shape(array, known, letters))
    return Operand(literal(array) if array.ndim == 0 else Expression(name), str(array.dtype), array.shape, array)


def _shape(array: np.ndarray, known: str, letters: Mapping[int, str]) -> tuple[int | str | None, ...] | None:
    if known == NOTHING:
        return None
    return tuple(None if known == RANKS else letters.get(size, size) for size in array.shape)


def _attribute(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def written(node: Node, known: str = SHAPES, answers: Sequence[np.ndarray] = ()) -> tuple[Expression, ...]:
    """What the rule writes; one expression that gives all outputs, or one an output."""
    rule = rule_of(node.op)
    assert rule is not None, f"no rule for {node.op}"
    found = rule(use_of(node, known, answers))
    return found if isinstance(found, tuple) else (found,)


def text_of(op: str, *inputs: Any, known: str = SHAPES, answered: bool = True, **more: Any) -> str:
    """What the rule writes, as text; several outputs joined by `; `."""
    node = Node(op, _arrays(inputs), **{"attributes": {}, **more})
    answers = onnx_runtime(node) if answered else ()
    return "; ".join(expression.text for expression in written(node, known, answers))


def evaluated(expressions: Sequence[Expression], names: Mapping[str, Any], dtype: Any, outputs: int = 1) -> list[Any]:
    """The values of expressions in a program of that dtype: helpers are copied as text."""
    helpers = closure_of(frozenset().union(*(expression.helpers for expression in expressions)))
    space = {"np": np}
    exec("\n\n".join(map(source_of, helpers)), space)
    values = []
    for expression in expressions:
        _binds_as_told(expression)
        needed = {"dtype": dtype} if expression.needs_dtype else {}
        with np.errstate(all="ignore"):
            values.append(eval(expression.text, {**space, **names, **needed}))
    return list(values[0]) if len(expressions) == 1 and outputs > 1 else values


def _binds_as_told(expression: Expression) -> None:
    """An operand of every kind around the text leaves it what it is."""
    assert "\n" not in expression.text
    whole = f"{expression.within(type(expression.binding).ATOM)}[0]"
    parsed = ast.parse(whole, mode="eval").body
    inner = ast.parse(expression.text, mode="eval").body
    assert isinstance(parsed, ast.Subscript)
    assert ast.dump(parsed.value) == ast.dump(inner), expression


def onnx_runtime(node: Node) -> list[np.ndarray]:
    """ONNX Runtime's outputs; constants are initializers."""
    names = ["" if array is None else f"x{at}" for at, array in enumerate(node.inputs)]
    outputs = [f"y{at}" for at in range(node.outputs)]
    made = helper.make_node(node.op, names, outputs, **node.attributes)
    given = {name: array for name, array in zip(names, node.inputs, strict=True) if array is not None}
    constants = {f"x{at}" for at in node.constant}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in given.items()
        if name not in constants
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in given.items() if name in constants]
    # A model of constants alone needs an input: it is not used.
    inputs = inputs or [helper.make_tensor_value_info("unused", TensorProto.FLOAT, [1])]
    open_outputs = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([made], "one", inputs, open_outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {name: array for name, array in given.items() if name not in constants}
    return session.run(outputs, feed or {"unused": np.zeros(1, np.float32)})


def check(
    op: str,
    *inputs: Any,
    attributes: Mapping[str, Any] | None = None,
    constant: tuple[int, ...] = (),
    outputs: int = 1,
    letters: Mapping[int, str] | None = None,
    known: Sequence[str] = (SHAPES, RANKS),
    rtol: float = 0.0,
    atol: float = 0.0,
) -> list[tuple[Expression, ...]]:
    """Assert that the written Python gives ONNX Runtime's values and dtypes; gives what was written, for each `known`.

    In float64 the truth is ONNX Runtime's double kernel, within 1e-13 where `rtol` is not 0; where there is none, the
    float32 answer within `rtol`.
    """
    node = Node(op, _arrays(inputs), attributes or {}, constant, outputs, letters)
    answers = onnx_runtime(node)
    wide = _widened(node)
    truth = _double(wide) if any(array.dtype.name in WIDENED for array in answers) else None
    found = []
    for knowledge in known:
        expressions = written(node, knowledge, answers)
        found.append(expressions)
        for run, dtype, wanted in ((node, np.float32, answers), (wide, np.float64, truth or answers)):
            values = evaluated(expressions, _names(run), dtype, outputs)
            assert len(values) == len(wanted)
            told = f"{op} {knowledge} {dtype.__name__}: {[expression.text for expression in expressions]}"
            near = (1e-13 if rtol else 0.0, 1e-13 if atol else 0.0) if wanted is truth else (rtol, atol)
            for expression, value, right in zip(expressions * len(wanted), values, wanted, strict=False):
                _same(value, right, expression, dtype, near, told)
    return found


def _same(
    value: Any, right: np.ndarray, expression: Expression, dtype: Any, near: tuple[float, float], told: str
) -> None:
    got = np.asarray(value)
    if expression.elements is None or got.ndim:
        floating = right.dtype.name in WIDENED and dtype is np.float64
        assert got.dtype == (np.float64 if floating else right.dtype), told
    assert got.shape == right.shape, told
    np.testing.assert_allclose(got, right, rtol=near[0], atol=near[1], equal_nan=True, err_msg=told)
    if right.dtype.kind == "f" and not any(near):
        np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(right[right == 0]), err_msg=told)
    if expression.elements is not None:
        assert len(expression.elements) == right.size, told


def _widened(node: Node) -> Node:
    """The same in float64."""
    inputs = tuple(
        array if array is None else _wide(array, at in node.constant) for at, array in enumerate(node.inputs)
    )
    attributes = {
        name: numpy_helper.from_array(_wide(numpy_helper.to_array(value), True))
        if isinstance(value, onnx.TensorProto)
        else value
        for name, value in node.attributes.items()
    }
    return Node(node.op, inputs, attributes, node.constant, node.outputs, node.letters)


def _wide(array: np.ndarray, constant: bool) -> np.ndarray:
    """The same in float64; a literal is the decimal number that it is written as."""
    if array.dtype.name not in WIDENED:
        return array
    if constant and array.size == 1:
        return np.full(array.shape, eval(literal(array.ravel()[0]).text, {"np": np}))
    return array.astype(WIDENED[array.dtype.name])


def _double(node: Node) -> list[np.ndarray] | None:
    """ONNX Runtime's answer in float64, where it has the kernel."""
    if node.op in ("Cast", "RandomNormal"):
        return None
    try:
        answers = onnx_runtime(node)
    except NO_KERNEL:
        return None
    return answers if all(array.dtype.name not in ("float32", "float16") for array in answers) else None


def _names(node: Node) -> dict[str, Any]:
    sizes = {name: size for size, name in (node.letters or {}).items()}
    return {**{f"x{at}": array for at, array in enumerate(node.inputs) if array is not None}, **sizes}


def _arrays(inputs: Sequence[Any]) -> tuple[np.ndarray | None, ...]:
    return tuple(None if item is None else np.asarray(item) for item in inputs)


def refused(op: str, *inputs: Any, known: str = SHAPES, outputs: int = 1, **more: Any) -> str:
    """The reason why the rule writes nothing."""
    node = Node(op, _arrays(inputs), outputs=outputs, **{"attributes": {}, **more})
    with pytest.raises(UnwrittenError) as found:
        written(node, known)
    return str(found.value)


def drawn(*shape: int, seed: int = 0, dtype: Any = np.float32, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Distinct random numbers."""
    values = np.random.default_rng([seed, *shape]).uniform(low, high, shape)
    return values.astype(dtype)


def float32(*values: Any) -> np.ndarray:
    """These numbers."""
    return np.array(values, np.float32)


def int64(*values: int) -> np.ndarray:
    """These numbers."""
    return np.array(values, np.int64)


def tensor(*values: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    """These numbers, as an attribute."""
    return numpy_helper.from_array(np.array(values, dtype))


BFLOAT16 = ml_dtypes.bfloat16
