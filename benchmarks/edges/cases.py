"""The operators, each as a function of the inputs: what Keras' activations, layers and `keras.ops` are traced to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import activations, ops

from benchmarks.edges.case import Case, Function
from benchmarks.edges.signals import signal_cases

_ONE = (
    *("absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "ceil", "cos", "cosh", "erf", "exp"),
    *(
        "exp2",
        "expm1",
        "floor",
        "isfinite",
        "isinf",
        "isnan",
        "log",
        "log10",
        "log1p",
        "log2",
        "negative",
        "reciprocal",
    ),
    *("round", "rsqrt", "sign", "signbit", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "nan_to_num"),
    *("sinc", "erfinv", "isposinf", "isneginf", "deg2rad", "cbrt"),
)
_ACTIVATIONS = (
    *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu"),
    *("log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softplus", "softsign"),
    *("sparse_plus", "sparse_sigmoid", "squareplus", "tanh_shrink"),
)
_CANCELLING = ("tanh_shrink", "squareplus")
_SCALE, _ALPHA = 1.0507009873554805, 1.6732632423543772
_EXACT = {
    "erfinv": lambda x: np.where(np.abs(x) < 1e-5, x * np.sqrt(np.pi) / 2, tf.math.erfinv(x)),  # 0 there in TensorFlow
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: _SCALE * np.where(x > 0, x, _ALPHA * np.expm1(x)),
}
_TWO = (
    *("add", "subtract", "multiply", "divide", "divide_no_nan", "floor_divide", "mod", "power", "maximum", "minimum"),
    *("arctan2", "logaddexp", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "hypot"),
    *("heaviside", "logaddexp2"),
)
_WHOLE = (
    "floor_divide",
    "mod",
    "add",
    "multiply",
    "maximum",
    "minimum",
    "less",
    "equal",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
)
_REDUCED = ("sum", "mean", "max", "min", "prod", "std", "var", "argmax", "argmin", "any", "all", "count_nonzero")
_ALONG = ("cumsum", "cumprod", "logsumexp", "sort", "argsort", "flip", "diff", "norm")


def cases() -> tuple[Case, ...]:
    """All operators, in the order of the table."""
    found = (
        *_of_one(),
        *_identities(),
        *_activations(),
        *_of_two(),
        *_casts(),
        *_integers(),
        *_of_rows(),
        *_choices(),
        *signal_cases(),
        *_layers(),
    )
    assert len({case.name for case in found}) == len(found)
    return found


def _of_one() -> Iterator[Case]:
    for name in _ONE:
        if hasattr(ops, name):
            yield Case(name, "of one number", "x", getattr(ops, name), exact=_EXACT.get(name))
    yield Case("reciprocal_sqrt_of_square", "of one number", "x", lambda x: tf.math.rsqrt(tf.square(x)))
    yield Case("erfc", "of one number", "x", lambda x: tf.math.erfc(x))
    yield Case("rint", "of one number", "x", lambda x: tf.math.rint(x))
    yield Case("clip", "of one number", "x", lambda x: ops.clip(x, -2.5, 2.5))
    yield Case("clip_crossed", "of one number", "x", lambda x: tf.clip_by_value(x, 2.5, -2.5))


def _identities() -> Iterator[Case]:
    """What is an identity of real numbers, and none of floats: a graph optimizer may not use it."""
    family = "that look like identities"
    yield Case("times_zero", family, "x", lambda x: 0.0 * x)
    yield Case("minus_itself", family, "x", lambda x: x - tf.identity(x))
    yield Case("by_itself", family, "x", lambda x: x / tf.identity(x))
    yield Case("zero_by", family, "x", lambda x: 0.0 / x)
    yield Case("power_zero", family, "x", lambda x: x**0.0)
    yield Case("there_and_back", family, "x", lambda x: (x + 1e10) - 1e10)
    yield Case("times_and_by", family, "x", lambda x: (x * 1e20) / 1e20)
    yield Case("equal_itself", family, "x", lambda x: tf.equal(x, tf.identity(x)))
    yield Case("not_less", family, "x", lambda x: tf.logical_not(tf.less(x, 1.0)))
    yield Case("minimum_of_maximum", family, "x", lambda x: tf.minimum(tf.maximum(x, 2.0), -2.0))


def _activations() -> Iterator[Case]:
    for name in _ACTIVATIONS:
        function = getattr(activations, name)
        yield Case(name, "activations", "x", function, conditioned=name in _CANCELLING, exact=_EXACT.get(name))
    yield Case("gelu_tanh", "activations", "x", lambda x: activations.gelu(x, approximate=True), conditioned=True)
    yield Case("hard_sigmoid_of_keras_2", "activations", "x", lambda x: tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0))
    yield Case("leaky_relu_as_maximum", "activations", "x", lambda x: tf.maximum(0.3 * x, x))
    yield Case("relu_of_threshold", "activations", "x", lambda x: x * tf.cast(x > 1.5, tf.float32))
    yield Case("threshold", "activations", "x", lambda x: activations.threshold(x, 1.5, -1.0))
    yield Case("softmax", "activations", "r", lambda r: activations.softmax(r))
    yield Case("log_softmax", "activations", "r", lambda r: activations.log_softmax(r), conditioned=True)
    yield Case("glu", "activations", "r", lambda r: activations.glu(r))
    yield Case("sparsemax", "activations", "r", lambda r: activations.sparsemax(r), conditioned=True)


def _of_two() -> Iterator[Case]:
    for name in _TWO:
        if hasattr(ops, name):
            yield Case(name, "of two numbers", "ab", getattr(ops, name))
    yield Case("squared_difference", "of two numbers", "ab", lambda a, b: tf.math.squared_difference(a, b))
    yield Case("xlogy", "of two numbers", "ab", lambda a, b: tf.math.xlogy(a, b))
    yield Case("xdivy", "of two numbers", "ab", lambda a, b: tf.math.xdivy(a, b))
    yield Case("xlog1py", "of two numbers", "ab", lambda a, b: tf.math.xlog1py(a, b))
    yield Case("multiply_no_nan", "of two numbers", "ab", lambda a, b: tf.math.multiply_no_nan(a, b))
    yield Case("truncatemod", "of two numbers", "ab", lambda a, b: tf.truncatemod(a, b))
    yield Case("mod_of_constant", "of two numbers", "a", lambda a: ops.mod(a, 3.0))
    yield Case("cube", "of two numbers", "a", lambda a: ops.power(a, 3.0))


def _casts() -> Iterator[Case]:
    for kind in ("float16", "bfloat16"):
        yield Case(f"through_{kind}", "casts", "x", lambda x, kind=kind: tf.cast(tf.cast(x, kind), tf.float32))
    yield Case("to_bool", "casts", "x", lambda x: tf.cast(tf.cast(x, tf.bool), tf.float32))
    yield Case(
        "to_int32_and_bool", "casts", "r", lambda r: tf.cast(tf.cast(tf.clip_by_value(r, -9.0, 9.0), "int32"), "bool")
    )
    yield Case(
        "to_int32_and_back", "casts", "i", lambda i: tf.cast(tf.cast(tf.cast(i, "float32") / 2, "int32"), "float32")
    )
    yield Case("int_through_float", "casts", "i", lambda i: tf.cast(tf.cast(i // 2, tf.float32), tf.int32))
    yield Case(
        "add_in_float16", "casts", "r", lambda r: tf.cast(tf.cast(r, "float16") + tf.cast(1.0, "float16"), "float32")
    )


def _integers() -> Iterator[Case]:
    for name in _WHOLE:
        if hasattr(ops, name):
            yield Case(f"int_{name}", "of integers", "ij", getattr(ops, name))
    yield Case("int_truncatediv", "of integers", "ij", lambda i, j: tf.truncatediv(i, j))
    yield Case("int_truncatemod", "of integers", "ij", lambda i, j: tf.truncatemod(i, j))
    yield Case("int_invert", "of integers", "i", lambda i: tf.bitwise.invert(i))
    yield Case("int_absolute", "of integers", "i", lambda i: ops.absolute(i))
    yield Case("int_sign", "of integers", "i", lambda i: ops.sign(i))
    yield Case("int_negative", "of integers", "i", lambda i: ops.negative(i))
    yield Case("int_true_divide", "of integers", "ij", lambda i, j: ops.divide(i, j))


def _of_rows() -> Iterator[Case]:
    for name in _REDUCED:
        yield Case(name, "of rows", "r", partial(getattr(ops, name), axis=-1), conditioned=True)
    for name in _ALONG:
        yield Case(name, "of rows", "r", partial(getattr(ops, name), axis=-1), conditioned=True)
    yield Case("top_k", "of rows", "r", lambda r: tf.math.top_k(r, 3).values)
    yield Case("top_k_indices", "of rows", "r", lambda r: tf.math.top_k(r, 3).indices)
    yield Case("normalize", "of rows", "r", lambda r: ops.normalize(r, axis=-1, order=2))
    yield Case("l2_normalize", "of rows", "r", lambda r: tf.math.l2_normalize(r, axis=-1))
    yield Case(
        "cumsum_exclusive", "of rows", "r", lambda r: tf.cumsum(r, 1, exclusive=True, reverse=True), conditioned=True
    )
    yield Case("einsum", "of rows", "r", lambda r: tf.einsum("bi,ci->bc", r, tf.constant(_MATRIX)), conditioned=True)
    yield Case("matmul", "of rows", "r", lambda r: tf.matmul(r, tf.constant(_MATRIX.T)), conditioned=True)
    yield Case("max_pool", "of rows", "r", lambda r: tf.nn.max_pool1d(r[..., None], 4, 2, "SAME"))
    yield Case("avg_pool", "of rows", "r", lambda r: tf.nn.avg_pool1d(r[..., None], 4, 2, "SAME"), conditioned=True)
    yield Case("max_of_planes", "of rows", "r", lambda r: tf.reduce_max(tf.reshape(r, (-1, 2, 3, 1)), (1, 2)))
    yield Case("mean_of_planes", "of rows", "r", _planes_mean, conditioned=True)
    yield Case("layer_norm_by_hand", "of rows", "r", _normalised, conditioned=True)
    yield Case("euclidean_norm", "of rows", "r", lambda r: tf.math.reduce_euclidean_norm(r, -1))


def _planes_mean(r: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.reshape(r, (-1, 2, 3, 1)), (1, 2))


def _normalised(r: tf.Tensor) -> tf.Tensor:
    """As tf2onnx recognises it, of rank 3."""
    x = tf.reshape(r, (-1, 1, 6))
    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), -1, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-3) * 1.5 + 0.25


_MATRIX = np.array([[0.5, -1.0, 0.25, 2.0, 1.0, -0.5], [1.5, 1.0, 0.0, -2.0, 0.125, 3.0]], np.float32)
_TABLE = np.arange(1.0, 13.0, dtype=np.float32).reshape(6, 2)


def _choices() -> Iterator[Case]:
    yield Case("guarded_softplus", "choices", "x", _guarded, conditioned=True)
    yield Case("guarded_quotient", "choices", "ab", lambda a, b: tf.where(b == 0.0, 0.0, a / b))
    yield Case("guarded_logarithm", "choices", "x", lambda x: tf.where(x > 0.0, tf.math.log(x), -30.0))
    yield Case("rows_by_a_vector", "choices", "r", lambda r: tf.compat.v1.where(tf.reduce_sum(r, 1) > 0.0, r, 1.0 / r))
    yield Case("where_of_ints", "choices", "ij", lambda i, j: tf.where(i > j, i, j))
    yield Case("where_of_bools", "choices", "ab", lambda a, b: tf.where(a > b, a > 0.0, b > 0.0))
    yield Case("where_in_float16", "choices", "x", lambda x: _where_half(tf.cast(x, tf.float16)))
    yield Case("one_hot", "choices", "k", lambda k: tf.one_hot(k, 6))
    yield Case("take_within", "choices", "k", lambda k: tf.gather(tf.constant(_TABLE), tf.clip_by_value(k, 0, 5)))
    yield Case("segment_sum", "choices", "k", lambda k: tf.math.unsorted_segment_sum(_TABLE[:4], _first(k), 3))
    yield Case("segment_max", "choices", "k", lambda k: tf.math.unsorted_segment_max(_TABLE[:4], _first(k), 3))
    yield Case("logical_and", "choices", "ab", lambda a, b: tf.logical_and(a > 0.0, b > 0.0))
    yield Case("logical_xor", "choices", "ab", lambda a, b: tf.math.logical_xor(a > 0.0, b > 0.0))


def _guarded(x: tf.Tensor) -> tf.Tensor:
    return tf.where(x > 20.0, x, tf.math.log(1.0 + tf.exp(x)))


def _where_half(x: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.where(x > 4.0, x, tf.exp(x)), tf.float32)


def _first(k: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(k[:, 0], 0, 2)


def _layers() -> Iterator[Case]:
    layers: Mapping[str, Callable[..., Any]] = {
        "BatchNormalization": keras.layers.BatchNormalization,
        "LayerNormalization": keras.layers.LayerNormalization,
        "RMSNormalization": keras.layers.RMSNormalization,
        "UnitNormalization": keras.layers.UnitNormalization,
        "GroupNormalization": partial(keras.layers.GroupNormalization, groups=2),
        "Softmax": keras.layers.Softmax,
        "ReLU(6, 0.25, 1)": partial(keras.layers.ReLU, 6.0, 0.25, 1.0),
        "LeakyReLU": partial(keras.layers.LeakyReLU, 0.2),
        "Masking": partial(keras.layers.Masking, 0.0),
    }
    for name, make in layers.items():
        yield Case(name, "layers", "r", _layer(make), conditioned=name.endswith("Normalization"))


def _layer(make: Callable[..., Any]) -> Function:
    """A layer with weights above 0, in the dtype of what it is called with."""
    by_dtype = {dtype: make(dtype=dtype) for dtype in ("float32", "float64")}
    for dtype, layer in by_dtype.items():
        rng = np.random.default_rng(5)
        layer.build((None, 6))
        layer.set_weights([rng.uniform(0.5, 1.5, array.shape).astype(dtype) for array in layer.get_weights()])
    return lambda r: by_dtype[r.dtype.name](r)
