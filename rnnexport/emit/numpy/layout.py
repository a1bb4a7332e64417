"""Python on lines of at most 120 characters, laid out as by this project's formatter, and the letters of its sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rnnexport.core.signature import BATCH, TIME, Dim, Signature, TensorSpec
from rnnexport.emit.numpy.expression import Shape

LINE = 120
_INDENT = "    "


def block(head: str, items: Sequence[str], tail: str, indent: int, *, literal: bool = False) -> list[str]:
    """`head` + items + `tail` on one line, or broken at the brackets.

    Args:
        head: ends in the opening bracket.
        items: what stands in the brackets, commas apart; one that is too long itself is broken where it is a tuple.
        tail: begins with the closing bracket.
        indent: how many levels deep the line begins.
        literal: whether the brackets are those of a tuple, list or dict, whose items never share a line of their own.
    """
    margin, inner = _INDENT * indent, _INDENT * (indent + 1)
    comma = "," if literal and len(items) == 1 and head.endswith("(") else ""
    whole = f"{margin}{head}{', '.join(items)}{comma}{tail}"
    if len(whole) <= LINE or not items:
        return [whole]
    shared = f"{inner}{', '.join(items)}"
    if len(shared) <= LINE and not literal:
        return [margin + head, shared, margin + tail]
    lines = [line for item in items for line in _item(item, indent + 1)]
    return [margin + head, *lines, margin + tail]


def _item(item: str, indent: int) -> list[str]:
    if len(_INDENT * indent + item) + 1 <= LINE or item[0] not in "([" or _opening(item) != 0:
        return [f"{_INDENT * indent}{item},"]
    return block(item[0], split(item[1:-1]), f"{item[-1]},", indent, literal=True)


def bracketed(items: Sequence[str]) -> str:
    """A tuple, on one line."""
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def split(text: str) -> list[str]:
    """What stands between the commas of a text, those inside brackets and quotes apart."""
    parts, depth, start, quote = [], 0, 0, ""
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def statement(text: str, indent: int) -> list[str]:
    """`target = function(arguments)` or any other statement; the first is broken where it is too long."""
    if len(_INDENT * indent + text) <= LINE or not text.endswith(")"):
        return [_INDENT * indent + text]
    opening = _opening(text)
    inner = text[opening + 1 : -1]
    return block(text[: opening + 1], split(inner), ")", indent, literal=inner.endswith(","))


def _opening(text: str) -> int:
    """Where the bracket opens that the last character closes."""
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        depth += (text[at] in ")]}") - (text[at] in "([{")
        if depth == 0:
            return at
    raise ValueError(text)


def commented(lines: list[str], comment: str) -> list[str]:
    """The lines with a comment behind the last, where there is room for it."""
    if not comment or len(lines) != 1 or len(lines[0]) + len(comment) + 4 > LINE:
        return lines
    return [f"{lines[0]}  # {comment}"]


_DIMS = {BATCH: "B", TIME: "T"}
_OPEN = "SUVWXYZ"
_STATES = "HJKLMN"
# Gates that stand beside each other make a multiple of a state's size.
_MULTIPLES = (2, 3, 4)


@dataclass(frozen=True)
class Legend:
    """Letters of one program.

    Attributes:
        dims: the letter of each open dimension of the signature.
        sizes: the letter of each fixed size that has one.
        words: what each letter is, in words.
    """

    dims: Mapping[str, str]
    sizes: Mapping[int, str]
    words: Mapping[str, str]

    def shape(self, shape: Shape | None) -> str:
        """`(B, T, 3H)`; empty where a size is not known."""
        if shape is None or any(size is None for size in shape):
            return ""
        sizes = [str(size) for size in shape]
        if sizes and isinstance(shape[-1], int):
            sizes[-1] = self._last(shape[-1])
        return bracketed(sizes)

    def symbols(self, spec: TensorSpec) -> Shape:
        """The shape of an input with the letters of open dimensions."""
        return tuple(self.dims[dim] if isinstance(dim, str) else dim for dim in spec.shape)

    def _last(self, size: int) -> str:
        """The last dimension, which counts features; a multiple of units only where these are of one layer alone."""
        if size in self.sizes:
            return self.sizes[size]
        found = [
            f"{size // whole}{letter}"
            for whole, letter in self.sizes.items()
            if letter in _STATES and size % whole == 0 and size // whole in _MULTIPLES
        ]
        return found[0] if len(found) == 1 else str(size)


def legend_of(signature: Signature, widths: Mapping[int, str]) -> Legend:
    """The letters of a model.

    Args:
        signature: of the model.
        widths: the widths of the states of its recurrences, in their order, with the layer that each is of.
    """
    words: dict[str, str] = {}
    dims: dict[str, str] = {}
    spare = iter(_OPEN)
    for dim in signature.dynamic_dims:
        dims[dim] = _DIMS.get(dim) or next(spare, f"N_{len(dims)}")
        words[dims[dim]] = {BATCH: "batch", TIME: "timesteps"}.get(dim, dim.replace("_", " "))
    sizes: dict[int, str] = {}
    for size, letter, word in _fixed(signature, widths):
        if size > 1 and size not in sizes and letter not in words:
            sizes[size] = letter
            words[letter] = f"{size} {word}"
    return Legend(dims, sizes, words)


def _fixed(signature: Signature, widths: Mapping[int, str]) -> Iterator[tuple[int, str, str]]:
    for letter, (width, layer) in zip(_STATES, widths.items(), strict=False):
        yield width, letter, f"units of {layer}"
    for letter, specs, word in (("I", signature.inputs, "features of"), ("O", signature.outputs, "values of")):
        for spec in specs:
            last: Dim = spec.shape[-1] if len(spec.shape) > 1 else 0
            if isinstance(last, int) and spec.dtype.startswith(("float", "bfloat")):
                yield last, letter, f"{word} {spec.name}"
