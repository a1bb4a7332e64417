from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from rich.errors import MarkupError

from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.report.text import matrix_table, recurrences_table, report_table, signature_table
from rnnexport.report.words import bounds_line
from rnnexport.verification.report import Report
from rnnexport.verification.tolerance import Bounds
from tests.report import reports
from tests.report.reports import BAD, GOOD, LONG, LOWERED


def printed(part, width=120):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(part)
    return console.file.getvalue()


def row(text, *words):
    """The cells of the one line that has all these words."""
    lines = [line for line in text.splitlines() if all(word in line for word in words)]
    assert len(lines) == 1, lines
    return re.split(r"\s{2,}", lines[0].strip())


def test_bounds_that_are_wider_by_far_are_told_and_others_in_the_files_alone():
    feeds = GOOD.artifacts[0].feeds
    first = feeds[0].outputs[0]

    def text_of(bounds):
        outputs = (replace(first, bounds=bounds), *feeds[0].outputs[1:])
        item = replace(GOOD.artifacts[0], feeds=(replace(feeds[0], outputs=outputs), *feeds[1:]))
        return " ".join(printed(report_table(Report((item,)))).split()), bounds_line(item)

    values = sum(one.errors.count for feed in feeds for one in feed.outputs)
    told, line = text_of(Bounds(values // 4, 0, 40.0))
    assert "bounds:" not in told
    assert line.startswith(
        "bounds: 75% of values were held to the tolerance; rounding alone moves the others further, where up to 40 "
        "times the tolerance was allowed"
    )
    for bounds, said in (
        (Bounds(2, 0, 300.0), "up to 300 times the tolerance"),
        (Bounds(2, 2, 9.0), "; <1% may be off by over a hundredth"),
    ):
        told, line = text_of(bounds)
        assert said in line
        assert line in told
    assert text_of(Bounds())[1] == ""


def test_a_line_an_artifact_with_its_figures():
    text = printed(report_table(GOOD))
    one = GOOD.artifacts[0]
    errors = [output.errors.max_abs for feed in one.feeds for output in feed.outputs]
    squares = np.array([0.0, 0.0])
    count = 0
    for output in (output for feed in one.feeds for output in feed.outputs if output.source_error is not None):
        squares += (float(output.source_error.squares), float(output.artifact_error.squares))
        count += output.source_error.count
    source, artifact = np.sqrt(squares / count)
    wanted = ["encoder.onnx", "onnx", "cpu", "verified", "4", "1260"]
    assert row(text, "encoder.onnx") == [*wanted, f"{max(errors):.1e}", f"{source:.1e} / {artifact:.1e}"]
    assert row(text, " encoder.tflite", "1260")[-1] == "-"  # there is no truth


def test_the_source_comes_before_the_artifact():
    source, artifact = row(printed(report_table(BAD)), " decoder.onnx", "1260")[-1].split(" / ")
    assert float(source) < 1e-6 < 1e-2 < float(artifact)


def test_a_long_sequence_is_told_in_a_line():
    text = " ".join(printed(report_table(LONG), 160).split())
    found = re.search(
        r"450 steps from the initial state: largest error (\S+) \(sequence, steps 198 to 200\); largest from float64: "
        r"source (\S+), artifact (\S+); allowed: rtol 1e-05, atol 2e-06, growing to rtol 4.3e-05, atol 8.7e-06",
        text,
    )
    assert found, text
    sequence = LONG.artifacts[0].feeds[-1].outputs[0]
    errors = (sequence.errors, sequence.source_error, sequence.artifact_error)
    assert found.groups() == tuple(f"{one.max_abs:.1e}" for one in errors)
    assert "steps from the initial state" not in printed(report_table(GOOD))


def test_what_is_wrong_is_told_in_full():
    text = " ".join(printed(report_table(BAD), 160).split())
    assert "build/decoder.onnx (cpu): mismatch sequence: 6 of 90 values off, from timestep 3 on" in text
    assert "(batch 3, length 5; wrong in 3 of 4 feeds) logits: 15 of 15 values off" in text
    assert "output sequence is 961234.5 times as far from the float64 truth" in text
    assert reports.LOCATED.sentence in text
    assert "encoder/lstm h encoder/lstm/while 2.8e-01 3.3e-06 3" in text
    assert "outputs are ['logits', 'sequence'], not ['sequence', 'logits', 'label']" in text
    assert "build/encoder.onnx (cuda): not run no execution provider cuda on this host" in text


def test_what_is_not_as_usual_is_told():
    text = " ".join(printed(report_table(BAD), 160).split())
    assert "judged with rtol 2e-05, atol 4e-06; logits: rtol 2e-05, atol 0.0001, which are not the defaults" in text
    assert "settings of openvino: precision f32, tf32 off" in text
    assert "nodes by provider: cpu 2 of 4, openvino 2 of 4; 50% of the recurrent nodes on openvino" in text
    assert "computes in float16: head; float32: rnn" in text
    assert text.count("no float64 truth for encoder.tflite (cpu): the cell is custom code") == 1


def test_nothing_is_noted_of_what_is_as_usual():
    assert "(cpu)" not in printed(report_table(reports.Report((reports.PASSED,))))


@pytest.mark.parametrize("width", [80, 100, 120, 300])
def test_no_line_is_wider_than_the_terminal_or_160(width):
    text = printed(report_table(BAD), width)
    assert max(map(len, text.splitlines())) <= min(width, 160)
    for name in ("encoder.tflite", "boundary.onnx", "mismatch", "not run"):
        assert name in text  # not folded, not cut


def test_hostile_names_are_text():
    for width in (80, 160):
        text = printed(report_table(reports.hostile()), width)
        assert "\x1b" not in text
        assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ud800]", text)
        assert "<script>alert(1)</script>" in text


def test_names_are_no_markup():
    name = "[bold]x[/nothing]"
    signature = Signature((TensorSpec(name, "float32", ("batch", 3)),), (TensorSpec("y", "float32", (1,)),))
    try:
        text = printed(signature_table(signature))
    except MarkupError:
        text = ""
    assert name in text
    assert "(batch, 3)" in text


def test_a_state_tells_where_it_starts():
    start = np.array([[0.5, -2.0]], np.float32)
    before, after = (TensorSpec(f"{end}_0", "float32", ("batch", 2)) for end in ("state", "next_state"))
    several = StateSpec("gru", before, after, start)
    once = StateSpec("gru", before, after, np.full((1, 2), 0.25, np.float32))
    for state, told in ((several, "(batch, 2), from recorded values"), (once, "(batch, 2), from 0.25")):
        assert told in printed(signature_table(Signature((), (), (state,))))


def test_the_matrix_has_a_cell_a_target():
    text = printed(matrix_table(GOOD))
    errors = [f"verified {item.max_abs:.1e}" for item in GOOD.artifacts]
    assert row(text, "encoder ") == ["encoder", *errors]


def test_recurrences_tell_what_became_of_each_form():
    text = printed(recurrences_table([LOWERED]))
    assert row(text, "native") == ["native", "chosen", LOWERED.why]
    assert row(text, "unroll") == ["unroll", "refused", "the length is dynamic"]
    assert row(text, "scan", "proven") == ["scan", "proven"]


def test_recurrences_of_hostile_names_are_text():
    text = printed(recurrences_table([replace(LOWERED, name=reports.HOSTILE, why=reports.HOSTILE)]))
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ud800]", text)
