"""Words that are looked up by their numbers in a vocabulary, for which ONNX has an operator, as for no other text.

    Before: SelectV2(Equal(GatherV2(words, at), x), GatherV2(values, at), default), see `source.while_traced`
    After:  SelectV2(at >= 0, GatherV2(values, at), default) with at = StringToHashBucketFast(x), its words beside it

What stands for the number of a word is the operator that it had, which `handlers.choices` knows by its words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import set_words
from rnnexport.conversion.forms.values import ComplexPair, Form, Value
from rnnexport.source.while_traced import NUMBERS

WORDS = "_words"
HASH = "StringToHashBucketFast"
_TEXT = re.compile(r"^(?:Static)?Regex|^String|^(?:AsString|DecodeBase64|EncodeBase64|Substr|Unicode\w+|ReduceJoin)$")


def is_number_of_word(node: Any) -> bool:
    """Whether a node gives the number of a word that is looked up."""
    return bool(node.op == HASH and node.attr["num_buckets"].i == NUMBERS)


def works_on_text(node: Any) -> bool:
    """Whether a node does with text what has no other form."""
    return bool(_TEXT.match(node.op)) and not is_number_of_word(node)


def _looked_up(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    condition, found, default = inputs
    words = _words(operation)
    if words is None or any(isinstance(value, ComplexPair) for value in (found, default)):
        return None
    at = _number(condition.op.inputs[1], words)
    return [tf.where(at < 0, default, tf.gather(found.op.inputs[0], tf.maximum(at, 0)))]


def _number(x: Value, words: Sequence[bytes]) -> Value:
    """Where each word is among others; -1 where it is none of them."""
    at = tf.raw_ops.StringToHashBucketFast(input=x, num_buckets=NUMBERS)
    set_words(at.op, WORDS, words)
    return at


def _same(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """Equal and NotEqual of words and one that is known."""
    if operation.inputs[0].dtype != tf.string:
        return None
    known = [tf.get_static_value(value) for value in inputs]
    for word, other in zip(known, reversed(inputs), strict=True):
        if word is not None and np.size(word) == 1:
            at = _number(other, [bytes(np.ravel(word)[0])])
            return [at < 0 if operation.type == "NotEqual" else at >= 0]
    return None


def _words(operation: tf.Operation) -> list[bytes] | None:
    """The words of a lookup; None of another choice."""
    condition, found = (tensor.op for tensor in operation.inputs[:2])
    if condition.type != "Equal" or condition.inputs[0].dtype != tf.string or found.type != "GatherV2":
        return None
    read = condition.inputs[0].op
    if read.type != "GatherV2" or read.inputs[0].op.type != "Const" or read.inputs[1].op is not found.inputs[1].op:
        return None
    return [bytes(word) for word in tf.make_ndarray(read.inputs[0].op.get_attr("value"))]


FORMS: Mapping[str, Form] = {"Equal": _same, "NotEqual": _same, "SelectV2": _looked_up}
