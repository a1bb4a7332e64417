from __future__ import annotations

import numpy as np
import pytest

from rnnexport.core.errors import UsageError
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances


def test_a_bound_is_the_absolute_part_and_the_relative_part_of_the_value():
    np.testing.assert_allclose(Tolerance(1e-2, 1e-3).bound(np.array([0.0, -2.0])), [1e-3, 2.1e-2])


def test_it_grows_with_the_root_of_the_length_past_24_timesteps():
    usual = Tolerances()
    assert usual.of("y", 1) == usual.of("y", 24) == Tolerance()
    assert usual.of("y", 96) == Tolerance(2e-5, 4e-6)


def test_what_the_user_asks_holds_for_one_output_or_all_and_at_every_length():
    asked = Tolerances(Tolerance(), Override(atol=1e-3, rtols={"logits": 0.0}, atols={"logits": 1e-4}))
    assert asked.of("logits", 96) == Tolerance(0.0, 1e-4)
    assert asked.of("other", 96) == Tolerance(2e-5, 1e-3)
    assert str(asked) == "rtol 1e-05, atol 0.001; logits: rtol 0, atol 0.0001"
    assert not asked.usual
    assert Tolerances().usual
    assert asked.override.names() == {"logits"}


def test_an_override_survives_json():
    for override in (Override(), Override(rtol=0.0), Override(1e-3, None, {"a:b": 2.0}, {"y": 0.5})):
        assert Override.from_json(override.to_json()) == override
    assert not Override()
    assert Override(rtol=0.0)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_a_bound_is_a_number_of_at_least_0(bad):
    for make in (lambda: Override(atol=bad), lambda: Override(rtols={"y": bad}), lambda: Tolerance(rtol=bad)):
        with pytest.raises(UsageError, match="a number of at least 0"):
            make()
