"""Weights in a narrow dtype that compute in float64."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.emit.numpy.loading import NarrowArray

RNG = np.random.default_rng(8)
NARROW = RNG.standard_normal((300, 700)).astype("float32")
X = RNG.standard_normal((3, 4, 300))


@pytest.mark.parametrize(
    "computed",
    [
        lambda w: X @ w,
        lambda w: X[0, 0] @ w,
        lambda w: X @ w[:, 10:300],
        lambda w: w.T @ X[0].T,
        lambda w: w.T @ w,
        lambda w: w * 0.1,
        lambda w: np.tanh(w.transpose(1, 0)),
        lambda w: w.reshape(700, 300)[:5] * 0.1,
        lambda w: w[[1, 2]] * 0.1,
        lambda w: w[3, 4] * 0.1,
        lambda w: np.take(w, [1, 2], axis=0) * 0.1,
        lambda w: np.where(w > 0, w, 0.1),
        lambda w: np.concatenate([w, w]) * 0.3,
        lambda w: np.einsum("abc,cd->abd", X, w),
        lambda w: np.sum(w, axis=0),
        lambda w: w.sum(0),
    ],
)
def test_what_is_computed_with_one_is_in_float64(computed):
    found, wanted = computed(NARROW.view(NarrowArray)), computed(NARROW.astype("float64"))
    assert not isinstance(found, NarrowArray)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_a_part_of_one_is_no_copy():
    part = NARROW.view(NarrowArray)[:, 5:].T
    assert isinstance(part, NarrowArray)
    assert np.may_share_memory(part.view(np.ndarray), NARROW)
