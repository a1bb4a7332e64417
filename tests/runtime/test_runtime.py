"""Stepping an artifact: the states are carried as eager Keras carries them, and what does not fit is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

import rnnexport
from rnnexport.artifact.provenance import Proof, Provenance
from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.runtime import Stream
from rnnexport.targets.registry import TARGET_NAMES
from samples.cgru_cell import MODELS

ROOT = Path(__file__).parents[2]
GROUP = pytest.mark.xdist_group("runtime")
B = 3


class Total:
    """A runner whose one state is the sum of all timesteps so far; what it was fed last is kept."""

    def __init__(self, outputs):
        self.outputs_ = outputs
        self.fed = {}

    def run(self, feed):
        self.fed = dict(feed)
        if np.isnan(feed["x"]).any():
            raise RuntimeError("the runtime fails")
        total = feed["state_sum_00"] + feed["x"].sum(axis=1)
        return {name: total * factor for factor, name in enumerate(self.outputs_, 1)} | {"next_state_sum_00": total}


def summing(batch="batch", time="time", outputs=("y",), more=(), initial=None):
    """A stream of `Total`, whose initial state is 10, 11... in the features, and in the rows where they are fixed."""
    rows = batch if isinstance(batch, int) else 1
    start = np.arange(10, 10 + 2 * rows, dtype="float32").reshape(rows, 2) if initial is None else initial
    shape = (batch, 2)
    before, after = TensorSpec("state_sum_00", "float32", shape), TensorSpec("next_state_sum_00", "float32", shape)
    signature = Signature(
        (TensorSpec("x", "float32", (batch, time, 2)), *more),
        tuple(TensorSpec(name, "float32", shape) for name in outputs),
        (StateSpec("sum", before, after, start),),
    )
    return Stream(signature, Total(outputs), ExitStack())


def ones(batch=B, timesteps=1):
    """Distinct rows: 1, 2... in each."""
    return np.broadcast_to(np.arange(1, batch + 1, dtype="float32")[:, None, None], (batch, timesteps, 2)).copy()


START = np.array([10, 11], "float32")
ROW = np.array([[1], [2], [3]], "float32")


def test_it_says_what_goes_in_and_comes_out():
    assert repr(summing()) == "<Stream of x: float32[batch, time, 2] to y: float32[batch, 2], 1 state carried>"


def test_a_step_goes_on_from_the_one_before_and_reset_begins_anew():
    stream = summing()
    assert (stream.batch, stream.state) == (None, {})
    np.testing.assert_array_equal(stream.step(ones()), START + ROW)
    np.testing.assert_array_equal(stream.step(ones(timesteps=4)), START + 5 * ROW)
    assert stream.batch == B
    np.testing.assert_array_equal(stream.state["state_sum_00"], START + 5 * ROW)
    stream.reset()
    assert (stream.batch, stream.state) == (None, {})
    np.testing.assert_array_equal(stream.step(ones(2)), START + ROW[:2])  # another batch, after a reset


@pytest.mark.parametrize("rows", [[False, True, True], [1, 2], np.array([2, 1], "uint8"), [2, 1, 1]])
def test_reset_of_rows_leaves_the_others(rows):
    stream = summing()
    stream.step(ones())
    before = stream.state
    stream.reset(rows)
    wanted = np.stack([START + 1, START, START])
    np.testing.assert_array_equal(stream.state["state_sum_00"], wanted)
    np.testing.assert_array_equal(before["state_sum_00"], START + ROW)  # what was read is left alone
    np.testing.assert_array_equal(stream.step(ones()), wanted + ROW)


def test_rows_of_a_fixed_batch_begin_where_each_was_recorded_to():
    stream = summing(batch=3)
    initial = np.arange(10, 16, dtype="float32").reshape(3, 2)
    assert stream.batch == 3
    np.testing.assert_array_equal(stream.state["state_sum_00"], initial)
    stream.step(ones())
    stream.reset(1)
    np.testing.assert_array_equal(stream.state["state_sum_00"], initial + np.array([[1], [0], [3]]))
    stream.reset()
    assert stream.batch == 3
    np.testing.assert_array_equal(stream.state["state_sum_00"], initial)


def test_no_rows_and_rows_before_the_first_step_change_nothing():
    stream = summing()
    stream.reset([True, False])
    stream.reset([7])
    stream.step(ones())
    stream.reset([])
    stream.reset([False, False, False])
    np.testing.assert_array_equal(stream.state["state_sum_00"], START + ROW)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([True, False], "a mask of 2 rows; expected one of 3, the batch"),
        ([0, 3], "row 3; expected rows from 0 to 2"),
        (-1, "row -1; expected rows from 0 to 2"),
        ([0.0, 1.0], r"rows of float64\[2\]; expected a mask or indices"),
        (True, r"rows of bool\[\]"),
        ([[0], [1]], r"rows of int64\[2, 1\]"),
    ],
)
def test_rows_that_are_none_are_refused(rows, says):
    stream = summing()
    stream.step(ones())
    with pytest.raises(rnnexport.UsageError, match=says):
        stream.reset(rows)
    np.testing.assert_array_equal(stream.state["state_sum_00"], START + ROW)
    if rows == -1:
        with pytest.raises(rnnexport.UsageError, match="row -1; expected rows from 0;"):
            summing().reset(rows)


def test_a_snapshot_is_a_copy_that_any_stream_of_the_model_goes_on_from():
    stream, other = summing(), summing()
    fresh = stream.snapshot()
    assert fresh == {}
    stream.step(ones())
    saved = stream.snapshot()
    stream.step(ones())
    other.restore(saved)
    saved["state_sum_00"][:] = 0  # both have their own
    np.testing.assert_array_equal(stream.step(ones()), START + 3 * ROW)
    assert other.batch == B
    np.testing.assert_array_equal(other.step(ones()), START + 2 * ROW)
    other.restore({"state_sum_00": [[1, 2]]})
    np.testing.assert_array_equal(other.step(ones(1)), [[2, 3]])
    other.restore(fresh)
    np.testing.assert_array_equal(other.step(ones()), START + ROW)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"state_other_00": np.zeros((3, 2), "float32")}, "no state_sum_00; expected all states of the model"),
        ({"state_sum_00": np.zeros((3, 2), "float32"), "more": 1}, "more besides the states; expected state_sum_00"),
        ({"state_sum_00": np.zeros((3, 2))}, "state_sum_00 of dtype float64"),
        ({"state_sum_00": np.zeros((3, 1), "float32")}, "state_sum_00 has 1 at axis 1"),
        ({"state_sum_00": np.zeros((2, 2), "float32")}, "state_sum_00 has 2 at axis 0"),
        ({}, "no state_sum_00"),
    ],
)
def test_states_of_another_model_are_refused(state, says):
    stream = summing(batch=3)
    stream.step(ones())
    with pytest.raises(rnnexport.UsageError, match=says):
        stream.restore(state)
    np.testing.assert_array_equal(stream.state["state_sum_00"], [[11, 12], [14, 15], [17, 18]])


def test_a_state_that_is_read_can_not_be_written():
    stream = summing()
    stream.step(ones())
    with pytest.raises(ValueError, match="read-only"):
        stream.state["state_sum_00"][0] = 0


def test_a_step_that_fails_leaves_the_state():
    stream = summing()
    stream.step(ones())
    with pytest.raises(RuntimeError, match="the runtime fails"):
        stream.step(np.full((B, 1, 2), np.nan, "float32"))
    np.testing.assert_array_equal(stream.step(ones()), START + 2 * ROW)
    stream = summing()
    with pytest.raises(RuntimeError, match="the runtime fails"):
        stream.step(np.full((B, 1, 2), np.nan, "float32"))
    assert stream.batch is None


def test_a_closed_stream_takes_no_step_and_lets_go_of_its_runtime():
    gone = []
    with summing() as stream:
        stream._resources.callback(gone.append, "gone")
        stream.step(ones())
    assert gone == ["gone"]
    with pytest.raises(rnnexport.UsageError, match="a step of a stream that was closed"):
        stream.step(ones())
    np.testing.assert_array_equal(stream.snapshot()["state_sum_00"], START + ROW)
    stream.close()


class Kind:
    """A target whose artifacts have that signature, and that counts the runtimes that are open."""

    name = "onnx"

    def __init__(self, signature):
        self._signature = signature
        self.held = []

    def read_proof(self, path):
        return Proof(Provenance("onnx", {}, "keras", {}, {}, self._signature), ())

    def check_code(self, path):
        """It is none."""

    @contextmanager
    def runner(self, path, provider, tf32):
        self.held.append((path, provider, tf32))
        try:
            yield Total(("y",))
        finally:
            self.held.clear()


def test_open_holds_the_runtime_until_the_stream_is_closed(monkeypatch, tmp_path):
    kind = Kind(summing().signature)
    monkeypatch.setattr("rnnexport.runtime.target_of", lambda path: kind)
    stream = rnnexport.runtime.open(tmp_path, "cuda", tf32=True)
    assert kind.held == [(tmp_path, "cuda", True)]
    np.testing.assert_array_equal(stream.step(ones()), START + ROW)
    stream.close()
    assert kind.held == []
    with rnnexport.runtime.open(str(tmp_path)) as stream:
        assert kind.held == [(tmp_path, "cpu", False)]
    assert kind.held == []


IDS = TensorSpec("ids", "int32", ("batch", "ids_time"), high=9)
FLAG = TensorSpec("flag", "int8", ("batch", "time"))


def test_inputs_and_outputs_by_name():
    stream = summing(outputs=("y", "z"), more=(IDS,))
    found = stream.step({"ids": np.zeros((B, 7), "int32"), "x": ones()})
    assert list(found) == ["y", "z"]
    np.testing.assert_array_equal(found["y"], START + ROW)
    np.testing.assert_array_equal(found["z"], 2 * (START + ROW))
    one = summing()
    np.testing.assert_array_equal(one.step({"x": ones()}), START + ROW)


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        ([[[1, 2]]], "float32"),
        ([[[1.0, 2.0]]], "float32"),
        (np.array([[[1, 2]]], "float16"), "float32"),
        (np.array([[[1, 2]]], "int16"), "float32"),
        (np.array([[[1, 2]]], ">f4"), "float32"),
        ([[[np.nan, np.inf]]], "float32"),
    ],
)
def test_what_loses_nothing_is_cast(x, dtype):
    stream = summing()
    if not np.isnan(np.asarray(x, "float32")).any():
        np.testing.assert_array_equal(stream.step(x), [[11, 13]])
    else:
        with pytest.raises(RuntimeError):
            stream.step(x)
    assert stream._runner.fed["x"].dtype == dtype
    assert stream._runner.fed["x"].dtype.isnative


X = ones()
REFUSED = [
    (
        {},
        np.zeros((B, 1, 2)),
        r"x of dtype float64; expected x: float32\[batch, time, 2\]; convert it by astype\('floa",
    ),
    ({}, np.zeros((B, 1, 2), "int64"), "x of dtype int64"),
    ({}, [[["a", "b"]]], "x of dtype <U1"),
    ({}, [[[1, 2]], [[1]]], "x is no array"),
    ({}, [[[1e300, 0]]], "x has numbers that float32 has not"),
    ({}, X[:, 0], r"x of shape \[3, 2\].*give x\[:, np.newaxis\] if it is one timestep"),
    ({}, X[0, 0], r"x of shape \[2\].*give it the axes it lacks"),
    ({}, X[None], r"x of shape \[1, 3, 1, 2\].*drop the other axes"),
    ({}, X[..., :1], r"x has 1 at axis 2; expected x: float32\[batch, time, 2\]; give it 2 there"),
    ({}, X[:0], r"x of shape \[0, 1, 2\]; expected at least one of each"),
    ({}, X[:, :0], r"x of shape \[3, 0, 2\]; expected at least one of each"),
    ({}, {"z": X}, "no x; expected all inputs of the model"),
    ({}, {"x": X, "z": X, 1: X}, "z, 1 besides the inputs; expected x"),
    ({"more": (IDS,)}, X, "one array; expected the inputs x, ids; give them by name"),
    ({"more": (IDS,)}, {"x": X}, "no ids"),
    ({"more": (IDS,)}, {"x": X, "ids": np.zeros((B, 2), "int64")}, "ids of dtype int64"),
    ({"more": (IDS,)}, {"x": X, "ids": [[2**40]] * B}, "ids has numbers that int32 has not"),
    ({"more": (IDS,)}, {"x": X, "ids": [[1.5]] * B}, "ids of dtype float64"),
    ({"more": (IDS,)}, {"x": X, "ids": [[8, 9]] * B}, "the id 9 in ids; expected ids from 0 to 8"),
    ({"more": (IDS,)}, {"x": X, "ids": [[-1, 0]] * B}, "the id -1 in ids"),
    ({"more": (IDS,)}, {"x": X, "ids": [[0]] * 2}, r"ids has 2 at axis 0 \(batch\), and another of the inputs has 3"),
    ({"more": (FLAG,)}, {"x": X, "flag": [[0, 1]] * B}, r"flag has 2 at axis 1 \(time\), and another .* has 1"),
    ({"batch": 3}, ones(2), r"x has 2 at axis 0; expected x: float32\[3, time, 2\]; give it 3 there"),
    ({"time": 4}, ones(B, 9), r"x has 9 timesteps; expected chunks of 4.*cut it: x\[:, 0:4\] first, and"),
    ({"time": 4}, ones(B, 3), "x has 3 timesteps; expected chunks of 4.*wait until there are 4"),
]


@pytest.mark.parametrize(("model", "x", "says"), REFUSED, ids=[says for _, _, says in REFUSED])
def test_inputs_that_do_not_fit_are_refused(model, x, says):
    stream = summing(**model)
    with pytest.raises(rnnexport.UsageError, match=says) as error:
        stream.step(x)
    assert "\n" not in str(error.value)
    assert stream._runner.fed == {}


def test_another_batch_is_refused_until_reset():
    stream = summing()
    stream.step(ones())
    with pytest.raises(rnnexport.UsageError, match=r"a step of 2 rows after one of 3; .* call reset\(\) before"):
        stream.step(ones(2))
    np.testing.assert_array_equal(stream.step(ones()), START + 2 * ROW)


def recurrent():
    """Two stateful layers; the output is the last h of the second, which is one of its states."""
    import keras

    keras.utils.set_random_seed(7)
    x = keras.Input(batch_shape=(B, None, 5), name="x")
    h = keras.layers.GRU(4, return_sequences=True, stateful=True, name="gru")(x)
    model = keras.Model(x, keras.layers.LSTM(2, stateful=True, name="lstm")(h), name="recurrent")
    rng = np.random.default_rng(8)
    model.set_weights([rng.uniform(-0.9, 0.9, weight.shape) for weight in model.get_weights()])
    return model


def chunks(count, timesteps=None, seed=9):
    """Chunks of distinct lengths, or of one length."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((B, timesteps or 1 + k, 5)).astype("float32") for k in range(count)]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """The model, its artifacts by target, and the length that chunks of each have: TFLite fixes it."""
    folder, model = tmp_path_factory.mktemp("runtime"), recurrent()
    made = rnnexport.export_all(model, TARGET_NAMES, folder, tflite_timesteps=3, verify=False)
    return model, {to: (one.path, 3 if to == "tflite" else None) for to, one in zip(TARGET_NAMES, made, strict=True)}


def restarted(model):
    for layer in model.layers[1:]:
        layer.reset_states()
    return model


@GROUP
@pytest.mark.parametrize("to", TARGET_NAMES)
def test_steps_equal_eager_keras_step_by_step(artifacts, to):
    model, made = artifacts
    path, timesteps = made[to]
    with rnnexport.runtime.open(path) as stream:
        assert stream.batch == B
        assert len(stream.state) == 3
        for start in ("fresh", "reset"):
            restarted(model)
            stream.reset()
            for chunk in chunks(4, timesteps):
                y = stream.step(chunk)
                np.testing.assert_allclose(y, np.asarray(model(chunk)), atol=1e-6, err_msg=start)
                y[:] = 99  # the caller's own, though it is the value of a state
        rows = np.array([False, True, False])
        stream.reset(rows)
        for layer in model.layers[1:]:
            for state in layer.states:
                state.assign(np.where(rows[:, None], 0, np.asarray(state)))
        saved = stream.snapshot()
        last = chunks(1, timesteps, seed=10)[0]
        wanted = np.asarray(model(last))
        np.testing.assert_allclose(stream.step({"x": last}), wanted, atol=1e-6)
        assert np.abs(stream.step(last) - wanted).max() > 1e-3  # the state matters
    with rnnexport.runtime.open(str(path)) as other:
        other.restore(saved)
        np.testing.assert_allclose(other.step(last), wanted, atol=1e-6)


@GROUP
@pytest.mark.parametrize("to", ["onnx", "tflite", "numpy", "c"])
def test_it_runs_without_tensorflow(artifacts, to, tmp_path):
    model, made = artifacts
    path, timesteps = made[to]
    given = chunks(2, timesteps)
    np.savez(tmp_path / "x.npz", *given)
    code = f"""
