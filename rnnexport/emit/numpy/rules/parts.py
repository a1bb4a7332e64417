"""Parts of arrays, arrays of parts, and elements taken from and put at positions that are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, Size, UnwrittenError, Use, call
from rnnexport.emit.numpy.rules.common import (
    Rule,
    as_array,
    axis_at,
    from_front,
    index_at,
    indexed,
    integers,
    rank_of,
    unchanged,
)
from rnnexport.emit.numpy.rules.shapes import size_at
from rnnexport.emit.numpy.rules.sizes import elements_of, known_integers, minus, plus, tuple_of, written
from rnnexport.ir.terms import OPEN_END


def _concat(use: Use) -> Expression:
    parts = [operand for operand in use.inputs if operand is not None]
    if len(parts) == 1:
        return parts[0].expression
    rank = next((part.rank for part in parts if part.rank is not None), None)
    axis = axis_at(int(use.attributes["axis"]), rank)
    joined = ", ".join(part.expression.text for part in parts)
    more = [] if axis == "0" else [f"axis={axis}"]
    return call("np.concatenate", f"[{joined}]", *more, uses=[part.expression for part in parts])


def _split(use: Use) -> Expression | tuple[Expression, ...]:
    x, given = use.operand(0), use.optional(1)
    axis, count = int(use.attributes.get("axis", 0)), len(use.results)
    whole = x.expression
    if count == 1:
        return (whole,)
    at = axis_at(axis, x.rank)
    more = [] if at == "0" else [f"axis={at}"]
    if given is not None and elements_of(given) is None:
        sizes = given.expression
        ends = f"np.cumsum({sizes.text})[:-1]"
        return call("np.split", whole.text, ends, *more, uses=[whole, sizes])
    parts = elements_of(given) if given is not None else _equal_parts(x, axis, count)
    if parts is None:
        return call("split", whole.text, str(count), *more, uses=[whole], helper=True)
    found: list[Expression] = []
    start: Size = 0
    for number, size in enumerate(parts):
        end = plus(start, size)
        stop = "" if number == len(parts) - 1 else str(end)
        found.append(indexed(whole, index_at(axis, x.rank, f"{start or ''}:{stop}")))
        start = end
    return tuple(found)


def _equal_parts(x: Operand, axis: int, count: int) -> tuple[Size, ...] | None:
    """Equal sizes, the last one smaller where the whole does not divide."""
    size = x.shape[axis] if x.shape is not None else None
    if not isinstance(size, int):
        return None
    each = -(-size // count)
    return (*[each] * (count - 1), size - each * (count - 1))


def _slice(use: Use) -> Expression:
    x, starts, ends = use.operand(0), use.operand(1), use.operand(2)
    given, stepped = use.optional(3), use.optional(4)
    firsts, lasts = elements_of(starts), elements_of(ends)
    axes = known_integers(elements_of(given)) if given is not None else tuple(range(len(firsts or ())))
    steps = known_integers(elements_of(stepped)) if stepped is not None else (1,) * len(firsts or ())
    if firsts is None or lasts is None or axes is None or steps is None:
        return _computed_slice(use)
    items: dict[int, str] = {}
    for axis, first, last, step in zip(axes, firsts, lasts, steps, strict=True):
        at = from_front(axis, x.rank) if len(axes) > 1 or x.rank is not None else axis
        items[at] = _sliced(first, last, step, size_at(x, axis) if x.rank is not None else None)
    items = {axis: item for axis, item in items.items() if item != ":"}
    if not items:
        return x.expression
    if len(items) == 1:
        ((axis, item),) = items.items()
        return indexed(x.expression, index_at(axis, x.rank, item))
    return indexed(x.expression, ", ".join(items.get(axis, ":") for axis in range(max(items) + 1)))


def _sliced(first: Size, last: Size, step: int, size: Size | None) -> str:
    """`1:`, `:T - 1`, `::-1`: what ONNX and Python have in common, without what says nothing."""
    if step > 0:
        start = "" if first == 0 or _is_before(first, size) else str(first)
        end = "" if last == size or _is_after(last, size) else str(last)
    else:
        start = "" if first == -1 or _is_after(first, size, 1) else str(first)
        end = "" if _is_before(last, size, 1) else str(last)
    return f"{start}:{end}" if step == 1 else f"{start}:{end}:{step}"


def _is_after(index: Size, size: Size | None, spare: int = 0) -> bool:
    """Whether an index is at the end of an axis or after it."""
    if size is not None and index == minus(size, spare):
        return True
    return isinstance(index, int) and (index >= OPEN_END or (isinstance(size, int) and index >= size - spare))


def _is_before(index: Size, size: Size | None, spare: int = 0) -> bool:
    """Whether an index from the end is at the start of an axis or, by `spare`, before it."""
    return isinstance(index, int) and (index <= -OPEN_END or (isinstance(size, int) and index <= -size - spare))


def _computed_slice(use: Use) -> Expression:
    """Of ends that the data tells."""
    parts = [use.operand(0).expression, *(use.operand(at).expression for at in (1, 2))]
    more = []
    for at, name in ((3, "axes"), (4, "steps")):
        operand = use.optional(at)
        if operand is not None:
            parts.append(operand.expression)
            elements = elements_of(operand)
            more.append(f"{name}={operand.expression.text if elements is None else tuple_of(elements)}")
    return call("take_slice", *(part.text for part in parts[:3]), *more, uses=parts, helper=True)


def _pad(use: Use) -> Expression:
    x, given, value = use.operand(0), use.operand(1), use.optional(2)
    elements, mode = elements_of(given), use.attributes.get("mode", "constant")
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise UnwrittenError(f"of mode {mode}")
    if elements is None:
        if use.optional(3) is not None:
            raise UnwrittenError("with widths that are computed for some axes")
        widths = f"{given.expression.within(Binding.ATOM)}.reshape(2, -1).T"
        return _padded(x.expression, widths, mode, value, given.expression)
    rank = rank_of(x)
    axes = integers(use.operand(3), "axes") if use.optional(3) is not None else tuple(range(rank))
    before: list[Size] = [0] * rank
    after: list[Size] = [0] * rank
    for number, axis in enumerate(axes):
        before[axis], after[axis] = elements[number], elements[number + len(axes)]
    whole = _cropped(x.expression, before, after)
    before, after = _widths(before), _widths(after)
    if not any(before) and not any(after):
        return whole
    pairs = tuple(tuple_of(pair) for pair in zip(before, after, strict=True))
    return _padded(whole, tuple_of(pairs), mode, value, whole)


def _widths(sizes: Sequence[Size]) -> list[Size]:
    return [0 if isinstance(size, int) and size < 0 else size for size in sizes]


def _cropped(x: Expression, before: Sequence[Size], after: Sequence[Size]) -> Expression:
    """Without what a negative width takes away."""
    items = [
        f"{-a if isinstance(a, int) and a < 0 else ''}:{b if isinstance(b, int) and b < 0 else ''}"
        for a, b in zip(before, after, strict=True)
    ]
    while items and items[-1] == ":":
        items.pop()
    return indexed(x, ", ".join(items)) if items else x


def _padded(x: Expression, widths: str, mode: str, value: Operand | None, other: Expression) -> Expression:
    if mode != "constant":
        return call("np.pad", x.text, widths, f'mode="{mode}"', uses=[x, other])
    if value is None or (value.value is not None and value.value.item() == 0):
        return call("np.pad", x.text, widths, uses=[x, other])
    number = value.expression
    return call("np.pad", x.text, widths, f"constant_values={number.text}", uses=[x, other, number])


def _gather(use: Use) -> Expression:
    x, indices = use.operand(0), use.operand(1)
    axis = int(use.attributes.get("axis", 0))
    elements = elements_of(indices)
    run = _run(known_integers(elements), size_at(x, axis) if x.rank is not None else None)
    if run is not None and indices.rank == 1:
        return unchanged(x) if run == ":" else indexed(x.expression, index_at(axis, x.rank, run))
    item = indices.expression.text
    if elements is not None and elements and indices.rank is not None:
        item = str(elements[0]) if indices.rank == 0 else f"[{', '.join(map(str, elements))}]"
    elif indices.value is not None and indices.value.size == 0:
        item = f"np.zeros({indices.value.shape}, int)"
    if indices.rank is None and indices.value is None and axis < 0 and x.rank is None:
        raise UnwrittenError("of an input of unknown rank")
    return indexed(as_array(x), index_at(axis, x.rank, item), indices.expression)


def _run(indices: tuple[int, ...] | None, size: Size | None) -> str | None:
    """The slice that indices one after the other are, of an axis that has them: a slice would not miss them."""
    if not indices or not isinstance(size, int) or indices[0] < 0:
        return None
    start, end = indices[0], indices[0] + len(indices)
    return _sliced(start, end, 1, size) if indices == tuple(range(start, end)) and end <= size else None


def _compress(use: Use) -> Expression:
    x, condition = use.operand(0).expression, use.operand(1).expression
    axis = use.attributes.get("axis")
    more = [] if axis is None else [f"axis={axis_at(int(axis), use.operand(0).rank)}"]
    return call("np.compress", condition.text, x.text, *more, uses=[condition, x])


def _reverse_sequence(use: Use) -> Expression:
    x, lengths = use.operand(0).expression, use.operand(1).expression
    time, batch = int(use.attributes.get("time_axis", 0)), int(use.attributes.get("batch_axis", 1))
    more = [] if (time, batch) == (0, 1) else [f"time_axis={time}", f"batch_axis={batch}"]
    return call("reverse_sequence", x.text, lengths.text, *more, uses=[x, lengths], helper=True)


def _gather_elements(use: Use) -> Expression:
    x, indices = use.operand(0), use.operand(1)
    axis = int(use.attributes.get("axis", 0))
    parts = [x.expression, indices.expression]
    if x.shape is not None and indices.shape is not None:
        pairs = [pair for at, pair in enumerate(zip(x.shape, indices.shape, strict=True)) if at != axis % len(x.shape)]
        if all(a == b and a is not None for a, b in pairs):
            texts = [*(part.text for part in parts), f"axis={axis_at(axis, x.rank)}"]
            return call("np.take_along_axis", *texts, uses=parts)
    return call("gather_elements", *(part.text for part in parts), str(axis), uses=parts, helper=True)


def _gather_nd(use: Use) -> Expression:
    parts = [use.operand(0).expression, use.operand(1).expression]
    batch = int(use.attributes.get("batch_dims", 0))
    more = [f"batch_dims={batch}"] if batch else []
    return call("gather_nd", *(part.text for part in parts), *more, uses=parts, helper=True)


def _scatter_nd(use: Use) -> Expression:
    return _scattered(use, "scatter_nd", [])


def _scatter_elements(use: Use) -> Expression:
    return _scattered(use, "scatter_elements", [str(int(use.attributes.get("axis", 0)))])


def _scattered(use: Use, function: str, more: list[str]) -> Expression:
    parts = [use.operand(at).expression for at in range(3)]
    reduction = use.attributes.get("reduction", "none")
    if reduction != "none":
        more = [*more, f'reduction="{reduction}"']
    return call(function, *(part.text for part in parts), *more, uses=parts, helper=True)


def _top_k(use: Use) -> Expression:
    x, count = use.operand(0), use.operand(1)
    elements = elements_of(count)
    k = Expression(f"{count.expression.text}.item()") if elements is None else written(elements[0])
    axis, largest = int(use.attributes.get("axis", -1)), bool(use.attributes.get("largest", 1))
    more = [] if axis_at(axis, x.rank) == "-1" else [f"axis={axis}"]
    more += [] if largest else ["largest=False"]
    return call("top_k", x.expression.text, k.text, *more, uses=[x.expression, count.expression], helper=True)


def _non_zero(use: Use) -> Expression:
    x = as_array(use.operand(0))
    given = x.text if use.operand(0).rank else f"np.atleast_1d({x.text})"  # of a number there are no positions
    return call("np.array", f"np.nonzero({given})", uses=[x])


def _unique(use: Use) -> Expression:
    x, axis = use.operand(0), use.attributes.get("axis")
    more = [] if axis is None else [f"axis={from_front(int(axis), x.rank)}"]
    more += [] if use.attributes.get("sorted", 1) else ["ordered=False"]
    found = call("unique", x.expression.text, *more, uses=[x.expression], helper=True)
    if len(use.results) == 4:
        return found
    taken = "[0]" if len(use.results) == 1 else f"[:{len(use.results)}]"
    return Expression(f"{found.text}{taken}", helpers=found.helpers, needs_dtype=found.needs_dtype)


def _label_encoder(use: Use) -> Expression:
    """Of words, to whole numbers; those of the vocabulary in order."""
    if not {"keys_strings", "values_int64s"} <= set(use.attributes):
        raise UnwrittenError("of other than words and whole numbers")
    pairs = sorted(zip(use.attributes["keys_strings"], use.attributes["values_int64s"], strict=True))
    words, values = [str(word) for word, _ in pairs], [int(value) for _, value in pairs]
    x = use.operand(0).expression
    more = [repr(words), repr(values), str(int(use.attributes.get("default_int64", -1)))]
    return call("looked_up", x.text, *more, uses=[x], helper=True)


RULES: Mapping[str, Rule] = {
    "Compress": _compress,
    "Concat": _concat,
    "Gather": _gather,
    "Pad": _pad,
    "ReverseSequence": _reverse_sequence,
    "Slice": _slice,
    "Split": _split,
    "ai.onnx.ml.LabelEncoder": _label_encoder,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": _non_zero,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
    "Unique": _unique,
}
