from __future__ import annotations

import hashlib
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper

import rnnexport
from rnnexport.artifact.goldens import Golden
from rnnexport.artifact.provenance import Proof, Provenance
from rnnexport.compat import supported as alone
from rnnexport.core.errors import ConversionError, ProviderError, UsageError
from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.targets.onnx import metadata
from rnnexport.triton.checks import problems
from rnnexport.triton.configuration import configure, messages
from rnnexport.triton.refusals import TYPES, require_servable
from rnnexport.triton.repository import write_repository
from rnnexport.triton.serving import Serving

FLOAT = TensorProto.FLOAT
START_A = np.array([0.5, -0.25, 2.0], "float32")
CHUNK = Signature(
    (TensorSpec("x", "float32", ("batch", "time", 3)),),
    (TensorSpec("y", "float32", ("batch", "time", 3)),),
    (
        StateSpec(
            "b/gru",
            TensorSpec("state_b/gru_00", "float32", ("batch", 2)),
            TensorSpec("next_state_b/gru_00", "float32", ("batch", 2)),
            np.zeros((1, 2), "float32"),
        ),
        StateSpec(
            "a",
            TensorSpec("state_a_00", "float32", ("batch", 3)),
            TensorSpec("next_state_a_00", "float32", ("batch", 3)),
            START_A[None],
        ),
    ),
)


def fixed(signature: Signature, batch: int) -> Signature:
    """The signature with a batch of so many rows, whose states start from another value in each row."""

    def sized(spec: TensorSpec) -> TensorSpec:
        return replace(spec, shape=(batch, *spec.shape[1:]))

    states = tuple(
        replace(
            state,
            input=sized(state.input),
            output=sized(state.output),
            initial=state.initial * np.arange(1, batch + 1, dtype="float32")[:, None],
        )
        for state in signature.states
    )
    return Signature(tuple(map(sized, signature.inputs)), tuple(map(sized, signature.outputs)), states)


