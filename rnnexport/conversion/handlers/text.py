"""The number of a word in a vocabulary, -1 of any other word; see `forms.text`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnexport.conversion.forms.text import HASH, WORDS
from rnnexport.conversion.handlers.making import Handler, Rewrite


def _number(node: Rewrite) -> None:
    words = node.attribute(WORDS, None)
    keys = None if words is None else _decoded(words)
    if keys is None:
        node.last(HASH, *node.inputs)  # which ONNX has not: it is refused by name
        return
    node.last(
        "LabelEncoder",
        *node.inputs,
        domain="ai.onnx.ml",
        keys_strings=keys,
        values_int64s=list(range(len(keys))),
        default_int64=-1,
    )


def _decoded(words: Sequence[bytes | str]) -> list[str] | None:
    """None where one is no UTF-8, as all text of ONNX is."""
    try:
        return [word.decode() if isinstance(word, bytes) else word for word in words]
    except UnicodeDecodeError:
        return None


HANDLERS: Mapping[str, Handler] = {HASH: _number}
