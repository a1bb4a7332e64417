"""Complex numbers, Fourier transforms, running products and linear equations in ONNX and NumPy: TensorFlow's values."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnexport
from benchmarks.edges.artifacts import Column, run
from benchmarks.edges.cases import Case
from rnnexport.conversion.forms import _FORMS, in_forms
from rnnexport.conversion.forms.values import ComplexPair, FormError
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.double import Double, double
from rnnexport.source.trace import trace

COLUMNS = [Column("onnx 13", "onnx", 13), Column("onnx 21", "onnx", 21), Column("numpy", "numpy")]
TFLITE = Column("tflite", "tflite")
RNG = np.random.default_rng(3)
FEED = {
    "x": RNG.normal(size=(3, 20)).astype(np.float32),
    "m": (RNG.normal(size=(2, 4, 4)) + np.eye(4)).astype(np.float32),
    "v": RNG.normal(size=(2, 4, 3)).astype(np.float32),
}
KERNEL = RNG.normal(size=(2, 20, 5)).astype(np.float32)


def complex_of(x):
    return tf.complex(x, 0.5 - 0.7 * tf.reverse(x, [-1]))


def parts(z):
    return tf.stack([tf.math.real(z), tf.math.imag(z)], -1)


W = tf.complex(*KERNEL)
COMPLEX = {
    "multiplied": lambda z: z * complex_of(tf.math.real(z) + 1.0),
    "divided": lambda z: z / complex_of(tf.math.real(z) + 1.0),
    "reciprocal": tf.math.reciprocal,
    "conjugated": tf.math.conj,
    "exp": tf.exp,
    "log": tf.math.log,
    "sqrt": tf.sqrt,
    "square": tf.square,
    "power": lambda z: z ** (0.5 + 1.5j),
    "sin": tf.sin,
    "cosh": tf.cosh,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "product": lambda z: tf.matmul(z, W),
    "adjoint product": lambda z: tf.matmul(z[:, :5], W, adjoint_b=True),
    "equation": lambda z: tf.einsum("bi,ij->bj", z, W),
    "sum": lambda z: tf.reduce_sum(z, -1),
    "mean": lambda z: tf.reduce_mean(z, 0),
    "running sum": lambda z: tf.cumsum(z, 1, reverse=True),
    "running product": lambda z: tf.math.cumprod(z, 1, exclusive=True),
    "product of all": lambda z: tf.reduce_prod(z, 1),
    "moved": lambda z: tf.transpose(tf.concat([z[:, 2:9], tf.gather(z, [4, 1], axis=1)], 1)),
    "chosen": lambda z: tf.where(tf.math.real(z) > 0.0, z, tf.math.conj(z)),
    "padded": lambda z: tf.pad(tf.reshape(z, [3, 4, 5]), [[0, 0], [1, 2], [0, 1]]),
    "of a real one": lambda z: tf.cast(tf.math.real(z), tf.complex64) * (1.5 - 2.5j),
}
SIGNALS = {
    "rfft": lambda x: parts(tf.signal.rfft(x)),
    "rfft cut": lambda x: parts(tf.signal.rfft(x, [7])),
    "rfft filled up": lambda x: parts(tf.signal.rfft(x, [32])),
    "irfft": lambda x: tf.signal.irfft(complex_of(x)),
    "irfft odd": lambda x: tf.signal.irfft(complex_of(x), [33]),
    "fft": lambda x: parts(tf.signal.fft(complex_of(x))),
    "ifft": lambda x: parts(tf.signal.ifft(complex_of(x))),
    "fft2d": lambda x: parts(tf.signal.fft2d(tf.reshape(complex_of(x), [3, 4, 5]))),
    "stft": lambda x: parts(tf.signal.stft(x, 8, 4)),
    "inverse stft": lambda x: tf.signal.inverse_stft(tf.signal.stft(x, 8, 4), 8, 4),
    "dct": lambda x: tf.signal.dct(x, norm="ortho"),
}


@pytest.mark.parametrize("column", [COLUMNS[0], pytest.param(COLUMNS[1], marks=pytest.mark.long), COLUMNS[2]], ids=str)
def test_values_are_those_of_tensorflow(column):
    functions = {name: lambda x, f=f: parts(f(complex_of(x))) for name, f in COMPLEX.items()} | SIGNALS
    functions |= {
        "size": lambda x: tf.abs(complex_of(x)),
        "angle": lambda x: tf.math.angle(complex_of(x)),
        "real running product": lambda x: tf.math.cumprod(x, 0, reverse=True),
    }
    for name, found in results(column, "x", functions).items():
        wanted = functions[name](tf.constant(FEED["x"])).numpy()
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5 * np.abs(wanted).max(), err_msg=name)


def slopes(m):
    """Of activations, summed: each has an operator of its own."""
    names = (tf.tanh, tf.sigmoid, tf.nn.relu, tf.nn.relu6, tf.nn.elu, tf.nn.softplus, tf.nn.softsign, tf.nn.leaky_relu)
    functions = (*names, lambda x: tf.sqrt(x * x + 1.0), lambda x: tf.math.rsqrt(x * x + 1.0), tf.math.reciprocal)
    with tf.GradientTape() as tape:
        tape.watch(m)
        total = tf.add_n([tf.reduce_sum((at + 1.0) * function(m)) for at, function in enumerate(functions)])
    return tape.gradient(total, m)


def decoded(m, v):
    """Labels of sequences that are of different lengths, repeated and blank among them."""
    scores = tf.reshape(tf.concat([m, m[:, ::-1], m[:, :2], m[:, :2]], 1), [12, 2, 4])
    found, scores = tf.nn.ctc_greedy_decoder(scores, [12, 7], blank_index=1)
    return tf.sparse.to_dense(found[0], default_value=-1), scores


@pytest.mark.parametrize("column", [COLUMNS[0], COLUMNS[2]], ids=str)
def test_parts_of_arrays(column):
    order = tf.constant([2, 0, 3, 1])
    functions = {
        "crossed": lambda m, v: tf.linalg.cross(v, 2.0 - v[:, :, ::-1]),
        "among the first": lambda m, v: tf.math.in_top_k([1, 3, 0, 2], m[0], 2),
        "inverse order": lambda m, v: tf.math.invert_permutation(order + tf.cast(0.0 * m[0, 0, 0], tf.int32)),
        "windows": lambda m, v: tf.image.extract_patches(
            m[..., None], [1, 2, 3, 1], [1, 2, 1, 1], [1, 1, 1, 1], "SAME"
        ),
        "spread windows": lambda m, v: tf.image.extract_patches(
            m[..., None], [1, 2, 2, 1], [1, 1, 1, 1], [1, 2, 1, 1], "VALID"
        ),
        "replaced": lambda m, v: keras.ops.slice_update(m, (0, 1, 2), v[:, :2, :2]),
        "replaced at the end": lambda m, v: keras.ops.slice_update(m, (1, 3, 3), v[:, :3, :2]),
        "inverse error function": lambda m, v: tf.math.erfinv(tf.tanh(m)),
        "quantile": lambda m, v: tf.math.ndtri(0.5 + 0.4999 * tf.sin(m)),
        "diagonal": lambda m, v: tf.linalg.diag_part(tf.concat([m, v], 2), k=2),
        "diagonal below": lambda m, v: tf.linalg.diag_part(v, k=-1),
        "with a diagonal": lambda m, v: tf.linalg.set_diag(v, m[:, 0, :3]),
        "with one below": lambda m, v: tf.linalg.set_diag(m, v[:, :3, 1], k=-1),
        "shape of both": lambda m, v: tf.broadcast_dynamic_shape(tf.shape(m)[:2], tf.shape(v[:, :1, :1])),
        "sums at places": lambda m, v: tf.scatter_nd([[3], [1], [3]], v[0, :3], [5, 3]),
        "added at places": lambda m, v: tf.tensor_scatter_nd_add(m, [[0, 2], [1, 1], [0, 2]], m[0, :3]),
        "added to numbers": lambda m, v: tf.tensor_scatter_nd_add(v[0, :, 0], [[2], [2], [0], [2]], m[1, 0]),
        "hues": lambda m, v: tf.image.rgb_to_hsv(tf.sigmoid(v)),
        "colours": lambda m, v: tf.image.hsv_to_rgb(tf.sigmoid(v)),
        "another size": lambda m, v: tf.image.resize(v[..., None], [3, 5], "lanczos3", antialias=True),
        "next above": lambda m, v: tf.math.nextafter(m, m + 1.0) - m,
        "next below": lambda m, v: tf.math.nextafter(m, tf.zeros_like(m)) - m,
        "slopes": lambda m, v: slopes(m),
        "labels": lambda m, v: decoded(m, v)[0],
        "likelihood": lambda m, v: decoded(m, v)[1],
    }
    for name, found in results(column, "mv", functions).items():
        wanted = functions[name](tf.constant(FEED["m"]), tf.constant(FEED["v"])).numpy()
        assert found.dtype == wanted.dtype, name
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("column", [pytest.param(COLUMNS[1], marks=pytest.mark.long), COLUMNS[2]], ids=str)
def test_linear_equations(column):
    functions = {
        "solved": tf.linalg.solve,
        "adjoint": lambda m, v: tf.linalg.solve(m, v, adjoint=True),
        "triangle": lambda m, v: tf.linalg.triangular_solve(m, v, lower=True),
        "upper triangle": lambda m, v: tf.linalg.triangular_solve(m, v, lower=False, adjoint=True),
        "inverse": lambda m, v: tf.linalg.inv(m),
        "determinant": lambda m, v: tf.linalg.det(m),
        "sign": lambda m, v: tf.linalg.slogdet(m)[0],
        "logarithm": lambda m, v: tf.linalg.slogdet(m)[1],
        "cholesky": lambda m, v: tf.linalg.cholesky(tf.matmul(m, m, transpose_b=True)),
        # The first pivot is 0: rows change places.
        "permuted": lambda m, v: tf.linalg.solve(m * (1.0 - tf.eye(4)), v),
    }
    for name, found in results(column, "mv", functions).items():
        wanted = functions[name](tf.constant(FEED["m"]), tf.constant(FEED["v"])).numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max(), err_msg=name)


def symmetric(m):
    return m + tf.linalg.matrix_transpose(m)


def rotated(m):
    """Of eigenvectors what does not tell their signs."""
    values, vectors = tf.linalg.eigh(symmetric(m))
    return tf.matmul(vectors * tf.sin(values)[..., None, :], vectors, transpose_b=True)


DECOMPOSED = {
    "upper triangle": lambda m, v: tf.linalg.qr(v)[1],
    "reflections": lambda m, v: tf.linalg.qr(v)[0],
    "all reflections": lambda m, v: tf.linalg.qr(v, full_matrices=True)[0],
    "of a wide one": lambda m, v: tf.linalg.qr(tf.linalg.matrix_transpose(v))[1],
    "of a triangle": lambda m, v: tf.linalg.qr(tf.linalg.band_part(m, 0, -1))[0],
    "both triangles": lambda m, v: tf.linalg.lu(m)[0],
    "order of rows": lambda m, v: tf.linalg.lu(m)[1],
    "eigenvalues": lambda m, v: tf.linalg.eigvalsh(symmetric(m)),
    "function of a matrix": lambda m, v: rotated(m),
    "singular values": lambda m, v: tf.linalg.svd(v, compute_uv=False),
    "of rows": lambda m, v: tf.linalg.svd(tf.linalg.matrix_transpose(v), compute_uv=False),
    "pseudo-inverse": lambda m, v: tf.linalg.pinv(tf.matmul(v, v, transpose_b=True), rcond=1e-3),
    "of one row less": lambda m, v: tf.linalg.svd(m[:, :3, :3], compute_uv=False),
    "constants": lambda m, v: m + tf.math.real(tf.linalg.eig(tf.constant(FEED["m"]))[1]),
    "constant vectors": lambda m, v: m + tf.linalg.eigh(tf.constant(FEED["m"]))[1] + tf.linalg.svd(FEED["m"])[1],
}


@pytest.mark.parametrize(
    "column", [*(pytest.param(one, marks=pytest.mark.long) for one in (COLUMNS[0], COLUMNS[2])), TFLITE], ids=str
)
def test_matrices_taken_apart(column):
    for name, found in results(column, "mv", DECOMPOSED).items():
        wanted = DECOMPOSED[name](tf.constant(FEED["m"]), tf.constant(FEED["v"])).numpy()
        assert found.dtype == wanted.dtype, name
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max(), err_msg=name)


@pytest.mark.parametrize("column", [COLUMNS[0], COLUMNS[2], TFLITE], ids=str)
def test_gamma_and_bessel_functions(column):
    x = np.float32([[1e-30, 0.3, 0.5, 1, 1.001, 1.9999, 2, 3.7, 30, 5e4, -0.5, -0.7, -3.3, np.inf]])
    functions = {
        "lgamma": lambda x: tf.math.lgamma(x),
        "digamma": lambda x: tf.math.digamma(x[:, :-1]),
        "at the poles": lambda x: tf.math.lgamma(tf.floor(tf.minimum(x, 0.0))),
        "i0": lambda x: tf.math.special.bessel_i0(x[:, :9]),
        "i0e": lambda x: tf.math.special.bessel_i0e(x[:, :10]),
    }
    found = run(column, [Case(name, "", "x", function) for name, function in functions.items()], {"x": x})
    for name, function in functions.items():
        assert not found[name].refused, found[name].refused
        np.testing.assert_allclose(found[name].output, function(tf.constant(x)).numpy(), 2e-6, 1e-6, err_msg=name)


def results(column, inputs, functions):
    found = run(column, [Case(name, "", inputs, function) for name, function in functions.items()], FEED)
    assert {name: one.refused for name, one in found.items() if one.refused} == {}
    return {name: one.output for name, one in found.items()}


@pytest.mark.parametrize("column", [COLUMNS[0], COLUMNS[2]], ids=str)
def test_what_would_overflow_when_squared(column):
    x = np.array([[3e30, 4e30], [3e-30, 4e-30], [0.0, 0.0], [np.inf, 1.0]], np.float32)
    case = Case("size", "", "x", lambda x: tf.abs(tf.complex(x[:, 0], x[:, 1])))
    found = run(column, [case], {"x": x})["size"].output
    np.testing.assert_allclose(found, np.float32([5e30, 5e-30, 0, np.inf]), rtol=1e-6)


class LinearRecurrentUnit(keras.layers.Layer):
    """x' = lambda x + B u, y = Re(C x); the state is complex between the timesteps of a loop of its own."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units

    def build(self, shape):
        uniform = keras.initializers.RandomUniform(0.2, 0.9, seed=5)
        self.nu, self.theta = (self.add_weight(shape=(self.units,), initializer=uniform) for _ in range(2))
        self.into = self.add_weight(shape=(2, shape[-1], self.units))
        self.out = self.add_weight(shape=(2, self.units, 3))

    def call(self, u_BTI):
        decay_H = tf.exp(tf.complex(-tf.exp(self.nu), self.theta))
        u_BTH = tf.matmul(tf.cast(u_BTI, tf.complex64), tf.complex(self.into[0], self.into[1]))

        def step(t, x_BH):
            return t + 1, decay_H * x_BH + u_BTH[:, t]

        _, x_BH = tf.while_loop(lambda t, x_BH: t < tf.shape(u_BTI)[1], step, [0, tf.zeros_like(u_BTH[:, 0])])
        return tf.math.real(tf.matmul(x_BH, tf.complex(self.out[0], self.out[1])))


