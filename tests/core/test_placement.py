"""Shares of nodes by provider: distinct nodes, nothing guessed."""

from __future__ import annotations

import pytest

from rnnexport.core.placement import PlacedNode, Placement

# Four nodes, two of them in a body that ran 50 times, one of those two not on the device.
MIXED = Placement(
    (
        PlacedNode("project", "MatMul", "cuda", 1, recurrent=False),
        PlacedNode("scan", "Scan", "cpu", 1, recurrent=True),
        PlacedNode("scan/matmul", "MatMul", "cuda", 50, recurrent=True),
        PlacedNode("reshape", "Reshape", "cpu", 1, recurrent=False),
        PlacedNode("scan/tanh", "Tanh", "cuda", 50, recurrent=True),
    )
)


def test_shares_are_of_distinct_nodes_however_often_they_ran():
    assert MIXED.counts() == {"cpu": 2, "cuda": 3}
    assert MIXED.share("cuda") == pytest.approx(3 / 5)
    assert MIXED.recurrent_share("cuda") == pytest.approx(2 / 3)
    assert MIXED.share("tensorrt") == 0
    assert MIXED.recurrent_share("tensorrt") == 0


def test_what_ran_elsewhere_is_named():
    assert [node.name for node in MIXED.elsewhere("cuda")] == ["scan", "reshape"]
    assert [node.name for node in MIXED.recurrent] == ["scan", "scan/matmul", "scan/tanh"]


def test_without_recurrent_nodes_there_is_no_share_of_them():
    assert Placement(MIXED.nodes[:1]).recurrent_share("cuda") is None
    assert Placement(()).recurrent_share("cuda") is None
    assert Placement(()).share("cuda") == 0


def test_a_part_nobody_can_look_into_leaves_the_recurrent_share_open():
    part = PlacedNode("openvino_part_0", "part", "cuda", 1, recurrent=None)
    opaque = Placement((*MIXED.nodes, part))
    assert opaque.opaque == (part,)
    assert opaque.recurrent_share("cuda") is None
    assert opaque.share("cuda") == pytest.approx(4 / 6)


def test_as_plain_values():
    plain = Placement(MIXED.nodes[:2]).to_json()
    assert plain["counts"] == {"cpu": 1, "cuda": 1}
    scan = {"name": "scan", "operator": "Scan", "provider": "cpu", "runs": 1, "recurrent": True}
    assert plain["nodes"][1] == scan
