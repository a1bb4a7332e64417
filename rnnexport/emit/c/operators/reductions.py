"""Sums, means and extremes along axes, and what is made of them: softmax, running sums, the place of the largest."""

from __future__ import annotations

from collections.abc import Callable

from rnnexport.emit.c.arrays import Array, Size, factor, product, solid_strides, text
from rnnexport.emit.c.body import FunctionWriter, loops
from rnnexport.emit.c.elementwise import NoFormError
from rnnexport.emit.c.groups import place
from rnnexport.ir.terms import Term

# What an accumulator starts with, what an element does to it, and what is made of it in the end; `{n}` is how many
# elements there are, `{f}` the suffix of functions for float32, `{nan}` whether an element is NaN, of floats.
_ROWS = {
    "ReduceSum": ("0", "{a} += {x};", "{a}"),
    "ReduceMean": ("0", "{a} += {x};", "{a} / ({c})({n})"),
    "ReduceProd": ("1", "{a} *= {x};", "{a}"),
    "ReduceMax": ("", "{a} = {x} > {a}{nan} ? {x} : {a};", "{a}"),
    "ReduceMin": ("", "{a} = {x} < {a}{nan} ? {x} : {a};", "{a}"),
    "ReduceSumSquare": ("0", "{a} += {x} * {x};", "{a}"),
}

_SUMS = ("ReduceSum", "ReduceMean")


def axes_of(body: FunctionWriter, term: Term, rank: int) -> set[int]:
    """The axes that a reduction takes away."""
    given = term.inputs[1] if len(term.inputs) > 1 else None
    axes = list(term.attribute("axes") or ()) if given is None else body.integers(given)
    if not axes:
        return set() if term.attribute("noop_with_empty_axes", 0) else set(range(rank))
    return {int(axis) % rank for axis in axes}


def _reduce(body: FunctionWriter, term: Term) -> None:
    array = body.pointed(body.array(term.operands[0]), "numbers")
    gone = axes_of(body, term, len(array.shape))
    keep = bool(term.attribute("keepdims", 1))
    shape = tuple(1 if at in gone else size for at, size in enumerate(array.shape) if keep or at not in gone)
    made = body.made(term, shape)
    _reduced(body, term.op, array, gone, made)


def _reduced(body: FunctionWriter, op: str, array: Array, gone: set[int], made: Array) -> None:
    axes = {at for at in gone if array.shape[at] != 1}
    if op in _SUMS and array.dtype == "float32" and axes:
        inner = {at for at in range(min(axes), len(array.shape)) if array.shape[at] != 1}
        if inner == axes and _last_are_solid(array, min(axes)):
            _summed(body, op, array, min(axes), made)
            return
        if max(axes) < max(inner) and array.strides[max(inner)] == 1 and array.padded:
            _added(body, op, array, axes, made)
            return
    _one_by_one(body, op, array, gone, made)


def _last_are_solid(array: Array, first: int) -> bool:
    """Whether the numbers of the axes from `first` on lie one behind the other."""
    return array.seen(array.shape[first:], array.strides[first:]).is_solid


def _summed(body: FunctionWriter, op: str, array: Array, first: int, made: Array) -> None:
    """The sum of rows that are solid."""
    kept = [at for at in range(first) if array.shape[at] != 1]
    names = [f"k{at}" for at in kept]
    count = product(array.shape[first:])
    body.uses(array.offset, *array.strides, *array.shape)
    with loops(body, names, tuple(array.shape[at] for at in kept)):
        where = place(names, tuple(array.strides[at] for at in kept), array.offset)
        to = place(names, solid_strides(tuple(array.shape[at] for at in kept))) or "0"
        mean = f" / (float)({text(count)})" if op == "ReduceMean" else ""
        source = f"{array.base} + {where}" if where else array.base
        body.line(f"{made.base}[{to}] = sum_of({source}, {text(count)}){mean};")


def _added(body: FunctionWriter, op: str, array: Array, axes: set[int], made: Array) -> None:
    """The sum of rows, which are added place by place."""
    kept = [at for at, size in enumerate(array.shape) if at not in axes and size != 1]
    *outer, last = kept
    columns = array.shape[last]
    names = {at: f"{'r' if at in axes else 'k'}{at}" for at in (*outer, *axes)}
    body.uses(array.offset, *array.strides, *array.shape)
    width = solid_strides(tuple(array.shape[at] for at in kept))[:-1]
    vectors = f"for (size_t at = 0; at < {text(columns)}; at += LANES)"
    with loops(body, [names[at] for at in outer], tuple(array.shape[at] for at in outer)):
        to = place([names[at] for at in outer], width)
        to = f"{made.base} + {to} + at" if to else f"{made.base} + at"
        with body.block(vectors):
            body.line(f"store({to}, splat(0.0f));")
        inner = sorted(axes)
        with loops(body, [names[at] for at in inner], tuple(array.shape[at] for at in inner)), body.block(vectors):
            moves = sorted(names)
            strides = (*(array.strides[at] for at in moves), 1)
            where = place([*(names[at] for at in moves), "at"], strides, array.offset)
            body.line(f"store({to}, load({to}) + load({array.base} + {where}));")
        if op == "ReduceMean":
            count = product(array.shape[at] for at in axes)
            with body.block(vectors):
                body.line(f"store({to}, load({to}) / (float)({text(count)}));")


