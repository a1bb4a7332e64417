"""Operators that move numbers: most are another view of the same memory, and cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rnnexport.emit.c.arrays import (
    Array,
    Shape,
    Size,
    broadcast,
    broadcast_strides,
    factor,
    is_positive,
    product,
    quotient,
    solid_strides,
    text,
)
from rnnexport.emit.c.body import FunctionWriter, copy_lines, loops
from rnnexport.emit.c.elementwise import NoFormError
from rnnexport.ir.terms import OPEN_END, Term


def viewed(body: FunctionWriter, term: Term, array: Array) -> Array:
    """An array in memory: what is seen through other strides has no values of its own."""
    return body.pointed(array, body.name_of(term))


def _reshape(body: FunctionWriter, term: Term) -> None:
    wanted = list(body.numbers(term.operands[1]))
    reshaped(body, term, wanted, keep_zeros=not term.attribute("allowzero", 0))


def reshaped(body: FunctionWriter, term: Term, wanted: Sequence[Size], *, keep_zeros: bool = False) -> None:
    """`term`, its operand in another shape."""
    array = body.array(term.operands[0])
    sizes = [array.shape[at] if size == 0 and keep_zeros else size for at, size in enumerate(wanted)]
    if -1 in sizes:
        rest = product(size for size in sizes if size != -1)
        left = quotient(array.size, rest)
        if left is None:
            raise NoFormError("its shape depends on the length")
        sizes[sizes.index(-1)] = left
    if product(sizes) != array.size:
        raise NoFormError(f"{array.shape} numbers don't fit in {tuple(sizes)}")
    body.set(term, in_shape(body, term, array, tuple(sizes)))


def in_shape(body: FunctionWriter, term: Term, array: Array, shape: Shape) -> Array:
    """The same numbers in another shape, copied only where their order in memory is another one."""
    fixed = [size for size in shape if isinstance(size, int)]
    if array.values is not None and len(fixed) == len(shape):
        return replace(array, shape=shape, strides=solid_strides(shape), values=array.values.reshape(fixed))
    if [size for size in array.shape if size != 1] == [size for size in shape if size != 1]:
        rest = iter([stride for size, stride in zip(array.shape, array.strides, strict=True) if size != 1])
        pointed = viewed(body, term, array)
        return pointed.seen(shape, [0 if size == 1 else next(rest) for size in shape])
    if not array.is_solid:
        array = body.made_solid(array, body.name_of(term))
    array = viewed(body, term, array)
    return array.seen(shape, solid_strides(shape))


def _squeeze(body: FunctionWriter, term: Term) -> None:
    shape = body.shape(term.operands[0])
    if len(term.inputs) > 1 and term.inputs[1] is not None:
        gone = {axis % len(shape) for axis in body.integers(term.operands[1])}
    else:
        gone = {at for at, size in enumerate(shape) if size == 1}
    reshaped(body, term, [size for at, size in enumerate(shape) if at not in gone])


def _unsqueeze(body: FunctionWriter, term: Term) -> None:
    shape, axes = body.shape(term.operands[0]), body.integers(term.operands[1])
    rank = len(shape) + len(axes)
    new, rest = {axis % rank for axis in axes}, iter(shape)
    reshaped(body, term, [1 if at in new else next(rest) for at in range(rank)])


def _flatten(body: FunctionWriter, term: Term) -> None:
    shape = body.shape(term.operands[0])
    axis = term.attribute("axis", 1) % (len(shape) + 1) if shape else 0
    reshaped(body, term, [product(shape[:axis]), product(shape[axis:])])


def _identity(body: FunctionWriter, term: Term) -> None:
    body.set(term, body.array(term.operands[0]))


def _transpose(body: FunctionWriter, term: Term) -> None:
    array = body.array(term.operands[0])
    order = term.attribute("perm") or list(range(len(array.shape)))[::-1]
    array = viewed(body, term, array)
    body.set(term, array.seen(tuple(array.shape[at] for at in order), [array.strides[at] for at in order]))


def _expand(body: FunctionWriter, term: Term) -> None:
    array = body.array(term.operands[0])
    shape = broadcast([array.shape, tuple(body.numbers(term.operands[1]))])
    if shape is None:
        raise NoFormError("its sizes don't fit")
    array = viewed(body, term, array)
    strides = broadcast_strides(array, shape)
    assert strides is not None
    body.set(term, array.seen(shape, strides))


def cut(array: Array, axis: int, start: Size, count: Size, step: int = 1) -> Array:
    """A part along an axis."""
    shape, strides = list(array.shape), list(array.strides)
    offset = start * strides[axis]
    shape[axis], strides[axis] = count, strides[axis] * step
    return array.seen(tuple(shape), strides, offset)


def _slice(body: FunctionWriter, term: Term) -> None:
    array = viewed(body, term, body.array(term.operands[0]))
    starts, ends = (body.numbers(part) for part in term.operands[1:3])
    given = [None if part is None else body.integers(part) for part in (*term.inputs[3:], None, None)[:2]]
    axes = given[0] or list(range(len(starts)))
    steps = given[1] or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        array = sliced(array, axis % len(array.shape), start, end, step)
    body.set(term, array)


def sliced(array: Array, axis: int, start: Size, end: Size, step: int) -> Array:
    """A Slice along an axis. NoFormError where how much it takes depends on the length."""
    size = array.shape[axis]
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        found = range(size)[_bound(start, step) : _bound(end, step) : step]
        return cut(array, axis, found.start if len(found) else 0, len(found), step)
    first, last = _from_start(start, size, step), _from_start(end, size, step)
    count = last - first if step > 0 else first - last
    if abs(step) != 1 or not is_positive(count) or not is_positive(size - count + 1):
        raise NoFormError("how much it takes depends on the length")
    return cut(array, axis, first, count, step)


def _bound(number: int, step: int) -> int | None:
    """A bound as Python's slices have it: below all, which ONNX says as a number, there is None."""
    return None if abs(number) >= OPEN_END and (number < 0) == (step < 0) else number


