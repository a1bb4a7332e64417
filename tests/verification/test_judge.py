"""The judge, on a target made for the test: what a runtime may do wrong that no file of ours does."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from rnnexport.artifact.goldens import Golden, Recipe, digest_of, slim
from rnnexport.core.errors import ProviderError, UsageError
from rnnexport.core.placement import PlacedNode, Placement
from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.targets.base import Kernels, RuntimeTensor
from rnnexport.verification import run_artifact as judge
from rnnexport.verification.feeds import chunks, feeds
from rnnexport.verification.report import Problem
from rnnexport.verification.run_artifact import Expectation, verify_artifact, whole_feed
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances
from rnnexport.verification.where import Where

X, Y = TensorSpec("x", "float32", (2, "time", 4)), TensorSpec("y", "float32", (2, "time", 4))
BEFORE, AFTER = TensorSpec("s", "float32", (2, 4)), TensorSpec("n", "float32", (2, 4))
SIGNATURE = Signature((X,), (Y,), (StateSpec("rnn", BEFORE, AFTER, np.full((2, 4), 0.5, "float32")),))


def right(feed):
    """A running sum over the timesteps, from the state on."""
    y = feed["s"][:, None] + np.cumsum(feed["x"], axis=1, dtype="float32")
    return {"y": y, "n": y[:, -1].copy()}


@dataclass
class Artifact:
    """A target and its runner in one."""

    compute: object = right
    placed: Placement | None = None
    name: str = "made-up"
    providers: tuple[str, ...] = ("cpu", "gpu")
    input_name: object = str
    ordered: bool = True
    entries: tuple[str, ...] = ()
    settings: dict = field(default_factory=lambda: {"tf32": "off"})
    inputs: tuple = (RuntimeTensor("x", "float32", (2, "time", 4)), RuntimeTensor("s", "float32", (2, 4)))
    outputs: tuple = (RuntimeTensor("y", "float32", (2, "time", 4)), RuntimeTensor("n", "float32", (2, 4)))

    def kernels(self, path):
        return Kernels()

    @contextmanager
    def runner(self, path, provider, *, tf32=False):
        yield self

    def run(self, feed):
        return self.compute({name: np.asarray(array) for name, array in feed.items()})

    def placement(self):
        return self.placed


def goldens():
    made, before = [], {}
    for feed in [*list(feeds(SIGNATURE))[:2], *chunks(SIGNATURE)]:
        carried = {"s": before["n"]} if feed.carries else {}
        before = right({**feed.arrays, **carried})
        made.append(Golden(feed.label, feed.arrays, before, recipe=Recipe(0, feed.index), carries=feed.carries))
    return made


def verified(artifact, where=None, **changes):
    expectation = Expectation(SIGNATURE, changes.pop("goldens", goldens()), **changes)
    return verify_artifact(artifact, Path("m"), expectation, where or Where())


def test_what_is_right_passes_with_every_golden_and_the_first_once_more():
    report = verified(Artifact())
    assert (report.status, report.settings, len(report.feeds)) == ("passed", {"tf32": "off"}, 6)
    assert report.feeds[-1].label == f"{report.feeds[0].label}, again after all others"
    assert [one.name for one in report.outputs()] == ["y", "n"]


def test_chunks_go_on_from_what_the_artifact_itself_gave():
    seen = []

    def watched(feed):
        seen.append(feed["s"].copy())
        return right(feed)

    verified(Artifact(watched))
    expected = [golden.expected["n"] for golden in goldens()]
    np.testing.assert_array_equal(seen[3], expected[2])
    np.testing.assert_array_equal(seen[4], expected[3])


def test_a_state_that_comes_out_as_it_went_in_is_a_mismatch_of_the_chunks_too():
    report = verified(Artifact(lambda feed: right(feed) | {"n": feed["s"]}))
    assert report.status == "mismatch"
    wrong = [feed.label for feed in report.feeds if not all(one.passed for one in feed.outputs if one.name == "y")]
    assert len(wrong) == 2
    assert all("going on from the call before" in label for label in wrong)


def test_an_artifact_that_keeps_something_between_calls_is_a_mismatch():
    calls = []

    def remembers(feed):
        calls.append(feed)
        found = right(feed)
        return found if len(calls) < 6 else {name: array + np.float32(1e-3) for name, array in found.items()}

    report = verified(Artifact(remembers))
    assert report.status == "mismatch"
    assert report.first_problem().endswith("again after all others)")


def test_a_runtime_that_raises_is_a_mismatch_of_that_feed_and_of_those_that_go_on_from_it():
    def breaks(feed):
        if feed["x"].shape[1] == 3 and np.array_equal(feed["s"], np.full((2, 4), 0.5)):
            raise RuntimeError("no kernel")
        return right(feed)

    report = verified(Artifact(breaks))
    problems = [feed.outputs[0].problem for feed in report.feeds]
    assert problems[2] == "the runtime raised RuntimeError: no kernel"
    assert problems[3] == "the call before it gave no state to go on from"
    assert problems[:2] == ["", ""]


def test_another_boundary_is_the_verdict_and_nothing_is_run():
    report = verified(Artifact(outputs=(RuntimeTensor("z", "float32", (2, "time", 4)),)))
    assert (report.status, report.feeds) == ("mismatch", ())
    assert report.problems == (Problem("boundary", "outputs are ['z'], not ['y', 'n']"),)


def placement(**providers):
    nodes = [
        PlacedNode(f"{name}_{at}", "LSTM" if recurrent else "Add", provider, 1, recurrent)
        for at, (name, (provider, recurrent)) in enumerate(providers.items())
    ]
    return Placement(tuple(nodes))


HALF = placement(lstm=("gpu", True), scan=("cpu", True), add=("gpu", False))


@pytest.mark.parametrize(
    ("placed", "share", "status", "told"),
    [
        (HALF, None, "passed", ""),
        (HALF, 0.5, "passed", ""),
        (HALF, 1.0, "not run", "50% of the recurrent nodes ran on gpu, not 100%: scan_1 (LSTM) on cpu"),
        (placement(lstm=("cpu", True)), None, "not run", "no node ran on gpu: cpu 1"),
        (placement(add=("gpu", False), mul=("cpu", False)), 1.0, "not run", "50% of the nodes ran on gpu, not 100%"),
        (placement(part=("gpu", None)), 1.0, "not run", "it can't be told whether recurrent nodes ran on gpu"),
        (placement(part=("gpu", None)), None, "passed", ""),
    ],
)
def test_what_ran_elsewhere_is_not_run(placed, share, status, told):
    report = verified(Artifact(placed=placed), Where("gpu", placement=share))
    assert report.status == status
    assert report.first_problem().startswith(told)


def test_a_mismatch_stays_one_wherever_it_ran():
    report = verified(Artifact(lambda feed: {"y": feed["x"], "n": feed["s"]}, HALF), Where("gpu", placement=1.0))
    assert report.status == "mismatch"


def test_a_provider_that_is_missing_or_that_the_format_does_not_know_is_not_run():
    def missing(path, provider, *, tf32=False):
        raise ProviderError("no gpu here", "one", "install it")

    artifact = Artifact()
    artifact.runner = missing
    assert verified(artifact, Where("gpu")).status == "not run"
    report = verified(Artifact(), Where("tpu"))
    assert report.status == "not run"
    assert report.problems == (Problem("run", "made-up does not run on tpu; it runs on cpu, gpu"),)


def test_nothing_to_compare_with_is_an_error():
    with pytest.raises(UsageError, match="no goldens in m and no --source"):
        verified(Artifact(), goldens=())


def test_data_are_one_feed_of_the_report():
    rows = goldens()[:2] * 3
    report = verified(Artifact(), goldens=(), data=lambda: iter(rows), data_label="data of d.npz, 12 rows")
    (feed,) = report.feeds
    assert (report.status, feed.label) == ("passed", "data of d.npz, 12 rows")
    assert feed.outputs[0].errors.count == 3 * (2 * 5 * 4 + 2 * 1 * 4)
    with pytest.raises(UsageError, match=r"no rows in data of d\.npz"):
        verified(Artifact(), goldens=(), data=lambda: iter(()), data_label="data of d.npz")


def test_an_input_that_was_too_large_to_be_kept_is_made_again_and_checked(monkeypatch):
    wide = Signature((TensorSpec("x", "float32", ("batch", "time", 4096)),), (Y,))
    feed = next(feeds(wide, 7))
    golden = Golden(feed.label, feed.arrays, {"y": np.zeros(1)}, recipe=Recipe(7, feed.index))
    small = slim(golden)
    assert "x" not in small.feed
    np.testing.assert_array_equal(whole_feed(small, wide)["x"], feed.arrays["x"])
    monkeypatch.setattr(judge, "digest_of", lambda array: digest_of(array + 1))
    with pytest.raises(UsageError, match=r"input x of the feed .* can't be made again by NumPy"):
        whole_feed(small, wide)


def test_a_value_may_be_off_by_what_rounding_does_to_it_unless_the_user_set_the_bound():
    (golden, *_) = goldens()
    spread = {name: np.zeros(array.shape) for name, array in golden.expected.items()}
    spread["y"][1, 4, 3] = 4e-6
    uncertain = [replace(golden, spread=spread)]
    off = np.zeros((2, 5, 4), "float32")
    off[1, 4, 3] = 5e-6
    shifted = Artifact(lambda feed: right(feed) | {"y": right(feed)["y"] * 0 + golden.expected["y"] + off})
    bound = Tolerance(0.0, 2e-6)
    (judged, *_) = verified(shifted, goldens=uncertain, tolerances=Tolerances(bound)).feeds[0].outputs
    assert judged.passed
    assert judged.tolerance == bound
    assert (judged.bounds.wider, judged.bounds.largest) == (1, pytest.approx(3))
    assert not verified(shifted, goldens=[golden], tolerances=Tolerances(bound)).feeds[0].outputs[0].passed
    asked = Tolerances(bound, Override(atol=2e-6, rtol=0.0))
    assert not verified(shifted, goldens=uncertain, tolerances=asked).feeds[0].outputs[0].passed
