"""Functions that ONNX has not: inverses of the normal distribution and the error function, gamma, Bessel's; and slopes.

M. J. Wichura, Algorithm AS 241 (PPND16), Applied Statistics 37, 1988: quotients of polynomials, right to 1e-16.
C. Lanczos, SIAM J. Numer. Anal. 1, 1964, with g = 7 and nine terms, as XLA has it: right to 1e-15.
S. L. Moshier, Cephes, i0.c: I0 right to 1e-15.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from rnnexport.conversion.forms.values import ComplexPair, Form, Tensor, Value

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
_G = 7.0
_LANCZOS = (
    0.99999999999980993227684700473478,
    *(676.520368121885098567009190444019, -1259.13921672240287047156078755283, 771.3234287776530788486528258894),
    *(-176.61502916214059906584551354, 12.507343278686904814458936853, -0.13857109526572011689554707),
    *(9.984369578019570859563e-6, 1.50563273514931155834e-7),
)
# exp(-x) I0(x) by Chebyshev polynomials of x / 2 - 2 up to 8, and over sqrt(x) of 32 / x - 2 from there on.
_BESSEL_NEAR = (
    *(-4.41534164647933937950e-18, 3.33079451882223809783e-17, -2.43127984654795469359e-16),
    *(1.71539128555513303061e-15, -1.16853328779934516808e-14, 7.67618549860493561688e-14),
    *(-4.85644678311192946090e-13, 2.95505266312963983461e-12, -1.72682629144155570723e-11),
    *(9.67580903537323691224e-11, -5.18979560163526290666e-10, 2.65982372468238665035e-9),
    *(-1.30002500998624804212e-8, 6.04699502254191894932e-8, -2.67079385394061173391e-7),
    *(1.11738753912010371815e-6, -4.41673835845875056359e-6, 1.64484480707288970893e-5),
    *(-5.75419501008210370398e-5, 1.88502885095841655729e-4, -5.76375574538582365885e-4),
    *(1.63947561694133579842e-3, -4.32430999505057594430e-3, 1.05464603945949983183e-2),
    *(-2.37374148058994688156e-2, 4.93052842396707084878e-2, -9.49010970480476444210e-2),
    *(1.71620901522208775349e-1, -3.04682672343198398683e-1, 6.76795274409476084995e-1),
)
_BESSEL_FAR = (
    *(-7.23318048787475395456e-18, -4.83050448594418207126e-18, 4.46562142029675999901e-17),
    *(3.46122286769746109310e-17, -2.82762398051658348494e-16, -3.42548561967721913462e-16),
    *(1.77256013305652638360e-15, 3.81168066935262242075e-15, -9.55484669882830764870e-15),
    *(-4.15056934728722208663e-14, 1.54008621752140982691e-14, 3.85277838274214270114e-13),
    *(7.18012445138366623367e-13, -1.79417853150680611778e-12, -1.32158118404477131188e-11),
    *(-3.14991652796324136454e-11, 1.18891471078464383424e-11, 4.94060238822496958910e-10),
    *(3.39623202570838634515e-9, 2.26666899049817806459e-8, 2.04891858946906374183e-7),
    *(2.89137052083475648297e-6, 6.88975834691682398426e-5, 3.36911647825569408990e-3, 8.04490411014108831608e-1),
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


def _numbers(values: Sequence[float], like: Tensor) -> list[Tensor]:
    """Scalars of the dtype of another tensor, which a float64 run has all digits of."""
    numbers: list[Tensor] = tf.unstack(tf.cast(tf.constant(values, tf.float64), like.dtype))
    return numbers


def _number(value: float, like: Tensor) -> Tensor:
    return tf.cast(tf.constant(value, tf.float64), like.dtype)


def _ratio(coefficients: Sequence[tuple[float, float]], x: Tensor) -> Tensor:
    top, bottom = (tf.zeros_like(x) for _ in range(2))
    above, below = (_numbers(row, x) for row in zip(*coefficients, strict=True))
    for one, other in zip(above[::-1], below[::-1], strict=True):
        top, bottom = top * x + one, bottom * x + other
    return top / bottom


def _lanczos(x: Tensor) -> tuple[Tensor, ...]:
    """Whether x is below 1/2, where 1 - x takes its place, and z, one less than that; for it the sum, its derivative,
    and the logarithm of z + g + 1/2, with what is small kept.
    """
    is_low = x < 0.5
    z = tf.where(is_low, -x, x - 1.0)
    base, *coefficients = _numbers(_LANCZOS, z)
    total, slope = base + tf.zeros_like(z), tf.zeros_like(z)
    for at, coefficient in enumerate(coefficients, 1):
        total += coefficient / (z + at)
        slope -= coefficient / tf.square(z + at)
    return is_low, z, total, slope, _number(np.log(_G + 0.5), z) + tf.math.log1p(z / (_G + 0.5))


def _lgamma(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """The logarithm of the size of gamma(x); below 1/2 by pi / (sin(pi x) gamma(1 - x)), infinite at the poles."""
    del operation
    (x,) = inputs
    is_low, z, total, _, log_t = _lanczos(x)
    # (z + 1/2) log t - t, without the difference of two large numbers.
    found = _number(0.5 * np.log(2 * np.pi), z) + (z + 0.5 - (z + _G + 0.5) / log_t) * log_t + tf.math.log(total)
    part = tf.abs(x) - tf.floor(tf.abs(x))
    part = tf.where(part > 0.5, 1.0 - part, part)
    low = _number(np.log(np.pi), z) - tf.math.log(tf.sin(_number(np.pi, z) * part)) - found
    # Of an infinity that is a constant TFLite makes the largest number.
    is_pole = tf.logical_and(tf.less_equal(x, 0.0), tf.equal(part, 0.0))
    found = tf.where(is_pole, 1.0 / part, tf.where(is_low, low, found))
    return [tf.where(tf.math.is_inf(x), tf.abs(x), found)]


def _digamma(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """The slope of that; no number at the poles, of which 0 has the sign of what is near."""
    del operation
    (x,) = inputs
    is_low, z, total, slope, log_t = _lanczos(x)
    found = log_t + slope / total - _G / (z + _G + 0.5)
    part = x + tf.abs(tf.floor(x + 0.5))  # the angle, less whole turns
    pi = _number(np.pi, x)
    found = tf.where(is_low, found - pi * tf.cos(pi * part) / tf.sin(pi * part), found)
    is_pole = tf.logical_and(tf.less_equal(x, 0.0), tf.equal(x, tf.floor(x)))
    nothing = tf.where(tf.equal(x, 0.0), -1.0 / x, tf.constant(np.nan, x.dtype))
    return [tf.where(is_pole, nothing, found)]


def _chebyshev(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    """A sum of Chebyshev polynomials of x / 2, by Clenshaw's recurrence; the highest first."""
    found, before, last = tf.zeros_like(x), tf.zeros_like(x), tf.zeros_like(x)
    for coefficient in _numbers(coefficients, x):
        found, before, last = x * found - before + coefficient, found, before
    return 0.5 * (found - last)


