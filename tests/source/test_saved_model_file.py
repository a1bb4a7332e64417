"""SavedModel folders as sources: recognised without TensorFlow, refused where they do more than compute."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.source.files import identify
from rnnexport.source.saved_model_file import COMPUTING, digest, read_saved_model

pytestmark = pytest.mark.xdist_group("saved model source")
FEATURES, UNITS = 5, 4


def cell_program(**extra):
    """A plain TensorFlow recurrence, h' = tanh(x W + h R + b), as a module; `extra` is tracked by it."""
    import tensorflow as tf

    rng = np.random.default_rng(6)

    class Recurrence(tf.Module):
        def __init__(self):
            super().__init__()
            self.W = tf.Variable(rng.normal(0, 0.5, (FEATURES, UNITS)), dtype=tf.float32)
            self.R = tf.Variable(rng.normal(0, 0.5, (UNITS, UNITS)), dtype=tf.float32)
            self.b = tf.constant(rng.normal(0, 0.5, (UNITS,)), dtype=tf.float32)
            for name, value in extra.items():
                setattr(self, name, value)

        @tf.function(input_signature=[tf.TensorSpec((None, None, FEATURES), tf.float32, name="x")])
        def __call__(self, x):
            h = tf.zeros((tf.shape(x)[0], UNITS))
            for t in tf.range(tf.shape(x)[1]):
                h = tf.tanh(x[:, t] @ self.W + h @ self.R + self.b)
            return {"h": h}

    return Recurrence()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    import tensorflow as tf

    program, folder = cell_program(), tmp_path_factory.mktemp("plain") / "program"
    tf.saved_model.save(program, str(folder), signatures=program.__call__)
    return program, folder


def test_a_plain_program_is_exported_through_its_serving_signature(plain, tmp_path):
    import onnxruntime

    program, folder = plain
    exported = rnnexport.export(folder, "onnx", tmp_path / "m.onnx")
    x = np.random.default_rng(8).standard_normal((3, 9, FEATURES)).astype("float32")
    found = onnxruntime.InferenceSession(str(exported.path)).run(["h"], {"x": x})[0]
    np.testing.assert_allclose(found, program(x)["h"], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("to", ["tflite", "saved-model"])
def test_a_plain_program_goes_to_every_target(to, plain, tmp_path):
    from rnnexport.targets.registry import target

    exported = rnnexport.export(plain[1], to, tmp_path / f"m{target(to).suffix}", timesteps=6)
    assert exported.report is not None
    assert exported.report.status == "passed"


def test_the_artifact_says_that_it_comes_from_a_program(plain, tmp_path):
    from rnnexport.targets.registry import target

    path = rnnexport.export(plain[1], "onnx", tmp_path / "m.onnx").path
    proof = target("onnx").read_proof(path)
    assert proof is not None
    assert proof.provenance.keras_api == "saved-model"
    assert proof.provenance.source["sha256"] == digest(plain[1])
    assert "run through its signature serving_default" in proof.provenance.semantics[0]


def test_what_the_folder_is_is_told_without_tensorflow(plain):
    file = identify(plain[1])
    assert file.container == "saved-model"
    assert file.program is not None
    assert file.program.tensorflow_version.startswith("2.")
    assert file.program.signatures == ("serving_default",)
    assert not file.program.keras


def test_a_graph_that_holds_a_gpu_operator_is_refused(tmp_path):
    """On this host Keras' layer runs on the CPU; its program would take the GPU path on another."""
    import tensorflow as tf

    class Gpu(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, FEATURES), tf.float32, name="x")])
        def __call__(self, x):
            weights = tf.ones((4 * UNITS * (FEATURES + UNITS + 2),))
            h = tf.zeros((1, tf.shape(x)[0], UNITS))
            found = tf.raw_ops.CudnnRNN(
                input=x, input_h=h, input_c=h, params=weights, rnn_mode="lstm", is_training=False
            )
            return {"y": tf.cond(tf.size(x) >= 0, lambda: x, lambda: found.output)}

    program = Gpu()
    tf.saved_model.save(program, str(tmp_path / "gpu"), signatures=program.__call__)
    with pytest.raises(ConversionError, match="CudnnRNN"):
        rnnexport.export(tmp_path / "gpu", "onnx", tmp_path / "m.onnx")


