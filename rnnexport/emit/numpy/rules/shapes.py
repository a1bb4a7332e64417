"""The same numbers in another shape or order, and shapes themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from rnnexport.emit.numpy.expression import (
    Binding,
    Expression,
    Operand,
    Shape,
    Size,
    UnnamedError,
    Use,
    call,
)
from rnnexport.emit.numpy.rules.common import (
    Rule,
    as_array,
    index_at,
    indexed,
    integers,
    is_number,
    is_plain,
    method,
    unchanged,
)
from rnnexport.emit.numpy.rules.making import filled, shape_text
from rnnexport.emit.numpy.rules.sizes import elements_of, sized, times, tuple_of


def _identity(use: Use) -> Expression:
    return unchanged(use.operand(0))


def size_at(x: Operand, axis: int) -> Size | None:
    """The size of an axis; None where it is not known and `x` is no name to ask."""
    size = x.shape[axis] if x.shape is not None else None
    elements = elements_of(x)
    if x.rank == 1 and elements is not None:
        return len(elements)
    if size is None and is_plain(x.expression) and not is_number(x):
        return f"{x.expression.text}.shape[{axis}]"
    return size


def _shape(use: Use) -> Expression:
    x = use.operand(0)
    part = slice(int(use.attributes.get("start", 0)), use.attributes.get("end"))
    if x.rank is not None:
        axes = range(x.rank)[part]
        sizes = [size_at(x, axis) for axis in axes]
        known = tuple(size for size in sizes if size is not None)
        if len(known) == len(sizes):
            return sized(known, 1)
    start, end = use.attributes.get("start", 0), use.attributes.get("end")
    taken = "" if not start and end is None else f"[{start or ''}:{'' if end is None else end}]"
    whole = as_array(x)
    return call("np.array", f"{whole.within(Binding.ATOM)}.shape{taken}", "np.int64", uses=[whole])


def _size(use: Use) -> Expression:
    x = use.operand(0)
    total: Size | None = 1
    for axis in range(x.rank or 0):
        size = size_at(x, axis)
        total = None if size is None or total is None else times(total, size)
    if x.rank is not None and total is not None:
        return sized((total,), 0)
    return call("np.size", x.expression.text, uses=[x.expression])


def _reshape(use: Use) -> Expression:
    x, target = use.operand(0), use.operand(1)
    elements = elements_of(target)
    if elements is None:
        if use.attributes.get("allowzero", 0):
            return method(x, "reshape", target.expression.text, uses=[target.expression])
        whole = as_array(x)
        return call("reshape", whole.text, target.expression.text, uses=[whole, target.expression], helper=True)
    sizes = _target(x, elements, use)
    if _are_those_of(x, sizes):
        return unchanged(x)
    return method(x, "reshape", *(map(str, sizes) if sizes else ["()"]))


def sizes_of(x: Operand) -> list[Size | None]:
    """The sizes of all axes of an input of known rank."""
    return [size_at(x, axis) for axis in range(x.rank or 0)]


def _are_those_of(x: Operand, sizes: Sequence[Size]) -> bool:
    """Whether these are the sizes of `x`; one of them may be -1, for what is left."""
    if x.rank is None or len(sizes) != x.rank:
        return False
    differing = [size for size, own in zip(sizes, sizes_of(x), strict=True) if size != own]
    return not differing or differing == [-1]


def _target(x: Operand, elements: Sequence[Size], use: Use) -> tuple[Size, ...]:
    """The sizes wanted: 0 is that of `x`, and what is left is told where it is known to be a number."""
    shape: Shape = use.results[0].shape or (None,) * len(elements)
    sizes: list[Size] = []
    for axis, (size, known) in enumerate(zip(elements, shape, strict=True)):
        if size == 0 and not use.attributes.get("allowzero", 0):
            kept = size_at(x, axis) if x.rank is None or axis < x.rank else None
            kept = known if kept is None else kept
            if kept is None:
                raise UnnamedError("that keeps a size of an input without a name")
            sizes.append(kept)
        else:
            sizes.append(known if size == -1 and isinstance(known, int) else size)
    return tuple(_left(x, sizes) if size == -1 else size for size in sizes)


def _left(x: Operand, sizes: Sequence[Size]) -> Size:
    """What -1 stands for, where that is one of the sizes of `x` or a number: with a size of 0, -1 has no meaning."""
    own = sizes_of(x)
    names = [size for size in own if isinstance(size, str)]
    for size in sizes:
        if isinstance(size, str):
            if size not in names:
                return -1
            names.remove(size)
    total = prod(size for size in own if isinstance(size, int))
    others = prod(size for size in sizes if isinstance(size, int) and size != -1)
    if x.rank is None or None in own or not others or total % others:
        return -1
    if not names:
        return total // others
    return names[0] if len(names) == 1 and total == others else -1


def _flatten(use: Use) -> Expression:
    x = use.operand(0)
    axis = int(use.attributes.get("axis", 1))
    axis = axis + x.rank if axis < 0 and x.rank is not None else axis
    if x.rank == 2 and axis == 1:
        return x.expression
    if x.shape is not None and 0 <= axis <= 1 and x.rank:
        first = size_at(x, 0) if axis == 1 else 1
        if first is not None and (axis == 0 or isinstance(first, str)) and first != 0 and _is_full(x.shape[axis:]):
            return method(x, "reshape", str(first), _rest(x.shape[axis:]))
    whole = as_array(x)
    return call("flatten", whole.text, str(axis), uses=[whole], helper=True)


def _is_full(sizes: Sequence[Size | None]) -> bool:
    return all(isinstance(size, int) and size > 0 for size in sizes)


def _rest(sizes: Sequence[Size | None]) -> str:
    return str(prod(size for size in sizes if isinstance(size, int)))


def _squeeze(use: Use) -> Expression:
    x, given = use.operand(0), use.optional(1)
    axes = integers(given, "axes") if given is not None else None
    if axes is None and x.shape is not None and None not in x.shape:
        axes = tuple(axis for axis, size in enumerate(x.shape) if size == 1)
    if axes is None:
        return method(x, "squeeze")
    if not axes:
        return unchanged(x)
    return method(x, "squeeze", str(axes[0]) if len(axes) == 1 else tuple_of(axes))


def _unsqueeze(use: Use) -> Expression:
    x = use.operand(0)
    axes = integers(use.operand(1), "axes")
    if not axes:
        return unchanged(x)
    whole = as_array(x)
    if len(axes) == 1:
        rank = None if x.rank is None else x.rank + 1
        axis = axes[0] + rank if axes[0] < 0 and rank is not None else axes[0]
        if rank is not None and axis == rank - 1 and axis > 1:
            return indexed(whole, "..., None")
        if 0 <= axis <= 3 or axis == -1:
            return indexed(whole, index_at(axis, None, "None"))
    if x.rank is not None:
        inserted = {axis % (x.rank + len(axes)) for axis in axes}
        if max(inserted) <= 3:
            return indexed(whole, ", ".join("None" if at in inserted else ":" for at in range(max(inserted) + 1)))
    return call("np.expand_dims", whole.text, tuple_of(axes), uses=[whole])


def _transpose(use: Use) -> Expression:
    x, order = use.operand(0), use.attributes.get("perm")
    rank = x.rank if order is None else len(order)
    order = None if order is None else tuple(int(axis) for axis in order)
    if rank is not None and (rank < 2 or order == tuple(range(rank))):
        return unchanged(x)
    if order is not None and order != tuple(reversed(range(len(order)))):
        return method(x, "transpose", *map(str, order))
    whole = as_array(x)
    if rank == 2:
        return Expression(f"{whole.within(Binding.ATOM)}.T", helpers=whole.helpers, needs_dtype=whole.needs_dtype)
    return method(x, "transpose")


def _expand(use: Use) -> Expression:
    x, target = use.operand(0), use.operand(1)
    elements = elements_of(target)
    sizes = None if elements is None else _expanded(x, elements, use.results[0].shape)
    if sizes is None:
        parts = [as_array(x), target.expression]
        return call("expand", parts[0].text, parts[1].text, uses=parts, helper=True)
    if x.rank is not None and list(sizes) == sizes_of(x):
        return x.expression
    if x.value is not None and x.value.size == 1 and x.dtype is not None:
        return filled(Expression(tuple_of(sizes)), x.value.ravel()[0], x.dtype)
    whole = as_array(x)
    return call("np.broadcast_to", whole.text, tuple_of(sizes), uses=[whole])


def _expanded(x: Operand, target: tuple[Size, ...], result: Shape | None) -> tuple[Size, ...] | None:
    """The sizes of `x` broadcast with others; None where it depends on what they are."""
    if x.rank is None:
        return None
    rank = max(x.rank, len(target))
    wanted = (1,) * (rank - len(target)) + target
    own: list[Size | None] = [*[1] * (rank - x.rank), *sizes_of(x)]
    sizes: list[Size] = []
    for axis in range(rank):
        size = _broadcast(own[axis], wanted[axis])
        if size is None and result is not None and result[axis] != 1:
            size = result[axis]
        if size is None:
            return None
        sizes.append(size)
    return tuple(sizes)


def _broadcast(a: Size | None, b: Size) -> Size | None:
    """The size of two that fit each other, where it is known which of them."""
    if b == 1:
        return a
    if a == 1 or a == b or isinstance(b, int):
        return b
    return a if isinstance(a, int) else None


def _tile(use: Use) -> Expression:
    x, repeats = use.operand(0), use.operand(1)
    elements = elements_of(repeats)
    if elements is not None and all(count == 1 for count in elements):
        return x.expression
    counts = shape_text(repeats)
    return call("np.tile", x.expression.text, counts.text, uses=[x.expression, counts])


def _depth_to_space(use: Use) -> Expression:
    x, block = use.operand(0).expression, int(use.attributes["blocksize"])
    mode = use.attributes.get("mode", "DCR")
    more = [] if mode == "DCR" else [f'mode="{mode}"']
    return call("depth_to_space", x.text, str(block), *more, uses=[x], helper=True)


def _space_to_depth(use: Use) -> Expression:
    x = use.operand(0).expression
    return call("space_to_depth", x.text, str(int(use.attributes["blocksize"])), uses=[x], helper=True)


RULES: Mapping[str, Rule] = {
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": _identity,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "SpaceToDepth": _space_to_depth,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