class Spectrum(keras.layers.Layer):
    def call(self, x_BN):
        return tf.math.log(tf.abs(tf.signal.stft(x_BN, 16, 8)) + 1e-3)


def recurrent():
    keras.utils.set_random_seed(7)
    x_BTI = keras.Input((None, 4))
    return keras.Model(x_BTI, LinearRecurrentUnit(5)(x_BTI))


def spectral():
    keras.utils.set_random_seed(8)
    x_BN = keras.Input((80,))
    return keras.Model(x_BN, keras.layers.GRU(5)(Spectrum()(x_BN)))


class Scanned(keras.layers.Layer):
    """Keras chooses by sizes in branches; nearly all of them are known."""

    def call(self, x_BTI):
        def combined(one, other):
            return other[0] * one[0], other[0] * one[1] + other[1]

        _, y_BTI = keras.ops.associative_scan(combined, (keras.ops.sigmoid(x_BTI), x_BTI), axis=1)
        return tf.ensure_shape(y_BTI, [None, 7, 4])


def scanned():
    x_BTI = keras.Input((7, 4))
    return keras.Model(x_BTI, keras.layers.GRU(3)(Scanned()(x_BTI)))


class Discretised(keras.layers.Layer):
    """h' = exp(A / 4) h + A⁻¹ (exp(A / 4) - 1) B x: a loop and branches in a loop, and equations to solve in both."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = units

    def build(self, shape):
        normal = keras.initializers.RandomNormal(stddev=0.6, seed=2)
        self.a = self.add_weight(shape=(self.units, self.units), initializer=normal)
        self.b = self.add_weight(shape=(shape[-1], self.units), initializer=normal)

    def call(self, x_BI, states):
        a_HH, one_HH = self.a - tf.eye(self.units), tf.eye(self.units)
        step_HH = tf.linalg.expm(0.25 * a_HH)
        h_BH = states[0] @ step_HH + x_BI @ self.b @ tf.linalg.solve(a_HH, step_HH - one_HH)
        return h_BH, [h_BH]


def discretised():
    keras.utils.set_random_seed(9)
    return keras.Sequential([keras.Input((None, 3)), keras.layers.RNN(Discretised(2), return_sequences=True)])


LONG = pytest.param(discretised, marks=pytest.mark.long)


@pytest.mark.parametrize("model", [recurrent, scanned, spectral, LONG])
@pytest.mark.parametrize("target", ["onnx", "numpy"])
def test_models_agree_with_a_float64_run_in_complex_numbers(tmp_path, model, target):
    report = rnnexport.export(model(), target, tmp_path / f"m{'.onnx' if target == 'onnx' else '.py'}").report
    assert report.status == "passed"
    assert (report.no_truth, report.no_witness) == ("", "")


def test_no_complex_number_is_left_but_in_the_graph_that_judges():
    source = rnnexport.load(recurrent())
    traced = trace(source, describe(source, Boundary()), unroll=False)
    assert any(map(is_complex, nodes_of(traced)))
    assert not any(map(is_complex, nodes_of(in_forms(traced))))
    written = in_forms(traced)
    assert in_forms(written) is written
    judge = double(traced)
    assert isinstance(judge, Double)
    assert any(tensor.dtype == tf.complex128 for one in judge.graph.get_operations() for tensor in one.outputs)


def nodes_of(traced):
    graph_def = traced.function.graph.as_graph_def()
    return [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]


def is_complex(node):
    return any(tf.complex64.as_datatype_enum in (value.type, *value.list.type) for value in node.attr.values())


def test_a_model_without_such_operators_is_left_as_it_is():
    source = rnnexport.load(keras.Sequential([keras.Input((None, 4)), keras.layers.GRU(5)]))
    traced = trace(source, describe(source, Boundary()), unroll=False)
    assert in_forms(traced) is traced


@pytest.mark.parametrize("target", ["onnx", "numpy"])
def test_one_of_several_functions(tmp_path, target):
    """The last is for every index that is none; one is of complex numbers."""

    def chosen(x_BTI):
        z = tf.complex(x_BTI, 2.0 * x_BTI)
        branches = [lambda: z, lambda: z * tf.complex(x_BTI, 1.0), lambda: -z]
        z = tf.switch_case(tf.cast(tf.clip_by_value(x_BTI[0, 0, 0], -9.0, 9.0), tf.int32), branches)
        return tf.concat([tf.math.real(z), tf.math.imag(z)], -1)

    def diagonal(x_BTI):
        """Empty where the open batch has fewer rows than the diagonal is away."""
        return keras.ops.diagonal(tf.transpose(square(x_BTI), (1, 0, 2)), offset=-1)

    x_BTI = keras.Input((None, 4))
    model = keras.Model(x_BTI, [Unformed(chosen)(x_BTI), Unformed(diagonal)(x_BTI)])
    path = tmp_path / f"m{'.py' if target == 'numpy' else '.onnx'}"
    assert rnnexport.export(model, target, path).report.status == "passed"


def square(x_BTI):
    return tf.matmul(x_BTI, x_BTI, transpose_a=True)


class Unformed(keras.layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x_BTI):
        return self.function(x_BTI)


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda x: tf.math.real(tf.math.asin(tf.cast(x, tf.complex64))), "no form of Asin of complex numbers in"),
        (lambda x: tf.linalg.inv(tf.eye(40) + x[:, :1, :1]), "of 40 unknowns, more than 32"),
        (lambda x: tf.abs(tf.signal.rfft(x, [8192])), "no form of RFFT of 8192 numbers in"),
        (lambda x: tf.math.cumprod(x, tf.shape(x)[1] * 0 + 2), "along an axis that is computed"),
        (lambda x: tf.math.real(tf.linalg.eig(square(x))[0]), "no form of Eig of a matrix that is not constant"),
        (lambda x: tf.linalg.eigh(square(x))[1], "eigenvectors are given out with signs that are its kernel's own"),
        (lambda x: tf.linalg.svd(square(x))[2], "singular vectors are given out with signs"),
        (lambda x: tf.linalg.svd(tf.eye(40) + x[:, :1, :1], compute_uv=False), "of 40 by 40 numbers, more than 32"),
    ],
    ids=["operator", "size", "transform", "axis", "eigenvalues", "eigenvectors", "vectors", "large"],
)
def test_what_has_no_form_is_refused_by_name(tmp_path, function, told):
    model = keras.Sequential([keras.Input((None, 4)), Unformed(function)])
    with pytest.raises(ConversionError, match=told):
        rnnexport.export(model, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("function", "shapes", "paired", "told"),
    [
        (tf.linalg.inv, [[None, None]], False, "of an open number of unknowns"),
        (
            lambda x: tf.image.extract_patches(x, [1, 3, 3, 1], [1, 1, 1, 1], [1, 1, 1, 1], "VALID"),
            [[2, None, 7, 3]],
            False,
            "of an open height or width",
        ),
        (lambda x: tf.math.unsorted_segment_sum(x, [0, 1, 3], 4), [None], False, "of unknown rank"),
        (lambda x: tf.math.unsorted_segment_max(x, [0, 1, 3], 4), [[3, 2]], True, "of complex numbers"),
        (lambda x, at: tf.reduce_prod(x, tf.cast(at, tf.int32)), [[3, 2], [1]], True, "along axes that are computed"),
        (lambda x: tf.reduce_prod(x, 1), [[3, None]], True, "of complex numbers along an open axis"),
        (lambda x: tf.linalg.qr(x)[0], [[None, 3]], False, "of an open number of rows or columns"),
        (lambda x: tf.linalg.svd(x, full_matrices=True)[0], [[4, 3]], False, "full_matrices=False has a form"),
        (lambda x: tf.nn.ctc_greedy_decoder(x, [3])[1], [[5, 1, None]], False, "of an open number of labels"),
    ],
    ids=["unknowns", "windows", "rank", "segments", "axes", "open axis", "rows", "sides", "labels"],
)
def test_a_form_refuses_what_it_can_not_write(function, shapes, paired, told):
    """The form itself is asked: few models get as far, and `test_what_has_no_form_is_refused_by_name` has those."""
    with tf.Graph().as_default():
        operation = function(*(tf.compat.v1.placeholder(tf.float32, shape) for shape in shapes)).op
        first, *others = operation.inputs
        if paired:
            first = ComplexPair(*(tf.compat.v1.placeholder(tf.float32, first.shape) for _ in range(2)))
        with pytest.raises(FormError, match=told):
            _FORMS[operation.type](operation, [first, *others])
