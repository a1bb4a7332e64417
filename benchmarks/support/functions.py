"""One call of each function of `keras.ops`, on features over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from benchmarks.support.samples import WIDTH, Samples

Call = Callable[[Samples], Any]


def _kernel(*shape: int) -> Any:
    """Constant weights, each of them another number between -1 and 1."""
    return ops.convert_to_tensor(np.sin(1.7 * np.arange(1, 1 + math.prod(shape), dtype="float32")).reshape(shape))


def _decay(x: Any, y: Any) -> Any:
    return 0.5 * x + y


def _unary(name: str, of: str, samples: Samples) -> Any:
    return getattr(ops, name)(getattr(samples, of))


def _binary(name: str, of: tuple[str, str], samples: Samples) -> Any:
    return getattr(ops, name)(*(getattr(samples, one) for one in of))


def _along(name: str, of: str, axis: int, samples: Samples) -> Any:
    return getattr(ops, name)(getattr(samples, of), axis=axis)


def _window(name: str, samples: Samples) -> Any:
    return samples.a * getattr(ops, name)(WIDTH)


_UNARY = {
    "a": """
    abs absolute angle arctan arcsinh cbrt ceil celu conj conjugate copy cos cosh deg2rad elu erf erfc exp exp2 expm1
    fabs floor gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh i0 identity_of imag isfinite isinf isnan
    isneginf isposinf isreal leaky_relu log_sigmoid log_softmax nan_to_num negative ones_like rad2deg real relu relu6
    round selu sigmoid sign signbit silu sin sinc sinh soft_shrink softmax softplus softsign sparse_plus
    sparse_sigmoid sparsemax square squareplus stop_gradient swish tanh tanh_shrink trunc zeros_like empty_like
    transpose flip fliplr flipud ravel normalize
    """,
    "positive": "log log10 log1p log2 reciprocal rsqrt sqrt",
    "unit": "arccos arcsin arctanh erfinv tan",
    "b": "",
    "flags": "logical_not",
    "integers": "bitwise_invert bitwise_not",
    "square": "cholesky cholesky_inverse_of det inv logdet pinv matrix_rank diagonal trace tril triu",
}
_BINARY = {
    ("a", "b"): """
    add subtract multiply maximum minimum arctan2 divide_no_nan equal not_equal greater greater_equal less less_equal
    fmax fmin heaviside hypot isclose logaddexp logaddexp2 nextafter polar allclose
    """,
    ("b", "positive"): "divide true_divide floor_divide fmod mod",
    ("positive", "a"): "power",
    ("flags", "flags"): "logical_and logical_or logical_xor",
    ("integers", "counts"): """
    bitwise_and bitwise_or bitwise_xor gcd lcm left_shift right_shift bitwise_left_shift bitwise_right_shift ldexp isin
    """,
    ("rows", "rows"): "outer vdot kron",
    ("square", "square"): "matmul dot_of_matrices solve",
    ("a", "a"): "inner_of_rows cdist",
}
_ALONG = {
    -1: """
    all amax amin any argmax argmin argsort count_nonzero cumprod cumsum diff logsumexp max mean median min nanargmax
    nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin nanprod nanstd nansum nanvar prod ptp sort std sum
    var norm average trapezoid
    """,
}
# What gives booleans or places is called on the input itself: rounding may change the order of what is computed.
_OF_INPUT = "all any argmax argmin argsort nanargmax nanargmin".split()  # noqa: SIM905 - as the lists above
_WINDOWS = "bartlett blackman hamming hanning"


def _families() -> dict[str, Call]:
    found: dict[str, Call] = {}
    for of, names in _UNARY.items():
        found |= {name: partial(_unary, name, of) for name in names.split()}
    for pair, names in _BINARY.items():
        found |= {name: partial(_binary, name, pair) for name in names.split()}
    for axis, names in _ALONG.items():
        found |= {name: partial(_along, name, "b" if name in _OF_INPUT else "a", axis) for name in names.split()}
    found |= {name: partial(_window, name) for name in _WINDOWS.split()}
    return {name: call for name, call in found.items() if hasattr(ops, name)}


_ONE_BY_ONE: dict[str, Call] = {
    "adaptive_average_pool": lambda s: ops.adaptive_average_pool(ops.transpose(s.a, (0, 2, 1)), 2),
    "adaptive_max_pool": lambda s: ops.adaptive_max_pool(ops.transpose(s.a, (0, 2, 1)), 2),
    "append": lambda s: ops.append(s.a, s.b, axis=-1),
    "arange": lambda s: s.a * ops.arange(WIDTH, dtype="float32"),
    "arccosh": lambda s: ops.arccosh(s.positive + 1),
    "argpartition": lambda s: ops.argpartition(s.b[0, 0], 2),
    "array": lambda s: s.a * ops.array([1.0, 2.0, -3.0, 0.5]),
    "array_split": lambda s: ops.array_split(s.a, 3, axis=-1),
    "associative_scan": lambda s: ops.associative_scan(_decay, s.square, axis=0),
    "average_pool": lambda s: ops.average_pool(s.a, 3, 1, "same"),
    "batch_normalization": lambda s: ops.batch_normalization(s.a, _kernel(WIDTH), ops.abs(_kernel(WIDTH)) + 0.5, -1),
    "binary_crossentropy": lambda s: ops.binary_crossentropy(s.unit * s.unit, s.positive / 2),
    "bincount": lambda s: ops.bincount(s.ids, minlength=WIDTH),
    "broadcast_to": lambda s: ops.broadcast_to(s.a[:, :1, :1], ops.shape(s.a)),
    "cast": lambda s: ops.cast(s.b, "int32"),
    "categorical_crossentropy": lambda s: ops.categorical_crossentropy(ops.softmax(s.b), ops.softmax(s.a)),
    "cholesky_inverse": lambda s: ops.cholesky_inverse(ops.cholesky(s.square)),
    "clip": lambda s: ops.clip(s.a, -0.3, 0.4),
    "concatenate": lambda s: ops.concatenate([s.a, s.b], axis=1),
    "cond": lambda s: ops.cond(ops.sum(s.a) > 0, lambda: s.a * 2, lambda: s.a - 1),
    "conv": lambda s: ops.conv(s.a, _kernel(3, WIDTH, 5), padding="same"),
    "conv_transpose": lambda s: ops.conv_transpose(s.a, _kernel(3, 5, WIDTH), 2),
    "convert_to_tensor": lambda s: ops.convert_to_tensor(s.a) + 1,
    "corrcoef": lambda s: ops.corrcoef(s.a[0]),
    "correlate": lambda s: ops.correlate(s.rows[0], _kernel(3), mode="valid"),
    "cross": lambda s: ops.cross(s.a[..., :3], s.b[..., :3]),
    "ctc_decode": lambda s: ops.ctc_decode(s.a, ops.full((ops.shape(s.a)[0],), ops.shape(s.a)[1]), "greedy"),
    "ctc_loss": lambda s: ops.ctc_loss(
        ops.clip(s.ids[:, :1], 1, 3), s.a, ops.ones_like(s.ids[:, 0]), ops.full_like(s.ids[:, 0], ops.shape(s.a)[1])
    ),
    "depth_to_space": lambda s: ops.depth_to_space(ops.expand_dims(s.a, 2), 2),
    "depthwise_conv": lambda s: ops.depthwise_conv(s.a, _kernel(3, WIDTH, 2), padding="same"),
    "diag": lambda s: ops.diag(s.square[0]),
    "diagflat": lambda s: ops.diagflat(s.rows[0]),
    "digitize": lambda s: ops.digitize(s.b, [-1.0, 0.0, 2.0]),
    "dot": lambda s: ops.dot(s.a, _kernel(WIDTH, 5)),
    "dot_product_attention": lambda s: ops.dot_product_attention(*[ops.expand_dims(one, 2) for one in (s.a, s.b, s.a)]),
    "dsplit": lambda s: ops.dsplit(s.a, 2),
    "dstack": lambda s: ops.dstack([s.a, s.b]),
    "eig": lambda s: ops.sort(ops.real(ops.eig(s.square)[0])),
    "eigh": lambda s: ops.eigh(s.square)[0],
    "einsum": lambda s: ops.einsum("btf,bsf->bts", s.a, s.b),
    "empty": lambda s: s.a + 0 * ops.empty((WIDTH,)),
    "expand_dims": lambda s: ops.expand_dims(s.a, 1),
    "extract_sequences": lambda s: ops.extract_sequences(s.frame, 4, 2),
    "eye": lambda s: s.square + ops.eye(WIDTH),
    "fft": lambda s: ops.fft((s.a, s.b)),
    "fft2": lambda s: ops.fft2((s.square, s.square * 0.5)),
    "fold": lambda s: ops.fold(ops.reshape(s.square, (-1, 4, 4)), (3, 3), 2),
    "fori_loop": lambda s: ops.fori_loop(0, 3, lambda i, x: ops.tanh(x + ops.cast(i, "float32")), s.a),
    "full": lambda s: s.a + ops.full((WIDTH,), 2.0),
    "full_like": lambda s: s.a + ops.full_like(s.a, 2.0),
    "geomspace": lambda s: s.a * ops.geomspace(1.0, 8.0, WIDTH),
    "get_item": lambda s: ops.get_item(s.a, (slice(None), slice(None, None, 2))),
    "histogram": lambda s: ops.histogram(ops.reshape(s.b, (-1,)), 5, (-2.0, 2.0)),
    "hsplit": lambda s: ops.hsplit(s.square, 2),
    "hstack": lambda s: ops.hstack([s.a, s.b]),
    "identity": lambda s: s.square * ops.identity(WIDTH),
    "ifft2": lambda s: ops.ifft2((s.square, s.square * 0.5)),
    "in_top_k": lambda s: ops.in_top_k(s.ids[:, 0], s.rows, 2),
    "inner": lambda s: ops.inner(s.a, _kernel(5, WIDTH)),
    "irfft": lambda s: ops.irfft((s.a, s.b), 6),
    "istft": lambda s: ops.istft(ops.stft(s.frame, 4, 2, 4), 4, 2, 4),
    "isin": lambda s: ops.isin(s.integers, [1, 3]),
    "jvp": lambda s: ops.jvp(ops.tanh, (s.a,), (s.b,)),
    "kaiser": lambda s: s.a * ops.kaiser(WIDTH, 5.0),
    "kron": lambda s: ops.kron(s.square[0], _kernel(2, 3)),
    "layer_normalization": lambda s: ops.layer_normalization(s.a, _kernel(WIDTH), _kernel(WIDTH)),
    "linspace": lambda s: s.a * ops.linspace(-1.0, 1.0, WIDTH),
    "logspace": lambda s: s.a * ops.logspace(-1.0, 1.0, WIDTH),
    "lstsq": lambda s: ops.lstsq(s.square[0], s.square[0] * 2 + 1),
    "lu_factor": lambda s: ops.lu_factor(s.square[0]),
    "map": lambda s: ops.map(lambda row: ops.tanh(row) + 1, s.a),
    "max_pool": lambda s: ops.max_pool(s.a, 3, 1, "same"),
    "meshgrid": lambda s: ops.meshgrid(s.rows[0], s.rows[-1]),
    "moments": lambda s: ops.moments(s.a, axes=[1]),
    "moveaxis": lambda s: ops.moveaxis(s.a, 1, 2),
    "multi_hot": lambda s: ops.multi_hot(s.counts, 5),
    "nanpercentile": lambda s: ops.nanpercentile(s.a, 30, axis=-1),
    "nanquantile": lambda s: ops.nanquantile(s.a, 0.3, axis=-1),
    "nonzero": lambda s: ops.stack(ops.nonzero(s.a), axis=0),
    "one_hot": lambda s: ops.one_hot(s.ids, 5),
    "ones": lambda s: s.a * ops.ones((WIDTH,)),
    "pad": lambda s: ops.pad(s.a, ((0, 0), (1, 2), (0, 1)), "reflect"),
    "percentile": lambda s: ops.percentile(s.a, 30, axis=-1),
    "psnr": lambda s: ops.psnr(s.a, s.b, 1.0),
    "qr": lambda s: ops.abs(ops.qr(s.square)[1]),
    "quantile": lambda s: ops.quantile(s.a, 0.3, axis=-1),
    "rearrange": lambda s: ops.rearrange(s.a, "b t f -> b f t"),
    "repeat": lambda s: ops.repeat(s.a, 2, axis=1),
    "reshape": lambda s: ops.reshape(s.a, (ops.shape(s.a)[0], -1, 2)),
    "rfft": lambda s: ops.rfft(s.a),
    "rms_normalization": lambda s: ops.rms_normalization(s.a, _kernel(WIDTH)),
    "roll": lambda s: ops.roll(s.a, 1, axis=1),
    "rot90": lambda s: ops.rot90(s.a, 1, (1, 2)),
    "saturate_cast": lambda s: ops.saturate_cast(s.b, "uint8"),
    "scan": lambda s: ops.scan(
        lambda c, x: (0.5 * c + x, ops.tanh(c)), ops.zeros_like(s.a[:, 0]), ops.transpose(s.a, (1, 0, 2))
    ),
    "scatter": lambda s: ops.scatter(ops.array([[1], [3]]), s.rows[0, :2], (5,)),
    "scatter_update": lambda s: ops.scatter_update(s.a, [[0, 0, 1], [0, 0, 3]], [2.0, -3.0]),
    "searchsorted": lambda s: ops.searchsorted(ops.array([-1.0, 0.0, 2.0]), ops.reshape(s.b, (-1,))),
    "segment_max": lambda s: ops.segment_max(s.a[0], s.ids[0], 4),
    "segment_min": lambda s: ops.segment_min(s.a[0], s.ids[0], 4),
    "segment_prod": lambda s: ops.segment_prod(s.a[0], s.ids[0], 4),
    "segment_sum": lambda s: ops.segment_sum(s.a[0], s.ids[0], 4),
    "select": lambda s: ops.select([s.b < -1, s.flags], [s.a, s.b], 0.5),
    "separable_conv": lambda s: ops.separable_conv(s.image, _kernel(3, 2, 2, 2), _kernel(1, 1, 4, 3), padding="same"),
    "shape": lambda s: s.a * ops.cast(ops.shape(s.a)[1], "float32"),
    "size": lambda s: s.a * ops.cast(ops.size(s.a), "float32"),
    "slice": lambda s: ops.slice(s.square, (0, 1, 2), (1, 2, 2)),
    "slice_update": lambda s: ops.slice_update(s.a, (0, 0, 1), s.b[:, :, :2]),
    "slogdet": lambda s: ops.slogdet(s.square),
    "solve_triangular": lambda s: ops.solve_triangular(ops.tril(s.square), s.square, lower=True),
    "space_to_depth": lambda s: ops.space_to_depth(ops.expand_dims(s.square, -1), 2),
    "sparse_categorical_crossentropy": lambda s: ops.sparse_categorical_crossentropy(s.ids, s.a, from_logits=True),
    "split": lambda s: ops.split(s.a, [1], axis=-1),
    "squeeze": lambda s: ops.squeeze(s.a[:, :, :1], -1),
    "stack": lambda s: ops.stack([s.a, s.b], axis=2),
    "stft": lambda s: ops.stft(s.frame, 4, 2, 4),
    "svd": lambda s: ops.svd(s.square, compute_uv=False),
    "swapaxes": lambda s: ops.swapaxes(s.a, 1, 2),
    "switch": lambda s: ops.switch(s.ids[0, 0], [lambda x: x, lambda x: x * 2, lambda x: x - 1, ops.tanh], s.a),
    "take": lambda s: ops.take(_kernel(WIDTH, 3), s.ids, axis=0),
    "take_along_axis": lambda s: ops.take_along_axis(s.a, s.counts, axis=-1),
    "tensordot": lambda s: ops.tensordot(s.a, _kernel(WIDTH, 3), 1),
    "threshold": lambda s: ops.threshold(s.a, 0.1, -2.0),
    "tile": lambda s: ops.tile(s.a, (1, 2, 1)),
    "top_k": lambda s: ops.top_k(s.b, 2),
    "tri": lambda s: s.square * ops.tri(WIDTH),
    "trapezoid": lambda s: ops.trapezoid(s.a, dx=0.5),
    "unfold": lambda s: ops.unfold(ops.expand_dims(s.square, 1), 2),
    "unique": lambda s: ops.unique(ops.reshape(s.counts, (-1,))),
    "unravel_index": lambda s: ops.unravel_index(s.ids, (2, 2)),
    "unstack": lambda s: ops.unstack(s.a, axis=-1),
    "vander": lambda s: ops.vander(s.rows[0], 3),
    "vectorize": lambda s: ops.vectorize(lambda x: ops.tanh(x) + 1)(s.a),
    "vectorized_map": lambda s: ops.vectorized_map(lambda row: ops.tanh(row) + 1, s.a),
    "vdot": lambda s: ops.vdot(s.rows[0], s.rows[-1]),
    "outer": lambda s: ops.outer(s.rows[0], s.rows[-1]),
    "view": lambda s: ops.view(s.b, dtype="int32"),
    "view_as_complex": lambda s: ops.view_as_complex(s.a[..., :2]),
    "view_as_real": lambda s: ops.view_as_real(ops.view_as_complex(s.a[..., :2])),
    "vsplit": lambda s: ops.vsplit(s.a[:1], 1),
    "vstack": lambda s: ops.vstack([s.a, s.b]),
    "where": lambda s: ops.where(s.flags, s.a, s.b),
    "while_loop": lambda s: ops.while_loop(lambda x: ops.max(ops.abs(x)) > 0.1, lambda x: (x * 0.5,), (s.a,)),
    "zeros": lambda s: s.a + ops.zeros((WIDTH,)),
}

NOT_APPLICABLE: Mapping[str, str] = {
    "convert_to_numpy": "takes a tensor out of the model",
    "custom_gradient": "for training alone",
    "dtype": "asks about a tensor, computes nothing",
    "is_tensor": "asks about a tensor, computes nothing",
    "ndim": "asks about a tensor, computes nothing",
}

CALLS: Mapping[str, Call] = {**_families(), **_ONE_BY_ONE}
