"""Activation functions, without overflow."""

from __future__ import annotations

import numpy as np

from rnnexport.emit.numpy.operators.special import erf


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), to the last digits at both ends; from the bound on it rounds to 1."""
    y = np.empty_like(x)
    np.minimum(x, 11 if y.itemsize == 2 else 40, out=y)
    np.exp(y, out=y)
    y /= y + 1
    return y


def leaky_relu(x: np.ndarray, slope: float | np.ndarray) -> np.ndarray:
    """Above zero x, below it slope * x."""
    return np.where(x < 0, slope * x, x)


def elu(x: np.ndarray, alpha: float) -> np.ndarray:
    """Above zero x, below it alpha * (exp(x) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def celu(x: np.ndarray, alpha: float) -> np.ndarray:
    """Above zero x, below it alpha * (exp(x / alpha) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def thresholded_relu(x: np.ndarray, threshold: float) -> np.ndarray:
    """Above the threshold x, below it 0."""
    return np.where(x > threshold, x, 0)


def softsign(x: np.ndarray) -> np.ndarray:
    """A sigmoid between -1 and 1, without exp."""
    return x / (1 + np.abs(x))


def hard_swish(x: np.ndarray) -> np.ndarray:
    """Swish: x times a sigmoid of straight lines."""
    return x * np.clip(x / 6 + 0.5, 0, 1)


def gelu(x: np.ndarray) -> np.ndarray:
    """Swish of a normal distribution: x times the probability that a standard normal variable is below x."""
    return 0.5 * x * (1 + erf(x * 0.7071067811865476))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """gelu, approximated by a tanh."""
    return 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))


def mish(x: np.ndarray) -> np.ndarray:
    """Swish with tanh(softplus(x)) for the sigmoid."""
    return x * np.tanh(np.logaddexp(x, 0))


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """exp(x), divided by its sum along the axis."""
    y = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    np.exp(y, out=y)
    y /= y.sum(axis=axis, keepdims=True)
    return y


def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The logarithm of softmax."""
    y = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    y -= np.log(np.exp(y).sum(axis=axis, keepdims=True))
    return y


def hardmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """1 at the first of the largest along the axis, 0 elsewhere."""
    y = np.zeros_like(x)
    np.put_along_axis(y, np.expand_dims(x.argmax(axis=axis), axis), 1, axis=axis)
    return y
