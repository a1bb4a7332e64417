"""Products of matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from rnnexport.emit.c.arrays import Array, Size, broadcast, broadcast_strides, factor, product, solid_strides, text
from rnnexport.emit.c.body import Body
from rnnexport.emit.c.elementwise import NoFormError, number
from rnnexport.emit.c.groups import place
from rnnexport.ir.terms import Term

_FUNCTIONS = {"float32": "multiply", "float64": "multiply_doubles"}


def _matmul(body: Body, term: Term) -> None:
    left, right = body.dense(term.operands[0]), body.solid(term.operands[1])
    if left.dtype not in _FUNCTIONS:
        raise NoFormError(f"its numbers are {left.dtype}")
    columns = right.shape[-1] if len(right.shape) > 1 else 1
    depth = left.shape[-1]
    if len(right.shape) > 1 and product(right.shape[:-2]) != 1:
        _batched(body, term, left, right)
        return
    rows = product(left.shape[:-1])
    many = right.shape[:-2] if len(right.shape) > len(left.shape) else ()
    shape = (*many, *left.shape[:-1], *right.shape[-1:]) if len(right.shape) > 1 else left.shape[:-1]
    made = body.made(term, _ranked(shape, left, right))
    _write(body, made.pointer, left.pointer, right.pointer, (rows, depth, columns), left.dtype)


def _ranked(shape: tuple[Size, ...], left: Array, right: Array) -> tuple[Size, ...]:
    """The shape of the product: as many axes as the operand with more of them has."""
    rank = max(len(left.shape), len(right.shape)) - (len(left.shape) == 1) - (len(right.shape) == 1)
    return shape if len(shape) == rank else (1,) * (rank - len(shape)) + shape[-rank:] if rank else ()


def _write(body: Body, y: str, x: str, w: str, sizes: tuple[Size, Size, Size], dtype: str) -> None:
    body.uses(*sizes)
    if sizes[2] == 1 and dtype == "float32":
        body.line(f"dots({y}, {x}, {w}, {text(sizes[0])}, {text(sizes[1])});")
        return
    body.line(f"{_FUNCTIONS[dtype]}({y}, {x}, {w}, {', '.join(map(text, sizes))});")


def _batched(body: Body, term: Term, left: Array, right: Array) -> None:
    """A product for each index of the leading axes."""
    if len(left.shape) == 1:
        left = left.seen((1, *left.shape), solid_strides((1, *left.shape)))
        squeezed = True
    else:
        squeezed = False
    many = broadcast([left.shape[:-2], right.shape[:-2]])
    if many is None:
        raise NoFormError("its leading sizes don't fit")
    rows, depth, columns = left.shape[-2], left.shape[-1], right.shape[-1]
    made = body.made(term, (*many, columns) if squeezed else (*many, rows, columns))
    strides = [broadcast_strides(_leading(part), many) for part in (left, right)]
    solid = tuple(stride * rows * columns for stride in solid_strides(many))
    indices = [f"batch_{at}" for at in range(len(many))]
    with loops(body, indices, many):
        places = [_pointer(body, *each) for each in ((made, solid), (left, strides[0]), (right, strides[1]))]
        y, x, w = ("".join([start, *moves]) for start, moves in ((place[0], place[1:]) for place in places))
        _write(body, y, x, w, (rows, depth, columns), left.dtype)


def _leading(array: Array) -> Array:
    return replace(array, shape=array.shape[:-2], strides=array.strides[:-2])


def _pointer(body: Body, array: Array, strides: tuple[Size, ...] | None) -> list[str]:
    assert strides is not None
    body.uses(*strides)
    moves = [f" + batch_{at} * {factor(stride)}" for at, stride in enumerate(strides) if stride != 0]
    return [array.pointer, *moves]


@contextmanager
def loops(body: Body, indices: Sequence[str], sizes: Sequence[Size]) -> Iterator[None]:
    """Nested loops over indices of these sizes."""
    with ExitStack() as stack:
        for index, size in zip(indices, sizes, strict=True):
            stack.enter_context(body.loop(index, size))
        yield


def _gemm(body: Body, term: Term) -> None:
    left, right = (body.array(part) for part in term.operands[:2])
    sides = []
    for array, name in ((left, "transA"), (right, "transB")):
        found = body.pointed(array, "matrix")
        if term.attribute(name, 0):
            found = found.seen(found.shape[::-1], found.strides[::-1])
        sides.append(body.made_solid(found, "matrix"))
    rows, depth = sides[0].shape
    columns = sides[1].shape[1]
    made = body.made(term, (rows, columns))
    if made.dtype not in _FUNCTIONS:
        raise NoFormError(f"its numbers are {made.dtype}")
    _write(body, made.pointer, sides[0].pointer, sides[1].pointer, (rows, depth, columns), made.dtype)
    _scaled_and_added(body, term, made)


def _scaled_and_added(body: Body, term: Term, made: Array) -> None:
    """`alpha * made + beta * bias`, number by number: a vector would reach into the next row, which is done already."""
    alpha, beta = (float(term.attribute(name, 1.0)) for name in ("alpha", "beta"))
    text_ = f"{made.base}[row * {factor(made.shape[1])} + at]"
    value = text_ if alpha == 1 else f"{number(np.dtype(made.dtype).type(alpha))} * {text_}"
    if len(term.operands) > 2:
        bias = body.pointed(body.array(term.operands[2]), "bias")
        strides = broadcast_strides(bias, made.shape)
        if strides is None:
            raise NoFormError("its bias doesn't fit")
        body.uses(bias.offset, *strides)
        added = f"{bias.base}[{place(('row', 'at'), strides, bias.offset) or 0}]"
        value += f" + {added}" if beta == 1 else f" + {number(np.dtype(made.dtype).type(beta))} * {added}"
    if value != text_:
        with body.loop("row", made.shape[0]), body.loop("at", made.shape[1]):
            body.line(f"{text_} = {value};")


OPERATORS: dict[str, Callable[[Body, Term], None]] = {"MatMul": _matmul, "Gemm": _gemm}