def _one_by_one(body: FunctionWriter, op: str, array: Array, gone: set[int], made: Array) -> None:
    start, each, end = _ROWS[op]
    kept = [at for at, size in enumerate(array.shape) if at not in gone and size != 1]
    names = [
        f"k{at}" if at in kept else f"r{at}" if at in gone and array.shape[at] != 1 else "0"
        for at in range(len(array.shape))
    ]
    body.uses(array.offset, *array.strides, *array.shape)
    count = product(array.shape[at] for at in gone)
    first = array.element(["0" if at in gone else name for at, name in enumerate(names)])
    words = {"a": "total", "n": text(count), "c": made.ctype, "f": "" if made.dtype == "float64" else "f"}
    with loops(body, [names[at] for at in kept], tuple(array.shape[at] for at in kept)), body.block(""):
        body.line(f"{made.ctype} total = {start or first};")
        inner = [at for at in sorted(gone) if array.shape[at] != 1]
        with loops(body, [names[at] for at in inner], tuple(array.shape[at] for at in inner)):
            x = array.element(names)
            body.line(each.format(x=x, nan=f" || {x} != {x}" if made.dtype.startswith("float") else "", **words))
        behind: Size = 1
        parts = []
        for at in reversed(kept):
            parts.append(names[at] if behind == 1 else f"{names[at]} * {factor(behind)}")
            behind = behind * array.shape[at]
        place = " + ".join(reversed(parts)) or "0"
        body.line(f"{made.base}[{place}] = {end.format(**words)};")


def _softmax(body: FunctionWriter, term: Term) -> None:
    array = body.solid(term.operands[0])
    if array.dtype not in ("float32", "float64"):
        raise NoFormError(f"its numbers are {array.dtype}")
    axis = term.attribute("axis", -1) % len(array.shape)
    made = body.made(term, array.shape, array.dtype)
    sizes = (product(array.shape[:axis]), array.shape[axis], product(array.shape[axis + 1 :]))
    body.uses(*sizes)
    name = "softmax_of" if term.op == "Softmax" else "log_softmax_of"
    if array.dtype == "float64":
        _softmax_of_doubles(body, array, made, sizes, logarithm=term.op == "LogSoftmax")
        return
    body.line(f"{name}({made.base}, {array.pointer}, {', '.join(map(text, sizes))});")


def _softmax_of_doubles(
    body: FunctionWriter, array: Array, made: Array, sizes: tuple[Size, Size, Size], *, logarithm: bool
) -> None:
    outer, size, inner = sizes
    place = f"(row * {factor(size)} + at) * {factor(inner)} + column"
    source = array.element_at(place)
    with body.loop("row", outer), body.loop("column", inner):
        body.line("double largest = -INFINITY, total = 0;")
        with body.loop("at", size):
            body.line(f"largest = {source} > largest ? {source} : largest;")
        with body.loop("at", size):
            body.line(f"total += exp({source} - largest);")
        found = f"{source} - largest - log(total)" if logarithm else f"exp({source} - largest) / total"
        with body.loop("at", size):
            body.line(f"{made.base}[{place}] = {found};")


def _cumsum(body: FunctionWriter, term: Term) -> None:
    array = body.solid(term.operands[0])
    (axis,) = body.integers(term.operands[1])
    axis %= len(array.shape)
    made = body.made(term, array.shape, array.dtype)
    outer, size, inner = product(array.shape[:axis]), array.shape[axis], product(array.shape[axis + 1 :])
    backwards, without = term.attribute("reverse", 0), term.attribute("exclusive", 0)
    with body.loop("row", outer), body.loop("column", inner):
        body.line(f"{made.ctype} total = 0;")
        with body.loop("at", size):
            index = f"({text(size)} - 1 - at)" if backwards else "at"
            place = f"(row * {factor(size)} + {index}) * {factor(inner)} + column"
            lines = [f"total += ({array.pointer})[{place}];", f"{made.base}[{place}] = total;"]
            for line in lines[::-1] if without else lines:
                body.line(line)


def _arg(body: FunctionWriter, term: Term) -> None:
    array = body.solid(term.operands[0])
    axis = term.attribute("axis", 0) % len(array.shape)
    shape = [1 if at == axis else size for at, size in enumerate(array.shape)]
    if not term.attribute("keepdims", 1):
        del shape[axis]
    made = body.made(term, tuple(shape))
    outer, size, inner = product(array.shape[:axis]), array.shape[axis], product(array.shape[axis + 1 :])
    sign = (">" if term.op == "ArgMax" else "<") + ("=" if term.attribute("select_last_index", 0) else "")
    with body.loop("row", outer), body.loop("column", inner):
        body.line("size_t best = 0;")
        with body.loop("at", size):
            places = [f"(row * {factor(size)} + {index}) * {factor(inner)} + column" for index in ("at", "best")]
            one, other = (f"({array.pointer})[{place}]" for place in places)
            body.line(f"best = {one} {sign} {other} ? at : best;")
        body.line(f"{made.base}[row * {factor(inner)} + column] = ({made.ctype})best;")


OPERATORS: dict[str, Callable[[FunctionWriter, Term], None]] = {
    **dict.fromkeys(_ROWS, _reduce),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("ArgMax", "ArgMin"), _arg),
    "CumSum": _cumsum,
}
