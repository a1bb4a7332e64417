"""Products of matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rnnexport.emit.c.arrays import Array, Size, broadcast, broadcast_strides, factor, product, solid_strides, text
from rnnexport.emit.c.body import FunctionWriter, loops
from rnnexport.emit.c.elementwise import NoFormError, number
from rnnexport.emit.c.groups import place
from rnnexport.emit.c.integers import levels
from rnnexport.ir.terms import Term

_FUNCTIONS = {"float32": "multiply", "float64": "multiply_doubles"}


def _matmul(body: FunctionWriter, term: Term) -> None:
    rounded = _rounded(body, term)
    left, right = body.dense(term.operands[0]), body.array(term.operands[1])
    if rounded is None:
        right = body.made_solid(right, body.name_of(term.operands[1]))
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
    if rounded is not None:
        _write_int8(body, made, left, rounded, (rows, depth, columns))
        return
    _write(body, made.pointer, left.pointer, right.pointer, (rows, depth, columns), left.dtype)


def _rounded(body: FunctionWriter, term: Term) -> tuple[Array, Array] | None:
    """The matrix on the right in int8, and its scales; None where it is no constant matrix, or is to be float32."""
    right = body.array(term.operands[1])
    return body.rounded(right, body.name_of(term.operands[1])) if len(right.shape) == 2 else None


def _write_int8(
    body: FunctionWriter, y: Array, x: Array, w: tuple[Array, Array], sizes: tuple[Size, Size, Size]
) -> None:
    rows, depth, columns = sizes
    assert isinstance(depth, int)  # that of a constant
    body.uses(rows)
    row = body.fresh("rounded", "int16", (depth + 1,))
    most, (matrix, scale) = number(np.float32(levels(depth))), w
    places = ", ".join([y.pointer, x.pointer, row.base, most, matrix.pointer, scale.pointer])
    body.line(f"multiply_int8({places}, {text(rows)}, {depth}, {text(columns)});")


def _ranked(shape: tuple[Size, ...], left: Array, right: Array) -> tuple[Size, ...]:
    """The shape of the product: as many axes as the operand with more of them has."""
    rank = max(len(left.shape), len(right.shape)) - (len(left.shape) == 1) - (len(right.shape) == 1)
    return shape if len(shape) == rank else (1,) * (rank - len(shape)) + shape[-rank:] if rank else ()


def _write(body: FunctionWriter, y: str, x: str, w: str, sizes: tuple[Size, Size, Size], dtype: str) -> None:
    body.uses(*sizes)
    if sizes[2] == 1 and dtype == "float32":
        body.line(f"dots({y}, {x}, {w}, {text(sizes[0])}, {text(sizes[1])});")
        return
    body.line(f"{_FUNCTIONS[dtype]}({y}, {x}, {w}, {', '.join(map(text, sizes))});")


def _batched(body: FunctionWriter, term: Term, left: Array, right: Array) -> None:
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


def _pointer(body: FunctionWriter, array: Array, strides: tuple[Size, ...] | None) -> list[str]:
    assert strides is not None
    body.uses(*strides)
    moves = [f" + batch_{at} * {factor(stride)}" for at, stride in enumerate(strides) if stride != 0]
    return [array.pointer, *moves]


def _gemm(body: FunctionWriter, term: Term) -> None:
    sides = [_side(body, term, at, name) for at, name in enumerate(("transA", "transB"))]
    rounded = body.rounded(sides[1], "matrix")
    sides[0] = body.made_solid(sides[0], "matrix")
    (rows, depth), columns = sides[0].shape, sides[1].shape[1]
    made = body.made(term, (rows, columns))
    if made.dtype not in _FUNCTIONS:
        raise NoFormError(f"its numbers are {made.dtype}")
    if rounded is not None:
        _write_int8(body, made, sides[0], rounded, (rows, depth, columns))
    else:
        right = body.made_solid(sides[1], "matrix")
        _write(body, made.pointer, sides[0].pointer, right.pointer, (rows, depth, columns), made.dtype)
    _scaled_and_added(body, term, made)


def _side(body: FunctionWriter, term: Term, at: int, turned: str) -> Array:
    """An operand of a Gemm as it is multiplied."""
    found = body.pointed(body.array(term.operands[at]), "matrix")
    return found.seen(found.shape[::-1], found.strides[::-1]) if term.attribute(turned, 0) else found


def _scaled_and_added(body: FunctionWriter, term: Term, made: Array) -> None:
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


def _einsum(body: FunctionWriter, term: Term) -> None:
    """A sum of products: a loop over each letter, those of the result outside of the others."""
    parts = [body.pointed(body.array(part), "factor") for part in term.operands]
    letters, wanted = _letters(str(term.attribute("equation")), [len(part.shape) for part in parts])
    sizes: dict[str, Size] = {}
    for part, names in zip(parts, letters, strict=True):
        for size, name in zip(part.shape, names, strict=True):
            sizes[name] = size if sizes.get(name, 1) == 1 else sizes[name]
    made = body.made(term, tuple(sizes[name] for name in wanted))
    inner = [name for name in sizes if name not in wanted]
    with loops(body, [f"i_{name}" for name in wanted], made.shape), body.block(""):
        body.line(f"{made.ctype} total = 0;")
        with loops(body, [f"i_{name}" for name in inner], [sizes[name] for name in inner]):
            factors = []
            for part, names in zip(parts, letters, strict=True):
                body.uses(part.offset, *part.strides)
                at = ["0" if size == 1 else f"i_{name}" for size, name in zip(part.shape, names, strict=True)]
                factors.append(part.element(at))
            body.line(f"total += {' * '.join(factors)};")
        body.line(f"{made.element([f'i_{name}' for name in wanted])} = total;")


def _letters(equation: str, ranks: Sequence[int]) -> tuple[list[list[str]], list[str]]:
    """The names of the axes of each operand and of the result; `...` is `e0`, `e1`, ..., from the last axis on."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    spelt = [each.replace("...", "") for each in operands]
    hidden = [rank - len(each) for rank, each in zip(ranks, spelt, strict=True)]
    if any(count and "..." not in each for count, each in zip(hidden, operands, strict=True)):
        raise NoFormError(f"its equation {equation} has letters for other axes")
    if not arrow:
        found = "".join(spelt)
        right = ("..." if any(hidden) else "") + "".join(name for name in sorted(set(found)) if found.count(name) == 1)
    return [_axes(each, count) for each, count in zip(operands, hidden, strict=True)], _axes(right, max(hidden))


def _axes(letters: str, hidden: int) -> list[str]:
    before, dots, after = letters.partition("...")
    return [*before, *(f"e{at}" for at in reversed(range(hidden)) if dots), *after]


OPERATORS: dict[str, Callable[[FunctionWriter, Term], None]] = {
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
