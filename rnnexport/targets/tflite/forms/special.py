"""The error function and its kin, by the approximations of Eigen and XLA, and of Cephes.

Coefficients are those of single precision, the highest power first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from rnnexport.targets.tflite.forms.form import Form, on_floats

# erf(x) = x P(x^2) / Q(x^2) for |x| < 4 (Eigen, XLA): 1 to float32 from there on.
_ERF_P = (
    *(-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05),
    *(-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
)
_ERF_Q = (
    *(-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03),
    -1.42647390514189e-02,
)
# erfc(x) = exp(-x^2) / x P(1 / x^2) for 1 <= x < 2, and with R from 2 on (Cephes).
_ERFC_P = (
    *(2.326819970068386e-2, -1.387039388740657e-1, 3.687424674597105e-1, -5.824733027278666e-1),
    *(6.210004621745983e-1, -4.944515323274145e-1, 3.404879937665872e-1, -2.741127028184656e-1, 5.638259427386472e-1),
)
_ERFC_R = (
    *(-1.047766399936249e1, 1.297719955372516e1, -7.495518717768503, 2.921019019210786),
    *(-1.015265279202700, 4.218463358204948e-1, -2.820767439740514e-1, 5.641895067754075e-1),
)


def _polynomial(x: tf.Tensor, coefficients: Sequence[float]) -> tf.Tensor:
    found = tf.zeros_like(x)
    for coefficient in coefficients:
        found = found * x + coefficient
    return found


def _erf(x: tf.Tensor) -> tf.Tensor:
    within = tf.clip_by_value(x, -4.0, 4.0)
    square = within * within
    return tf.clip_by_value(within * _polynomial(square, _ERF_P) / _polynomial(square, _ERF_Q), -1.0, 1.0)


def _erfc(x: tf.Tensor) -> tf.Tensor:
    size = tf.maximum(tf.abs(x), 1.0)
    inverse = 1.0 / size
    square = inverse * inverse
    tail = tf.where(size < 2.0, _polynomial(square, _ERFC_P), _polynomial(square, _ERFC_R))
    tail = tf.exp(-size * size) * inverse * tail
    return tf.where(tf.abs(x) < 1.0, 1.0 - _erf(x), tf.where(x < 0.0, 2.0 - tail, tail))


SPECIAL: Mapping[str, Form] = {
    "Erf": on_floats(_erf),
    "Erfc": on_floats(_erfc),
}
