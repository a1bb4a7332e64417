"""The loops of a program: a cell over steps, and a body until it says stop."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.emit.numpy.operators.scanning import repeat, scan

# T steps, B rows, F features, H numbers in a state.
T, B, F, H = 5, 2, 3, 4


def drawn(*shape, dtype=np.float32):
    return np.random.default_rng([7, *shape]).normal(size=shape).astype(dtype)


def cell(x_BF, flag_B, h_BH, count_B, kernel_FH, bias_H):
    h_BH = np.tanh(x_BF @ kernel_FH + 0.5 * h_BH + bias_H)
    return (h_BH[:, :2], ~flag_B, h_BH.sum(dtype=h_BH.dtype)), (h_BH, count_B + flag_B)


def arguments(steps):
    flags = (np.arange(steps * B).reshape(steps, B) % 3) > 0
    return (drawn(steps, B, F), flags), (drawn(B, H), np.array([10, 20])), (drawn(F, H), drawn(H))


@pytest.mark.parametrize("steps", [1, T])
def test_a_scan_stacks_what_each_step_gives_and_carries_the_states(steps):
    (x, flags), (h, count), constants = arguments(steps)
    first, other = h.copy(), count.copy()
    outputs, states = scan(cell, (x, flags), (h, count), constants)

    wanted = []
    for t in range(steps):
        step, (first, other) = cell(x[t], flags[t], first, other, *constants)
        wanted.append(step)
    assert [(y.dtype, y.shape) for y in outputs] == [
        (np.float32, (steps, B, 2)),
        (np.bool_, (steps, B)),
        (np.float32, (steps,)),
    ]
    for at, whole in enumerate(outputs):
        np.testing.assert_array_equal(whole, np.stack([step[at] for step in wanted]))
    np.testing.assert_array_equal(states[0], first)
    np.testing.assert_array_equal(states[1], other)
    assert states[1].tolist() == (np.array([10, 20]) + flags.sum(axis=0)).tolist()


def test_a_scan_leaves_what_it_is_given_as_it_is():
    given = arguments(T)
    before = [array.copy() for group in given for array in group]
    scan(cell, *given)
    for array, old in zip([array for group in given for array in group], before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_without_a_step_outputs_are_empty_and_states_stay():
    sequences, states, constants = arguments(0)
    outputs, after = scan(cell, sequences, states, constants)
    assert [(y.dtype, y.shape) for y in outputs] == [
        (np.float32, (0, B, 2)),
        (np.bool_, (0, B)),
        (np.float32, (0,)),
    ]
    assert after is states


def test_a_scan_of_no_sequence_takes_its_length():
    outputs, (n,) = scan(lambda n: ((n * n,), (n + 1,)), (), (np.array(3),), length=4)
    assert outputs[0].tolist() == [9, 16, 25, 36]
    assert n == 7


def test_a_length_takes_a_part_of_the_sequences():
    outputs, (total,) = scan(lambda x, s: ((s,), (s + x,)), (np.array([1, 2, 3, 4]),), (np.array(0),), length=3)
    assert outputs[0].tolist() == [0, 1, 3]
    assert total == 6


def test_a_cell_without_outputs_gives_its_states():
    assert scan(lambda x, s: ((), (s + x,)), (np.arange(4),), (np.array(1),)) == ((), (7,))


def body(step, go_on, total):
    assert isinstance(step, np.int64)
    assert isinstance(go_on, np.bool_)
    return total < 20, (total + step,), (10 * step, np.array([total, -total]))


@pytest.mark.parametrize(("limit", "steps"), [(None, 8), (100, 8), (4, 4), (1, 1)])
def test_a_loop_ends_at_its_limit_or_when_its_body_says_so(limit, steps):
    (tens, pairs), (total,) = repeat(body, limit, True, (np.array(0),))
    assert tens.tolist() == [10 * step for step in range(steps)]
    before = [sum(range(step)) for step in range(steps)]
    assert pairs.tolist() == [[n, -n] for n in before]
    assert total == sum(range(steps))


@pytest.mark.parametrize(("limit", "go_on"), [(0, True), (None, False), (3, np.array(False))])
def test_a_loop_without_a_step_gives_its_states_and_what_is_empty(limit, go_on):
    states = (np.array(5),)
    outputs, after = repeat(body, limit, go_on, states)
    assert after is states
    assert [(y.shape, y.dtype.name) for y in outputs] == [((0,), "int64"), ((0, 2), "int64")]
