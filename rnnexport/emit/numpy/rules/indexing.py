"""Elements taken from and put at positions that are computed."""

from __future__ import annotations

from collections.abc import Mapping

from rnnexport.emit.numpy.expression import Expression, UnwrittenError, Use, call
from rnnexport.emit.numpy.rules.common import Rule, as_array, axis_at, from_front
from rnnexport.emit.numpy.rules.sizes import elements_of, written


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
    "ai.onnx.ml.LabelEncoder": _label_encoder,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": _non_zero,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
    "Unique": _unique,
}
