from __future__ import annotations

import itertools

import numpy as np
import pytest

from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.verification.domain import Domain
from rnnexport.verification.feeds import (
    HUGE,
    LARGE,
    LONG,
    PLANNED,
    TINY,
    WIDE,
    Feed,
    beside,
    chunks,
    feed_at,
    feeds,
    rounded,
    wanted,
)


def sequence(batch, time, dtype="float32", **options):
    return TensorSpec("x", dtype, (batch, time, 4), **options)


def sizes(signature):
    return [feed.arrays["x"].shape[:2] for feed in feeds(signature)]


@pytest.mark.parametrize(
    ("batch", "time"), itertools.product(("batch", 1, 2, 3, 4, 5, 7), ("time", 1, 2, 3, 4, 5, 6, 9, 12))
)
def test_batch_never_equals_length_and_open_sizes_vary(batch, time):
    if batch == time:
        return
    shapes = sizes(Signature((sequence(batch, time),), ()))
    assert len(shapes) == 11
    assert all(b != t for b, t in shapes)
    for axis, size in enumerate((batch, time)):
        seen = {shape[axis] for shape in shapes}
        assert seen == {size} if isinstance(size, int) else len(seen) >= 3


def test_length_1_is_among_the_feeds():
    assert 1 in {time for _, time in sizes(Signature((sequence("batch", "time"),), ()))}


def test_the_same_seed_gives_the_same_feeds_and_another_gives_others():
    signature = Signature((sequence("batch", "time"),), ())
    one, two, other = (list(feeds(signature, seed)) for seed in (0, 0, 1))
    for first, second, third in zip(one, two, other, strict=True):
        np.testing.assert_array_equal(first.arrays["x"], second.arrays["x"])
        assert not np.array_equal(first.arrays["x"], third.arrays["x"])


def test_values_are_distinct_large_and_tiny():
    arrays = [feed.arrays["x"] for feed in feeds(Signature((sequence("batch", "time"),), ()))]
    assert all(len(np.unique(array)) == array.size for array in arrays)
    assert max(np.abs(array).max() for array in arrays) > 10
    assert min(np.abs(array).max() for array in arrays) < 0.1
    assert all(array.dtype == np.float32 for array in arrays)


def test_ids_stay_inside_the_vocabulary():
    spec = TensorSpec("x", "int32", ("batch", "time"), high=3)
    arrays = [feed.arrays["x"] for feed in feeds(Signature((spec,), ()))]
    assert {int(value) for array in arrays for value in array.ravel()} == {0, 1, 2}


def test_bools_are_both_values():
    arrays = [feed.arrays["x"] for feed in feeds(Signature((sequence("batch", "time", "bool"),), ()))]
    assert set(np.concatenate([array.ravel() for array in arrays])) == {False, True}


def test_states_start_at_their_initial_value_and_at_others():
    initial = np.full((2, 3), 0.25, "float32")
    before, after = TensorSpec("s", "float32", (2, 3)), TensorSpec("n", "float32", (2, 3))
    signature = Signature((sequence(2, "time"),), (), (StateSpec("gru", before, after, initial),))
    starts = [feed.arrays["s"] for feed in feeds(signature)]
    fresh = [np.array_equal(start, initial) for start in starts]
    assert any(fresh)
    assert not all(fresh)


def test_large_states_come_with_inputs_that_leave_gates_open():
    signature = stateful()
    found = [feed.arrays for feed in itertools.islice(feeds(signature), wanted(signature))]
    assert any(np.abs(one["s"]).max() > 5 and np.abs(one["x"]).max() < 15 for one in found)


def test_other_dynamic_dimensions_vary_too():
    spec = TensorSpec("x", "float32", ("batch", "time", "x_axis2", "x_axis3", 3))
    shapes = [feed.arrays["x"].shape for feed in feeds(Signature((spec,), ()))]
    assert len({shape[2] for shape in shapes}) >= 3
    assert all(shape[2] != shape[3] for shape in shapes)


def test_no_batch_meets_a_fixed_length_of_ids_or_of_a_second_input():
    ids = TensorSpec("x", "int32", ("batch", 5))
    assert all(batch != 5 for batch, _ in sizes(Signature((ids,), ())))
    both = Signature((sequence("batch", 3), TensorSpec("y", "float32", ("batch", 5, 2))), ())
    assert {batch for batch, _ in sizes(both)}.isdisjoint({3, 5})
    assert len({batch for batch, _ in sizes(both)}) >= 3


