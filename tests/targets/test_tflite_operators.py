"""Operators that LiteRT lacks are written with those that it has, and give what they are."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from benchmarks.edges.artifacts import Column, run
from benchmarks.edges.cases import Case

TFLITE = Column("tflite", "tflite")
RNG = np.random.default_rng(11)
MATRICES = RNG.standard_normal((2, 4, 4))
PATCHES = ([1, 2, 2, 1], [1, 1, 3, 1], [1, 3, 2, 1])  # sizes, strides, rates
FEED = {
    "x": RNG.uniform(-3, 3, (2, 5, 3)).astype(np.float32),
    "y": RNG.uniform(-3, 3, (2, 6, 3)).astype(np.float32),
    "u": np.array([[-0.999, -0.5, 1e-6, 0.0, 0.25, 0.9999]], np.float32),
    "w": np.array([[1.0, 1.0001, 2.5, 80.0, 1e5, 1e12]], np.float32),
    "t": np.array([[-9.5, -3.5, -1.0, -1e-5, 0.0, 2e-3, 0.99, 1.0, 1.01, 2.0, 2.5, 5.0, 12.0]], np.float32),
    "i": np.array([[-(2**31), -1, 0, 5, 2**31 - 1, 1 << 30]], np.int32),
    "j": np.array([[-1, 7, 3, -6, 2**31 - 1, -(2**30)]], np.int32),
    "k": np.array([[0, 1, 4, 31, 30, 1]], np.int32),
    "s": (MATRICES @ MATRICES.transpose(0, 2, 1) + 2 * np.eye(4)).astype(np.float32),
    "q": np.stack([MATRICES[0], np.eye(4)[[2, 0, 3, 1]] * [1e-3, 2.0, 300.0, 1.0]]).astype(np.float32),
    "v": RNG.standard_normal((2, 4, 5, 6, 2)).astype(np.float32),
    "c": RNG.uniform(0, 1, (2, 4, 3)).astype(np.float32),
}
OF_ONE = {
    "arctan": ("t", np.arctan),
    "arcsin": ("u", np.arcsin),
    "arccos": ("u", np.arccos),
    "arcsinh": ("t", np.arcsinh),
    "arccosh": ("w", np.arccosh),
    "arctanh": ("u", np.arctanh),
    "sinh": ("t", np.sinh),
    "cosh": ("t", np.cosh),
    "tan": ("t", np.tan),
    "erf": ("t", np.vectorize(math.erf)),
    "erfc": ("t", np.vectorize(math.erfc)),
    "erfinv": ("u", None),
    "i0": ("t", np.i0),
}
# Name: inputs, what is exported; what it is in NumPy, TensorFlow in float64 where there is nothing.
OTHERS = {
    "roll": ("x", lambda x: ops.roll(x, 2, axis=1), lambda x: np.roll(x, 2, 1)),
    "roll_far_back": ("x", lambda x: ops.roll(x, -7, axis=2), lambda x: np.roll(x, -7, 2)),
    "roll_flat": ("x", lambda x: ops.roll(x, 4), lambda x: np.roll(x, 4)),
    "roll_by_a_number_inside": ("x", lambda x: tf.roll(x, tf.cast(tf.reduce_max(x), tf.int32), 1), None),
    "cumprod": ("x", lambda x: ops.cumprod(x, axis=1), lambda x: np.cumprod(x, 1)),
    "cumprod_before": ("x", lambda x: tf.math.cumprod(x, 1, exclusive=True, reverse=True), None),
    "einsum": ("xy", lambda x, y: tf.einsum("bik,bjk->bij", x, y), lambda x, y: np.einsum("bik,bjk->bij", x, y)),
    "einsum_outer": ("xy", lambda x, y: tf.einsum("bik,bjl->jbkil", x, y), None),
    "einsum_of_one": ("x", lambda x: tf.einsum("bik->kb", x), lambda x: np.einsum("bik->kb", x)),
    "einsum_sums": ("xy", lambda x, y: tf.einsum("bik,bjl->b", x, y), None),
    "einsum_weights": ("x", lambda x: tf.einsum("...k,khd->...hd", x, tf.reshape(tf.range(24.0), (3, 2, 4)) - 9), None),
    "einsum_diagonal": ("q", lambda q: tf.einsum("bii->bi", q), lambda q: np.einsum("bii->bi", q)),
    "einsum_trace": ("q", lambda q: tf.einsum("bii->b", q), lambda q: np.einsum("bii->b", q)),
    "einsum_loop": ("s", lambda s: tf.while_loop(lambda n, _: n < 3, _squared, (0, s))[1], None),
    "diagonal": ("v", lambda v: ops.diagonal(v, offset=1, axis1=2, axis2=3), lambda v: np.diagonal(v, 1, 2, 3)),
    "diagonal_below": ("v", lambda v: ops.diagonal(v, offset=-2, axis1=2, axis2=3), lambda v: np.diagonal(v, -2, 2, 3)),
    "cross": ("xy", lambda x, y: ops.cross(x, y[:, :5]), lambda x, y: np.cross(x, y[:, :5])),
    "max_pool": ("v", lambda v: ops.max_pool(v, (2, 3, 2), (1, 2, 2), "same"), None),
    "average_pool": ("v", lambda v: ops.average_pool(v, (3, 2, 3), (2, 2, 1), "same"), None),
    "average_pool_valid": ("v", lambda v: ops.average_pool(v, 2, 2, "valid"), None),
    "searchsorted": ("t", lambda t: ops.searchsorted(np.array([-1, 0, 1, 2.5], np.float32), t[0]), None),
    "searchsorted_right": ("t", lambda t: tf.searchsorted([[-1, 0, 1, 2.5]], t, "right"), None),
    "norm": ("x", lambda x: tf.math.reduce_euclidean_norm(x, -1), lambda x: np.sqrt((x * x).sum(-1))),
    "cholesky": ("s", ops.cholesky, np.linalg.cholesky),
    "solve": ("qs", ops.solve, np.linalg.solve),
    "solve_triangular": ("sq", lambda s, q: ops.solve_triangular(ops.tril(s), q, lower=True), None),
    "solve_triangular_upper": ("sq", lambda s, q: ops.solve_triangular(ops.triu(s), q), None),
    "inverse": ("q", ops.inv, np.linalg.inv),
    "determinant": ("q", ops.det, np.linalg.det),
    "slogdet": ("q", lambda q: ops.stack(ops.slogdet(q)), lambda q: np.stack(np.linalg.slogdet(q))),
    "expm": ("s", lambda s: tf.linalg.expm(0.2 * s), None),
    "bicubic": ("v", lambda v: keras.ops.image.resize(v[:, 0], (9, 3), interpolation="bicubic"), None),
    "lanczos": ("v", lambda v: keras.ops.image.resize(v[:, 0], (9, 3), interpolation="lanczos3"), None),
    "patches": ("v", lambda v: keras.ops.image.extract_patches(v[:, 0], (2, 3), strides=(1, 2), padding="same"), None),
    "patches_apart": ("v", lambda v: tf.image.extract_patches(v[:, 0], *PATCHES, "VALID"), None),
    "hsv": ("c", ops.image.rgb_to_hsv, None),
    "rgb": ("c", ops.image.hsv_to_rgb, None),
    "truncatemod": ("xy", lambda x, y: tf.truncatemod(x, y[:, :5]), lambda x, y: np.fmod(x, y[:, :5])),
}
WHOLE = {
    "and": ("ij", ops.bitwise_and, np.bitwise_and),
    "or": ("ij", ops.bitwise_or, np.bitwise_or),
    "not": ("i", ops.bitwise_not, np.invert),
    "shift": ("jk", ops.left_shift, lambda j, k: j << k),
    "product": ("k", lambda k: ops.cumprod(k[:, 1:3], axis=1), lambda k: np.cumprod(k[:, 1:3], 1)),
    "remainder": ("ij", lambda i, j: tf.truncatemod(i // 3, j), lambda i, j: np.fmod(i // 3, j)),
}


def _squared(n, s):
    return n + 1, 0.05 * tf.einsum("bij,bjk->bik", s, s)


def _case(name, inputs, function):
    return Case(name, "", inputs, function)


@pytest.fixture(scope="module")
def found():
    cases = [_case(name, inputs, getattr(ops, name)) for name, (inputs, _) in OF_ONE.items()]
    cases += [_case(name, inputs, function) for name, (inputs, function, _) in (OTHERS | WHOLE).items()]
    outputs = run(TFLITE, cases, FEED)
    assert {name: one.refused for name, one in outputs.items() if one.refused} == {}
    return {name: one.output for name, one in outputs.items()}


def wide(names):
    return [FEED[name].astype(np.float64 if FEED[name].dtype == np.float32 else FEED[name].dtype) for name in names]


@pytest.mark.parametrize("name", OF_ONE)
def test_functions_of_one_number(name, found):
    inputs, wanted = OF_ONE[name]
    x = FEED[inputs].astype(np.float64)
    exact = tf.math.erfinv(x).numpy() if wanted is None else wanted(x)
    np.testing.assert_allclose(found[name], exact, rtol=4e-6, atol=1e-12 if name != "erfc" else 2e-8)


@pytest.mark.parametrize("name", OTHERS)
def test_functions_of_arrays(name, found):
    inputs, function, wanted = OTHERS[name]
    exact = wanted(*wide(inputs)) if wanted else function(*(tf.constant(FEED[letter]) for letter in inputs)).numpy()
    assert found[name].shape == exact.shape
    np.testing.assert_allclose(found[name], exact, rtol=2e-5, atol=1e-5 * np.abs(exact).max())


@pytest.mark.parametrize("name", WHOLE)
def test_functions_of_integers(name, found):
    inputs, _, wanted = WHOLE[name]
    np.testing.assert_array_equal(found[name], wanted(*wide(inputs)))


def test_a_gelu_stays_one_operator_and_the_error_function_beside_it_is_written_out():
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from benchmarks.edges.artifacts import traced
    from rnnexport.core.lowering import LoweringRequest
    from rnnexport.source.trace import Graphs
    from rnnexport.targets.base import ExportOptions
    from rnnexport.targets.registry import target

    def operators(*functions):
        cases = [_case(f"f{at}", "x", function) for at, function in enumerate(functions)]
        with TemporaryDirectory() as folder:
            path = Path(folder) / "m.tflite"
            form = target("tflite")
            form.export(Graphs(traced(cases, FEED)), [], path, ExportOptions(17, LoweringRequest()))
            return form.operators(path)

    assert operators(keras.activations.gelu) == {"GELU": 1}
    assert "GELU" not in operators(keras.activations.gelu, ops.erf)
