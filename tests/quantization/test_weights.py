"""Weights in int8: how near they are, and that their products fit where x86 adds two of them in 16 bits."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.quantization.weights import per_channel

RNG = np.random.default_rng(5)


def saturating_product(x_u8, q_s8):
    """Rows times a matrix as `vpmaddubsw` and its followers do: two products are added in 16 bits, which saturate."""
    x, q = x_u8.astype(np.int64), q_s8.astype(np.int64)
    if x.shape[1] % 2:
        x, q = np.pad(x, ((0, 0), (0, 1))), np.pad(q, ((0, 1), (0, 0)))
    pairs = x[:, 0::2, None] * q[None, 0::2] + x[:, 1::2, None] * q[None, 1::2]
    return np.clip(pairs, -(1 << 15), (1 << 15) - 1).sum(axis=1)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_each_channel_has_the_scale_of_its_largest_weight(axis):
    weight = RNG.standard_normal((6, 5)).astype("f") * np.array([1e-3, 1, 10, 0, 5], "f")
    q, scale = per_channel(weight, axis)
    rest = 1 - axis % 2
    largest = np.abs(weight).max(axis=rest)
    np.testing.assert_allclose(scale, np.maximum(largest / 127, 1e-30), rtol=1e-6)
    back = q * np.expand_dims(scale, rest)
    assert np.all(np.abs(back - weight) <= np.expand_dims(scale, rest) * 0.5001)
    assert q.dtype == np.int8
    assert np.abs(q[:, 3]).max() == 0 or axis == 0


def test_a_channel_of_zeros_is_zeros():
    q, scale = per_channel(np.zeros((4, 2), "f"), 1, along=0)
    assert not q.any()
    assert np.all(scale > 0)


@pytest.mark.parametrize("rows", [7, 8])
def test_products_fit_where_two_are_added_in_16_bits(rows):
    weight = np.abs(RNG.standard_normal((rows, 9))).astype("f")  # of one sign: the worst there is
    weight[:, 0] = 1.0
    x = np.concatenate([np.full((1, rows), 255), RNG.integers(0, 256, (20, rows))]).astype(np.uint8)
    q, scale = per_channel(weight, 1, along=0)
    exact = x.astype(np.int64) @ q.astype(np.int64)
    np.testing.assert_array_equal(saturating_product(x, q), exact)
    plain, _ = per_channel(weight, 1)
    assert np.any(saturating_product(x, plain) != x.astype(np.int64) @ plain.astype(np.int64))
    assert np.all(np.abs(q * scale - weight) <= scale * 0.5001)


def test_weights_of_both_signs_lose_less_than_a_bit():
    weight = RNG.standard_normal((256, 40)).astype("f")
    safe, plain = per_channel(weight, 1, along=0)[1], per_channel(weight, 1)[1]
    assert np.all(safe >= plain)
    assert np.all(safe <= 2 * plain)
    assert np.median(safe / plain) < 1.6


def test_neighbours_of_another_channel_do_not_count():
    weight = np.array([[1.0, -1.0], [-1.0, 1.0]], "f")  # in each column the signs differ: nothing adds up
    assert per_channel(weight, 1, along=0)[1].tolist() == per_channel(weight, 1)[1].tolist()
