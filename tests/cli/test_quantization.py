"""What the command says of a quantised artifact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from rnnexport.cli.quantization import quantization_lines, quantization_table, quantize_options
from rnnexport.core.errors import UsageError
from rnnexport.core.quantization import FORMS, REFUSED, QuantizedPart
from rnnexport.quantization.choice import Quantized, Trial
from rnnexport.quantization.loss import Loss

PART = QuantizedPart("gru", "GRU", "int8 weights, computed in float32", "no GRU of integers", 400, 100)
CURVE = tuple(0.001 * step for step in range(1, 13))
PLAIN = Trial("float32", 4000, (Loss("y", 1e-7, 1e-6, 8.0),), seconds=1e-3)
TAKEN = Trial("int8", 1200, (Loss("y", 0.012, 0.1, 8.0, CURVE),), (PART,), 5e-4, 0.01, ("1% of h lie outside",))
FOUND = Quantized(TAKEN, (PLAIN, TAKEN), "range", 0.02, "3 sequences", "these", (("gru", 0.011), ("head", 0.001)))


def options(**given):
    group = quantize_options("onnx")
    usual = dict.fromkeys(("quantize", "max_loss", "metric", "calibrate"), None) | {"allow_partial": False}
    return group.build(**usual | given)


def test_the_table_has_a_line_a_form():
    console = Console(width=100, record=True, file=None)
    with console.capture() as captured:
        console.print(quantization_table(FOUND))
    text = captured.get()
    assert [line.split() for line in text.splitlines() if line.strip().startswith(("float32", "int8"))] == [
        ["float32", "4", "KB", "1.00x", "1e-07", "y"],
        ["int8", "*", "1.2", "KB", "0.50x", "0.012", "y"],
    ]


def test_the_lines_say_what_was_lost_where_and_when():
    lines = [line.strip() for line in quantization_lines(FOUND, Path("small.onnx"))]
    assert lines == [
        "quantised as int8: loses 0.012 (range, at most 0.02) at y",
        "1.2 KB without what it is verified by, which --proof beside keeps apart",
        "calibrated on 3 sequences, measured on these",
        "y by step: 0.001 at 1, 0.01 at 10",
        "loses most: gru, 0.011 where it alone is quantised",
        "1% of h lie outside",
        "gru (GRU): int8 weights, computed in float32, no GRU of integers",
    ]


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ((1300, 1200), ""),
        ((4100, 4000), "none is smaller than the float32 file of 4 KB: its weights are too small to gain by it"),
        ((3900, 4200), "larger than the float32 file of 4 KB: the smaller forms lose too much"),
    ],
)
def test_a_file_that_is_no_smaller_is_told(sizes: tuple[int, int], told: str):
    other, taken = replace(TAKEN, form="dynamic", size=sizes[0]), replace(TAKEN, size=sizes[1])
    found = replace(FOUND, chosen=taken, trials=(PLAIN, other, taken))
    lines = [line.strip() for line in quantization_lines(found, Path("small.onnx"))]
    assert [line for line in lines if "float32 file" in line] == ([told] if told else [])


def test_what_the_options_ask():
    assert options() is None
    asked = options(max_loss=0.1, calibrate="x.npz")
    assert (asked.form, asked.max_loss, asked.metric, asked.sequences.place) == ("auto", 0.1, "range", "x.npz")
    assert options(quantize="int8", allow_partial=True).allow_partial
    for lone in ({"metric": "rmse"}, {"calibrate": "x.npz"}, {"allow_partial": True}):
        with pytest.raises(UsageError, match="without --quantize or --max-loss"):
            options(**lone)


@pytest.mark.parametrize("target", FORMS)
def test_each_format_offers_its_forms(target):
    (choice, *_) = quantize_options(target).options
    # A form that is refused is one of them, so that the reason is told.
    assert tuple(choice.type.choices) == ("auto", *FORMS[target], *REFUSED.get(target, ()))