def hostile_programs(folder):
    """By what they would do: a function that makes the program, to be saved with `serving_default`."""
    import tensorflow as tf

    spec = [tf.TensorSpec((None, None, FEATURES), tf.float32, name="x")]
    canary = str(folder / "canary")

    def serving(act):
        module = tf.Module()
        module.f = tf.function(lambda x: {"y": act(x)}, input_signature=spec)
        return module, module.f

    def written(x):
        with tf.control_dependencies([tf.io.write_file(canary, "x")]):
            return tf.identity(x)

    def in_a_loop(x):
        return tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, written(y)), [0, x])[1]

    def table(x):
        names = folder / "names.txt"
        names.write_text("a\nb\n")
        module = tf.Module()
        module.table = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(names), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
            ),
            0,
        )
        module.f = tf.function(
            lambda x: {"y": x + tf.cast(module.table.lookup(tf.constant("a")), tf.float32)}, input_signature=spec
        )
        return module, module.f

    return {
        "WriteFile": lambda: serving(written),
        "WriteFile in a loop": lambda: serving(in_a_loop),
        "ReadFile": lambda: serving(
            lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32)
        ),
        "MatchingFiles": lambda: serving(lambda x: x + tf.cast(tf.size(tf.io.matching_files("/etc/*")), tf.float32)),
        "EagerPyFunc": lambda: serving(
            lambda x: tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), x.shape)
        ),
        "PrintV2": lambda: serving(lambda x: (tf.print(x, output_stream=f"file://{canary}"), x)[1]),
        "SaveV2": lambda: serving(
            lambda x: (tf.raw_ops.SaveV2(prefix=canary, tensor_names=["x"], shape_and_slices=[""], tensors=[x]), x)[1]
        ),
        "table": lambda: table(None),
    }


@pytest.mark.parametrize(
    "kind",
    ["WriteFile", "WriteFile in a loop", "ReadFile", "MatchingFiles", "EagerPyFunc", "PrintV2", "SaveV2", "table"],
)
def test_a_program_that_does_more_than_compute_is_refused_before_it_is_loaded(kind, tmp_path):
    import tensorflow as tf

    module, function = hostile_programs(tmp_path)[kind]()
    tf.saved_model.save(module, str(tmp_path / "program"), signatures=function)
    wanted = "a table or other" if kind == "table" else "the operator "
    with pytest.raises(ConversionError, match=f"{wanted}.*allow_unsafe".replace(" .*", ".*")):
        rnnexport.load(tmp_path / "program")
    assert not list(tmp_path.glob("canary*"))
    assert read_saved_model(tmp_path / "program", allow_unsafe=True).signatures == ("serving_default",)


def test_the_user_may_let_a_program_in(tmp_path):
    import tensorflow as tf

    module, function = hostile_programs(tmp_path)["PrintV2"]()
    tf.saved_model.save(module, str(tmp_path / "program"), signatures=function)
    assert rnnexport.load(tmp_path / "program", LoadOptions(allow_unsafe=True)).api.name == "saved-model"


STATEFUL = {  # operators with state that compute all the same: variables, calls, random numbers, checks
    *("AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp", "Assert", "Case", "CheckNumerics"),
    *(
        "CheckNumericsV2",
        "CudnnRNN",
        "CudnnRNNV2",
        "CudnnRNNV3",
        "DisableCopyOnRead",
        "Empty",
        "If",
        "RandomStandardNormal",
    ),
    *("RandomUniform", "RandomUniformInt", "ReadVariableOp", "ResourceGather", "ResourceGatherNd"),
    *("StatefulPartitionedCall", "TruncatedNormal", "VarHandleOp", "VarIsInitializedOp", "VariableV2", "While"),
}
# Texts in attributes that are no places in the world.
WORDS = {
    *("padding", "data_format", "mode", "equation", "direction", "rnn_mode", "input_mode", "method", "interpolation"),
    *(
        "fill_mode",
        "round_mode",
        "message",
        "container",
        "shared_name",
        "pattern",
        "debug_name",
        "config",
        "config_proto",
    ),
    *("executor_type", "frame_name", "allowed_devices", "bad_indices_policy"),
}


