"""The inverse of the normal distribution, and of the error function.

M. J. Wichura, Algorithm AS 241 (PPND16), Applied Statistics 37, 1988: quotients of polynomials, right to 1e-16.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from rnnexport.conversion.forms.values import Form, Tensor, Value

# The coefficients above and below the line, by powers of the argument, the constant first: near the middle, in the
# tails, and far out.
_NEAR = (
    *((3.3871328727963666080, 1.0), (133.14166789178437745, 42.313330701600911252)),
    *((1971.5909503065514427, 687.18700749205790830), (13731.693765509461125, 5394.1960214247511077)),
    *((45921.953931549871457, 21213.794301586595867), (67265.770927008700853, 39307.895800092710610)),
    *((33430.575583588128105, 28729.085735721942674), (2509.0809287301226727, 5226.4952788528545610)),
)
_TAIL = (
    *((1.42343711074968357734, 1.0), (4.63033784615654529590, 2.05319162663775882187)),
    *((5.76949722146069140550, 1.67638483018380384940), (3.64784832476320460504, 0.689767334985100004550)),
    *((1.27045825245236838258, 0.148103976427480074590), (0.241780725177450611770, 0.0151986665636164571966)),
    *((0.0227238449892691845833, 5.47593808499534494600e-4), (7.74545014278341407640e-4, 1.05075007164441684324e-9)),
)
_FAR = (
    *((6.65790464350110377720, 1.0), (5.46378491116411436990, 0.599832206555887937690)),
    *((1.78482653991729133580, 0.136929880922735805310), (0.296560571828504891230, 0.0148753612908506148525)),
    *((0.0265321895265761230930, 7.86869131145613259100e-4), (0.00124266094738807843860, 1.84631831751005468180e-5)),
    *((2.71155556874348757815e-5, 1.42151175831644588870e-7), (2.01033439929228813265e-7, 2.04426310338993978564e-15)),
)


def _erfinv(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    del operation
    (y,) = inputs
    return [_quantile(0.5 * y, 0.5 * (1 - tf.abs(y))) * tf.constant(2**-0.5, y.dtype)]


def _ndtri(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    del operation
    (p,) = inputs
    return [_quantile(p - 0.5, tf.minimum(p, 1 - p))]


def _quantile(q: Tensor, tail: Tensor) -> Tensor:
    """X with the probability 0.5 + q below it; `tail` is what is left on the nearer side."""
    near = q * _ratio(_NEAR, 0.180625 - q * q)
    root = tf.sqrt(-tf.math.log(tail))
    beyond = tf.where(root <= 5.0, _ratio(_TAIL, root - 1.6), _ratio(_FAR, root - 5.0))
    beyond = tf.where(tf.equal(tail, 0.0), 1.0 / tail, beyond)
    return tf.where(tf.abs(q) <= 0.425, near, tf.where(q < 0.0, -beyond, beyond))


def _ratio(coefficients: Sequence[tuple[float, float]], x: Tensor) -> Tensor:
    top, bottom = (tf.zeros_like(x) for _ in range(2))
    above, below = (
        tf.unstack(tf.cast(tf.constant(row, tf.float64), x.dtype)) for row in zip(*coefficients, strict=True)
    )
    for one, other in zip(above[::-1], below[::-1], strict=True):
        top, bottom = top * x + one, bottom * x + other
    return top / bottom


FORMS: Mapping[str, Form] = {"Erfinv": _erfinv, "Ndtri": _ndtri}