def _from_start(number: Size, size: Size, step: int) -> Size:
    """A place counted from the first element; one beyond either end is that end, -1 before the first."""
    if isinstance(number, int) and abs(number) >= OPEN_END:
        if step > 0:
            return size if number > 0 else 0
        return size - 1 if number > 0 else -1
    if isinstance(number, int) and number < 0:
        return size + number
    return number


def _split(body: FunctionWriter, term: Term) -> None:
    array = viewed(body, term, body.array(term.operands[0]))
    axis = term.attribute("axis", 0) % len(array.shape)
    outputs = len(term.call.results)
    if len(term.inputs) > 1 and term.inputs[1] is not None:
        sizes: list[Size] = list(body.numbers(term.operands[1]))
    else:
        whole = array.shape[axis]
        each = quotient(whole, outputs)
        if each is None:
            if not isinstance(whole, int):
                raise NoFormError("the sizes of its parts depend on the length")
            more = -(-whole // outputs)
            sizes = [*[more] * (outputs - 1), whole - more * (outputs - 1)]
        else:
            sizes = [each] * outputs
    siblings = body.siblings(term)
    start: Size = 0
    for port, size in enumerate(sizes):
        if port in siblings:
            body.set(siblings[port], cut(array, axis, start, size))
        start = start + size


def _concat(body: FunctionWriter, term: Term) -> None:
    parts = [body.array(part) for part in term.operands]
    axis = term.attribute("axis", 0) % len(parts[0].shape)
    shape = list(parts[0].shape)
    shape[axis] = sum((part.shape[axis] for part in parts[1:]), parts[0].shape[axis])
    made = body.made(term, tuple(shape), parts[0].dtype)
    start: Size = 0
    for part in parts:
        place = cut(made, axis, start, part.shape[axis])
        fill(body, place, viewed(body, term, part))
        start = start + part.shape[axis]


def fill(body: FunctionWriter, place: Array, source: Array) -> None:
    """Copy numbers into a part of an array."""
    body.uses(place.offset, *place.strides)
    if source.size == 0:
        return
    if place.is_solid:
        body.copy(place, source)
        return
    body.uses(*source.shape, source.offset, *source.strides)
    for line in copy_lines(place, source):
        body.line(line)


def _pad(body: FunctionWriter, term: Term) -> None:
    array = viewed(body, term, body.array(term.operands[0]))
    around = body.numbers(term.operands[1])
    rank = len(array.shape)
    told = _given(term, 3)
    axes = list(range(rank)) if told is None else [axis % rank for axis in body.integers(told)]
    before: list[Size] = [0] * rank
    shape = list(array.shape)
    for at, axis in enumerate(axes):
        low, high = around[at], around[at + len(axes)]
        array = _cropped(array, axis, low, high)
        before[axis], shape[axis] = _widened(low), array.shape[axis] + _widened(low) + _widened(high)
    if tuple(shape) == array.shape:
        body.set(term, array)
        return
    made = body.made(term, tuple(shape), array.dtype)
    mode = str(term.attribute("mode", "constant"))
    if mode != "constant":
        _mirrored(body, made, array, before, mode)
        return
    number = _given(term, 2)
    if number is None:
        # A loop to T + 1 lets GCC think of the largest T of all, and warn of what is copied then.
        body.line(f"memset({made.base}, 0, {factor(made.size)} * sizeof({made.ctype}));")
    else:
        scalar = viewed(body, term, body.array(number))
        with body.loop("at", made.size):
            body.line(f"{made.base}[at] = {scalar.base}[{scalar.offset}];")
    place = made
    for axis in range(rank):
        place = cut(place, axis, before[axis], array.shape[axis])
    fill(body, place, array)


def _widened(width: Size) -> Size:
    """What a width adds: a negative one takes away."""
    return 0 if isinstance(width, int) and width < 0 else width


def _cropped(array: Array, axis: int, low: Size, high: Size) -> Array:
    """Without what negative widths take away."""
    if not all(isinstance(width, int) or is_positive(width + 1) for width in (low, high)):
        raise NoFormError("whether it takes away depends on the length")
    first, last = (-width if isinstance(width, int) and width < 0 else 0 for width in (low, high))
    size = array.shape[axis] - first - last
    if not is_positive(size + 1):
        raise NoFormError("how much it takes away depends on the length")
    return cut(array, axis, first, size) if first or last else array


def _mirrored(body: FunctionWriter, made: Array, array: Array, before: Sequence[Size], mode: str) -> None:
    """With numbers of the array around it: the last ones, those mirrored at it, or those of the other end."""
    functions = {"edge": "nearest_row", "reflect": "mirrored_row", "wrap": "turned_row"}
    if mode not in functions:
        raise NoFormError(f"the mode {mode}")
    names = [f"i{at}" for at in range(len(made.shape))]
    body.uses(array.offset, *array.strides, *array.shape, *before)
    places = [
        name if low == 0 and size == whole else f"{functions[mode]}((int64_t){name} - {factor(low)}, {text(size)})"
        for name, low, size, whole in zip(names, before, array.shape, made.shape, strict=True)
    ]
    with loops(body, names, made.shape):
        body.line(f"{made.element(names)} = {array.element(places)};")


def _given(term: Term, at: int) -> Term | None:
    return term.inputs[at] if len(term.inputs) > at else None


def _tile(body: FunctionWriter, term: Term) -> None:
    array = viewed(body, term, body.array(term.operands[0]))
    times = body.numbers(term.operands[1])
    wide = [size for pair in zip(times, array.shape, strict=True) for size in pair]
    strides: list[Size] = [stride for each in array.strides for stride in (0, each)]
    seen = array.seen(tuple(wide), strides)
    shape = tuple(size * many for size, many in zip(array.shape, times, strict=True))
    body.set(term, in_shape(body, term, seen, shape))


def _depth_to_space(body: FunctionWriter, term: Term) -> None:
    """Channels into blocks of space: (n, b, b, c, h, w), or with CRD (n, c, b, b, h, w), as (n, c, h, b, w, b)."""
    n, channels, h, w = body.shape(term.operands[0])
    block = int(term.attribute("blocksize"))
    depth = quotient(channels, block * block)
    if depth is None:
        raise NoFormError("its channels depend on the length")
    rows_first = str(term.attribute("mode", "DCR")) == "DCR"
    wide = (n, block, block, depth, h, w) if rows_first else (n, depth, block, block, h, w)
    order = (0, 3, 4, 1, 5, 2) if rows_first else (0, 1, 4, 2, 5, 3)
    _regrouped(body, term, wide, order, (n, depth, h * block, w * block))


def _space_to_depth(body: FunctionWriter, term: Term) -> None:
    n, c, h, w = body.shape(term.operands[0])
    block = int(term.attribute("blocksize"))
    rows, columns = quotient(h, block), quotient(w, block)
    if rows is None or columns is None:
        raise NoFormError("how many blocks there are depends on the length")
    wide = (n, c, rows, block, columns, block)
    _regrouped(body, term, wide, (0, 3, 5, 1, 2, 4), (n, c * (block * block), rows, columns))


def _regrouped(body: FunctionWriter, term: Term, wide: Shape, order: Sequence[int], shape: Shape) -> None:
    """An operand in one shape, its axes in another order, in another shape."""
    array = viewed(body, term, in_shape(body, term, body.array(term.operands[0]), wide))
    turned = array.seen(tuple(array.shape[at] for at in order), [array.strides[at] for at in order])
    body.set(term, in_shape(body, term, turned, shape))


def _eye(body: FunctionWriter, term: Term) -> None:
    rows, columns = body.shape(term.operands[0])
    offset = int(term.attribute("k", 0))
    made = body.made(term, (rows, columns))
    with loops(body, ("row", "at"), (rows, columns)):
        body.line(f"{made.element(('row', 'at'))} = (int64_t)at - (int64_t)row == {offset};")


def _constant_of_shape(body: FunctionWriter, term: Term) -> None:
    shape = tuple(body.numbers(term.operands[0]))
    value = term.attribute("value")
    array = np.zeros(1, np.float32) if value is None else value.numpy().reshape(1)
    made = Array(array.dtype.name, (1,), (1,), "", values=array)
    pointed = viewed(body, term, made)
    body.set(term, pointed.seen(shape, [0] * len(shape)))


def _range(body: FunctionWriter, term: Term) -> None:
    start, limit, delta = (body.numbers(part)[0] for part in term.operands)
    count = limit - start if delta == 1 else start - limit if delta == -1 else quotient(limit - start, delta)
    if count is None or not is_positive(count):
        raise NoFormError("how many numbers it gives depends on the length")
    made = body.made(term, (count,))
    body.uses(start, delta)
    with body.loop("at", count):
        body.line(f"{made.base}[at] = ({made.ctype})({start}) + ({made.ctype})({delta}) * ({made.ctype})at;")


OPERATORS: dict[str, Callable[[FunctionWriter, Term], None]] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": _identity,
    "DepthToSpace": _depth_to_space,
    "Dropout": _identity,
    "EyeLike": _eye,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