def steps(feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the model below computes, in NumPy."""
    x_BTI, a_BI, b_BH = feed["x"], feed["state_a_00"], feed["state_b/gru_00"]
    mean_BI = x_BTI.mean(axis=1)
    return {
        "y": x_BTI + a_BI[:, None],
        "next_state_b/gru_00": b_BH + 2 * mean_BI[:, :2],
        "next_state_a_00": 0.5 * a_BI + mean_BI,
    }


def graph(signature: Signature) -> onnx.ModelProto:
    def info(spec: TensorSpec) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(spec.name, FLOAT, spec.shape)

    constants = [
        helper.make_tensor("half", FLOAT, [], [0.5]),
        helper.make_tensor("two", FLOAT, [], [2.0]),
        *(helper.make_tensor(f"at_{n}", TensorProto.INT64, [1], [n]) for n in range(3)),
    ]
    nodes = [
        helper.make_node("Unsqueeze", ["state_a_00", "at_1"], ["a_B1I"]),
        helper.make_node("Add", ["x", "a_B1I"], ["y"]),
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["state_a_00", "half"], ["half_a"]),
        helper.make_node("Add", ["half_a", "mean"], ["next_state_a_00"]),
        helper.make_node("Slice", ["mean", "at_0", "at_2", "at_1"], ["first"]),
        helper.make_node("Mul", ["first", "two"], ["twice"]),
        helper.make_node("Add", ["state_b/gru_00", "twice"], ["next_state_b/gru_00"]),
    ]
    made = helper.make_graph(
        nodes,
        "steps",
        list(map(info, signature.all_inputs)),
        list(map(info, signature.all_outputs)),
        constants,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def put(path: Path, model: onnx.ModelProto, signature: Signature, goldens: tuple[Golden, ...] = ()) -> Path:
    """The model at `path`, as an artifact of rnnexport with this signature."""
    path.write_bytes(model.SerializeToString())
    source = {"name": "m.keras", "sha256": "ab", "keras_version": "3.15.1", "writer": "Keras 3.15.1"}
    told = Provenance("onnx", source, "keras", {}, {}, signature, {"rtol": 1e-5, "atol": 1e-6})
    metadata.write(path, Proof(told, goldens))
    return path


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    feed = {name: rng.standard_normal(shape).astype("float32") for name, shape in _shapes(4, 5).items()}
    return put(tmp_path / "m.onnx", graph(CHUNK), CHUNK, (Golden("feed 0", feed, steps(feed)),))


def _shapes(batch: int, time: int) -> dict[str, tuple[int, ...]]:
    sizes = {"batch": batch, "time": time}
    return {spec.name: spec.sized(sizes) for spec in CHUNK.all_inputs}


def written(artifact: Path, **options: object) -> tuple[Path, object]:
    """The folder of the model, and its configuration as Triton's own protobuf reads the file."""
    name = options.pop("name", None)
    version = options.pop("version", 1)
    folder = write_repository(artifact, artifact.parent / "repo", name, version, Serving(**options)).folder
    return folder, text_format.Parse((folder / "config.pbtxt").read_text(), messages().ModelConfig())


def test_a_stream_is_served_by_sequences_with_implicit_state(stream):
    folder, config = written(stream)
    assert folder == stream.parent / "repo" / "m"
    wanted = """
        name: "m" platform: "onnxruntime_onnx" backend: "onnxruntime" max_batch_size: 32
        input { name: "x" data_type: TYPE_FP32 dims: -1 dims: 3 }
        output { name: "y" data_type: TYPE_FP32 dims: -1 dims: 3 }
        instance_group { count: 1 kind: KIND_AUTO }
        sequence_batching {
          max_sequence_idle_microseconds: 60000000
          oldest { max_candidate_sequences: 1024 }
          state {
            input_name: "state_a_00" output_name: "next_state_a_00" data_type: TYPE_FP32 dims: 3
            initial_state { name: "state_a_00" data_type: TYPE_FP32 dims: 3 data_file: "00_state_a_00" }
          }
          state {
            input_name: "state_b/gru_00" output_name: "next_state_b/gru_00" data_type: TYPE_FP32 dims: 2
            initial_state { name: "state_b/gru_00" data_type: TYPE_FP32 dims: 2 zero_data: true }
          }
        }
    """
    assert config == text_format.Parse(wanted, messages().ModelConfig())
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == ["1/model.onnx", "config.pbtxt", "initial_state/00_state_a_00"]
    assert (folder / "initial_state" / "00_state_a_00").read_bytes() == START_A.astype("<f4").tobytes()


def test_the_model_is_copied_as_it_is_and_verifies_there(stream):
    folder, _ = written(stream)
    copy = folder / "1" / "model.onnx"
    assert copy.read_bytes() == stream.read_bytes()
    assert rnnexport.verify(copy).passed


def test_a_model_without_states_is_batched_dynamically(stateless):
    folder, config = written(stateless, max_batch=8, max_queue_delay=500)
    wanted = """
        name: "plain" platform: "onnxruntime_onnx" backend: "onnxruntime" max_batch_size: 8
        input { name: "x" data_type: TYPE_FP32 dims: -1 dims: 3 }
        output { name: "y" data_type: TYPE_FP32 dims: 3 }
        output { name: "label" data_type: TYPE_INT64 dims: 1 reshape { } }
        instance_group { count: 1 kind: KIND_AUTO }
        dynamic_batching { max_queue_delay_microseconds: 500 }
    """
    assert config == text_format.Parse(wanted, messages().ModelConfig())
    assert not (folder / "initial_state").exists()


@pytest.fixture
def stateless(tmp_path: Path) -> Path:
    """A mean over time, and the place of its largest value: one number a row."""
    signature = Signature(
        (TensorSpec("x", "float32", ("batch", "time", 3)),),
        (TensorSpec("y", "float32", ("batch", 3)), TensorSpec("label", "int64", ("batch",))),
    )
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0),
        helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["batch", "time", 3])]
    outputs = [
        helper.make_tensor_value_info("y", FLOAT, ["batch", 3]),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
    ]
    made = helper.make_graph(nodes, "plain", inputs, outputs)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return put(tmp_path / "plain.onnx", model, signature)


