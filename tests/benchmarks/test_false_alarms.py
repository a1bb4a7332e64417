"""Random right models through targets: none is called wrong. `make false-alarms` runs hundreds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.false_alarms.__main__ import failed
from benchmarks.false_alarms.judge import Judged, Verdict, from_json, judge, to_json
from benchmarks.false_alarms.models import draw
from rnnexport.targets.registry import TARGET_NAMES

# Chaotic, with states passed on; one of its values is on an edge that few runs in rounding arithmetic show.
FEW = (41,)
# Of each Keras, with ids and features, a mask, states passed on.
MANY = (18, 24, 39, *range(500, 560))


def require_verified(judged: Judged) -> None:
    wrong = [
        (verdict.target, verdict.answer, verdict.why) for verdict in judged.verdicts if verdict.answer != "verified"
    ]
    assert not wrong, (judged.told, wrong)


@pytest.mark.parametrize("seed", FEW)
def test_a_right_model_is_verified(seed):
    require_verified(judge(seed, ["onnx"]))


@pytest.mark.long
@pytest.mark.parametrize("seed", MANY)
def test_a_right_model_is_verified_at_every_target(seed):
    require_verified(judge(seed, TARGET_NAMES))


def test_a_seed_gives_the_same_model_again_and_another_one_another():
    one, again, other = (draw(seed) for seed in (7, 7, 8))
    assert one.told == again.told != other.told
    for first, second in zip(one.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_mismatch_or_a_crash_fails_the_bench_and_so_do_refusals_of_more_than_a_hundredth():
    def all_of(*answers):
        return [Judged(0, "", tuple(Verdict(0, "onnx", answer) for answer in answers), 0.0)]

    assert not failed(all_of(*["verified"] * 99, "refused"))
    assert failed(all_of(*["verified"] * 98, "refused", "refused"))
    assert failed(all_of(*["verified"] * 500, "mismatch"))
    assert failed(all_of(*["verified"] * 500, "crashed"))


def test_what_was_written_is_read_again_so_that_a_run_goes_on():
    made = [
        Judged(3, "a model", (Verdict(3, "onnx", "verified", "", {"goldens_values": 12.0}),), 1.5),
        Judged(4, "another", (Verdict(4, "c", "refused", "why"), Verdict(4, "numpy", "mismatch", "where")), 2.0),
    ]
    assert from_json(json.loads(json.dumps(to_json(made)))) == made