import sys
sys.modules.update(dict.fromkeys(["tensorflow", "keras", "tf_keras", "tf2onnx"]))
import numpy as np, rnnexport
stream, x = rnnexport.runtime.open({str(path)!r}), np.load({str(tmp_path / "x.npz")!r})
np.savez({str(tmp_path / "y.npz")!r}, *[stream.step(x[name]) for name in x.files])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    restarted(model)
    found = np.load(tmp_path / "y.npz")
    for name, chunk in zip(found.files, given, strict=True):
        np.testing.assert_allclose(found[name], np.asarray(model(chunk)), atol=1e-6)


@GROUP
def test_what_is_not_as_it_was_exported_is_refused(artifacts, tmp_path):
    import onnx

    path, _ = artifacts[1]["onnx"]
    with pytest.raises(rnnexport.UsageError, match=r"provider 'tpu' for onnx; expected one of cpu"):
        rnnexport.runtime.open(path, "tpu")
    changed = onnx.load(path)
    changed.doc_string = "patched"
    onnx.save(changed, altered := tmp_path / "altered.onnx")
    with pytest.raises(rnnexport.UsageError, match=r"altered.onnx was altered after it was exported"):
        rnnexport.runtime.open(altered)
    del changed.metadata_props[:]
    onnx.save(changed, tmp_path / "bare.onnx")
    with pytest.raises(rnnexport.UsageError, match=r"bare.onnx does not say .* export it by rnnexport onnx MODEL"):
        rnnexport.runtime.open(tmp_path / "bare.onnx")
    with pytest.raises(rnnexport.UsageError, match=r"no file .*none.onnx"):
        rnnexport.runtime.open(tmp_path / "none.onnx")


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    """The model of docs/streaming.md, and the folder in which its commands were run."""
    folder = tmp_path_factory.mktemp("streams")
    model = MODELS["cgru_no_bias"]()
    model.save(path := folder / "cgru_no_bias.keras")
    code = rnnexport.LoadOptions([str(ROOT / "samples" / "cgru_cell.py")])
    to = folder / "streams"
    rnnexport.export_all(path, TARGET_NAMES, to, loading=code, stream="dynamic", tflite_timesteps=20, verify=False)
    return model, folder