def test_a_fixed_batch_is_served_one_request_a_run_with_its_axis(tmp_path):
    signature = fixed(CHUNK, 4)
    folder, config = written(put(tmp_path / "four.onnx", graph(signature), signature))
    assert config.max_batch_size == 0
    assert (list(config.input[0].dims), list(config.output[0].dims)) == ([4, -1, 3], [4, -1, 3])
    first, second = config.sequence_batching.state
    assert (list(first.dims), list(first.initial_state[0].dims)) == ([4, 3], [4, 3])
    assert (list(second.dims), second.initial_state[0].zero_data) == ([4, 2], True)
    found = np.frombuffer((folder / "initial_state" / "00_state_a_00").read_bytes(), "<f4").reshape(4, 3)
    np.testing.assert_array_equal(found, START_A * [[1], [2], [3], [4]])


def test_the_options_are_in_the_configuration(stream):
    _, config = written(stream, name="gru-2", strategy="direct", max_batch=5, max_queue_delay=7, max_idle=1.5)
    assert (config.name, config.max_batch_size) == ("gru-2", 5)
    assert config.sequence_batching.WhichOneof("strategy_choice") == "direct"
    assert config.sequence_batching.direct.max_queue_delay_microseconds == 7
    assert config.sequence_batching.max_sequence_idle_microseconds == 1_500_000
    _, config = written(stream, name="other", max_sequences=9, instances=3, device="gpu", max_queue_delay=11)
    oldest = config.sequence_batching.oldest
    assert (oldest.max_candidate_sequences, oldest.max_queue_delay_microseconds) == (9, 11)
    (group,) = config.instance_group
    assert (group.count, group.kind) == (3, messages().ModelInstanceGroup.KIND_GPU)


def test_a_batch_above_the_default_number_of_sequences_can_be_filled(stream):
    _, config = written(stream, max_batch=2000)
    assert config.sequence_batching.oldest.max_candidate_sequences == 2000


@pytest.mark.parametrize("dtype", TYPES)
def test_every_dtype_has_the_type_of_its_size(dtype):
    pb = messages()
    signature = Signature((TensorSpec("x", dtype, ("batch", 3)),), (TensorSpec("y", dtype, ("batch", 3)),))
    (tensor,) = configure("m", signature, Serving()).message.input
    name = pb.DataType.Name(tensor.data_type)
    letters = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}
    assert name == f"TYPE_{letters.get(dtype, dtype.upper())}"


def test_the_same_artifact_gives_the_same_bytes(stream):
    folder, _ = written(stream)
    first = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    written(stream)
    assert first == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What is refused


def changed(signature: Signature, **parts: object) -> Signature:
    """CHUNK with another part: `state` replaces the first state's, the others those of the signature."""
    state = parts.pop("state", None)
    if state is not None:
        first = signature.states[0]
        parts["states"] = (replace(first, **state), *signature.states[1:])
    return replace(signature, **parts)


LOOSE = TensorSpec("y", "float32", ("time", 3))
MISFITS = {
    "string": (
        changed(CHUNK, outputs=(TensorSpec("y", "str", ("batch", 3)),)),
        r"y: str\[batch, 3\]; expected a dtype",
    ),
    "bfloat16": (changed(CHUNK, inputs=(TensorSpec("x", "bfloat16", ("batch", 3)),)), r"x: bfloat16\[batch, 3\]"),
    "scalar": (
        changed(CHUNK, outputs=(TensorSpec("y", "float32", ()),)),
        r"y: float32\[\]; expected at least one axis",
    ),
    "nothing in it": (changed(CHUNK, outputs=(TensorSpec("y", "float32", ("batch", 0)),)), "none of length 0"),
    "an output without the batch": (changed(CHUNK, outputs=(LOOSE,)), r"y: float32\[time, 3\], where other tensors"),
    "the batch elsewhere": (
        changed(CHUNK, outputs=(TensorSpec("y", "float32", ("time", "batch", 3)),)),
        "expected the batch as axis 0 of every tensor",
    ),
    "the batch twice": (
        changed(CHUNK, outputs=(TensorSpec("y", "float32", ("batch", "batch")),)),
        "expected the batch as axis 0 of every tensor",
    ),
    "a state without the batch": (
        changed(
            CHUNK,
            state={"input": TensorSpec("s", "float32", (1, 2)), "output": TensorSpec("n", "float32", (1, 2))},
        ),
        r"s: float32\[1, 2\], where other tensors have an open batch",
    ),
    "a state of one number": (
        changed(
            CHUNK,
            state={"input": TensorSpec("s", "float32", ("batch",)), "output": TensorSpec("n", "float32", ("batch",))},
        ),
        "one number a row",
    ),
    "a state that changes its size": (
        changed(CHUNK, state={"output": TensorSpec("n", "float32", ("batch", 5))}),
        r"and after it n: float32\[batch, 5\]",
    ),
    "states that Triton would swap": (
        changed(CHUNK, state={"output": TensorSpec("a_first", "float32", ("batch", 2))}),
        "the states state_a_00 and a_first at one place of the sorted names; expected next_state_a_00 there",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_triton_can_not_serve_is_refused(case, tmp_path):
    signature, match = MISFITS[case]
    artifact = put(tmp_path / "m.onnx", graph(CHUNK), signature)
    with pytest.raises(ConversionError, match=match) as told:
        write_repository(artifact, tmp_path / "repo")
    assert "\n" not in str(told.value)
    assert not (tmp_path / "repo").exists()


def test_a_state_of_open_length_is_refused():
    """No artifact can have one: the initial value has a size."""
    before, after = (TensorSpec(name, "float32", ("batch", "time", 2)) for name in ("s", "n"))
    with pytest.raises(ConversionError, match="with the open dimension time; expected a state of fixed size"):
        require_servable(changed(CHUNK, state={"input": before, "output": after}))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_batch": 4}, r"--max-batch 4, but the batch of x: float32\[4, time, 3\] is fixed.*--batch dynamic"),
        ({"max_queue_delay": 4}, "--max-queue-delay 4, but the batch of"),
    ],
)
def test_batches_of_a_fixed_batch_are_refused(options, match, tmp_path):
    signature = fixed(CHUNK, 4)
    with pytest.raises(UsageError, match=match):
        written(put(tmp_path / "m.onnx", graph(signature), signature), **options)


