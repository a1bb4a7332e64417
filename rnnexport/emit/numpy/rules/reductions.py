"""Sums, means and extremes along axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, UnwrittenError, Use, call
from rnnexport.emit.numpy.rules.common import (
    FLOATS,
    Rule,
    as_array,
    axis_at,
    dtype_of,
    integers,
    result_dtype,
)

# NumPy adds up integers narrower than this in this one.
_ADDED = ("int64", "uint64", None)


def axes_of(use: Use) -> tuple[int, ...] | None:
    """The axes to reduce, from an input or an attribute; None for all of them."""
    given = use.optional(1)
    axes = use.attributes.get("axes") if given is None else integers(given, "axes")
    return tuple(int(axis) for axis in axes) if axes is not None and len(axes) else None


def _is_noop(use: Use) -> bool:
    return axes_of(use) is None and bool(use.attributes.get("noop_with_empty_axes", 0))


def _axes_text(axes: tuple[int, ...] | None, x: Operand) -> str:
    if axes is None or (x.rank is not None and len(axes) == x.rank and len(axes) != 1):
        return ""
    texts = [axis_at(axis, x.rank) for axis in axes]
    return f"axis={texts[0]}" if len(axes) == 1 else f"axis=({', '.join(texts)})"


def _arguments(use: Use, narrow: bool = False) -> list[str]:
    """`axis=1, keepdims=True`, and the dtype of integers that NumPy would widen."""
    x = use.operand(0)
    axes = _axes_text(axes_of(use), x)
    found = [axes] if axes else []
    if narrow and x.dtype not in FLOATS and x.dtype not in _ADDED:
        found.append(f"dtype={dtype_of(x.dtype).text}")
    return [*found, "keepdims=True"] if use.attributes.get("keepdims", 1) else found


def _reduction(name: str, before: str = "", after: str = "", narrow: bool = False) -> Callable[[Use], Expression]:
    """`after(before(x).name(axis=1))`."""

    def rule(use: Use) -> Expression:
        x = as_array(use.operand(0))
        if before:
            x = call(before, x.text, uses=[x])
        if not _is_noop(use):
            x = call(f"{x.within(Binding.ATOM)}.{name}", *_arguments(use, narrow), uses=[x])
        return call(after, x.text, uses=[x]) if after else x

    return rule


def _extreme(name: str, bound: str) -> Callable[[Use], Expression]:
    """`x.max(axis=1)`; of nothing it is the least number that there is, where NumPy raises."""

    def rule(use: Use) -> Expression:
        x = as_array(use.operand(0))
        if _is_noop(use):
            return x
        arguments, uses = _arguments(use), [x]
        if not _is_filled(use.operand(0), axes_of(use)):
            nothing = _limit(result_dtype(use), bound)
            arguments, uses = [*arguments, f"initial={nothing.text}"], [x, nothing]
        return call(f"{x.within(Binding.ATOM)}.{name}", *arguments, uses=uses)

    return rule


def _is_filled(x: Operand, axes: tuple[int, ...] | None) -> bool:
    """Whether something is reduced: sizes of the model's inputs, `T` and `B`, are 1 at least, and `T - 1` may be 0."""
    if x.shape is None or (x.value is not None and x.value.size == 0):
        return False
    sizes = x.shape if axes is None else [x.shape[axis] for axis in axes]
    return all(size.isidentifier() if isinstance(size, str) else bool(size) for size in sizes)


def _limit(name: str | None, bound: str) -> Expression:
    """The lowest (`min`) or largest (`max`) number of a dtype."""
    if name in FLOATS:
        return Expression("-np.inf" if bound == "min" else "np.inf", Binding.UNARY if bound == "min" else Binding.ATOM)
    return Expression("bool" if name == "bool" else f"np.iinfo({dtype_of(name).text}).{bound}")


def _mean(use: Use) -> Expression:
    if result_dtype(use) not in (*FLOATS, None):
        raise UnwrittenError("of integers")
    return _reduction("mean")(use)


def _arg(function: str) -> Rule:
    def rule(use: Use) -> Expression:
        x = use.operand(0)
        whole, axis = as_array(x), f"axis={axis_at(int(use.attributes.get('axis', 0)), x.rank)}"
        more = ["keepdims=True"] if use.attributes.get("keepdims", 1) else []
        if not use.attributes.get("select_last_index", 0):
            return call(f"{whole.within(Binding.ATOM)}.{function}", axis, *more, uses=[whole])
        return call(f"last_{function}", whole.text, axis, *more, uses=[whole], helper=True)

    return rule


def _cumulative_sum(use: Use) -> Expression:
    x, given = use.operand(0), use.operand(1)
    axis = axis_at(integers(given, "axes")[0], x.rank)
    exclusive, reverse = (bool(use.attributes.get(name, 0)) for name in ("exclusive", "reverse"))
    whole = x.expression
    if not exclusive and not reverse:
        kind = [] if x.dtype in (*FLOATS, *_ADDED) else [f"dtype={dtype_of(x.dtype).text}"]
        return call("np.cumsum", whole.text, f"axis={axis}", *kind, uses=[whole])
    more = [f"{name}=True" for name, wanted in (("exclusive", exclusive), ("reverse", reverse)) if wanted]
    return call("cumulative_sum", whole.text, axis, *more, uses=[whole], helper=True)


def _einsum(use: Use) -> Expression:
    parts = [operand.expression for operand in use.inputs if operand is not None]
    equation = str(use.attributes["equation"]).replace(" ", "")
    # The order of more than two products is worth a search.
    more = ["optimize=True"] if len(parts) > 2 else []
    return call("np.einsum", f'"{equation}"', *(part.text for part in parts), *more, uses=parts)


RULES: Mapping[str, Rule] = {
    "ArgMax": _arg("argmax"),
    "ArgMin": _arg("argmin"),
    "CumSum": _cumulative_sum,
    "Einsum": _einsum,
    "ReduceMax": _extreme("max", "min"),
    "ReduceMean": _mean,
    "ReduceMin": _extreme("min", "max"),
    "ReduceProd": _reduction("prod", narrow=True),
    "ReduceSum": _reduction("sum", narrow=True),
    "ReduceSumSquare": _reduction("sum", before="np.square", narrow=True),
}
