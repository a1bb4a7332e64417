"""What can't be converted is refused, with the op and the layer, and nothing is written."""

from __future__ import annotations

import pytest

import rnnexport
from rnnexport.targets.registry import target

GROUP = pytest.mark.xdist_group("refusals")


def model_with(function, name):
    """A GRU behind a layer that calls `function`."""
    import keras

    class Odd(keras.layers.Layer):
        def call(self, x):
            return function(x)

    x = keras.Input((5, 4), name="x")
    return keras.Model(x, keras.layers.GRU(3, name="gru")(Odd(name=name)(x)), name="odd")


def incomplete_gamma(x):
    import tensorflow as tf

    return x * tf.math.igamma(1.0 + tf.abs(x), tf.abs(x))


@GROUP
@pytest.mark.parametrize("to", ["tflite", "onnx"])  # TensorFlow has a kernel for the op: a Flex op in TFLite
def test_an_op_that_the_format_lacks_is_refused_with_its_layer(to, tmp_path):
    with pytest.raises(rnnexport.ConversionError) as caught:
        rnnexport.export(model_with(incomplete_gamma, "odds"), to, tmp_path / f"m.{to}")
    assert "Igamma in " in caught.value.found
    assert "odds" in caught.value.found
    assert list(tmp_path.iterdir()) == []
    # What is named as a way out is one.
    assert "export to saved-model" in caught.value.todo
    done = rnnexport.export(model_with(incomplete_gamma, "odds"), "saved-model", tmp_path / "m_saved_model")
    assert done.report is not None
    assert done.report.status == "passed"


@GROUP
def test_operators_are_told_once_with_their_layer(tmp_path):
    def thrice(x):
        return incomplete_gamma(incomplete_gamma(incomplete_gamma(x)))

    with pytest.raises(rnnexport.ConversionError) as caught:
        rnnexport.export(model_with(thrice, "odds"), "onnx", tmp_path / "m.onnx", opset=15)
    assert caught.value.found == "no ONNX form of Igamma in layer odds (Odd)"
    assert "opset=" not in caught.value.todo


def test_an_opset_is_named_where_it_helps():
    from rnnexport.conversion.forms import no_form
    from rnnexport.core.names import LayerName

    layers = [LayerName("m_1/rnn_1", "rnn", "RNN"), LayerName("m_1/rnn_1/while/cell_1", "cell", "Cell")]
    operators = [("BitwiseAnd", "m_1/rnn_1/while/cell_1/and"), ("BitwiseOr", "m_1/rnn_1"), ("BitwiseOr", "m_1/rnn_10")]
    told = no_form(operators, layers, 18)
    assert (
        told.found
        == "no ONNX form of BitwiseAnd in layer cell (Cell); BitwiseOr in layer rnn (RNN); BitwiseOr in m_1/rnn_10"
    )
    assert told.todo == "give --opset 18"


@GROUP
def test_a_loop_of_a_length_that_the_values_decide_stays_one(tmp_path):
    def loop(x):
        import tensorflow as tf

        def more(t, array):
            return tf.logical_and(t < 5, tf.reduce_sum(x[:, tf.minimum(t, 4)]) < 1e6)

        array = tf.TensorArray(tf.float32, size=5, element_shape=(None, 4))
        total = tf.while_loop(more, lambda t, a: (t + 1, a.write(t, x[:, t])), (0, array))[1]
        return tf.reshape(tf.transpose(total.stack(), (1, 0, 2)), (-1, 5, 4))

    assert rnnexport.export(model_with(loop, "looping"), "tflite", tmp_path / "m.tflite").report.status == "passed"


