"""What is seen inside a NumPy program: its functions, and the values that it gives a name."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rnnexport.core.errors import UsageError
from rnnexport.targets.numpy import values
from tests.targets.numpy_programs import NUMPY, TEXT, artifact, equations


def test_operators_are_the_functions_that_it_calls(tmp_path):
    assert NUMPY.operators(artifact(tmp_path)) == {
        "@": 4,
        "np.split": 2,
        "sigmoid": 2,
        "np.swapaxes": 2,
        "np.exp": 1,
        "np.tanh": 1,
        "np.empty": 1,
        "gru_cell": 1,
    }


def line_of(fragment):
    return 1 + TEXT[: TEXT.index(fragment)].count("\n")


def test_inner_values_have_the_names_of_the_program_and_the_values_of_the_equations(tmp_path):
    path = artifact(tmp_path)
    golden = NUMPY.read_proof(path).goldens[0]
    inner = NUMPY.inner_values(path, golden.feed)
    assert not inner.left_out
    by_name = {value.name: value for value in inner.values}
    x, h = golden.feed.values()
    each = [equations(x[:, : t + 1], h)[1] for t in range(x.shape[1])]
    cell = f"step/{line_of('h_BH = gru_cell(')} gru_cell"
    for name in (f"{cell}/returned 0", f"step/{line_of('h_TBH =')} h_TBH"):
        np.testing.assert_allclose(by_name[name].array, each, atol=1e-6)
    output = by_name[f"step/{line_of('readout_TBO =')} readout_TBO"]
    np.testing.assert_allclose(output.array.swapaxes(0, 1), golden.expected["readout"], atol=1e-6)
    assert (by_name[f"{cell}/{line_of('n_BH =')} n_BH"].recurrence, output.recurrence) == (cell, "")
    # A name that is given twice is two values: a product, and the gate that it becomes.
    product, gate = (by_name[f"{cell}/{line_of(f'z_BH{end}')} z_BH"].array for end in (", r_BH =", " = sigmoid"))
    assert product.shape == gate.shape == (5, 2, 4)
    assert not ((product > 0) & (product < 1)).all()
    assert ((gate > 0) & (gate < 1)).all()
    # Weights and inputs are handed down as arguments; they are no values.
    assert not any(word in value.name for value in inner.values for word in ("kernel", "recurrent", "input"))
    assert sys.gettrace() is None


def test_inner_values_that_change_their_shape_or_are_too_large_are_left_out_and_told(tmp_path, monkeypatch):
    old, new = "    n_BH = np", "    odd = np.ones(int(9 * abs(h_BH[0, 0])))\n    n_BH = np"
    path = artifact(tmp_path, text=TEXT.replace(old, new))
    feed = NUMPY.read_proof(path).goldens[0].feed
    (left,) = NUMPY.inner_values(path, feed).left_out
    assert left.endswith(" odd")
    monkeypatch.setattr(values, "LARGEST", 39)
    found = NUMPY.inner_values(path, feed)
    assert all(value.array.size <= 39 for value in found.values)
    assert any(name.endswith(" z_BH") for name in found.left_out)


def test_a_buffer_is_seen_when_it_is_full_and_before_it_is_written_to_again(tmp_path):
    old = "    return 1 / (1 + np.exp(-x))"
    new = """    y = sigmoid.__dict__.setdefault("buffer", np.empty_like(x))
    np.exp(-x, out=y)
    y += 1
    np.divide(1, y, out=y)
    return y.copy()"""
    assert old in TEXT
    path = artifact(tmp_path, text=TEXT.replace(old, new))
    inner = NUMPY.inner_values(path, NUMPY.read_proof(path).goldens[0].feed)
    by_name = {value.name: value.array for value in inner.values}
    buffers = {name: array for name, array in by_name.items() if name.endswith(" y")}
    assert [gate.shape for gate in buffers.values()] == [(5, 2, 4), (5, 2, 4)]
    for name, gate in buffers.items():
        np.testing.assert_array_equal(gate, by_name[f"{name.rpartition('/')[0]}/returned 0"])
        assert len(np.unique(gate)) == gate.size


def test_a_feed_that_does_not_fit_is_told(tmp_path):
    feed = {"my-input": np.ones((2, 3, 99), "float32"), "state_gru_00": np.zeros((2, 4), "float32")}
    with pytest.raises(UsageError, match=r"NumPy can't run carried\.py: ValueError"):
        NUMPY.inner_values(artifact(tmp_path), feed)
    assert sys.gettrace() is None
