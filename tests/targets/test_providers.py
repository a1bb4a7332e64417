"""Execution providers: which there are, how they are kept to float32, and that the CPU never passes for another."""

from __future__ import annotations

import json
import os

import numpy as np
import onnx
import onnxruntime
import pytest

from rnnexport.core.errors import ProviderError, UsageError
from rnnexport.core.placement import PlacedNode
from rnnexport.targets.onnx import profiling, runner
from rnnexport.targets.onnx.profiling import Partition, read_placement
from rnnexport.targets.onnx.providers import PROVIDERS, RUNTIMES, execution_chain, prepared, settings
from rnnexport.targets.onnx.runner import open_runner
from rnnexport.targets.registry import ALL_PROVIDERS, target

# A provider that the stock build for Linux has, and that takes no node: everything falls to the CPU.
IDLE = "azure"
STEPS = 3
# An Add before and a Neg behind a Scan and a Loop; nodes of the bodies have `body` in their names.
LOOPS = """<ir_version: 8, opset_import: ["": 17]>
m (float[T, 2] x, float[2] start, int64 steps) => (float[T, 2] summed, float[2] looped)
<bool go = {1}>
{
  twice = Add(x, x)
  last, states = Scan <num_scan_inputs = 1, body = step (float[2] before, float[2] now)
    => (float[2] after, float[2] state) { both = Sub(before, now) after = Tanh(both) state = Abs(after) }>
    (start, twice)
  looped = Loop <body = turn (int64 i, bool goes, float[2] old) => (bool on, float[2] new)
    { on = Identity(goes) grown = Sin(old) new = Cos(grown) }> (steps, go, last)
  summed = Neg(states)
}"""


@pytest.fixture
def loops(tmp_path):
    """A file with a Scan and a Loop."""
    model = onnx.parser.parse_model(LOOPS)
    for prefix, graph in [("", model.graph), *bodies(model.graph)]:
        for node in graph.node:
            node.name = f"{prefix}{node.op_type.lower()}"
    path = tmp_path / "loops.onnx"
    onnx.save(model, path)
    return path


def bodies(graph):
    return [("body/", a.g) for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]


def feed(steps=STEPS):
    return {
        "x": np.ones((steps, 2), "float32"),
        "start": np.zeros(2, "float32"),
        "steps": np.array(steps),
    }


needs_idle = pytest.mark.skipif(
    PROVIDERS[IDLE] not in onnxruntime.get_available_providers(), reason="this build has the CPU alone"
)


def test_every_provider_of_this_build_has_a_short_name():
    assert set(onnxruntime.get_all_providers()) <= set(PROVIDERS.values())
    assert len(set(PROVIDERS.values())) == len(PROVIDERS)
    assert {*PROVIDERS, *RUNTIMES, *target("tflite").providers} == set(ALL_PROVIDERS)


def test_tf32_is_off_unless_asked_for_and_said():
    assert execution_chain("cuda") == [("CUDAExecutionProvider", {"use_tf32": "0"})]
    assert execution_chain("cuda", tf32=True) == [("CUDAExecutionProvider", {"use_tf32": "1"})]
    assert settings("cuda") == {"tf32": "off"}
    assert settings("cuda", tf32=True) == {"tf32": "on"}
    assert settings("tensorrt")["tf32"] == "off"
    assert settings("cpu") == settings("cpu", tf32=True) == {}


def test_what_a_provider_is_told_is_said():
    for provider in PROVIDERS:
        told = execution_chain(provider)[0][1]
        assert bool(told) <= bool(settings(provider)), provider
    assert execution_chain("openvino")[0][1] == {"device_type": "CPU", "precision": "FP32"}
    assert settings("openvino") == {"device": "CPU", "precision": "float32"}


def available(monkeypatch, *providers):
    full = [PROVIDERS[provider] for provider in providers]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: full)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)


def test_tensorrt_is_kept_off_tf32_by_the_environment(monkeypatch):
    available(monkeypatch, "tensorrt", "cuda", "cpu")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    prepared("cuda")
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "1"
    prepared("tensorrt", tf32=True)
    prepared("tensorrt")
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    for provider in ("cuda", "tensorrt"):
        with pytest.raises(UsageError, match="NVIDIA_TF32_OVERRIDE=0, which forbids"):
            prepared(provider, tf32=True)


def test_a_name_that_no_onnx_runtime_knows_is_a_usage_error(loops):
    with pytest.raises(UsageError, match=r"provider 'tpu'; expected one of cpu, cuda, tensorrt"):
        prepared("tpu")
    with pytest.raises(UsageError, match=r"provider 'tpu' for onnx; expected one of cpu, cuda"):
        target("onnx").runner(loops, "tpu")
    with pytest.raises(UsageError, match=r"provider 'cuda' for tflite; expected one of cpu, no-xnnpack, tflm;"):
        target("tflite").runner(loops, "cuda")


def test_a_provider_that_this_build_lacks_is_told_with_those_it_has(loops, monkeypatch):
    available(monkeypatch, "cpu")
    with (
        pytest.raises(ProviderError, match=r"no execution provider migraphx .* has cpu\); .*onnxruntime-migraphx"),
        open_runner(loops, "migraphx"),
    ):
        pass


def test_a_provider_that_is_left_out_when_it_fails_is_no_run_on_the_cpu(loops, monkeypatch):
    """This build of ONNX Runtime drops CUDA with a warning and opens a session on the CPU."""
    if PROVIDERS["cuda"] in onnxruntime.get_available_providers():
        pytest.skip("this build has CUDA")
    available(monkeypatch, "cuda", "cpu")
    with (
        pytest.warns(UserWarning, match="CUDAExecutionProvider"),
        pytest.raises(ProviderError, match=r"cuda can't start on loops\.onnx: ONNX Runtime left it out and took .*cpu"),
        open_runner(loops, "cuda"),
    ):
        pass