@GROUP
def test_one_refusal_leaves_no_artifact_of_another_target(tmp_path):
    with pytest.raises(rnnexport.ConversionError):
        rnnexport.export_all(model_with(incomplete_gamma, "odds"), ["saved-model", "onnx"], tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@GROUP
def test_a_model_whose_code_raises_is_told_in_one_line(tmp_path):
    import tensorflow as tf

    armed = []

    def broken(x):
        if armed and tf.inside_function():
            raise RuntimeError("only in\na graph")
        return x

    model = model_with(broken, "broken")
    armed.append(True)
    with pytest.raises(rnnexport.ConversionError, match=r"can't be traced: RuntimeError: .*only in a graph") as caught:
        rnnexport.export(model, "onnx", tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    # No size helps, so that none is named; the layer is.
    assert "(in Odd)" in caught.value.found
    assert "Arguments received" not in caught.value.found
    assert caught.value.todo == "mend Odd; its __cause__ shows the traceback"


def summed(x):
    """A loop of Python over a length that a graph may not know."""
    return sum(x[:, t] for t in range(x.shape[1]))[:, None] + x


@GROUP
def test_a_length_that_cures_is_told_and_does(tmp_path):
    import keras

    class Summed(keras.layers.Layer):
        def call(self, x):
            return summed(x)

        def compute_output_shape(self, shape):
            return shape

    x = keras.Input((None, 4), name="x")
    model = keras.Model(x, keras.layers.GRU(3)(Summed()(x)))
    with pytest.raises(rnnexport.ConversionError, match=r"can't be traced: TypeError: .*\(in Summed\)") as caught:
        rnnexport.export(model, "onnx", tmp_path / "m.onnx")
    assert caught.value.todo == "give timesteps=N, with which it can be traced"
    done = rnnexport.export(model, "onnx", tmp_path / "m.onnx", timesteps=5)
    assert done.report is not None
    assert done.report.status == "passed"


@GROUP
def test_a_batch_that_cures_is_told(tmp_path):
    import keras

    class Looped(keras.layers.Layer):
        def call(self, x):
            return keras.ops.stack([x[row] * 2 for row in range(x.shape[0])])

        def compute_output_shape(self, shape):
            return shape

    x = keras.Input((5, 4), name="x")
    model = keras.Model(x, keras.layers.GRU(3)(Looped()(x)))
    with pytest.raises(rnnexport.ConversionError, match=r"give batch=N, with which it can be traced"):
        rnnexport.export(model, "onnx", tmp_path / "m.onnx")
    done = rnnexport.export(model, "onnx", tmp_path / "m.onnx", batch=2)
    assert done.report is not None
    assert done.report.status == "passed"


@GROUP
def test_what_autograph_wraps_is_told_without_its_listing(tmp_path):
    import tf_keras

    armed = []

    class Broken(tf_keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            if armed and tf.inside_function():
                raise ValueError("no such shape")
            return x

    x = tf_keras.Input((4,))
    model = tf_keras.Model(x, Broken()(x))
    armed.append(True)
    with pytest.raises(rnnexport.ConversionError, match=r"can't be traced: ValueError: .*no such shape") as caught:
        rnnexport.export(model, "onnx", tmp_path / "m.onnx")
    assert "in user code" not in str(caught.value)


@GROUP
def test_a_graph_that_differs_from_eager_keras_is_a_mismatch(tmp_path):
    """Code that does one thing when traced and another when called: truth is the call."""
    import tensorflow as tf

    def two_faced(x):
        return x * (1.001 if tf.executing_eagerly() else 1.0)

    for to in ("onnx", "saved-model", "tflite"):
        with pytest.raises(rnnexport.MismatchError, match="values off"):
            rnnexport.export(model_with(two_faced, "two_faced"), to, tmp_path / ("m" + target(to).suffix))
    assert list(tmp_path.iterdir()) == []


@GROUP
def test_a_subclassed_model_is_told_how_to_declare_its_inputs(tmp_path):
    import keras

    class Free(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(rnnexport.ConversionError, match=r"was never called.*call it once on real inputs"):
        rnnexport.export(Free(), "onnx", tmp_path / "m.onnx")


@GROUP
def test_what_is_no_model_is_refused():
    with pytest.raises(rnnexport.UsageError, match="a list"):
        rnnexport.load([1, 2])


@GROUP
@pytest.mark.parametrize("to", ["onnx", "tflite", "saved-model"])
def test_a_layer_that_may_draw_random_numbers_is_named(to, tmp_path):
    """In a branch that no feed takes; freezing leaves it without its generator."""
    import tensorflow as tf
    import tf_keras

    class Crop(tf_keras.layers.Layer):
        def build(self, shape):
            self.generator = tf.random.Generator.from_seed(3)

        def call(self, x):
            return tf.cond(
                tf.reduce_max(tf.abs(x)) < -1.0, lambda: x + self.generator.normal(tf.shape(x)), lambda: x * 2.0
            )

    x = tf_keras.Input((5, 6, 3))
    model = tf_keras.Model(x, Crop(name="crop")(x))
    with pytest.raises(rnnexport.ConversionError, match=r"crop/.* may draw random numbers; .*leave that layer out"):
        rnnexport.export(model, to, tmp_path / f"m{target(to).suffix}")
