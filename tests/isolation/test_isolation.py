"""Artifacts in processes of their own: what one does to its process is told in one line, and ends nothing else."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import rnnexport
from rnnexport.api import export_job
from rnnexport.artifact.goldens import Golden
from rnnexport.artifact.provenance import Proof
from rnnexport.core.errors import ConversionError, CrashError, UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.progress import silent
from rnnexport.core.signature import Boundary, Extent, Signature, TensorSpec
from rnnexport.isolation.limits import Limits
from rnnexport.isolation.process import ForkServer, Worker
from rnnexport.isolation.runner import inner_values, opened
from rnnexport.isolation.wire import ClosedError, TooLargeError, receive, send
from rnnexport.targets.base import ExportOptions
from rnnexport.targets.registry import target
from rnnexport.verification.report import Problem
from rnnexport.verification.tolerance import Override
from tests.targets.numpy_programs import NUMPY, TEXT, artifact, proof

ROOT = Path(__file__).parents[2]
MEGABYTE = 10**6
TRUSTED = LoadOptions(allow_unsafe=True)
STEP = "        w = self.weights\n"
OF_ONNX_RUNTIME = ".ses"  # a file that it makes in the process of its user too
FEED = {"my-input": np.ones((2, 3, 3), "float32"), "state_gru_00": np.zeros((2, 4), "float32")}


def doing(folder, statement, name="carried"):
    """A program that does something first in every call."""
    assert STEP in TEXT
    return artifact(folder, name, TEXT.replace(STEP, f"{STEP}        {statement}\n", 1))


def growing(folder):
    """An ONNX artifact, sealed, that fills the memory: 2 GB of ones, of which the sum is told."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["ones"], value=helper.make_tensor("one", 1, [1], [1.0])),
        helper.make_node("ReduceMean", ["ones"], ["mean"], keepdims=0),
        helper.make_node("Add", ["x", "mean"], ["y"]),
    ]
    told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in "xy"]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 15, 1 << 14])
    graph = helper.make_graph(nodes, "growing", told[:1], told[1:], [shape])
    path = folder / "growing.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    specs = [TensorSpec(name, "float32", ("batch", 3)) for name in "xy"]
    x = np.arange(6, dtype="float32").reshape(2, 3)
    own = replace(proof().provenance, target="onnx", signature=Signature((specs[0],), (specs[1],)))
    target("onnx").write_proof(path, Proof(own, (Golden("feed", {"x": x}, {"y": x + 1}),)))
    return path


def verified(path, limits=Limits(), loading=TRUSTED):  # noqa: B008 - they are frozen
    (report,) = rnnexport.verify(path, limits=limits, loading=loading).artifacts
    return report


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("__import__('os').kill(__import__('os').getpid(), 11)", "ended its process with signal 11 (SIGSEGV)"),
        ("__import__('os').abort()", "ended its process with signal 6 (SIGABRT)"),
        ("__import__('os')._exit(0)", "ended its process with exit code 0"),
        ("__import__('os')._exit(7)", "ended its process with exit code 7"),
    ],
)
def test_a_crash_is_one_line_and_a_mismatch(statement, told, tmp_path):
    report = verified(doing(tmp_path, statement))
    assert (report.status, report.problems) == ("mismatch", (Problem("run", f"carried.py on numpy {told}"),))