def test_no_operator_in_the_list_does_more_than_compute():
    """Against the operators of the TensorFlow that is installed: state, texts and functions give an operator away."""
    import tensorflow as tf
    from tensorflow.python.framework import op_def_registry

    assert len(COMPUTING) > 400
    for name in COMPUTING:
        definition = op_def_registry.get(name)
        assert definition is not None, name
        assert not definition.is_stateful or name in STATEFUL, name
        texts = [a.name for a in definition.input_arg if a.type == tf.string.as_datatype_enum]
        texts += [a.name for a in definition.attr if a.type in ("string", "list(string)")]
        assert set(texts) <= WORDS | ({"input"} if name == "StaticRegexFullMatch" else set()), name


@pytest.mark.parametrize("op", ["ImmutableConst", "DumpTensor", "Skipgram", "XlaLaunch", "DecodeProtoV2", "ReadFile"])
def test_operators_that_reach_out_are_not_in_the_list(op):
    assert op not in COMPUTING


def test_the_signature_that_runs_is_checked_not_the_one_that_is_shown(tmp_path):
    """The graph's own list of signatures is a description: the loader calls what the objects name."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    module, evil = hostile_programs(tmp_path)["WriteFile"]()
    module.good = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec((None, None, FEATURES), tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "p"), signatures={"serving_default": evil, "other": module.good})
    file = tmp_path / "p" / "saved_model.pb"
    proto = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    signatures = proto.meta_graphs[0].signature_def
    signatures["serving_default"].CopyFrom(signatures["other"])
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(ConversionError, match="the operator WriteFile"):
        rnnexport.load(tmp_path / "p")
    assert not list(tmp_path.glob("canary*"))


def test_a_graph_of_tensorflow_1_is_refused_before_it_starts(tmp_path):
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (None, None, FEATURES), name="x")
        start = tf.io.write_file(str(tmp_path / "canary"), "x")
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": x * 2})
        builder = v1.saved_model.Builder(str(tmp_path / "p"))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature}, main_op=start)
        builder.save()
    with pytest.raises(ConversionError, match=r"a graph of TensorFlow 1.*allow_unsafe"):
        rnnexport.load(tmp_path / "p")
    assert not (tmp_path / "canary").exists()


def test_a_program_that_mixes_rows_is_refused_whatever_its_shapes_say(tmp_path):
    """Keras 3 traces TimeDistributed over the batch; behind a recurrence nothing of that is left in the shapes."""
    import keras

    layers = [keras.layers.TimeDistributed(keras.layers.Dense(4)), keras.layers.GRU(3)]
    keras.Sequential([keras.Input((None, FEATURES)), *layers]).export(tmp_path / "p", verbose=False)
    with pytest.raises(ConversionError, match="has other rows alone than in a batch: Keras 3 traces TimeDistributed"):
        rnnexport.export(tmp_path / "p", "onnx", tmp_path / "m.onnx")


def test_a_folder_whose_objects_have_no_signatures_is_refused(plain, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    folder = shutil.copytree(plain[1], tmp_path / "p")
    proto = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for child in proto.meta_graphs[0].object_graph_def.nodes[0].children:
        child.local_name = child.local_name.replace("signatures", "others")
    (folder / "saved_model.pb").write_bytes(proto.SerializeToString())
    with pytest.raises(ConversionError, match="no function serving_default among the objects"):
        rnnexport.load(folder)
    with pytest.raises(ConversionError, match="can't be loaded"):
        rnnexport.load(folder, LoadOptions(allow_unsafe=True))


def test_damage_is_told(plain, tmp_path):
    rng = np.random.default_rng(0)
    whole = (plain[1] / "saved_model.pb").read_bytes()
    folder = shutil.copytree(plain[1], tmp_path / "damaged")
    outcomes = set()
    for _ in range(200):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        (folder / "saved_model.pb").write_bytes(
            bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data)
        )
        try:
            identify(folder)
            outcomes.add("read")
        except ConversionError as error:
            assert "\n" not in str(error)  # noqa: PT017
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_folder_that_is_no_program_is_refused(tmp_path):
    with pytest.raises(ConversionError, match=r"is a folder without saved_model\.pb"):
        identify(tmp_path)


def test_a_program_without_a_serving_signature_is_refused(tmp_path):
    import tensorflow as tf

    program = cell_program()
    tf.saved_model.save(program, str(tmp_path / "p"), signatures={"other": program.__call__.get_concrete_function()})
    with pytest.raises(ConversionError, match="has the signatures other; expected serving_default"):
        identify(tmp_path / "p")


@pytest.mark.parametrize("said", [{"keras_api": "keras"}, {"custom_objects": ["cells.py"]}, {"weights_by": "name"}])
def test_options_that_say_nothing_of_a_program_are_refused(said, plain):
    with pytest.raises(UsageError, match=r"(keras_api|custom_objects=|weights_by) for program, which"):
        rnnexport.load(plain[1], LoadOptions(**said))


def test_nothing_is_written_into_a_model(plain, tmp_path):
    before = digest(plain[1])
    with pytest.raises(UsageError, match="which lies inside the model"):
        rnnexport.export(plain[1], "onnx", plain[1] / "variables" / "m.onnx")
    assert digest(plain[1]) == before


def bomb(kind, plain, folder):
    """The plain program with far more in it than it has bytes."""
    from tensorflow.core.protobuf import saved_model_pb2

    shutil.copytree(plain[1], folder)
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0]
    library = graph.graph_def.library
    if kind == "constants":  # one of one value is stored as that value, whatever its shape
        for index in range(4):
            node = library.function[0].node_def.add(name=f"bomb_{index}", op="Const")
            tensor = node.attr["value"].tensor
            tensor.float_val.append(1.0)
            tensor.tensor_shape.dim.add(size=2 * 10**6)
    elif kind == "variables":
        held = next(node.variable for node in graph.object_graph_def.nodes if node.HasField("variable"))
        held.shape.dim[0].size = 2 * 10**6
    else:  # each function calls the next one twice: 2**40 calls of the last
        for function in library.function:
            function.node_def.add(name="bomb", op="PartitionedCall").attr["f"].func.name = "bomb_0"
        for index in range(40):
            function = library.function.add()
            function.signature.name = f"bomb_{index}"
            for name in ("one", "two"):
                function.node_def.add(name=name, op="StatefulPartitionedCall").attr["f"].func.name = f"bomb_{index + 1}"
        library.function.add().signature.name = "bomb_40"
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return folder


READ = r"""
import re, sys
from pathlib import Path
from rnnexport.core.errors import ConversionError
from rnnexport.source.files import identify
for name in sys.argv[1:]:
    try:
        identify(Path(name))
    except ConversionError as error:
        print(error.found)
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())  # ru_maxrss has the parent's before exec
print(int(peak[1]) // 1024, "tensorflow" in sys.modules)
"""


def test_bombs_are_refused_by_what_the_folder_tells_in_little_memory_and_without_tensorflow(plain, tmp_path):
    kinds = ("constants", "variables", "calls")
    folders = [str(bomb(kind, plain, tmp_path / kind)) for kind in kinds]
    done = subprocess.run([sys.executable, "-c", READ, *folders], capture_output=True, text=True, check=True)
    constants, variables, calls, last = done.stdout.splitlines()
    assert re.fullmatch(r"constants of 80\d{5} values in \d+ bytes, in constants", constants)
    assert re.fullmatch(r"variables of 80\d{5} values in \d+ bytes, in variables", variables)
    assert re.fullmatch(r"functions that come to \d{13,14} operators where they are called, in calls", calls)
    megabytes, tensorflow = last.split()
    assert int(megabytes) < 300
    assert tensorflow == "False"


def test_a_function_that_calls_itself_is_counted_to_an_end(plain, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    folder = shutil.copytree(plain[1], tmp_path / "recursion")
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    for function in model.meta_graphs[0].graph_def.library.function:
        function.node_def.add(name="again", op="PartitionedCall").attr["f"].func.name = function.signature.name
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    assert read_saved_model(folder).signatures == ("serving_default",)
