"""Numbers taken from places that are computed, and put there.

A place beyond the last is taken for the last: what an index says is never read or written beyond its array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rnnexport.emit.c.arrays import Array, Poly, Size, factor, is_positive, product, text
from rnnexport.emit.c.body import FunctionWriter, loops
from rnnexport.emit.c.elementwise import NoFormError
from rnnexport.emit.c.operators.parts import cut, fill, viewed
from rnnexport.ir.terms import Term


def _gather(body: FunctionWriter, term: Term) -> None:
    data = viewed(body, term, body.array(term.operands[0]))
    axis = term.attribute("axis", 0) % len(data.shape)
    try:
        places = list(body.numbers(term.operands[1]))
    except NoFormError:
        _gathered(body, term, data, axis)
        return
    size = data.shape[axis]
    places = [size + at if isinstance(at, int) and at < 0 else at for at in places]
    rank = len(body.shape(term.operands[1]))
    if rank == 0:
        part = cut(data, axis, places[0], 1)
        body.set(term, part.seen(_without(part.shape, axis), _without(part.strides, axis)))
    elif all(isinstance(at, int) and at == places[0] + number for number, at in enumerate(places)):
        body.set(term, cut(data, axis, places[0], len(places)))
    else:
        if any(isinstance(at, Poly) for at in places):
            raise NoFormError("its places depend on the length")
        _gathered(body, term, data, axis)


def _without(items: tuple, axis: int) -> tuple:  # type: ignore[type-arg]
    return (*items[:axis], *items[axis + 1 :])


def _gathered(body: FunctionWriter, term: Term, data: Array, axis: int) -> None:
    """One row after the other, from wherever the index says: a place beyond the last is taken for the last."""
    data, index = body.made_solid(data, "table"), body.solid(term.operands[1])
    made = body.made(term, (*data.shape[:axis], *index.shape, *data.shape[axis + 1 :]), data.dtype)
    outer, size, inner = product(data.shape[:axis]), data.shape[axis], product(data.shape[axis + 1 :])
    body.uses(data.offset, index.offset, size, inner)
    with body.loop("block", outer), body.loop("row", index.size):
        to = f"{made.base} + (block * {factor(index.size)} + row) * {factor(inner)}"
        place = f"row_of({index.element_at('row')}, {text(size)})"
        source = f"{data.pointer} + (block * {factor(size)} + {place}) * {factor(inner)}"
        body.line(f"memcpy({to}, {source}, {factor(inner)} * sizeof({made.ctype}));")


def _gather_nd(body: FunctionWriter, term: Term) -> None:
    data, index = (body.solid(part) for part in term.operands)
    lead = term.attribute("batch_dims", 0)
    made = body.made(term, (*index.shape[:-1], *data.shape[lead + _depth(index) :]), data.dtype)
    with body.loop("row", product(index.shape[:-1])):
        place, inner = _place(body, data, index, lead)
        source = f"{data.pointer} + {place} * {factor(inner)}"
        body.line(f"memcpy({made.base} + row * {factor(inner)}, {source}, {factor(inner)} * sizeof({made.ctype}));")


def _depth(index: Array) -> int:
    depth = index.shape[-1]
    if not isinstance(depth, int):
        raise NoFormError("the rank of its places depends on the length")
    return depth


def _place(body: FunctionWriter, data: Array, index: Array, lead: int = 0) -> tuple[str, Size]:
    """Which slice of `data` the `row` of `index` says, and of how many numbers; `lead` axes of both are the same."""
    depth = _depth(index)
    axes = range(lead, lead + depth)
    parts = []
    for number, axis in enumerate(axes):
        behind = product(data.shape[axis + 1 : lead + depth])
        found = f"row_of({index.element_at(f'row * {depth} + {number}')}, {text(data.shape[axis])})"
        parts.append(found if behind == 1 else f"{found} * {factor(behind)}")
    if lead:
        count, every = product(index.shape[lead:-1]), product(data.shape[lead : lead + depth])
        body.uses(count, every)
        parts.insert(0, f"row / {factor(count)} * {factor(every)}")
    inner = product(data.shape[lead + depth :])
    body.uses(*data.shape, inner)
    return f"({' + '.join(parts) or '0'})", inner


def _gather_elements(body: FunctionWriter, term: Term) -> None:
    data, index = viewed(body, term, body.array(term.operands[0])), body.solid(term.operands[1])
    axis = term.attribute("axis", 0) % len(data.shape)
    made = body.made(term, index.shape, data.dtype)
    names = [f"i{at}" for at in range(len(index.shape))]
    with loops(body, names, index.shape):
        body.line(f"{made.element(names)} = {data.element(_moved(body, data, index, names, axis))};")


def _moved(body: FunctionWriter, data: Array, index: Array, names: Sequence[str], axis: int) -> list[str]:
    """The indices of an element, that along one axis as `index` says it."""
    body.uses(data.offset, *data.strides, data.shape[axis], index.offset, *index.strides)
    place = f"row_of({index.element(names)}, {text(data.shape[axis])})"
    return [place if at == axis else name for at, name in enumerate(names)]


def _scatter_elements(body: FunctionWriter, term: Term) -> None:
    made, index, updates = _scattered(body, term)
    axis = term.attribute("axis", 0) % len(made.shape)
    names = [f"i{at}" for at in range(len(index.shape))]
    with loops(body, names, index.shape):
        _put(body, term, made.element(_moved(body, made, index, names, axis)), updates.element(names), made.dtype)


def _scatter_nd(body: FunctionWriter, term: Term) -> None:
    made, index, updates = _scattered(body, term)
    with body.loop("row", product(index.shape[:-1])):
        place, inner = _place(body, made, index)
        body.line(f"const size_t start = {place} * {factor(inner)};")
        with body.loop("at", inner):
            update = updates.element_at(f"row * {factor(inner)} + at")
            _put(body, term, f"{made.base}[start + at]", update, made.dtype)


def _scattered(body: FunctionWriter, term: Term) -> tuple[Array, Array, Array]:
    """A copy of the data, the places, and what is put there."""
    data = viewed(body, term, body.array(term.operands[0]))
    index, updates = (body.solid(part) for part in term.operands[1:])
    made = body.made(term, data.shape, data.dtype)
    fill(body, made, data)
    body.uses(updates.offset, *updates.strides)
    return made, index, updates


_SIGNS = {"none": "=", "add": "+=", "mul": "*="}


def _put(body: FunctionWriter, term: Term, to: str, update: str, dtype: str) -> None:
    """Put a number at its place, or combine it with the one that is there; NaN stays NaN."""
    reduction = str(term.attribute("reduction", "none"))
    if reduction in ("max", "min"):
        sign = ">" if reduction == "max" else "<"
        nan = f" || {update} != {update}" if dtype.startswith("float") else ""
        body.line(f"if ({update} {sign} {to}{nan}) {to} = {update};")
    else:
        body.line(f"{to} {_SIGNS[reduction]} {update};")


def _top_k(body: FunctionWriter, term: Term) -> None:
    """One after the other, the first of equal ones first; NaN counts as larger than all, as NumPy sorts it."""
    array = body.solid(term.operands[0])
    (count,) = body.numbers(term.operands[1])
    axis = term.attribute("axis", -1) % len(array.shape)
    size, outer, inner = array.shape[axis], product(array.shape[:axis]), product(array.shape[axis + 1 :])
    if not is_positive(size - count + 1):
        raise NoFormError("whether there are so many depends on the length")
    shape = (*array.shape[:axis], count, *array.shape[axis + 1 :])
    siblings = body.siblings(term)
    made = {port: body.made(each, shape, "int64" if port else array.dtype) for port, each in siblings.items()}
    taken = body.fresh("taken", "bool", (size,))
    with body.loop("row", outer), body.loop("column", inner):
        body.line(f"memset({taken.base}, 0, {factor(size)});")
        with body.loop("k", count):
            body.line(f"size_t best = {text(size)};")
            with body.loop("at", size):
                one, other = (_along(array, size, inner, at) for at in ("at", "best"))
                better = _better(one, other, array.dtype, largest=bool(term.attribute("largest", 1)))
                body.line(f"if (!{taken.base}[at] && (best == {text(size)} || {better})) best = at;")
            body.line(f"{taken.base}[best] = 1;")
            for port, each in made.items():
                found = "(int64_t)best" if port else _along(array, size, inner, "best")
                body.line(f"{_along(each, count, inner, 'k')} = {found};")


def _along(array: Array, size: Size, inner: Size, index: str) -> str:
    """A number by its place along an axis, in the `row` before it and the `column` behind it."""
    return array.element_at(f"(row * {factor(size)} + {index}) * {factor(inner)} + column")


def _better(one: str, other: str, dtype: str, *, largest: bool) -> str:
    sign = ">" if largest else "<"
    if not dtype.startswith("float"):
        return f"{one} {sign} {other}"
    new, old = (one, other) if largest else (other, one)
    return f"{one} {sign} {other} || ({new} != {new} && {old} == {old})"


def _one_hot(body: FunctionWriter, term: Term) -> None:
    index = body.solid(term.operands[0])
    (depth,) = body.numbers(term.operands[1])
    values = body.solid(term.operands[2])
    axis = term.attribute("axis", -1) % (len(index.shape) + 1)
    made = body.made(term, (*index.shape[:axis], depth, *index.shape[axis:]), values.dtype)
    outer, inner = product(index.shape[:axis]), product(index.shape[axis:])
    with body.loop("row", outer), body.loop("at", depth), body.loop("column", inner):
        source = index.element_at(f"row * {factor(inner)} + column")
        hit = f"row_or_none((int64_t){source}, {text(depth)}) == (int64_t)at"
        to = f"{made.base}[(row * {factor(depth)} + at) * {factor(inner)} + column]"
        body.line(f"{to} = ({values.pointer})[{hit} ? 1 : 0];")


def _reverse_sequence(body: FunctionWriter, term: Term) -> None:
    """Each row turned round as far as its length; of no length that is none it is left as it is."""
    data, lengths = body.solid(term.operands[0]), body.solid(term.operands[1])
    time, batch = term.attribute("time_axis", 0), term.attribute("batch_axis", 1)
    if len(data.shape) < 2 or {time, batch} != {0, 1}:
        raise NoFormError("rows or steps that are not the first two axes")
    made = body.made(term, data.shape, data.dtype)
    size, rows, inner = data.shape[time], data.shape[batch], product(data.shape[2:])

    def at(step: str) -> str:
        place = f"{step} * {factor(rows)} + row" if time == 0 else f"row * {factor(size)} + {step}"
        return f"({place}) * {factor(inner)}"

    with body.loop("row", rows), body.loop("t", size):
        body.line(f"const size_t length = (size_t){lengths.element_at('row')};")
        body.line(f"const size_t step = t < length && length <= {text(size)} ? length - 1 - t : t;")
        body.line(
            f"memcpy({made.base} + {at('t')}, {data.pointer} + {at('step')}, {factor(inner)} * sizeof({made.ctype}));"
        )


OPERATORS: dict[str, Callable[[FunctionWriter, Term], None]] = {
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "ReverseSequence": _reverse_sequence,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
}
