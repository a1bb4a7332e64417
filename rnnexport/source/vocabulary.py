"""Which inputs of a model are ids, and of how many words: read off the traced graph, from each table back to an input.

An id is what a `Gather` looks up in a table of constants, or a `OneHot` spreads. On its way from an input it may be
cast, cut, reshaped and carried into loops and functions, so that no layer tells where it came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from rnnexport.core.signature import TEXT, Signature, TensorSpec, as_text
from rnnexport.source.graphs import Scopes, TensorPlace
from rnnexport.source.trace import TracedModel

# Operators that leave each number where it is on the last axis.
_ALIKE = frozenset({"Cast", "Identity", "Round", "Rint", "Floor", "StopGradient", "CheckNumerics", "Snapshot"})
_TEXTS = (
    "StringLower",
    "StringUpper",
    "StringStrip",
    "StaticRegexReplace",
    "RegexReplace",
    "StringSplitV2",
    "AsString",
)
# Those that hand numbers on from these operands, and may move them.
_MOVING = {
    **dict.fromkeys(
        ("Reshape", "Squeeze", "ExpandDims", "Transpose", "Slice", "ReverseV2", "Tile", "BroadcastTo"), (0,)
    ),
    **dict.fromkeys(("StridedSlice", "Unpack", "Pad", "PadV2", "GatherV2", "GatherNd", "ReverseSequence"), (0,)),
    **dict.fromkeys(("TensorListFromTensor", "TensorListGetItem", "TensorListStack"), (0,)),
    **dict.fromkeys(("Split",), (1,)),
    **dict.fromkeys((*_TEXTS, "StringToHashBucketFast"), (0,)),
    **dict.fromkeys(("SplitV",), (0,)),
    **dict.fromkeys(("Select", "SelectV2"), (1, 2)),
    "TensorListSetItem": (0, 2),
}
_JOINING = frozenset({"Pack", "ConcatV2"})
# After these an id is inside its vocabulary whatever the input is: that many ids are a good choice, and no bound.
_BOUNDING = {"Minimum": (0, 1), "Maximum": (0, 1), "ClipByValue": (0,), "FloorMod": (0,)}
_MOST_PLACES = 20_000
_MOST_KEYS = 64


@dataclass(frozen=True)
class _Ids:
    """Ids that come from an input.

    Attributes:
        place: where they are in the graph.
        columns: their places on its last axis there; None for all of it.
        bounded: whether something keeps them inside the vocabulary.
    """

    place: TensorPlace
    columns: tuple[int, ...] | None = None
    bounded: bool = False


def with_vocabularies(traced: TracedModel) -> Signature:
    """The signature of a traced model, its inputs with the vocabularies that the graph says they index."""
    scopes = Scopes(traced.graph_def(), traced.open_weights)
    keys = _keys(scopes)
    found: dict[str, list[tuple[_Ids, int, bool]]] = {}
    for table in _tables(scopes):
        for ids in _origins(scopes, _Ids(table.ids)):
            found.setdefault(ids.place.node, []).append((ids, table.words, table.forgiving))
    names = [tensor.partition(":")[0] for tensor in traced.input_tensors]
    pairs = zip(traced.signature.inputs, names, strict=False)
    inputs = [_told(_searched(spec, keys.get(name, [])), found.get(name, ())) for spec, name in pairs]
    return replace(traced.signature, inputs=tuple(inputs))


def _keys(scopes: Scopes) -> dict[str, list[Any]]:
    """The integers or words among which those of an input are looked up, by the input; see `source.while_traced`."""
    found: dict[str, list[Any]] = {}
    for place, node in scopes.nodes():
        if (known := _looked_up(scopes, place, node)) is not None:
            for ids in _origins(scopes, _Ids(place.input(node, 1))):
                found.setdefault(ids.place.node, []).extend(known)
    return found


def _looked_up(scopes: Scopes, place: TensorPlace, node: Any) -> list[Any] | None:
    """What the second operand of a node is searched among; None for a node that searches in no constant."""
    if node.op == "LowerBound":
        row = scopes.value(place.input(node, 0))
        return None if row is None or row.dtype.kind != "i" else [int(key) for key in row.ravel()]
    table = scopes.node(place.input(node, 0)) if node.op == "Equal" else None
    if table is None or table.op != "GatherV2":
        return None
    words = scopes.value(place.input(node, 0).input(table, 0))
    return None if words is None or words.dtype.kind not in "OS" else as_text(words).ravel().tolist()


def _searched(spec: TensorSpec, keys: list[Any]) -> TensorSpec:
    """The input with some of the keys, the first and the last among them; a vocabulary behind them bounds no input."""
    ordered = sorted({key for key in keys if isinstance(key, str) == (spec.dtype == TEXT)})
    if not ordered or not spec.dtype.startswith(("int", TEXT)):
        return spec
    places = {round(at * (len(ordered) - 1) / (_MOST_KEYS - 1)) for at in range(_MOST_KEYS)}
    chosen = [ordered[at] for at in sorted(places)]
    if spec.dtype == TEXT:  # a text may be cut into words before they are looked up
        chosen += [" ".join(chosen[at::3]) for at in range(min(3, len(chosen)))]
    return replace(spec, keys=tuple(dict.fromkeys(chosen)), high=None, words=None)


@dataclass(frozen=True)
class _Table:
    """Where ids are looked up: those ids, how many words there are, whether others are allowed."""

    ids: TensorPlace
    words: int
    forgiving: bool


def _tables(scopes: Scopes) -> Iterator[_Table]:
    for place, node in scopes.nodes():
        if node.op == "GatherV2":
            shape, axis = scopes.shape(place.input(node, 0)), scopes.value(place.input(node, 2))
            if shape and axis is not None:
                yield _Table(place.input(node, 1), shape[int(axis)], forgiving=False)
        elif node.op == "OneHot" and (depth := scopes.value(place.input(node, 1))) is not None:
            yield _Table(place.input(node, 0), int(depth), forgiving=True)


def _origins(scopes: Scopes, ids: _Ids) -> Iterator[_Ids]:
    """The ids where they come out of inputs of the graph."""
    waiting, seen = [ids], {ids}
    while waiting and len(seen) < _MOST_PLACES:
        one = waiting.pop()
        node = scopes.node(one.place)
        if node is not None and node.op == "Placeholder":
            yield one
            continue
        for before in _before(scopes, one, node):
            if before not in seen:
                seen.add(before)
                waiting.append(before)


def _before(scopes: Scopes, ids: _Ids, node: Any) -> Iterator[_Ids]:
    """The ids one operator before."""
    if node is None or scopes.is_call(node):
        # The argument of a function, or a result of one: the same tensor elsewhere.
        yield from (replace(ids, place=place) for place in scopes.elsewhere(ids.place))
    elif node.op in _ALIKE:
        yield replace(ids, place=ids.place.input(node, 0))
    elif node.op in _BOUNDING:
        for at in _BOUNDING[node.op]:
            yield _Ids(ids.place.input(node, at), bounded=True)
    elif node.op == "StridedSlice":
        yield replace(ids, place=ids.place.input(node, 0), columns=_columns(scopes, ids.place, node))
    elif node.op in _MOVING or node.op in _JOINING:
        data = [name for name in node.input if not name.startswith("^")]
        for at in _MOVING.get(node.op, range(len(data) - (node.op == "ConcatV2"))):
            yield replace(ids, place=ids.place.input(node, at), columns=None)


def _columns(scopes: Scopes, place: TensorPlace, node: Any) -> tuple[int, ...] | None:
    """The place on the last axis that `x[..., 2]` or, of a tensor of rank 3, `x[:, :, 2]` takes; None for others."""
    begin = scopes.value(place.input(node, 1))
    if begin is None:
        return None
    last = len(begin) - 1
    shrinks = bool(node.attr["shrink_axis_mask"].i & (1 << last))
    others = node.attr["begin_mask"].i | node.attr["ellipsis_mask"].i
    # What comes before is whole: `:` or `...`.
    if not shrinks or last == 0 or others != (1 << last) - 1:
        return None
    return (int(begin[last]),)


def _told(spec: TensorSpec, found: Any) -> TensorSpec:
    """The input with its vocabulary: of several tables the smallest, whose ids are right for all."""
    if not found:
        return spec
    rank = len(spec.shape)
    whole = any(ids.columns is None for ids, _, _ in found)
    columns = None if whole else tuple(sorted({at % _size(spec) for ids, _, _ in found for at in ids.columns}))
    if columns is not None and rank < 3:
        columns = None
    hard = [words for ids, words, forgiving in found if not (forgiving or ids.bounded)]
    if hard:
        high = min([*hard, *([spec.high] if spec.high is not None else [])])
        return replace(spec, high=high, columns=columns)
    if spec.high is not None:
        return spec
    return replace(spec, words=min(words for _, words, _ in found), columns=columns)


def _size(spec: TensorSpec) -> int:
    size = spec.shape[-1]
    return size if isinstance(size, int) else 1
