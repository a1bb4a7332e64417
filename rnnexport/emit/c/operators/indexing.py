"""Numbers taken from places that are computed."""

from __future__ import annotations

from collections.abc import Callable

from rnnexport.emit.c.arrays import Array, Poly, factor, product, text
from rnnexport.emit.c.body import Body
from rnnexport.emit.c.elementwise import NoFormError
from rnnexport.emit.c.operators.parts import cut, viewed
from rnnexport.ir.terms import Term


def _gather(body: Body, term: Term) -> None:
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


def _gathered(body: Body, term: Term, data: Array, axis: int) -> None:
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


def _gather_nd(body: Body, term: Term) -> None:
    if term.attribute("batch_dims", 0):
        raise NoFormError("batch_dims")
    data, index = (body.solid(part) for part in term.operands)
    depth = index.shape[-1]
    if not isinstance(depth, int):
        raise NoFormError("the rank of its places depends on the length")
    made = body.made(term, (*index.shape[:-1], *data.shape[depth:]), data.dtype)
    inner, rows = product(data.shape[depth:]), product(index.shape[:-1])
    with body.loop("row", rows):
        parts = []
        for at in range(depth):
            behind = product(data.shape[at + 1 : depth])
            found = f"row_of({index.element_at(f'row * {depth} + {at}')}, {text(data.shape[at])})"
            parts.append(found if behind == 1 else f"{found} * {factor(behind)}")
        body.uses(*data.shape)
        source = f"{data.pointer} + ({' + '.join(parts) or '0'}) * {factor(inner)}"
        body.line(f"memcpy({made.base} + row * {factor(inner)}, {source}, {factor(inner)} * sizeof({made.ctype}));")


def _one_hot(body: Body, term: Term) -> None:
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


def _reverse_sequence(body: Body, term: Term) -> None:
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


OPERATORS: dict[str, Callable[[Body, Term], None]] = {
    "Gather": _gather,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "ReverseSequence": _reverse_sequence,
}
