"""Every sample x every target: verified, from its own file and from the source; and broken when it is perturbed."""

from __future__ import annotations

import numpy as np
import pytest

import rnnexport
from rnnexport.targets.registry import TARGET_NAMES, target
from rnnexport.verification.feeds import beside, wanted
from samples.catalog import SAMPLES
from tests.perturb import copied, perturb


def param(sample, *values, id, long=False):
    marks = [pytest.mark.xdist_group(sample.name), *([pytest.mark.long] if long else [])]
    return pytest.param(sample, *values, id=id, marks=marks)


# What differs from another sample in one option: by `make test-long`, and by `make demo`.
VARIANTS = ("cgru_split_reset_after", "cgru_fused_reset_before", "attention_probabilities", "s_lstm_from_one")
# Tests of one sample run in one process and share its exports.
EACH_SAMPLE = [param(sample, id=sample.name, long=sample.name in VARIANTS) for sample in SAMPLES]
# What is tested each time of verifying again: a target of each sample in turn, and the source of some samples: a cell,
# states, tf_keras. The others are by `make test-long`.
ONE_TARGET_EACH = [
    param(sample, to, id=f"{sample.name}-{to}", long=sample.name in VARIANTS or number % len(TARGET_NAMES) != turn)
    for number, sample in enumerate(SAMPLES)
    for turn, to in enumerate(TARGET_NAMES)
]
AGAINST_SOURCE = ("s_lstm", "stateful_gru", "multi_output_gru")
PRINTED = ("simple_rnn", "lstm", "s_lstm")


@pytest.mark.xdist_group("together")
def test_tests_of_one_group_run_in_one_process(request):
    """Some pytests ignore what pytest-xdist does to keep a group together; its exports are then made many times."""
    assert request.node.nodeid.endswith("@together") or not getattr(request.config.option, "loadgroup", False)


@pytest.mark.parametrize("to", TARGET_NAMES)
@pytest.mark.parametrize("sample", EACH_SAMPLE)
def test_every_artifact_is_verified_as_it_is_exported(sample, to, exported):
    _check(exported(sample.name)[to].report)


@pytest.mark.parametrize(("sample", "to"), ONE_TARGET_EACH)
def test_an_artifact_verifies_from_the_file_alone(sample, to, exported, tmp_path):
    copy = copied(exported(sample.name)[to].path, tmp_path, "moved")
    _check(*rnnexport.verify(copy).artifacts)


def _check(report):
    assert (report.status, len(report.feeds)) == ("passed", _feeds(report))
    assert (report.no_truth, report.no_witness) == ("", "")  # both float64 readings are there, and agree
    assert "warning" not in report.settings  # of the C compiler
    assert all(one.errors.rmse < 2e-6 * max(1.0, _size(one)) for feed in report.feeds for one in feed.outputs)


def _size(comparison):
    """The root mean square of what was wanted."""
    return (comparison.errors.wanted_squares / comparison.errors.count) ** 0.5


def _feeds(report):
    """Those of the plan, the first again, those beside, but what was left out, three chunks where there are states.

    Formats with signatures show two of them besides: `initial_state`, and `serving_default` on the first feed.
    """
    signature = report.provenance.signature
    chunks = (3 + 2 * target(report.target).entries) * bool(signature.states)
    left_out = sum(note.startswith("feed left out") for note in report.coverage.notes)
    chosen = sum(feed.label.startswith("chosen for") for feed in report.feeds)
    return wanted(signature) + 1 + len(beside(signature)) - left_out + chunks + chosen


@pytest.mark.parametrize(
    "sample", [param(sample, id=sample.name, long=sample.name not in AGAINST_SOURCE) for sample in SAMPLES]
)
def test_every_artifact_verifies_against_its_source_on_new_inputs(sample, exported, saved):
    artifacts = exported(sample.name)
    paths = [artifacts[to].path for to in TARGET_NAMES]
    report = rnnexport.verify(paths, source=saved(sample.name), loading=rnnexport.LoadOptions([str(sample.path)]))
    assert [item.status for item in report.artifacts] == ["passed"] * len(TARGET_NAMES)


@pytest.mark.parametrize(("sample", "to"), ONE_TARGET_EACH)
def test_one_weight_off_by_a_thousandth_is_a_mismatch(sample, to, exported, tmp_path):
    perturbed = perturb(exported(sample.name)[to].path, tmp_path, 1e-3)
    (report,) = rnnexport.verify(perturbed).artifacts
    assert report.status == "mismatch", f"largest error {report.max_abs}"


@pytest.mark.parametrize("to", TARGET_NAMES)
@pytest.mark.parametrize("sample", [item for item in EACH_SAMPLE if item.id in PRINTED])
def test_printed_predictions_to_the_printed_digits(sample, to, exported):
    """The article fed 0.5 at each of 30 steps. It prints all digits of a float32, of which Keras itself, on another
    machine and 30 steps on, gives the last but a few units: the bound is 5 units in the last place.
    """
    printed = sample.printed()
    assert len(printed) == 30
    x = np.full((1, 30, 1), 0.5, "float32")
    with target(to).runner(exported(sample.name)[to].path, "cpu") as runner:
        (found,) = runner.run({"x": x}).values()
    for value, text in zip(found.ravel(), printed, strict=True):
        assert abs(float(value) - float(text)) <= 5 * np.spacing(np.float32(text)), (value, text)
