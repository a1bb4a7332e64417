"""Operators of TensorFlow that tf2onnx converts wrongly, or not at all, by handlers of our own: one family a file."""

from __future__ import annotations

from rnnexport.conversion.handlers import bits, choices, einsum, special
from rnnexport.conversion.handlers.making import Handlers, handlers

_FAMILIES = (bits, choices, einsum, special)

HANDLERS: Handlers = handlers({op: handler for family in _FAMILIES for op, handler in family.HANDLERS.items()})
