"""SavedModel folders as sources: recognised without TensorFlow, refused where they do more than compute."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

import rnnexport
from rnnexport.errors import ConversionError
from rnnexport.loading import Loading
from rnnexport.source.files import identify
from rnnexport.source.saved_model_file import _REACHING, digest, read_saved_model

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
    wanted = "a table or other" if kind == "table" else f"the operator {kind.split()[0]} "
    with pytest.raises(ConversionError, match=f"{wanted}.*--allow-unsafe".replace(" .*", ".*")):
        rnnexport.load(tmp_path / "program")
    assert not list(tmp_path.glob("canary*"))
    assert read_saved_model(tmp_path / "program", allow_unsafe=True).signatures == ("serving_default",)


def test_the_user_may_let_a_program_in(tmp_path):
    import tensorflow as tf

    module, function = hostile_programs(tmp_path)["PrintV2"]()
    tf.saved_model.save(module, str(tmp_path / "program"), signatures=function)
    assert rnnexport.load(tmp_path / "program", Loading(allow_unsafe=True)).api.name == "saved-model"


def test_no_operator_that_names_a_file_or_runs_python_passes():
    """Over all operators of TensorFlow: an input or attribute that is a place in the world gives an operator away."""
    import tensorflow as tf
    from tensorflow.python.framework import op_def_registry

    place = re.compile(
        r"file|path|dir|prefix|pattern|address|target|command|token|url|host|endpoint|logdir|library", re.I
    )
    harmless = re.compile(r"Regex|Mirror|CudnnRNN")  # patterns of text, padding modes, the direction of a recurrence
    passing = set()
    for name in dir(tf.raw_ops):
        definition = op_def_registry.get(name)
        if definition is None or _REACHING.search(name) or harmless.search(name):
            continue
        arguments = [a.name for a in definition.input_arg if a.type == tf.string.as_datatype_enum]
        arguments += [a.name for a in definition.attr if a.type == "string"]
        if any(map(place.search, arguments)):
            passing.add(name)
    assert passing == set()


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
