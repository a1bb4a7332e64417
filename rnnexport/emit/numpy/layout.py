"""Python on lines of at most 120 characters, laid out as the formatter of this project lays it out."""

from __future__ import annotations

from collections.abc import Sequence

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