PADDED = {
    "float32": TensorSpec("x", "float32", (4, "time", 3), mask=-1.5),
    "int32": TensorSpec("x", "int32", (4, "time"), high=6, mask=0.0),
}


@pytest.mark.parametrize("dtype", PADDED)
def test_padding_is_behind_before_inside_and_all_over(dtype):
    spec, found = PADDED[dtype], set()
    first, *rest = (feed.arrays["x"] for feed in feeds(Signature((spec,), ())))
    assert not (first == spec.mask).any()
    for array in rest:
        masked = (array == spec.mask).reshape(4, array.shape[1], -1)
        assert (masked.all(-1) == masked.any(-1)).all()  # a timestep is padding as a whole
        for row in masked.all(-1):
            if row.all():
                found.add("all over")
            elif row[0] and not row[-1]:
                found.add("before")
            elif row[-1] and not row[0]:
                found.add("behind")
            elif row.any():
                found.add("inside")
    assert found == {"all over", "before", "behind", "inside"}


def test_one_row_sees_every_padding_too():
    spec = TensorSpec("x", "float32", (1, "time", 3), mask=0.0)
    kinds = {str((feed.arrays["x"] == 0).all(-1)[0][[0, -1]]) for feed in feeds(Signature((spec,), ()))}
    assert len(kinds) == 4


def test_sequences_of_their_own_length_differ():
    other = TensorSpec("y", "float32", ("batch", "y_time", 2))
    for feed in feeds(Signature((sequence("batch", "time"), other), ())):
        batch, time = feed.arrays["x"].shape[:2]
        assert feed.arrays["y"].shape[0] == batch
        assert feed.arrays["y"].shape[1] not in (batch, time)


def test_float_ids_are_whole_numbers_of_the_vocabulary():
    spec = TensorSpec("x", "float32", ("batch", "time"), high=4)
    values = np.concatenate([feed.arrays["x"].ravel() for feed in feeds(Signature((spec,), ()))])
    assert set(values) == {0.0, 1.0, 2.0, 3.0}


def test_rounding_moves_real_values_by_one_step_and_leaves_ids_and_padding():
    arrays = {"x": np.array([0.5, -1.3, 0.0, 2.0], "float32"), "ids": np.array([1.0, 2.0], "float32")}
    moved = rounded(Feed("", arrays), float(np.finfo("float32").eps)).arrays
    np.testing.assert_array_equal(moved["ids"], arrays["ids"])
    np.testing.assert_array_equal(moved["x"][2:], [0.0, 2.0])
    steps = np.abs(moved["x"][:2] - arrays["x"][:2]) / np.spacing(np.abs(arrays["x"][:2]))
    assert (steps > 0).all()
    assert (steps <= 2).all()


def stateful():
    before, after = TensorSpec("s", "float32", (2, 3)), TensorSpec("n", "float32", (2, 3))
    state = StateSpec("gru", before, after, np.full((2, 3), 0.25, "float32"))
    return Signature((sequence(2, "time"),), (), (state,))


def test_chunks_start_fresh_and_go_on_from_the_call_before():
    first, *others = chunks(stateful())
    np.testing.assert_array_equal(first.arrays["s"], np.full((2, 3), 0.25))
    assert [feed.carries for feed in (first, *others)] == [False, True, True]
    assert all("s" not in feed.arrays for feed in others)
    assert {feed.arrays["x"].shape[1] for feed in (first, *others)} == {1, 3, 4}
    assert chunks(Signature((sequence("batch", "time"),), ())) == ()


def test_what_every_model_is_verified_with_besides():
    open_one = Signature((sequence("batch", "time"),), ())
    assert beside(open_one) == (LONG, WIDE, TINY, LARGE, HUGE)
    arrays = {index: feed_at(open_one, 0, index).arrays["x"] for index in beside(open_one)}
    assert arrays[LONG].shape[1] > 100
    assert arrays[WIDE].shape[0] == 33
    assert {index: round(np.log10(np.abs(arrays[index]).max())) for index in (TINY, LARGE, HUGE)} == {
        TINY: -6,
        LARGE: 2,
        HUGE: 3,
    }
    assert beside(Signature((sequence("batch", 6),), ())) == (WIDE, TINY, LARGE, HUGE)
    assert beside(Signature((sequence(5, "time"),), ())) == (LONG, TINY, LARGE, HUGE)
    assert beside(Signature((sequence(5, 6),), ())) == (TINY, LARGE, HUGE)


