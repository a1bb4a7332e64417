"""What a command says of its success, on a terminal, in a log, and to a release job."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from rnnexport.api.jobs import Exported
from rnnexport.cli import progress
from rnnexport.cli.outcome import print_exported
from rnnexport.cli.progress import ProgressLine
from rnnexport.cli.session import Session, _Stopper
from rnnexport.core.progress import Detail
from rnnexport.report.html import to_html
from rnnexport.report.json_view import to_json
from rnnexport.report.junit import to_junit
from rnnexport.verification.report import Report
from tests.report import reports

GROUP = pytest.mark.xdist_group("stateful_gru")


def printed(exported: dict[str, Exported], capsys, *, loud: bool = False, json_file: Path | None = None) -> str:
    session = Session(io.StringIO(), False, _Stopper(), ("rnnexport", "onnx", "m.keras"))
    session.line.loud = loud
    print_exported(session, [exported["onnx"]], {} if json_file is None else {"json": json_file})
    return capsys.readouterr().out


@GROUP
def test_success_says_where_it_is_what_it_takes_and_how_to_call_it(exported, capsys):
    found = exported("stateful_gru")
    path = found["onnx"].path
    told = printed(found, capsys)
    assert f"wrote {path}: {path.stat().st_size / 1000:.3g} KB in " in told.replace("\n", "")
    for line in (
        "input   input_node: float32[1, 1, 4]",
        "output  ",
        "state   state_gru_layer_0_00: float32[1, 64] -> next_state_gru_layer_0_00, from ",
        f"run:    rnnexport run {path} inputs.npz -o outputs.npz",
        f"verify: rnnexport verify {path}",
    ):
        assert line in told.replace("\n", ""), told
    assert "predicted" not in told
    assert "predicted" in printed(found, capsys, loud=True)


@GROUP
def test_an_export_is_told_as_json(exported, capsys, tmp_path):
    found = exported("stateful_gru")["onnx"]
    printed({"onnx": found}, capsys, json_file=tmp_path / "e.json")
    told = json.loads((tmp_path / "e.json").read_text())
    assert told["run"]["command"] == ["rnnexport", "onnx", "m.keras"]
    (one,) = told["exported"]
    assert one["files"][0]["bytes"] == found.path.stat().st_size == found.size
    assert [spec["name"] for spec in one["signature"]["inputs"]] == ["input_node"]
    assert one["report"]["status"] == "passed"
    assert one["seconds"] > 0


@GROUP
def test_inspect_and_verify_are_told_as_json_and_quietly(exported, rnnexport_command, tmp_path):
    path = exported("stateful_gru")["onnx"].path
    done = rnnexport_command("inspect", path, "-q", "--json", "i.json", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    told = json.loads((tmp_path / "i.json").read_text())
    assert told["signature"]["states"][0]["input"]["shape"] == [1, 64]
    done = rnnexport_command("verify", path, "-q", "--json", "v.json", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    told = json.loads((tmp_path / "v.json").read_text())
    assert told["run"]["command"][:2] == ["rnnexport", "verify"]
    assert told["run"]["versions"]["onnxruntime"]
    assert told["artifacts"][0]["files"][0]["bytes"] == path.stat().st_size
    done = rnnexport_command("inspect", path, "--json", path, cwd=tmp_path)
    assert done.returncode == 2
    assert "which is an input" in done.stderr


def test_every_view_of_a_report_says_when_and_where():
    run = reports.RUN
    report = Report(reports.GOOD.artifacts, run)
    assert json.loads(to_json(report))["run"] == run.to_json()
    for view in (to_html(report), to_junit(report)):
        assert run.started in view
        assert run.host in view
    assert "onnxruntime 1.31.1" in to_html(report)


def test_a_log_has_a_line_a_step_when_asked_and_none_otherwise():
    for loud, lines in ((False, 0), (True, 2)):
        out = io.StringIO()
        line = ProgressLine(Console(file=out, width=80))
        line.loud, line.steps = loud, 2
        for message in ("loading", "running", Detail("step 3 of 7")):
            line(message)
        line.stop()
        told = out.getvalue().splitlines()
        assert len(told) == lines
        if loud:
            assert told[0].startswith("[1/2] loading (")
            assert told[1].startswith("[2/2] ")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_log_has_a_line_of_each_long_step(terminal: bool, monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 0.0, 0.0, 2.0, 2.0, 14.5])  # when it is made; the end of the step before, and the start, of each
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    out = io.StringIO()
    line = ProgressLine(Console(file=out, width=80))
    line("loading")
    line("running")
    line._console = Console(file=out, width=80, force_terminal=terminal)
    line.stop()
    assert out.getvalue() == ("" if terminal else "running (12.5 s)\n")


def test_a_terminal_has_one_line_with_the_step_and_the_time():
    out = io.StringIO()
    line = ProgressLine(Console(file=out, width=80, force_terminal=True))
    line.steps = 3
    line("loading m.keras")
    assert line._rendered().text.plain.startswith("[1/3] loading m.keras, 0.")
    for message in ("running", "tracing", "converting"):
        line(message)
    assert line._rendered().text.plain.startswith("[4/4] converting, ")
    line.stop()
