"""Recurrences of a TFLite file that stay loops: any length, whatever is written to lists and read from them."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import rnnexport
from benchmarks.edges.artifacts import traced
from benchmarks.edges.cases import Case
from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.core.forms import MOST_COPIED, MOST_UNROLLED, TFLiteForm
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.trace import Graphs, trace
from rnnexport.targets.registry import target
from rnnexport.targets.tflite.export import converted
from rnnexport.targets.tflite.recurrences import decisions
from tests.streams import with_random_weights

GROUP = pytest.mark.xdist_group("tflite_rolled")
ROLLED = TFLiteForm("rolled")
FEATURES = 3


def masked_model():
    x = keras.Input((None, FEATURES), name="x")
    y = keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True))(keras.layers.Masking(0.5)(x))
    model = keras.Model(x, keras.layers.SimpleRNN(2, name="last")(y), name="masked")
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(-0.8, 0.8, array.shape) for array in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def rolled(tmp_path_factory):
    """(model, path, told) of a file of any length; `told` is what became of each recurrence."""
    path, model = tmp_path_factory.mktemp("rolled") / "masked.tflite", masked_model()
    source = rnnexport.load(model)
    traced = trace(source, describe(source, Boundary()), unroll=False)
    graphs = Graphs(traced, rolled=traced)
    path.write_bytes(converted(graphs, ROLLED)[0])
    return model, path, decisions(graphs, ROLLED)


@GROUP
def test_an_artifact_is_verified_and_tells_its_form(tmp_path):
    x = keras.Input((5, FEATURES), name="x")
    model = with_random_weights(keras.Model(x, keras.layers.GRU(4, name="gru")(x), name="fixed"), 2)
    exported = rnnexport.export(model, "tflite", tmp_path / "m.tflite", tflite=ROLLED)
    assert exported.report.status == "passed"
    assert [one.chosen for one in rnnexport.inspect(exported.path).lowering] == ["rolled"]


@GROUP
def test_a_length_may_be_open_and_each_recurrence_is_told(rolled):
    _, path, told = rolled
    operators = target("tflite").operators(path)
    assert operators["WHILE"] == 5  # one for the last output, two for each list that is filled
    told = {one.name.rpartition("/")[2]: one for one in told}
    assert {one.chosen for one in told.values()} == {"rolled"}
    assert [one.rstrip("_0123456789") for one in told] == ["forward_gru", "backward_gru", "last"]
    assert {one.what for one in told.values()} == {
        "2 states of 4 and 4; dynamic length",
        "2 states of 2 and 2; dynamic length",
    }


@GROUP
@pytest.mark.parametrize(("batch", "steps"), [(2, 1), (1, 7), (3, 32), (2, 33), (2, 100)])
def test_it_computes_what_keras_computes_at_every_length(batch, steps, rolled):
    model, path, _ = rolled
    x = np.random.default_rng(steps).standard_normal((batch, steps, FEATURES)).astype(np.float32)
    x[0, steps // 2 :] = 0.5  # what the mask leaves out
    with target("tflite").runner(path, "cpu") as runner:
        (found,) = runner.run({"x": x}).values()
    np.testing.assert_allclose(found, np.asarray(model(x)), rtol=1e-4, atol=1e-5)


def with_length(spec, steps):
    return replace(spec, shape=tuple(steps if size == 40 else size for size in spec.shape))


@GROUP
def test_a_file_is_as_long_for_ten_thousand_steps_as_for_forty():
    x = keras.Input((None, FEATURES), name="x")
    source = rnnexport.load(keras.Model(x, keras.layers.GRU(4, return_sequences=True)(x)))
    signature = describe(source, Boundary(1, 40))
    sizes = []
    for steps in (40, 10_000):
        inputs, outputs = ([with_length(one, steps) for one in side] for side in (signature.inputs, signature.outputs))
        longer = replace(signature, inputs=tuple(inputs), outputs=tuple(outputs))
        sizes.append(len(converted(Graphs(trace(source, longer, unroll=False)), ROLLED)[0]))
    assert sizes[1] < 1.02 * sizes[0]


@GROUP
@pytest.mark.long
def test_states_go_in_and_come_out(tmp_path):
    x = keras.Input((None, FEATURES), batch_size=2, name="x")
    model = keras.Model(x, keras.layers.GRU(4, stateful=True, return_sequences=True)(x), name="stateful")
    rng = np.random.default_rng(4)
    model.set_weights([rng.uniform(-0.8, 0.8, array.shape) for array in model.get_weights()])
    path = tmp_path / "stateful.tflite"
    assert rnnexport.export(model, "tflite", path, tflite=ROLLED).report.status == "passed"
    x_BTI = rng.standard_normal((2, 9, FEATURES)).astype(np.float32)
    with rnnexport.runtime.open(path) as stream:
        found = np.concatenate([stream.step(x_BTI[:, :4]), stream.step(x_BTI[:, 4:])], axis=1)
    model.reset_states() if hasattr(model, "reset_states") else model.layers[-1].reset_state()
    np.testing.assert_allclose(found, np.asarray(model(x_BTI)), rtol=1e-4, atol=1e-5)


def loop(step, until=None):
    """A loop over rows of `x` that writes to a list: `step(t, row, list)` gives the list."""

    def function(x):
        count = tf.shape(x)[0]
        array = tf.TensorArray(tf.float32, count, element_shape=(FEATURES,), clear_after_read=False)

        def goes_on(t, _):
            return t < count if until is None else tf.logical_and(t < count, until(x[t]))

        return tf.while_loop(goes_on, lambda t, a: (t + 1, step(t, x[t], a, count)), (tf.constant(0), array))[1].stack()

    return function


def reads_the_one_before(t, row, array, count):
    del count
    return array.write(t, row + tf.cond(t > 0, lambda: array.read(t - 1), lambda: tf.zeros(FEATURES)))


LOOPS = {
    "in_order": loop(lambda t, row, array, count: array.write(t, row * 2.0)),
    "ends_early": loop(lambda t, row, array, count: array.write(t, row * 2.0), lambda row: row[0] < 90.0),
    "backwards": loop(lambda t, row, array, count: array.write(count - 1 - t, row * 2.0)),
    "from_1_on": loop(lambda t, row, array, count: array.write((t + 1) % count, row * 2.0)),
    "one_place": loop(lambda t, row, array, count: array.write(0, row * 2.0)),
    "it_reads": loop(reads_the_one_before),
}


@GROUP
@pytest.mark.parametrize("form", ["rolled", "unroll"])
def test_lists_are_written_and_read_where_the_loop_says(form):
    x = np.random.default_rng(5).standard_normal((71, FEATURES)).astype(np.float32)
    x[40, 0] = 99.0
    model = traced([Case(name, "", "x", function) for name, function in LOOPS.items()], {"x": x})
    wanted = dict(zip(LOOPS, model.run({"x": x}).values(), strict=True))
    data, _ = converted(Graphs(model), TFLiteForm(form))
    runner = Interpreter(model_content=data).get_signature_runner("serving_default")
    found = dict(zip(LOOPS, (runner(x=x)[f"o{at}"] for at in range(len(LOOPS))), strict=True))
    assert np.abs(wanted["ends_early"][:40]).min() > 0
    assert not wanted["ends_early"][40:].any()
    for name in LOOPS:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_auto_writes_short_sequences_out_and_long_ones_as_loops():
    auto = TFLiteForm()
    assert auto.unrolls
    assert not ROLLED.unrolls
    steps = (None, 1, MOST_UNROLLED, MOST_UNROLLED + 1)
    assert [auto.chosen(count).form for count in steps] == ["unroll", "unroll", "unroll", "rolled"]
    assert "300 steps" in auto.chosen(300).because
    assert [auto.chosen(20, weights).form for weights in (MOST_COPIED // 20, MOST_COPIED // 19)] == ["unroll", "rolled"]
    assert "2.0 MB over 20 steps" in auto.chosen(20, 100_000).because
    assert TFLiteForm("unroll").chosen(10_000).form == "unroll"


def test_another_form_is_refused():
    with pytest.raises(UsageError, match="form 'scan'"):
        TFLiteForm("scan")


@GROUP
def test_a_list_of_another_kind_is_refused_and_says_what_helps():
    def stack(x):
        def grow(t, a):
            return t + 1, tf.raw_ops.TensorListPushBack(input_handle=a, tensor=x[t])

        empty = tf.raw_ops.EmptyTensorList(
            element_shape=tf.constant([FEATURES]), max_num_elements=tf.constant(-1), element_dtype=tf.float32
        )
        _, made = tf.while_loop(lambda t, _: t < 3, grow, (tf.constant(0), empty))
        return tf.raw_ops.TensorListStack(
            input_handle=made, element_shape=tf.constant([FEATURES]), element_dtype=tf.float32, num_elements=-1
        )

    model = traced([Case("stack", "", "x", stack)], {"x": np.ones((5, FEATURES), np.float32)})
    with pytest.raises(ConversionError) as caught:
        converted(Graphs(model), ROLLED)
    assert "--form unroll" in caught.value.todo
