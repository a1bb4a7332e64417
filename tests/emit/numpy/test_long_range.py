"""Chunks of a long sequence against the whole: as graphs, and by float64 programs where these are the graphs'."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from rnnexport.core.signature import BATCH, TIME, Signature, TensorSpec
from rnnexport.reference.stream_equivalence import LONGEST, ModelAndStream, both_ways
from rnnexport.verification.domain import Domain
from rnnexport.verification.tolerance import Tolerance

SIGNATURE = Signature((TensorSpec("x", "float32", (BATCH, TIME, 2)),), (TensorSpec("y", "float32", (BATCH, TIME, 2)),))
ALLOWED = Tolerance(rtol=0.0, atol=1e-3)


def off_by(amount, dtype):
    return lambda feed: {"y": 2 * feed["x"].astype(dtype) + dtype(amount)}


def ways(monkeypatch, graphs, programs):
    """What `both_ways` gives where graphs and programs of the whole and of chunks are off by so much."""
    calls = iter(graphs)
    monkeypatch.setattr(
        "rnnexport.source.trace.trace",
        lambda source, signature, unroll: SimpleNamespace(run=off_by(next(calls), np.float32)),
    )
    made = iter(programs)
    monkeypatch.setattr(
        "rnnexport.emit.numpy.oracle.oracle", lambda traced: SimpleNamespace(run=off_by(next(made), np.float64))
    )
    found = both_ways(ModelAndStream(None, SIGNATURE, None, SIGNATURE, Domain()), 2, ALLOWED)
    assert found is not None
    whole, chunks = (outputs["y"] for outputs in found)
    assert whole.shape == chunks.shape == (3, LONGEST, 2)
    return whole.dtype, np.abs(chunks - whole).max()


def test_graphs_that_agree_need_no_float64(monkeypatch):
    dtype, apart = ways(monkeypatch, (0, 9e-4), ())
    assert dtype == np.float32
    assert 8e-4 < apart < 1e-3


def test_float64_tells_that_rounding_is_why_they_do_not(monkeypatch):
    dtype, apart = ways(monkeypatch, (0, 5e-3), (0, 0))
    assert dtype == np.float64
    assert apart == 0


@pytest.mark.parametrize("programs", [(1, 1), (0.02, 0), (0, 0.02), (np.nan, np.nan)])
def test_a_program_that_is_not_its_graph_tells_nothing(programs, monkeypatch):
    dtype, apart = ways(monkeypatch, (0, 5e-3), programs)
    assert dtype == np.float32
    assert apart > 4e-3