def test_ids_have_more_sequences_where_a_scale_would_say_nothing():
    ids = Signature((TensorSpec("x", "int32", ("batch", "time"), high=50, mask=0),), ())
    shapes = [feed_at(ids, 0, index).arrays["x"].shape for index in (TINY, LARGE, HUGE)]
    assert shapes == [(11, 4), (8, 9), (12, 6)]
    beside_features = Signature((*ids.inputs, TensorSpec("y", "float32", ("batch", "time", 2))), ())
    assert feed_at(beside_features, 0, LARGE).arrays["x"].shape == (2, 4)


def test_a_batch_of_33_makes_way_for_a_length_of_33():
    assert feed_at(Signature((sequence("batch", 33),), ()), 0, WIDE).arrays["x"].shape[0] == 34


@pytest.mark.parametrize("mask", [None, 0.0])
def test_the_first_and_the_last_id_are_in_every_feed(mask):
    spec = TensorSpec("x", "int32", ("batch", "time"), high=5000, mask=mask)
    signature = Signature((spec,), ())
    for index in (*range(wanted(signature)), *beside(signature)):
        ids = feed_at(signature, 0, index).arrays["x"]
        assert ids.max() == 4999
        assert ids[ids != mask].min() == (0 if mask is None else 1)


def test_a_domain_bounds_real_values_and_leaves_a_token_in_each_row():
    spec = TensorSpec("x", "float32", ("batch", "time", 3), mask=-1.5)
    domain = Domain(most=0.9, positive=True, tokens=True, longer=2)
    assert Domain.from_json(domain.to_json()) == domain
    for index in range(7):
        wide = feed_at(Signature((spec,), ()), 0, index).arrays["x"]
        array = feed_at(Signature((spec,), ()), 0, index, domain).arrays["x"]
        assert array.shape == (wide.shape[0], wide.shape[1] + 2, 3)
        real = array[array != spec.mask]
        assert 0 < real.min() < real.max() <= np.float32(0.9)
        assert (array != spec.mask).all(-1).any(-1).all()
    assert (feed_at(Signature((spec,), ()), 0, 1).arrays["x"] == spec.mask).all(-1).all(-1).any()


def test_a_feed_can_be_made_again_without_those_before_it():
    signature = stateful()
    besides = [feed_at(signature, 3, index) for index in beside(signature)]
    for feed in [*feeds(signature, 3), *besides, *chunks(signature, 3)]:
        again = feed_at(signature, 3, feed.index)
        assert (again.label, again.carries, again.arrays.keys()) == (feed.label, feed.carries, feed.arrays.keys())
        for name, array in feed.arrays.items():
            np.testing.assert_array_equal(again.arrays[name], array)
    with pytest.raises(IndexError):
        feed_at(signature, 3, HUGE + 4)


def test_rows_of_the_wide_feed_have_several_scales():
    open_one = Signature((sequence("batch", "time"),), ())
    sizes = np.sqrt(np.mean(np.square(feed_at(open_one, 0, WIDE).arrays["x"]), axis=(1, 2)))
    by_scale = [sizes[at::4].mean() for at in range(4)]
    np.testing.assert_allclose(by_scale, [1, 3, 0.3, 6], rtol=0.35)
    signs = np.sign(feed_at(open_one, 0, WIDE).arrays["x"])
    assert (signs[1::3] == 1).all()
    assert (signs[2::3] == -1).all()
    assert {-1, 1} <= set(signs[::3].ravel())
    low = TensorSpec("x", "float32", ("batch", "time", 3), range=(2.0, 4.0))
    bounded = feed_at(Signature((low,), ()), 0, WIDE).arrays["x"]
    assert (bounded.min(), bounded.max()) >= (2, 2)
    assert bounded.max() <= 4


def test_each_row_of_large_states_has_one_past_20():
    """A state that is clipped there, or a branch beyond, shows in every model."""
    at = {index: feed_at(stateful(), 0, index).arrays["s"] for index in range(PLANNED)}
    assert (np.abs(at[6]).max(axis=1) >= 25).all()
    assert (np.abs(at[6]).min(axis=1) < 10).all()
    assert all(np.abs(array).max() < 10 for index, array in at.items() if index != 6)
    bounded = feed_at(stateful(), 0, 6, Domain(most=0.9)).arrays["s"]
    np.testing.assert_allclose(np.abs(bounded).max(axis=1), 0.9, rtol=1e-6)