def test_a_crash_ends_neither_the_command_nor_what_else_is_verified(tmp_path):
    crashing = doing(tmp_path, "__import__('os').kill(__import__('os').getpid(), 11)", "crashing")
    command = [sys.executable, "-m", "rnnexport", "verify", str(crashing), str(artifact(tmp_path)), "--allow-unsafe"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "signal 11 (SIGSEGV)" in done.stdout
    assert "verified" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_loop_without_an_end_is_ended(tmp_path):
    """It is what rnnexport lets run: it computes."""
    path = doing(tmp_path, "while True:\n            my_input")
    start = time.monotonic()
    report = verified(path, Limits(timeout=0.5), LoadOptions())
    assert report.problems == (Problem("run", "carried.py on numpy takes longer than 0.5 s (--timeout)"),)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("kind", ["program", "onnx"])
def test_memory_is_limited(kind, tmp_path):
    path = growing(tmp_path) if kind == "onnx" else doing(tmp_path, "np.ones((1 << 28,))")
    report = verified(path, Limits(memory=300 * MEGABYTE), LoadOptions())
    assert report.status == "mismatch"
    assert "takes more than 0.3 GB of memory (--memory)" in report.first_problem()


def test_an_answer_of_more_than_the_limit_is_not_read(tmp_path):
    path = doing(tmp_path, "return {'readout': np.ones((1 << 22,), np.float32)}, states")
    report = verified(path, Limits(memory=15 * MEGABYTE, timeout=30), LoadOptions())
    assert "takes more than 0.015 GB of memory" in report.first_problem()


def test_by_default_a_process_may_take_what_the_file_needs(tmp_path):
    path = artifact(tmp_path)
    assert Limits().memory_for(path) == 4 * 10**9 + 8 * path.stat().st_size
    assert Limits().memory_for(tmp_path) > Limits().memory_for(path)
    assert Limits(memory=5).memory_for(path) == 5


def test_a_new_artifact_that_ends_its_process_is_no_export(tmp_path, monkeypatch):
    monkeypatch.setattr(export_job, "Limits", lambda: Limits(memory=1))
    path = artifact(tmp_path)
    form = SimpleNamespace(reference=SimpleNamespace(layers=()))
    job = export_job.ExportJob(NUMPY, path, Extent(Boundary()))
    with pytest.raises(ConversionError, match=r"carried\.py on numpy takes more than") as told:
        export_job._verified(
            form, proof(), job, path, export_job.Options(ExportOptions(17, LoweringRequest()), Override(), True), silent
        )
    assert told.value.exit_code == 3


def test_an_isolated_runner_is_the_runner(tmp_path):
    path = artifact(tmp_path)
    with NUMPY.runner(path, "cpu") as here, opened(NUMPY, path, "cpu", False, Limits()) as there:
        assert (there.inputs, there.outputs) == (here.inputs, here.outputs)
        assert (there.ordered, there.settings, there.entries) == (here.ordered, here.settings, here.entries)
        assert there.placement() is None
        for name, array in there.run(FEED).items():
            np.testing.assert_array_equal(array, here.run(FEED)[name], strict=True)
        with pytest.raises(KeyError):
            there.at("step")
        with pytest.raises(Exception, match="KeyError: 'my-input'"):
            there.run({})
        assert len(there.run(FEED)) == 2  # what it raised was an answer


def test_values_inside_come_from_there_too(tmp_path):
    path = artifact(tmp_path)
    here, there = (inner_values(NUMPY, path, FEED, "cpu", False, limits) for limits in (None, Limits()))
    assert [value.name for value in there.values] == [value.name for value in here.values]
    for one, other in zip(there.values, here.values, strict=True):
        assert one.recurrence == other.recurrence
        np.testing.assert_array_equal(one.array, other.array)


def test_what_a_runtime_refuses_is_the_same_error(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"rubbish")
    with pytest.raises(UsageError, match=r"refuses m\.onnx"), opened(target("onnx"), path, "cpu", False, Limits()):
        pass


def test_a_dead_worker_stays_dead_and_its_process_is_gone(tmp_path):
    worker = Worker("it", (), 10**9, 5)
    os.kill(worker._id, 9)
    for _ in range(2):
        with pytest.raises(CrashError, match=r"it ended its process with signal 9 \(SIGKILL\)"):
            worker.ask({"do": "placement"})
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(worker._id, 0)


def test_a_forked_process_has_a_fork_server_of_its_own():
    ForkServer.here()
    reads, writes = os.pipe()
    if os.fork() == 0:
        worker = Worker("it", (), 10**9, 5)
        worker.close()
        os.write(writes, b"x")
        os._exit(0)
    assert os.read(reads, 1) == b"x"
    worker = Worker("it", (), 10**9, 5)  # this one still answers
    worker.close()


def test_a_fork_server_that_was_killed_is_told_and_replaced(tmp_path):
    worker = Worker("it", (), 10**9, 5)
    server = int(Path(f"/proc/{worker._id}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(server, 9)
    until(lambda: not running(worker._id))
    with pytest.raises(CrashError, match="it ended its process"):
        worker.ask({"do": "placement"})
    assert verified(artifact(tmp_path)).status == "passed"


@pytest.mark.parametrize("loaded", ["", "onnxruntime"])
def test_no_process_is_left(loaded, tmp_path):
    """Whether it was forked or started, and although its parent was killed while an artifact computed."""
    path = doing(tmp_path, "while True:\n            my_input")
    code = f"import {loaded or 'sys'}, rnnexport; rnnexport.verify({str(path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    own = until(lambda: children(process.pid))
    workers = until(lambda: children(own[0]))
    process.kill()
    process.wait()
    until(lambda: not any(running(each) for each in (*own, *workers)))


@pytest.mark.parametrize("loaded", ["", "onnxruntime"])
def test_temporary_files_of_workers_are_removed(loaded, tmp_path):
    """When each ends, and with its last process those of a process that was killed."""
    path, place = doing(tmp_path, "__import__('tempfile').mkdtemp()"), tmp_path / "temporary"
    place.mkdir()
    code = (
        f"import {loaded or 'sys'}, os, rnnexport\n"
        "loading = rnnexport.LoadOptions(allow_unsafe=True)\n"
        f"assert rnnexport.verify({str(path)!r}, loading=loading).passed\n"
        "print([folders + files for _, folders, files in os.walk(os.environ['TMPDIR'])], flush=True)\n"
        f"rnnexport.verify({str(doing(tmp_path, 'while True: pass', 'endless'))!r}, loading=loading)"
    )
    start = [sys.executable, "-c", code]
    process = subprocess.Popen(start, cwd=ROOT, env=os.environ | {"TMPDIR": str(place)}, stdout=subprocess.PIPE)
    left, *inside = ast.literal_eval(process.stdout.readline().decode())
    assert (len([name for name in left if name != OF_ONNX_RUNTIME]), inside) == (1, [[]])
    (server,) = children(process.pid)
    until(lambda: children(server))
    process.kill()
    process.wait()
    until(lambda: not running(server))
    assert not {file.name for file in place.iterdir()} - {OF_ONNX_RUNTIME}


def children(process):
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def running(process):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def until(look):
    for _ in range(600):
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


ARRAYS = {
    "float": np.arange(6, dtype="float32").reshape(2, 3).T,
    "half": np.float16([1.5, np.nan]),
    "scalar": np.float64(0.2),
    "empty": np.zeros((0, 3), np.int64),
    "flags": np.array([[True, False]]),
    "text": np.array([["a", "ü"]], object),
    "complex": np.array([1 + 2j]),
}


def test_arrays_of_every_kind_arrive():
    ours, theirs = socket.socketpair()
    send(ours, {"do": "run"}, ARRAYS)
    told, found = receive(theirs, 1 << 20)
    assert told == {"do": "run"}
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], np.asarray(array), strict=True)


def test_bfloat16_arrives():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    ours, theirs = socket.socketpair()
    send(ours, {}, {"x": np.array([1.5, -2], ml_dtypes.bfloat16)})
    _, found = receive(theirs, 1 << 20)
    assert found["x"].dtype == ml_dtypes.bfloat16
    assert found["x"].tolist() == [1.5, -2]


def test_a_large_message_is_told():
    ours, theirs = socket.socketpair()
    send(ours, {}, {"x": np.zeros(1000)})
    with pytest.raises(TooLargeError):
        receive(theirs, 1000)


@pytest.mark.parametrize("count", [0, 5, 20, 60])
def test_a_message_that_ends_early_is_told(count):
    ours, theirs = socket.socketpair()
    send(ours, {}, {"x": np.zeros(3)})
    whole = theirs.recv(1000)
    ours, theirs = socket.socketpair()
    ours.sendall(whole[:count])
    ours.close()
    with pytest.raises(ClosedError):
        receive(theirs, 1 << 20)
