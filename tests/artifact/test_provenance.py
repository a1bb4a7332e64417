from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnnexport.artifact.checksum import sealed
from rnnexport.artifact.goldens import Golden
from rnnexport.artifact.provenance import Proof, Provenance, read_proof, require_unaltered
from rnnexport.core.coverage import Coverage
from rnnexport.core.errors import UsageError
from rnnexport.core.lowering import LoweringDecision
from tests.core.test_signature import signature


def proof(seed=0) -> Proof:
    rng = np.random.default_rng(seed)
    goldens = tuple(
        Golden(
            f"feed {index}, scale 1",
            {"ids": rng.integers(0, 9, (2, 5)).astype("int32"), "a/b": rng.standard_normal((2, 4))},
            {
                "y": rng.standard_normal((2, 5, 5)).astype("float32"),
                "next_state_gru_00": rng.standard_normal((2, 5)).astype("float32"),
            },
        )
        for index in range(2)
    )
    provenance = Provenance(
        "onnx",
        {"name": "m", "sha256": "ab", "keras_version": "3.15.1"},
        "keras",
        {"opset": 17, "batch": None},
        {"numpy": "2"},
        signature(),
        {"rtol": 1e-5, "atol": 1e-6},
        lowering=(
            LoweringDecision(
                "rnn/lstm", "LSTM", "native", "the fastest", ("native", "loop"), {"unroll": "its length is open"}
            ),
            LoweringDecision(
                "rnn/odd", "a cell", "loop", "nothing else is proven", ("loop",), fault="scan gave 0.5 for 0.25"
            ),
        ),
        no_truth="operator X has no float64 form",
        coverage=Coverage(("1 feed left out",), 3, ("clip/Minimum: not at its bound",), "so it is"),
        override={"atols": {"y": 1e-4}},
    )
    return Proof(provenance, goldens)


def read(name="m.onnx", text=None, data=None, parts=None):
    """What is read of the blobs of `proof`, or of others in their place, sealed as one file."""
    good_text, good_data = (good.encode() if isinstance(good, str) else good for good in proof().blobs())
    text, data = good_text if text is None else text, good_data if data is None else data
    whole = sealed(text + data) if parts is None and text == good_text else text + data
    return read_proof(Path(name), whole[: len(text)], data, [("", whole)] if parts is None else parts)


def test_round_trip_keeps_the_provenance_and_the_goldens():
    first, second = proof(), read()
    assert second.provenance.options == {"opset": 17, "batch": None}
    assert second.provenance.lowering == first.provenance.lowering
    assert second.provenance.override == {"atols": {"y": 1e-4}}
    assert second.provenance.coverage == first.provenance.coverage
    assert second.provenance.no_truth == "operator X has no float64 form"
    assert [golden.label for golden in second.goldens] == ["feed 0, scale 1", "feed 1, scale 1"]
    assert not second.altered
    for one, two in zip(first.goldens, second.goldens, strict=True):
        np.testing.assert_array_equal(one.expected["y"], two.expected["y"])


def test_bytes_are_the_same_each_time():
    assert proof().blobs() == proof().blobs()


def test_a_file_that_was_changed_around_the_proof_is_told_as_altered():
    text, data = proof().blobs()
    whole = sealed(text.encode() + data + b"weights")
    changed = whole[:-1] + b"S"
    for parts, altered in ((whole, False), (changed, True)):
        found = read_proof(Path("m.onnx"), parts[: len(text)], data, [("", parts)])
        assert found.altered is altered
    with pytest.raises(UsageError, match=r"m\.onnx was altered after it was exported"):
        require_unaltered("m.onnx", found)


def test_the_goldens_of_another_file_are_told():
    with pytest.raises(UsageError, match=r"the goldens in m\.onnx are not its own \(their digest differs\)"):
        read(data=proof(seed=1).blobs()[1])


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '{"format": 6}', '{"format": 6, "goldens": "ab"}', "\xff"])
def test_damaged_blobs_are_refused(text):
    with pytest.raises(UsageError, match=r"(damaged provenance or goldens|the goldens) in m\.onnx"):
        read(text=text.encode("latin-1"))


@pytest.mark.parametrize("data", [b"PK", b"PK not a zip"])
def test_goldens_that_are_no_goldens_are_refused(data):
    value = json.loads(proof().blobs()[0]) | {"goldens": hashlib.sha256(data).hexdigest()}
    with pytest.raises(UsageError, match=r"damaged provenance or goldens in m\.onnx"):
        read(text=json.dumps(value).encode(), data=data)


@pytest.mark.parametrize("number", [4, 99])
def test_another_format_is_refused(number):
    value = json.loads(proof().blobs()[0]) | {"format": number}
    with pytest.raises(UsageError, match=f"format {number} in .*expected format 6"):
        read(text=json.dumps(value).encode())


def test_flipped_bits_end_in_an_altered_proof_or_one_clear_error():
    text, data = proof().blobs()
    whole = sealed(text.encode() + data)
    rng, outcomes = np.random.default_rng(4), set()
    for _ in range(2000):
        blob = bytearray(whole)
        blob[rng.integers(len(blob))] ^= 1 << rng.integers(8)
        try:
            assert read_proof(
                Path("m.onnx"), bytes(blob[: len(text)]), bytes(blob[len(text) :]), [("", bytes(blob))]
            ).altered
            outcomes.add("altered")
        except UsageError:
            outcomes.add("refused")
    assert outcomes == {"altered", "refused"}


def test_goldens_must_say_what_every_output_is():
    value = proof()
    short = replace(value.goldens[0], expected={"y": value.goldens[0].expected["y"]})
    text, data = replace(value, goldens=(short,)).blobs()
    with pytest.raises(UsageError, match="goldens that do not say what comes out"):
        read_proof(Path("m.onnx"), text.encode(), data, [("", text.encode())])


def test_a_boundary_that_would_fill_the_memory_is_damaged():
    """Feeds that are too large to be kept are made again by their shapes."""
    value = json.loads(proof().blobs()[0])
    value["signature"]["inputs"][0]["shape"] = ["batch", 1 << 14, 1 << 14]
    with pytest.raises(UsageError, match=r"damaged provenance .* has 268435456 values"):
        read(text=json.dumps(value, sort_keys=True).encode())