@pytest.mark.long
@GROUP
@pytest.mark.parametrize(
    "name", ["cgru_no_bias.onnx", "cgru_no_bias.tflite", "cgru_no_bias_saved_model", "cgru_no_bias.py"]
)
def test_chunks_of_a_stream_equal_the_whole_sequence_in_eager_keras(streams, name):
    model, folder = streams
    rng = np.random.default_rng(11)
    cuts = list(range(1, 9)) if name.endswith(".tflite") else [1, 3, 4]  # TFLite has chunks of one step
    with rnnexport.runtime.open(folder / "streams" / name) as stream:
        for batch in (2, 4):  # the batch is open: another one follows a reset
            x, other = rng.standard_normal((2, batch, 9, 5)).astype("float32")
            found = np.concatenate([stream.step(chunk) for chunk in np.split(x, cuts, axis=1)], axis=1)
            np.testing.assert_allclose(found, np.asarray(model(x)), atol=1e-6)
            assert stream.batch == batch
            stream.reset([1])  # the row begins anew, and the others go on
            found = np.concatenate([stream.step(chunk) for chunk in np.split(other, cuts, axis=1)], axis=1)
            on = np.asarray(model(np.concatenate([x, other], axis=1)))[:, 9:]
            np.testing.assert_allclose(found[1], np.asarray(model(other))[1], atol=1e-6)
            np.testing.assert_allclose(np.delete(found, 1, 0), np.delete(on, 1, 0), atol=1e-6)
            assert np.abs(found[1] - on[1]).max() > 1e-3
            stream.reset()


@GROUP
def test_the_python_of_the_page_gives_what_the_model_gives(streams, monkeypatch):
    """Its blocks, run one after the other; each makes `y` of the sequence `x`."""
    model, folder = streams
    monkeypatch.chdir(folder)
    page = (ROOT / "docs" / "streaming.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 5
    told = {}
    for block in blocks:
        told.pop("y", None)
        exec(block, told)
        np.testing.assert_allclose(told["y"], np.asarray(model(told["x"])), atol=1e-6, err_msg=block)
    np.testing.assert_allclose(told["whole"], told["y"], atol=1e-6)
