"""Slopes of functions, which a model has where it differentiates: y is what one gave, g what comes from behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from rnnexport.conversion.forms.values import Form, Pair, Tensor, Value


def _of(function: Callable[[Tensor, Tensor], Tensor]) -> Form:
    def form(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
        del operation
        return None if any(isinstance(value, Pair) for value in inputs) else [function(*inputs)]

    return form


def _leaky(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """LeakyReluGrad."""
    g, x = inputs
    return [tf.where(x > 0.0, g, tf.constant(operation.get_attr("alpha"), g.dtype) * g)]


def _elu(g: Tensor, y: Tensor) -> Tensor:
    return tf.where(y < 0.0, (y + 1.0) * g, g)


FORMS: Mapping[str, Form] = {
    "EluGrad": _of(_elu),
    "InvGrad": _of(lambda y, g: -g * y * y),
    "LeakyReluGrad": _leaky,
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
