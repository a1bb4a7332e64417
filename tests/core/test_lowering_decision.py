"""What is asked of the lowering: bad values are refused in one line."""

from __future__ import annotations

import pytest

import rnnexport


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"form": "fast"}, "lowering 'fast'; expected one of auto, native, scan, chunked, unroll, loop"),
        ({"provider": "tpu"}, "provider 'tpu'; expected one of cpu, cuda"),
        ({"tune": (0, 5)}, r"tune \(0, 5\); expected batch and timesteps, two numbers above 0"),
        ({"tune": (2, 3, 4)}, r"tune \(2, 3, 4\)"),
        ({"tune": "32x100"}, "tune '32x100'"),
        ({"tune": (2.5, 3)}, r"tune \(2\.5, 3\)"),
    ],
)
def test_what_can_not_be_asked_is_refused(given, told):
    with pytest.raises(rnnexport.UsageError, match=told):
        rnnexport.LoweringRequest(**given)


def test_a_result_survives_json():
    lowered = rnnexport.LoweringDecision("rnn", "LSTM", "native", "fast", ("native", "loop"), {"scan": "no"}, "a fault")
    assert rnnexport.LoweringDecision.from_json(lowered.to_json()) == lowered