@needs_idle
def test_a_provider_that_took_no_node_has_no_share(loops):
    with open_runner(loops, IDLE) as opened:
        assert opened.placement() is None
        opened.run(feed())
        placement = opened.placement()
    assert placement.share(IDLE) == placement.recurrent_share(IDLE) == 0
    assert set(placement.counts()) == {"cpu"}


@needs_idle
def test_nodes_in_bodies_are_recurrent_and_others_are_not(loops):
    with open_runner(loops, IDLE) as opened:
        first = opened.run(feed())
        opened.run(feed(7))  # of which the placement says nothing
        placement = opened.placement()
    assert first["summed"].shape == (STEPS, 2)
    told = {node.name: node for node in placement.nodes}
    assert {name for name, node in told.items() if not node.recurrent} == {"add", "neg"}
    assert {name for name in told if name.startswith("body/")} >= {"body/sub", "body/tanh", "body/sin", "body/cos"}
    assert {"scan", "loop"} <= set(told)
    assert {node.runs for name, node in told.items() if name in ("body/tanh", "body/sin")} == {STEPS}
    assert told["scan"].runs == 1


@needs_idle
def test_a_file_that_is_no_model_is_the_fault_of_the_file_on_every_provider(tmp_path):
    path = tmp_path / "rubbish.onnx"
    path.write_bytes(b"rubbish")
    for provider in ("cpu", IDLE):
        with pytest.raises(UsageError, match=r"refuses rubbish\.onnx"), open_runner(path, provider):
            pass


def test_the_cpu_alone_is_not_asked_where_nodes_ran(loops):
    with open_runner(loops, "cpu") as opened:
        opened.run(feed())
        assert opened.placement() is None
        assert opened.settings == {}


def event(name, operator, provider, start, duration):
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "ts": start,
        "dur": duration,
        "args": {"op_name": operator, "provider": provider},
    }


VINO = PROVIDERS["openvino"]
# As ONNX Runtime 1.24 with OpenVINO wrote it: a part in front, a Scan on the CPU with a part and a node in its body.
EVENTS = [
    event(f"{VINO}_part_2_1", "part_2", VINO, 10, 5),
    event("copy", "MemcpyToHost", VINO, 16, 1),
    event(f"{VINO}_part_1_0", "part_1", VINO, 30, 5),
    event("body/erf", "Erf", "CPUExecutionProvider", 36, 2),
    event(f"{VINO}_part_1_0", "part_1", VINO, 40, 5),
    event("body/erf", "Erf", "CPUExecutionProvider", 46, 2),
    event("scan", "Scan", "CPUExecutionProvider", 20, 30),
    event("behind", "Neg", "CPUExecutionProvider", 50, 1),
]
TOLD = (
    Partition(VINO, (("body/a", "MatMul"), ("body/b", "Tanh"))),
    Partition(VINO, (("gru", "GRU"), ("transpose", "Transpose"))),
    Partition("CPUExecutionProvider", (("scan", "Scan"),)),
)


def written(tmp_path, events):
    path = tmp_path / "profile.json"
    path.write_text("[\n" + ",\n".join(map(json.dumps, events)) + "\n]\n")
    return path


def test_a_compiled_part_counts_as_the_nodes_it_was_made_of(tmp_path):
    placement = read_placement(written(tmp_path, EVENTS), TOLD)
    assert placement.nodes == (
        PlacedNode("gru", "GRU", "openvino", 1, recurrent=True),
        PlacedNode("transpose", "Transpose", "openvino", 1, recurrent=False),
        PlacedNode("body/a", "MatMul", "openvino", 2, recurrent=True),
        PlacedNode("body/b", "Tanh", "openvino", 2, recurrent=True),
        PlacedNode("body/erf", "Erf", "cpu", 2, recurrent=True),
        PlacedNode("scan", "Scan", "cpu", 1, recurrent=True),
        PlacedNode("behind", "Neg", "cpu", 1, recurrent=False),
    )
    assert placement.recurrent_share("openvino") == pytest.approx(3 / 5)


@pytest.mark.parametrize("told", [(), TOLD[:1], (*TOLD, TOLD[0])], ids=["an older runtime", "too few", "too many"])
def test_a_compiled_part_of_unknown_content_is_not_guessed_at(told, tmp_path):
    placement = read_placement(written(tmp_path, EVENTS), told)
    assert [node.name for node in placement.opaque] == [f"{VINO}_part_2_1"]
    assert placement.recurrent_share("openvino") is None


def test_a_profile_that_was_cut_off_claims_no_node_to_be_outside_of_loops(tmp_path, monkeypatch):
    monkeypatch.setattr(profiling, "_FULL", 4)
    placement = read_placement(written(tmp_path, EVENTS[2:6]), TOLD[:1])  # the event of the Scan was dropped
    assert {node.recurrent for node in placement.nodes} == {None}


CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_provider_that_crashes_does_not_take_this_process_with_it(loops, monkeypatch):
    assert runner.crash(loops, execution_chain("cpu")) is None
    assert runner.crash(loops.with_name("missing.onnx"), execution_chain("cpu")) is None  # an error is no crash
    monkeypatch.setattr(runner, "_CODE", CRASH)
    assert runner.crash(loops, execution_chain("cpu")) == "SIGSEGV"
    monkeypatch.setattr(runner, "FRAGILE", ("cpu",))
    with (
        pytest.raises(ProviderError, match=r"cpu can't start on loops\.onnx: its process ended with SIGSEGV"),
        open_runner(loops, "cpu"),
    ):
        pass