@pytest.mark.parametrize("options", [{"strategy": "oldest"}, {"max_sequences": 3}, {"max_idle": 3.0}])
def test_options_of_sequences_are_refused_without_states(options, stateless):
    option = next(iter(options)).replace("_", "-")
    with pytest.raises(UsageError, match=f"--{option} for a model without states"):
        written(stateless, **options)


def test_a_number_of_sequences_is_refused_where_the_batch_decides(stream):
    with pytest.raises(UsageError, match="--max-sequences 3 with --strategy direct"):
        written(stream, strategy="direct", max_sequences=3)


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch": 0},
        {"max_batch": 2**31},
        {"instances": 0},
        {"device": "tpu"},
        {"strategy": "newest"},
        {"max_sequences": 0},
        {"max_idle": 0.0},
        {"max_idle": float("nan")},
        {"max_idle": 1e10},
        {"max_queue_delay": -1},
    ],
)
def test_options_out_of_range_are_refused(options):
    ((name, _),) = options.items()
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')}"):
        Serving(**options)


@pytest.mark.parametrize("name", ["a/b", "..", "", ".hidden", "with space", "ü", "-o"])
def test_names_that_are_no_folder_and_no_url_are_refused(name, stream):
    with pytest.raises(UsageError, match="the model name"):
        written(stream, name=name)
    assert not (stream.parent / "repo").exists()


@pytest.mark.parametrize("version", [0, -1, 2**63])
def test_versions_that_triton_can_not_count_are_refused(version, stream):
    with pytest.raises(UsageError, match=f"--version {version}"):
        written(stream, version=version)


def test_an_altered_artifact_is_refused(stream):
    model = onnx.load(stream)
    model.graph.initializer[0].float_data[0] *= 2
    stream.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=r"m\.onnx was altered after it was exported"):
        written(stream)
    assert not (stream.parent / "repo").exists()


def test_what_is_no_artifact_of_rnnexport_is_refused(tmp_path):
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(graph(CHUNK).SerializeToString())
    with pytest.raises(UsageError, match=r"foreign\.onnx was not made by rnnexport"):
        written(foreign)
    (tmp_path / "m.tflite").write_bytes(b"TFL3")
    with pytest.raises(UsageError, match=r"m\.tflite, a tflite artifact; expected an ONNX file"):
        written(tmp_path / "m.tflite")
    with pytest.raises(UsageError, match=r"no file .*missing\.onnx"):
        written(tmp_path / "missing.onnx")


