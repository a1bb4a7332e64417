"""What is known to be off, or refused, and why: no cell of the table is wrong without a word.

A word is about elements of one kind: `finite`, with no number in them that is infinite, NaN or subnormal; `infinite`;
`nan`; `subnormal`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ALL = ("finite", "infinite", "nan", "subnormal")
NOT_FINITE = ("infinite", "nan")


@dataclass(frozen=True)
class Word:
    """Why some operators are off in a format.

    Attributes:
        target: the format.
        operators: their names.
        kinds: of the elements at which they may be off.
        text: what is off, and whose fault it is.
    """

    target: str
    operators: tuple[str, ...]
    kinds: tuple[str, ...]
    text: str


WORDS: tuple[Word, ...] = ()

# Those that a format has no form of. What is said where they are refused is the reason.
REFUSED = {
    "onnx": ("erfinv", "cumprod", "int_bitwise_and", "int_bitwise_xor"),
    "numpy": ("erfinv", "cumprod"),
    "tflite": (
        *("arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cosh", "erf", "signbit", "sinh", "tan"),
        *("erfinv", "erfc", "truncatemod", "add_in_float16", "int_bitwise_and", "int_truncatemod", "argmax", "argmin"),
        *("cumprod", "euclidean_norm", "where_in_float16"),
    ),
    "saved-model": (),
}


def words_on(target: str, operator: str, kind: str) -> Iterator[Word]:
    """What is known of an operator in a format, at elements of a kind."""
    for word in WORDS:
        if word.target == target and operator in word.operators and kind in word.kinds:
            yield word
