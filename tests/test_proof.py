from __future__ import annotations

import json

import numpy as np
import pytest

from rnnexport.errors import UsageError
from rnnexport.lowered import Lowered
from rnnexport.proof import Golden, Proof, Provenance, read_proof
from tests.test_signature import signature


def proof() -> Proof:
    rng = np.random.default_rng(0)
    goldens = tuple(
        Golden(
            f"feed {index}, scale 1",
            {"ids": rng.integers(0, 9, (2, 5)).astype("int32"), "a/b": rng.standard_normal((2, 4))},
            {"y": rng.standard_normal((2, 5, 5)).astype("float32")},
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
            Lowered("rnn/lstm", "LSTM", "native", "the fastest", ("native", "loop"), {"unroll": "its length is open"}),
            Lowered("rnn/odd", "a cell", "loop", "nothing else is proven", ("loop",), fault="scan gave 0.5 for 0.25"),
        ),
    )
    return Proof(provenance, goldens)


def test_round_trip_keeps_every_array_and_label():
    first = proof()
    second = read_proof("m.onnx", first.provenance_text().encode(), first.goldens_bytes())
    assert second.provenance.options == {"opset": 17, "batch": None}
    assert second.provenance.lowering == first.provenance.lowering
    assert [golden.label for golden in second.goldens] == ["feed 0, scale 1", "feed 1, scale 1"]
    for one, two in zip(first.goldens, second.goldens, strict=True):
        for side in ("feed", "expected"):
            assert dict(getattr(one, side)).keys() == dict(getattr(two, side)).keys()
            for name, array in getattr(one, side).items():
                assert getattr(two, side)[name].dtype == array.dtype
                np.testing.assert_array_equal(getattr(two, side)[name], array)


def test_bytes_are_the_same_each_time():
    assert proof().goldens_bytes() == proof().goldens_bytes()
    assert proof().provenance_text() == proof().provenance_text()


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("{", None),
        ("{}", None),
        ("[1]", None),
        (None, b""),
        (None, b"PK not a zip"),
        ('{"format": 3}', None),
    ],
)
def test_damaged_blobs_are_refused(text, data):
    good = proof()
    with pytest.raises(UsageError, match=r"damaged provenance or goldens in m\.onnx"):
        read_proof(
            "m.onnx",
            (good.provenance_text() if text is None else text).encode(),
            good.goldens_bytes() if data is None else data,
        )


@pytest.mark.parametrize("number", [2, 99])
def test_another_format_is_refused(number):
    value = json.loads(proof().provenance_text()) | {"format": number}
    with pytest.raises(UsageError, match=f"format {number} in .*expected format 3"):
        read_proof("m.onnx", json.dumps(value).encode(), proof().goldens_bytes())


def test_flipped_bits_end_in_a_proof_or_one_clear_error():
    text, data = proof().provenance_text().encode(), proof().goldens_bytes()
    rng, outcomes = np.random.default_rng(4), set()
    for _ in range(2000):
        blobs = [bytearray(text), bytearray(data)]
        blob = blobs[rng.integers(2)]
        blob[rng.integers(len(blob))] ^= 1 << rng.integers(8)
        try:
            read_proof("m.onnx", bytes(blobs[0]), bytes(blobs[1]))
            outcomes.add("read")
        except UsageError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}
