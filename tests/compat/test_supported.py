"""A part of another package that is gone is told as a version of it that is not supported."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest

from rnnexport.compat.supported import part_of
from rnnexport.core.errors import ConversionError
from tools.lower_bounds import lower_bounds

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_a_part_that_is_there_is_given():
    assert part_of(json, "loads") is json.loads
    assert part_of(json.JSONDecoder, "decode") is json.JSONDecoder.decode


def test_a_part_that_is_gone_names_the_package_its_version_and_those_that_have_it():
    import onnx_ir

    with pytest.raises(ConversionError) as caught:
        part_of(onnx_ir.Model, "no_such_part")
    found = importlib.metadata.version("onnx_ir")
    assert f"this version of onnx_ir is not supported: {found} has no onnx_ir.no_such_part" in str(caught.value)


def test_the_oldest_versions_are_the_lower_bounds():
    text = PROJECT.read_text()
    found = lower_bounds(text)
    assert {"numpy==2.0", "tf2onnx==1.17", "fsspec==2024.6"} <= set(found)
    for one in found:
        name, _, bound = one.partition("==")
        assert f">={bound}" in text
        assert name in text
