"""Operators on complex numbers, as operators on their real and imaginary parts: z = a + ib, w = c + id.

Sizes are taken out of what is squared, so that nothing overflows that does not overflow in TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from rnnexport.conversion.forms.values import ComplexPair, Form, FormError, Tensor, Value, copied

# Operators that move numbers, or add them up: the same is done to both parts.
_OF_EACH_PART = frozenset(
    (
        *(
            "Add",
            "AddN",
            "AddV2",
            "BatchToSpaceND",
            "BroadcastTo",
            "ConcatV2",
            "Cumsum",
            "DynamicStitch",
            "EnsureShape",
        ),
        *("ExpandDims", "Fill", "GatherNd", "GatherV2", "Identity", "IdentityN", "MatrixBandPart", "MatrixDiagPartV3"),
        *("MatrixDiagV3", "MatrixSetDiagV3", "Mean", "MirrorPad", "Neg", "Pack", "ParallelConcat", "Pad", "PadV2"),
        *("PreventGradient", "Reshape", "ReverseSequence", "ReverseV2", "Roll", "ScatterNd", "SegmentSum", "Select"),
        *("SelectV2", "Slice", "Snapshot", "SpaceToBatchND", "Split", "SplitV", "Squeeze", "StopGradient"),
        *("Sub", "Sum", "TensorListFromTensor", "TensorListGetItem", "TensorListReserve"),
        *("TensorListSetItem", "TensorListStack", "TensorScatterAdd", "TensorScatterUpdate", "Tile", "Transpose"),
        *("Unpack", "UnsortedSegmentSum", "ZerosLike"),
    )
)


def of_each_part(operation: tf.Operation) -> Form | None:
    """The form of an operator that does the same to both parts; None for any other."""
    return each_part if operation.type in _OF_EACH_PART else None


def each_part(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """The operator on the real parts, and on the imaginary ones."""
    reals = [value.real if isinstance(value, ComplexPair) else value for value in inputs]
    imags = [value.imag if isinstance(value, ComplexPair) else value for value in inputs]
    parts = (copied(operation, reals, "real", part=True), copied(operation, imags, "imag", part=True))
    return [ComplexPair(real, imag) for real, imag in zip(*parts, strict=True)]


def _of_numbers(function: Callable[..., Value]) -> Form:
    """The form of an operator with one output, by a function of its inputs."""

    def form(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
        del operation
        return [function(*inputs)]

    return form


def _constant(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    del inputs
    value = tf.make_ndarray(operation.get_attr("value"))
    return [ComplexPair(tf.constant(value.real, name="real"), tf.constant(value.imag, name="imag"))]


def _cast(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """To a complex type, between two, or the real part to any other."""
    (z,), kind = inputs, operation.outputs[0].dtype
    if not kind.is_complex:
        return [tf.cast(z.real, kind)]
    if isinstance(z, ComplexPair):
        return [ComplexPair(tf.cast(z.real, kind.real_dtype), tf.cast(z.imag, kind.real_dtype))]
    real = tf.cast(z, kind.real_dtype)
    return [ComplexPair(real, tf.zeros_like(real))]


def multiplied(z: ComplexPair, w: ComplexPair) -> ComplexPair:
    """(ac - bd) + i(ad + bc)."""
    return ComplexPair(z.real * w.real - z.imag * w.imag, z.real * w.imag + z.imag * w.real)


def _multiplied_or_zero(z: ComplexPair, w: ComplexPair) -> ComplexPair:
    """MulNoNan: 0 where w is 0, whatever z is."""
    none, product = tf.logical_and(tf.equal(w.real, 0), tf.equal(w.imag, 0)), multiplied(z, w)
    return ComplexPair(*(tf.where(none, tf.zeros_like(part), part) for part in (product.real, product.imag)))


def _squared(z: ComplexPair) -> ComplexPair:
    return ComplexPair(z.real * z.real - z.imag * z.imag, 2 * (z.real * z.imag))


def _divided(z: ComplexPair, w: ComplexPair) -> ComplexPair:
    """Z * conj(w) / |w|², with the size of w taken out."""
    size = tf.maximum(tf.abs(w.real), tf.abs(w.imag))
    c, d = w.real / size, w.imag / size
    square = c * c + d * d
    real, imag = (z.real * c + z.imag * d) / square, (z.imag * c - z.real * d) / square
    return ComplexPair(real / size, imag / size)


def _divided_or_zero(z: ComplexPair, w: ComplexPair) -> ComplexPair:
    """DivNoNan: 0 where w is 0."""
    none = tf.logical_and(tf.equal(w.real, 0), tf.equal(w.imag, 0))
    one = ComplexPair(tf.where(none, tf.ones_like(w.real), w.real), w.imag)
    quotient = _divided(z, one)
    return ComplexPair(*(tf.where(none, tf.zeros_like(part), part) for part in (quotient.real, quotient.imag)))


def _reciprocal(z: ComplexPair) -> ComplexPair:
    return _divided(ComplexPair(tf.ones_like(z.real), tf.zeros_like(z.real)), z)


def size_of(z: ComplexPair) -> Tensor:
    """|z|."""
    a, b = tf.abs(z.real), tf.abs(z.imag)
    large, small = tf.maximum(a, b), tf.minimum(a, b)
    ratio = small / large
    size = tf.where(tf.equal(large, 0), large, large * tf.sqrt(1 + ratio * ratio))
    return tf.where(tf.math.is_inf(a), a, tf.where(tf.math.is_inf(b), b, size))


def _angle(z: Value) -> Tensor:
    """Of a real number, 0 or pi."""
    return tf.atan2(z.imag, z.real) if isinstance(z, ComplexPair) else tf.atan2(tf.zeros_like(z), z)


def _exponential(z: ComplexPair) -> ComplexPair:
    size = tf.exp(z.real)
    return ComplexPair(size * tf.cos(z.imag), size * tf.sin(z.imag))


def _logarithm(z: ComplexPair) -> ComplexPair:
    return ComplexPair(tf.math.log(size_of(z)), _angle(z))


def _root(z: ComplexPair) -> ComplexPair:
    """The one whose real part is not negative."""
    half = tf.sqrt((size_of(z) + tf.abs(z.real)) * 0.5)
    none = tf.equal(half, 0)
    other = tf.where(none, half, tf.abs(z.imag) / (2 * tf.where(none, tf.ones_like(half), half)))
    right = z.real >= 0
    imag = tf.where(right, other, half)
    return ComplexPair(tf.where(right, half, other), tf.where(z.imag < 0, -imag, imag))


def _power(z: ComplexPair, w: ComplexPair) -> ComplexPair:
    """exp(w log z), and 0 where z is 0, as the C++ library has it."""
    none, power = tf.equal(size_of(z), 0), _exponential(multiplied(w, _logarithm(z)))
    return ComplexPair(*(tf.where(none, tf.zeros_like(part), part) for part in (power.real, power.imag)))


def _sine(z: ComplexPair) -> ComplexPair:
    return ComplexPair(tf.sin(z.real) * tf.cosh(z.imag), tf.cos(z.real) * tf.sinh(z.imag))


def _cosine(z: ComplexPair) -> ComplexPair:
    return ComplexPair(tf.cos(z.real) * tf.cosh(z.imag), -tf.sin(z.real) * tf.sinh(z.imag))


def _hyperbolic_sine(z: ComplexPair) -> ComplexPair:
    return ComplexPair(tf.sinh(z.real) * tf.cos(z.imag), tf.cosh(z.real) * tf.sin(z.imag))


def _hyperbolic_cosine(z: ComplexPair) -> ComplexPair:
    return ComplexPair(tf.cosh(z.real) * tf.cos(z.imag), tf.sinh(z.real) * tf.sin(z.imag))


def _hyperbolic_tangent(z: ComplexPair) -> ComplexPair:
    """(sinh 2a + i sin 2b) / (cosh 2a + cos 2b), both times 2 exp(-2|a|)."""
    twice = 2 * tf.abs(z.real)
    small = tf.exp(-twice)
    below = 1 + small * small + 2 * small * tf.cos(2 * z.imag)
    return ComplexPair(-tf.sign(z.real) * tf.math.expm1(-2 * twice) / below, 2 * small * tf.sin(2 * z.imag) / below)


def _sigmoid(z: ComplexPair) -> ComplexPair:
    """(1 + tanh(z / 2)) / 2."""
    half = _hyperbolic_tangent(ComplexPair(0.5 * z.real, 0.5 * z.imag))
    return ComplexPair(0.5 + 0.5 * half.real, 0.5 * half.imag)


def _product(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """MatMul, whose operands are transposed, and BatchMatMul, whose operands are conjugated as well."""
    z, w = inputs
    attributes = operation.node_def.attr
    left, right = (attributes[key].b for key in ("transpose_a", "transpose_b"))
    if operation.type != "MatMul":
        left, right = (attributes[key].b for key in ("adj_x", "adj_y"))
        z, w = (_conjugated(value) if turned else value for value, turned in ((z, left), (w, right)))

    def product(x: Tensor, y: Tensor) -> Tensor:
        return tf.matmul(x, y, transpose_a=left, transpose_b=right)

    return [bilinear(product, z, w)]


def _einsum(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    equation = operation.get_attr("equation").decode()
    if len(inputs) == 1:
        return [ComplexPair(tf.einsum(equation, inputs[0].real), tf.einsum(equation, inputs[0].imag))]
    z, w = inputs
    return [bilinear(lambda x, y: tf.einsum(equation, x, y), z, w)]


def bilinear(product: Callable[[Tensor, Tensor], Tensor], z: ComplexPair, w: ComplexPair) -> ComplexPair:
    """A product of two complex tensors, by the one that real tensors have."""
    real = product(z.real, w.real) - product(z.imag, w.imag)
    return ComplexPair(real, product(z.real, w.imag) + product(z.imag, w.real))


def _conjugated(z: Value) -> Value:
    return ComplexPair(z.real, -z.imag) if isinstance(z, ComplexPair) else z


def _conjugate_transposed(z: ComplexPair, order: Tensor) -> ComplexPair:
    return ComplexPair(tf.transpose(z.real, order), -tf.transpose(z.imag, order))


def _ones(z: ComplexPair) -> ComplexPair:
    return ComplexPair(tf.ones_like(z.real), tf.zeros_like(z.real))


def _is_equal(z: ComplexPair, w: ComplexPair) -> Tensor:
    return tf.logical_and(tf.equal(z.real, w.real), tf.equal(z.imag, w.imag))


def _of_one_part(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """Sizes: both parts have the same."""
    reals = [value.real if isinstance(value, ComplexPair) else value for value in inputs]
    return list(copied(operation, reals, operation.type.lower(), part=True))


def _sign(z: ComplexPair) -> ComplexPair:
    """Z / |z|, and 0 for 0."""
    size = size_of(z)
    one = tf.where(tf.equal(size, 0), tf.ones_like(size), size)
    return ComplexPair(z.real / one, z.imag / one)


def _refused(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    del operation, inputs
    raise FormError("of a complex input")


FORMS: Mapping[str, Form] = {
    "Angle": _of_numbers(_angle),
    "BatchMatMul": _product,
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "Cast": _cast,
    "Complex": _of_numbers(ComplexPair),
    "ComplexAbs": _of_numbers(size_of),
    "Conj": _of_numbers(_conjugated),
    "ConjugateTranspose": _of_numbers(_conjugate_transposed),
    "Const": _constant,
    "Cos": _of_numbers(_cosine),
    "Cosh": _of_numbers(_hyperbolic_cosine),
    "Div": _of_numbers(_divided),
    "DivNoNan": _of_numbers(_divided_or_zero),
    "Einsum": _einsum,
    "Equal": _of_numbers(_is_equal),
    "Exp": _of_numbers(_exponential),
    "Imag": _of_numbers(lambda z: z.imag),
    "Inv": _of_numbers(_reciprocal),
    "Log": _of_numbers(_logarithm),
    "MatMul": _product,
    "Mul": _of_numbers(multiplied),
    "MulNoNan": _of_numbers(_multiplied_or_zero),
    "NotEqual": _of_numbers(lambda z, w: tf.logical_not(_is_equal(z, w))),
    "OnesLike": _of_numbers(_ones),
    "Placeholder": _refused,
    "Pow": _of_numbers(_power),
    "Rank": _of_one_part,
    "Real": _of_numbers(lambda z: z.real),
    "RealDiv": _of_numbers(_divided),
    "Reciprocal": _of_numbers(_reciprocal),
    "Rsqrt": _of_numbers(lambda z: _reciprocal(_root(z))),
    "Shape": _of_one_part,
    "ShapeN": _of_one_part,
    "Sigmoid": _of_numbers(_sigmoid),
    "Sign": _of_numbers(_sign),
    "Sin": _of_numbers(_sine),
    "Sinh": _of_numbers(_hyperbolic_sine),
    "Size": _of_one_part,
    "Sqrt": _of_numbers(_root),
    "Square": _of_numbers(_squared),
    "SquaredDifference": _of_numbers(lambda z, w: multiplied(_difference(z, w), _conjugated(_difference(z, w)))),
    "Tanh": _of_numbers(_hyperbolic_tangent),
}


def _difference(z: ComplexPair, w: ComplexPair) -> ComplexPair:
    return ComplexPair(z.real - w.real, z.imag - w.imag)