def _bessel(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """BesselI0, and BesselI0e with exp(-|x|) beside it."""
    (x,) = inputs
    size = tf.abs(x)
    far = tf.maximum(size, 8.0)
    near = _chebyshev(0.5 * tf.minimum(size, 8.0) - 2.0, _BESSEL_NEAR)
    found = tf.where(size <= 8.0, near, _chebyshev(32.0 / far - 2.0, _BESSEL_FAR) / tf.sqrt(far))
    return [found if operation.type == "BesselI0e" else found * tf.exp(size)]


def _next(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """NextAfter: x and half of what its last bit stands for, and a little, rounded (S. M. Rump, BIT 49, 2009)."""
    del operation
    x, y = inputs
    kind = x.dtype.as_numpy_dtype
    unit, least = np.finfo(kind).eps / 2, np.finfo(kind).smallest_subnormal
    step = tf.constant(unit * (1 + 2 * unit), x.dtype) * tf.abs(x) + tf.constant(least, x.dtype)
    step = tf.minimum(step, tf.constant(np.finfo(kind).max, x.dtype))
    found = tf.where(y > x, x + step, x - step)
    found = tf.where(tf.math.is_inf(x), tf.sign(x) * tf.constant(np.finfo(kind).max, x.dtype), found)
    return [tf.where(tf.equal(x, y), y, tf.where(tf.math.is_nan(y), y, found))]


def _of(function: Callable[[Tensor, Tensor], Tensor]) -> Form:
    def form(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
        del operation
        return None if any(isinstance(value, ComplexPair) for value in inputs) else [function(*inputs)]

    return form


def _leaky(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """LeakyReluGrad."""
    g, x = inputs
    return [tf.where(x > 0.0, g, tf.constant(operation.get_attr("alpha"), g.dtype) * g)]


def _elu(g: Tensor, y: Tensor) -> Tensor:
    return tf.where(y < 0.0, (y + 1.0) * g, g)


FORMS: Mapping[str, Form] = {
    "BesselI0": _bessel,
    "BesselI0e": _bessel,
    "Digamma": _digamma,
    "EluGrad": _of(_elu),
    "Erfinv": _erfinv,
    "InvGrad": _of(lambda y, g: -g * y * y),
    "LeakyReluGrad": _leaky,
    "Lgamma": _lgamma,
    "Ndtri": _ndtri,
    "NextAfter": _next,
    "ReciprocalGrad": _of(lambda y, g: -g * y * y),
    "Relu6Grad": _of(lambda g, x: tf.where(tf.logical_and(x > 0.0, x < 6.0), g, tf.zeros_like(g))),
    "ReluGrad": _of(lambda g, x: tf.where(x > 0.0, g, tf.zeros_like(g))),
    "RsqrtGrad": _of(lambda y, g: -0.5 * g * (y * y * y)),
    "SigmoidGrad": _of(lambda y, g: g * y * (1.0 - y)),
    "SoftplusGrad": _of(lambda g, x: g * tf.sigmoid(x)),
    "SoftsignGrad": _of(lambda g, x: g / tf.square(1.0 + tf.abs(x))),
    "SqrtGrad": _of(lambda y, g: 0.5 * g / y),
    "TanhGrad": _of(lambda y, g: g * (1.0 - y * y)),
}
