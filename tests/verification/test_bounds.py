from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rnnexport.targets.base import Kernels
from rnnexport.targets.registry import target
from rnnexport.verification.compare import Wanted, compare, excess
from rnnexport.verification.tolerance import Bounds, Override, Tolerance, Tolerances, allowed, bounds, leeway

T = Tolerance(rtol=1e-5, atol=2e-6)
VALUE = np.array([1.0, -2.0, 0.0, 100.0], "float32")
SPREAD = np.array([1e-7, 1e-3, 0.0, np.inf])


def test_a_value_has_the_tolerance_or_half_as_much_again_as_what_rounding_makes_of_it():
    np.testing.assert_allclose(allowed(T, VALUE, leeway(SPREAD)), [1.2e-5, 1.5e-3, 2e-6, np.inf])
    np.testing.assert_allclose(allowed(T, VALUE, None), [1.2e-5, 2.2e-5, 2e-6, 1.002e-3])


def test_what_is_wider_is_counted_and_how_far():
    told = bounds(T, VALUE, leeway(SPREAD))
    assert (told.wider, told.coarse, told.largest) == (2, 1, np.inf)
    assert bounds(T, VALUE, leeway(SPREAD[:3].repeat(2)[:4])).largest == pytest.approx(1.5e-3 / 2e-6)
    assert bounds(T, VALUE, None) == bounds(T, VALUE[:0], SPREAD[:0]) == Bounds()
    assert Bounds(2, 1, 8.0).merged(Bounds(3, 0, 2.0)) == Bounds(5, 1, 8.0)


def test_one_value_on_an_edge_lets_no_other_through():
    """The second one may be 1.5e-3 off, and the first still no more than 1.2e-5."""
    wanted = Wanted(VALUE[:3], VALUE[:3].astype(float), spread=SPREAD[:3], least=leeway(SPREAD[:3]))
    for off, passed in (([1e-5, 1.4e-3, 0], True), ([1e-5, 1.6e-3, 0], False), ([1.3e-5, 0, 0], False)):
        found = (VALUE[:3] + np.array(off)).astype("float32")
        one = compare("y", found, wanted, T)
        assert one.passed is passed
        assert (one.bounds.wider, one.bounds.coarse) == (1, 0)
        assert (excess(found, VALUE[:3], T, leeway(SPREAD[:3])) <= 1) is passed


def test_nan_and_infinities_never_pass_however_wide_the_bound():
    anything = Wanted(VALUE, least=np.full(4, np.inf))
    for wrong in (np.nan, np.inf):
        found = VALUE.copy()
        found[1] = wrong
        assert not compare("y", found, anything, T).passed
    assert compare("y", VALUE + np.float32(7), anything, T).passed


def test_whole_numbers_are_free_where_their_bound_is_infinite_and_nowhere_else():
    value = np.array([3, 1, 2, 0])
    wanted = Wanted(value, spread=np.array([0.0, np.inf, 0.0, 0.0]), least=np.array([0.0, np.inf, 0.0, 0.0]))
    found = compare("ids", np.array([3, 2, 2, 0]), wanted, T)
    assert found.passed
    assert (found.bounds.wider, found.bounds.coarse, found.bounds.largest) == (1, 1, 1.0)
    assert not compare("ids", np.array([3, 2, 1, 0]), wanted, T).passed


def recurrent(operator, gates):
    """A file of one recurrent operator, behind an If: its branches count too."""
    weights = {"W": (1, 2 * gates, 3), "R": (1, 2 * gates, 2)}
    held = [helper.make_tensor(n, TensorProto.FLOAT, s, np.zeros(np.prod(s))) for n, s in weights.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    branch = helper.make_graph(
        [helper.make_node(operator, ["x", "W", "R"], ["y"], hidden_size=2)], "branch", [], [output]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 1, 3]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    return helper.make_model(helper.make_graph([node], "g", inputs, [output], held))


@pytest.mark.parametrize(("operator", "gates", "error"), [("GRU", 3, 2.0), ("LSTM", 4, 1.0)])
def test_a_value_of_a_file_with_a_gru_may_be_twice_as_far_off_where_rounding_decides(operator, gates, error, tmp_path):
    onnx.save(recurrent(operator, gates), tmp_path / "m.onnx")
    assert target("onnx").kernels(tmp_path / "m.onnx") == Kernels(error, 1.0 if error > 1 else 0.0)
    tolerances = Tolerances(T, kernels=Kernels(error))
    least = tolerances.least("y", SPREAD)
    np.testing.assert_allclose(least, error * 1.5 * SPREAD)
    np.testing.assert_allclose(allowed(T, VALUE, least), [1.2e-5, error * 1.5e-3, 2e-6, np.inf])


def test_a_bound_of_the_user_is_all_there_is():
    tolerances = Tolerances(T, Override(atols={"y": 1e-4}), kernels=Kernels(2.0))
    assert tolerances.least("y", SPREAD) is None
    assert tolerances.least("z", SPREAD) is not None
    assert tolerances.least("z", None) is None