def test_without_tritonclient_the_extra_is_named(stream, monkeypatch):
    monkeypatch.delitem(sys.modules, "tritonclient.grpc.model_config_pb2", raising=False)
    monkeypatch.setattr(alone, "find_spec", lambda name: None)
    with pytest.raises(ProviderError, match=r"tritonclient is not installed.*pip install .*\[triton\]"):
        write_repository(stream, stream.parent / "repo")
    assert not (stream.parent / "repo").exists()


# What is there already


def test_another_version_stays_beside_the_new_one(stream):
    folder, _ = written(stream)
    before = (folder / "1" / "model.onnx").read_bytes()
    stream.write_bytes(stream.read_bytes())
    found = write_repository(stream, stream.parent / "repo", version=12)
    assert (found.version, found.kept) == (12, (1,))
    assert (folder / "1" / "model.onnx").read_bytes() == before
    assert (folder / "12" / "model.onnx").read_bytes() == stream.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["1", "12", "config.pbtxt", "initial_state"]


def test_a_version_that_wants_another_configuration_is_refused(stream):
    folder, _ = written(stream)
    with pytest.raises(UsageError, match=r"holds version 1, whose config\.pbtxt is not the one of version 2"):
        written(stream, version=2, max_batch=7)
    assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt", "initial_state"]


def test_a_version_whose_states_start_elsewhere_is_refused(stream):
    folder, _ = written(stream)
    a, b = CHUNK.states[1], CHUNK.states[0]
    other = replace(CHUNK, states=(b, replace(a, initial=a.initial + 1)))
    put(stream, graph(other), other)
    with pytest.raises(UsageError, match="holds version 1"):
        written(stream, version=2)
    assert (folder / "initial_state" / "00_state_a_00").read_bytes() == START_A.tobytes()


def test_the_only_version_is_replaced_with_its_configuration(stream, stateless):
    folder, _ = written(stream)
    _, config = written(stateless, name="m")
    assert config.HasField("dynamic_batching")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt"]


@pytest.mark.parametrize("file", ["labels.txt", "1/weights.bin", "initial_state/more/x", "warmup/raw", "01/model.onnx"])
def test_files_of_somebody_else_are_never_touched(file, stream):
    folder, _ = written(stream)
    own = folder / file
    own.parent.mkdir(exist_ok=True)
    own.write_text("mine")
    with pytest.raises(UsageError, match=f"holds {file}"):
        written(stream)
    assert own.read_text() == "mine"


@pytest.mark.parametrize("change", ["changed", "foreign", "missing"])
def test_a_configuration_of_somebody_else_is_never_touched(change, stream):
    folder, _ = written(stream)
    config = folder / "config.pbtxt"
    if change == "missing":
        config.unlink()
    else:
        text = config.read_text()
        config.write_text(text.replace("32", "64", 1) if change == "changed" else text.partition("\n")[2])
    before = config.read_text() if config.exists() else None
    with pytest.raises(UsageError, match=r"a config\.pbtxt that rnnexport did not write, or that was changed"):
        written(stream)
    assert (config.read_text() if config.exists() else None) == before


def test_a_file_in_the_place_of_a_folder_is_never_touched(stream):
    repository = stream.parent / "repo"
    repository.write_text("mine")
    with pytest.raises(UsageError, match=r"repo is a file; expected a folder"):
        written(stream)
    assert repository.read_text() == "mine"
    repository.unlink()
    repository.mkdir()
    (repository / "m").write_text("mine")
    with pytest.raises(UsageError, match=r"repo/m is a file"):
        written(stream)
    assert (repository / "m").read_text() == "mine"


def test_the_head_of_the_configuration_is_the_digest_of_the_rest(stream):
    folder, _ = written(stream)
    head, _, body = (folder / "config.pbtxt").read_text().partition("\n")
    assert head.startswith("#")
    assert head.endswith(hashlib.sha256(body.encode()).hexdigest())


def test_a_failure_leaves_nothing_behind(stream, monkeypatch):
    monkeypatch.setattr("shutil.copyfile", failing)
    with pytest.raises(UsageError, match=r"can't write .*disk full"):
        written(stream)
    assert sorted(path.name for path in stream.parent.iterdir()) == ["m.onnx"]


def failing(source: object, destination: object) -> None:
    raise OSError(28, "disk full")


# The rules by which Triton loads a model, each broken alone


