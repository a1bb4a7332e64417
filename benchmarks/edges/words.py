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


_ORDERED = ("argmax", "argmin", "sort", "argsort", "top_k", "top_k_indices", "sparsemax")
_TRANSFORMS = ("rfft", "irfft", "fft", "dct", "solve")
_FAR = "float32 numbers above 1.7e38"
WORDS = (
    Word(
        "onnx",
        ("erfc", "gelu"),
        ("finite",),
        "ONNX has no erfc: it is written `1 - erf(x)`, right to 6e-8 of 1. Below -5, where gelu is smaller than 1e-6, "
        "no digit of it is left.",
    ),
    Word(
        "onnx",
        ("sigmoid", "silu"),
        ("finite",),
        "ONNX Runtime's Sigmoid on a CPU is a quotient of polynomials, right to 7e-8 of 1: 12% off at -14.5, 0 below "
        "-18. A product with something large shows it: `1e6 * sigmoid(-15)` is off by 3e-3. Its LSTM and GRU have the "
        "same function.",
    ),
    Word(
        "onnx",
        ("add_in_float16", "where_in_float16"),
        ("finite",),
        "ONNX Runtime computes float16 as float32 on a CPU, and leaves out roundings to float16 between operators: "
        "numbers above 65504 are no infinities.",
    ),
    Word(
        "onnx",
        ("max", "min", "max_of_planes", "max_pool", *_ORDERED),
        ("nan",),
        "ONNX Runtime's ReduceMax, ReduceMin, MaxPool, ArgMax, ArgMin and TopK have no place for NaN: it is passed "
        "over, or the order is another. Nor have TensorFlow's own sort and max_pool a rule for it.",
    ),
    Word("numpy", ("erfc", "gelu"), ("finite",), "The same `1 - erf(x)` in float32; in float64 it is right to 1e-16."),
    Word(
        "numpy",
        ("max_pool", *_ORDERED),
        ("nan",),
        "NumPy takes NaN for the largest number; TensorFlow has no rule for it here.",
    ),
    Word(
        "tflite",
        ("sin", "cos", "sinc", "tan"),
        ("finite",),
        "LiteRT's SIN and COS do not reduce large angles: -405 for the cosine of 1.7e9, NaN from 1e30 on.",
    ),
    Word(
        "tflite",
        ("exp", "expm1", "exponential", "softplus", "log_sigmoid", "cosh", "sinh", "erfc"),
        ("finite",),
        "LiteRT's EXP is off by 2e-6 of the result at 88, 1.2e-6 at -30.",
    ),
    Word(
        "tflite",
        (
            "arccosh",
            "arcsinh",
            "log",
            "log10",
            "log1p",
            "log2",
            "guarded_logarithm",
            "xlogy",
            "xlog1py",
            "rsqrt",
            "sqrt",
            "sigmoid",
            "silu",
            "glu",
        ),
        ("finite", "infinite"),
        f"LiteRT's LOG, SQRT, RSQRT and LOGISTIC are wrong for {_FAR} or 1e30: inf for the logarithm of the largest, "
        "NaN for the logistic function.",
    ),
    Word(
        "tflite",
        ("gelu", "hard_silu"),
        ("finite",),
        "LiteRT's GELU and HARD_SWISH are right to 6e-8 of 1, so that small results have fewer digits.",
    ),
    Word(
        "tflite",
        ("isposinf", "isneginf", "cube", "multiply_no_nan"),
        ("finite", "infinite"),
        "The TFLite converter takes every infinite constant for the largest finite number, and some kernels give that "
        "for an infinity.",
    ),
    Word(
        "tflite",
        (
            *(
                "cosh",
                "sinh",
                "exp",
                "exponential",
                "selu",
                "guarded_softplus",
                "maximum",
                "minimum",
                "hypot",
                "max",
                "min",
            ),
            *("max_of_planes", "max_pool", "avg_pool", "not_less", "logsumexp", *_ORDERED),
        ),
        ("nan",),
        "LiteRT loses NaN: EXP and ELU give 0 and -1 for it, MAXIMUM, MINIMUM, reductions and pools pass it over, and "
        "the converter writes `not x < y` as `x >= y`.",
    ),
    Word(
        "tflite",
        ("rsqrt", "sinc", "divide_no_nan", "xlogy", "xdivy", "xlog1py", "guarded_quotient", "guarded_logarithm"),
        ("subnormal",),
        "XNNPACK takes subnormal numbers for 0 in arithmetic, not in comparisons: `x == 0` does not keep them away.",
    ),
    Word(
        "saved-model",
        ("mish",),
        ("finite",),
        "TensorFlow's graph optimizer fuses mish into one of oneDNN's, right to 1e-7 of 1; eager TensorFlow does not.",
    ),
    Word(
        "saved-model",
        ("there_and_back", "not_less"),
        ("finite", "nan"),
        "TensorFlow's graph optimizer, which runs where a SavedModel is loaded, moves constants, so that `(x + c) - c` "
        "is x and does not round, and writes `not x < y` as `x >= y`; eager TensorFlow does not.",
    ),
    Word(
        "onnx",
        _TRANSFORMS,
        NOT_FINITE,
        "A transform is a product with a matrix, and the solution of equations a row of products: an infinity is NaN "
        "next to a 0 or to another infinity. TensorFlow's own transforms have zeros there.",
    ),
    Word("numpy", _TRANSFORMS, NOT_FINITE, "The same products in NumPy."),
    Word("tflite", _TRANSFORMS, NOT_FINITE, "The same products in LiteRT."),
    Word("c", _TRANSFORMS, NOT_FINITE, "The same products in C."),
    Word("c", ("erfc", "gelu"), ("finite",), "The same `1 - erf(x)` of the C library."),
    Word("c", ("argmax", "argmin"), ("nan",), "A program passes over NaN; TensorFlow has no rule for it here."),
    Word(
        "tflite",
        ("complex_abs", "complex_exp", "bucketize"),
        ("nan",),
        "LiteRT's MINIMUM and MAXIMUM pass over a NaN, and its converter writes `not x < y` as `x >= y`.",
    ),
)

# Those that a format has no form of. What is said where they are refused is the reason.
REFUSED = {
    "onnx": (),
    "numpy": (),
    "tflite": (
        "add_in_float16",
        "where_in_float16",
    ),
    "saved-model": (),
    "c": (
        *("sort", "argsort", "top_k", "top_k_indices", "sparsemax"),
        *("through_float16", "through_bfloat16", "add_in_float16", "where_in_float16"),
    ),
}


def words_on(target: str, operator: str, kind: str) -> Iterator[Word]:
    """What is known of an operator in a format, at elements of a kind."""
    for word in WORDS:
        if word.target == target and operator in word.operators and kind in word.kinds:
            yield word