def _set(**values: object):
    def change(config) -> None:
        for name, value in values.items():
            setattr(config, name, value)

    return change


def open_state(config) -> None:
    state = config.sequence_batching.state[1]
    state.dims[0] = state.initial_state[0].dims[0] = -1


BROKEN = {
    "another folder": (_set(name="other"), "the name 'other' in the folder 'm'"),
    "another backend": (_set(backend="tensorrt"), "with the backend 'tensorrt'"),
    "a negative batch": (_set(max_batch_size=-1), "max_batch_size -1"),
    "no batching": (_set(max_batch_size=0), r"'x' as \[-1, 3\], which is \[-1, -1, 3\] in the model"),
    "dims with the batch": (lambda c: c.input[0].dims.insert(0, -1), r"'x' as \[-1, -1, -1, 3\]"),
    "no dims": (lambda c: c.input[0].ClearField("dims"), r"dims \[\] of 'x'"),
    "a dim of 0": (lambda c: c.output[0].dims.__setitem__(1, 0), r"dims \[-1, 0\] of 'y'"),
    "a fixed size for an open one of an output": (lambda c: c.output[0].dims.__setitem__(0, 5), r"'y' as \[-1, 5, 3\]"),
    "another dtype": (lambda c: setattr(c.input[0], "data_type", 12), "'x' as TYPE_FP64, which is element type 1"),
    "another name": (lambda c: setattr(c.input[0], "name", "z"), "'z', which the model has not"),
    "an input left out": (lambda c: c.input.pop(), "the inputs .* for those of the model"),
    "a state left out": (lambda c: c.sequence_batching.state.pop(), "the inputs .* for those of the model"),
    "a state as input too": (
        lambda c: c.input.add(name="state_a_00", data_type=11, dims=[3]),
        "the inputs .* for those of the model",
    ),
    "a state of another size": (
        lambda c: c.sequence_batching.state[0].dims.__setitem__(0, 4),
        r"'state_a_00' as \[-1, 4\]",
    ),
    "no initial value": (
        lambda c: c.sequence_batching.state[0].ClearField("initial_state"),
        "no initial value of 'state_a_00'",
    ),
    "an initial value without a name": (
        lambda c: c.sequence_batching.state[0].initial_state[0].ClearField("name"),
        "or without a name",
    ),
    "an initial value of another dtype": (
        lambda c: setattr(c.sequence_batching.state[1].initial_state[0], "data_type", 10),
        "an initial value of 'state_b/gru_00' of another dtype",
    ),
    "an initial value of another size": (
        lambda c: c.sequence_batching.state[1].initial_state[0].dims.__setitem__(0, 3),
        "an initial value of 'state_b/gru_00' of another dtype or size",
    ),
    "a state of open size": (
        open_state,
        "an initial value of 'state_b/gru_00' of another dtype or size",
    ),
    "no file": (
        lambda c: setattr(c.sequence_batching.state[0].initial_state[0], "data_file", "none"),
        "no 12 bytes that 'state_a_00' starts from",
    ),
    "neither zeros nor a file": (
        lambda c: c.sequence_batching.state[1].initial_state[0].ClearField("zero_data"),
        "no 8 bytes that 'state_b/gru_00' starts from",
    ),
}


def test_a_good_configuration_has_no_problems():
    assert problems(good(), "m", graph(CHUNK).graph, {"00_state_a_00": 12}) == []


def good():
    return configure("m", CHUNK, Serving()).message


@pytest.mark.parametrize("case", BROKEN)
def test_every_rule_of_loading_is_checked(case):
    change, match = BROKEN[case]
    config = good()
    change(config)
    found = problems(config, "m", graph(CHUNK).graph, {"00_state_a_00": 12})
    assert any(re.search(match, problem) for problem in found), found


def test_swapped_states_are_a_problem():
    config = good()
    first, second = config.sequence_batching.state
    first.output_name, second.output_name = second.output_name, first.output_name
    found = problems(config, "m", graph(CHUNK).graph, {"00_state_a_00": 12})
    assert "states whose names do not sort alike on both sides" in found


def test_a_fixed_batch_in_the_graph_can_not_be_batched():
    found = problems(good(), "m", graph(fixed(CHUNK, 1)).graph, {"00_state_a_00": 12})
    assert "'x' in batches, whose axis 0 is (1,) in the model" in found
