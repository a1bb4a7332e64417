"""A graph in wide types: each operator and construct computes the same, and nothing in it is narrow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

from rnnexport.source.narrow import complete, narrow_left
from rnnexport.source.widening import widened
from tests.source.doubles import IMAGE, batch_norm, normal, opened, run, traced_function

EPS32 = 2.0**-24


# --- operators --------------------------------------------------------------------------------------------------------

VOLUME = normal(2, 6, 7, 5, 2)


def channels_first_norm(x):
    empty = tf.zeros([0])
    ones, zeros = tf.ones([tf.shape(x)[1]]), tf.zeros([tf.shape(x)[1]])
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=ones, offset=zeros, mean=empty, variance=empty, data_format="NCHW", is_training=True, epsilon=0.01
    ).y


def resized(x, size, **attributes):
    return tf.raw_ops.ResizeBilinear(images=x, size=size, **attributes)


def norm_in_loop(x):
    return tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, batch_norm(y, is_training=True)), [0, x])[1]


ELEMENTARY = {
    "batch norm": lambda x: batch_norm(x, is_training=False, epsilon=0.01),
    "batch norm 1": lambda x: batch_norm(x, version=tf.raw_ops.FusedBatchNorm, is_training=False),
    "batch norm of the batch": lambda x: batch_norm(x, version=tf.raw_ops.FusedBatchNormV2, is_training=True),
    "batch norm by default": batch_norm,
    "batch norm, channels first": channels_first_norm,
    "batch norm in a loop": norm_in_loop,
    "local response": lambda x: tf.nn.lrn(x, depth_radius=1, bias=1.5, alpha=0.3, beta=0.7),
    "local response, wide": lambda x: tf.nn.lrn(x, depth_radius=5),
    "resized": lambda x: resized(x, [7, 4], half_pixel_centers=True),
    "resized by corners": lambda x: resized(x, [7, 4], align_corners=True),
    "resized to a pixel": lambda x: resized(x, [1, 9], align_corners=True),
    "resized as of old": lambda x: resized(x, [3, 11]),
    "resized whole numbers": lambda x: resized(tf.cast(x * 50, tf.int32), [7, 4]),
}
POOLS = {
    "max": lambda x: tf.nn.max_pool3d(x, (2, 3, 2), (2, 1, 1), "VALID"),
    "max, padded": lambda x: tf.nn.max_pool3d(x, (3, 2, 2), (1, 2, 3), "SAME"),
    "mean": lambda x: tf.nn.avg_pool3d(x, (2, 3, 2), (1, 2, 1), "VALID"),
    "mean, padded": lambda x: tf.nn.avg_pool3d(x, (3, 2, 4), (2, 2, 3), "SAME"),
}


@pytest.mark.parametrize(
    ("function", "x"),
    [pytest.param(function, IMAGE, id=name) for name, function in ELEMENTARY.items()]
    + [pytest.param(function, VOLUME, id=name) for name, function in POOLS.items()],
)
def test_what_float64_lacks_is_computed_from_what_it_has(function, x):
    expected, truth = function(tf.constant(x)).numpy(), run(function, x=x)
    assert truth.dtype == np.float64
    assert truth.shape == expected.shape
    assert np.abs(truth - expected).max() <= 32 * EPS32 * np.abs(expected).max()


def growing(x):
    steps = tf.TensorArray(tf.float32, tf.shape(x)[0])
    state = tf.zeros([3])
    for step in tf.range(tf.shape(x)[0]):
        state = tf.tanh(state * 0.5 + x[step])
        steps = steps.write(step, state)
    return steps.stack()


PROGRAMS = {
    "while": growing,
    "if": lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: tf.tanh(x), lambda: x * 0.3),
    "case": lambda x: tf.switch_case(tf.shape(x)[0] % 2, [lambda: tf.sin(x), lambda: x / 3]),
    "map": lambda x: tf.map_fn(tf.nn.softmax, x),
    "call": lambda x: tf.function(lambda y: tf.exp(y) * 0.1)(x),
    "complex": lambda x: tf.abs(tf.signal.fft(tf.cast(x, tf.complex64))) + tf.math.imag(tf.signal.rfft(x))[:, :1],
    "ids": lambda x: tf.gather(tf.constant([0.1, 0.2, 0.7]), tf.argmax(x, -1)) + tf.math.top_k(x, 2)[0][:, 1],
    "where": lambda x: tf.where(x > 0.1, tf.math.log1p(tf.abs(x)), tf.cast(tf.shape(x)[1], tf.float32) * 0.1),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_control_flow_lists_and_calls(name):
    x = normal(5, 3)
    expected, truth = tf.function(PROGRAMS[name])(tf.constant(x)).numpy(), run(PROGRAMS[name], x=x)
    assert truth.dtype == np.float64
    assert truth.shape == expected.shape
    assert 0 < np.abs(truth - expected).max() <= 16 * EPS32 * np.abs(expected).max()


def test_what_is_no_real_number_stays_as_it_is():
    x = normal(4, 3)
    assert run(lambda x: x > 0.1, x=x).dtype == bool
    found = run(lambda x: tf.argmax(x, -1, output_type=tf.int32), x=x)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, x.argmax(-1))
    np.testing.assert_array_equal(run(lambda x: x * 2, x=np.array([3, 2**40])), [6, 2**41])


# --- nothing is narrow ------------------------------------------------------------------------------------------------


def tensors(graph: tf.Graph) -> list[tf.Tensor]:
    """Every tensor of a graph and of the functions in it, as TensorFlow sees it."""
    library = graph.as_graph_def().library.function
    with graph.as_default():
        inner = [function_def_to_graph(function) for function in library]
    return [tensor for part in (graph, *inner) for node in part.get_operations() for tensor in node.outputs]


def everything(x):
    y = PROGRAMS["if"](x)
    y = tf.map_fn(lambda row: tf.cast(tf.cast(row, tf.float16) * 2, tf.float32), y)
    return tf.nn.lrn(y, 5) + tf.abs(tf.cast(y, tf.complex64))


def test_no_tensor_of_the_graph_is_narrower_than_float64():
    with opened(traced_function(everything, x=IMAGE)) as double:
        found = tensors(double.outputs["y"].graph)
        assert {tensor.dtype for tensor in found if tensor.dtype.is_floating} == {tf.float64}
        assert {tensor.dtype for tensor in found if tensor.dtype.is_complex} == {tf.complex128}
        assert len(found) > 60
        # Lists of tensors tell their elements' dtype in an attribute alone.
        assert tf.float32.as_datatype_enum not in {
            node.attr["element_dtype"].type
            for function in double.outputs["y"].graph.as_graph_def().library.function
            for node in function.node_def
        }


def test_one_narrow_type_anywhere_is_found():
    """Each type, list of types, tensor and argument of a wide graph is made narrow again, one at a time."""
    wide = widened(traced_function(everything, x=IMAGE).function.graph.as_graph_def())
    assert narrow_left(wide) is None
    places = 0
    nodes = [*wide.node, *(node for function in wide.library.function for node in function.node_def)]
    for node in nodes:
        for name, value in node.attr.items():
            kept = type(value)()
            kept.CopyFrom(value)
            for change in (lambda v: setattr(v, "type", 1), lambda v: setattr(v.tensor, "dtype", 19)):
                if (value.type or value.tensor.dtype) == tf.float64.as_datatype_enum:
                    change(value)
                    assert narrow_left(wide) is not None, (node.op, name)
                    value.CopyFrom(kept)
                    places += 1
            for index, number in enumerate(kept.list.type):
                if number == tf.float64.as_datatype_enum:
                    value.list.type[index] = tf.float32.as_datatype_enum
                    assert narrow_left(wide) is not None, (node.op, name)
                    value.CopyFrom(kept)
                    places += 1
    for function in wide.library.function:
        for arg in (*function.signature.input_arg, *function.signature.output_arg):
            if arg.type == tf.float64.as_datatype_enum:
                arg.type = tf.bfloat16.as_datatype_enum
                assert "bfloat16" in str(narrow_left(wide))
                arg.type = tf.float64.as_datatype_enum
                places += 1
    assert narrow_left(wide) is None
    assert places > 60


def test_what_a_file_leaves_out_has_the_default_of_its_operator():
    node = tf.compat.v1.NodeDef(name="n", op="FusedBatchNormV3")
    assert complete(node).attr["is_training"].b
    assert "is_training" not in node.attr
    real = tf.compat.v1.GraphDef(node=[tf.compat.v1.NodeDef(name="r", op="RFFT", input=["x", "n"])])
    assert "narrow" in str(narrow_left(real))  # its defaults are float32 and complex64
    assert narrow_left(widened(real)) is None


def test_what_a_function_returns_has_the_name_that_a_call_gives_it():
    graph_def = traced_function(norm_in_loop, x=IMAGE).function.graph.as_graph_def()
    (body,) = (f for f in graph_def.library.function if any(n.op == "FusedBatchNormV3" for n in f.node_def))
    (norm,) = (node.name for node in body.node_def if node.op == "FusedBatchNormV3")
    first, second = sorted(body.ret)[:2]
    body.ret[first], body.ret[second] = f"{norm}:y:0", f"{norm}:batch_variance:0"
    (wide,) = (f for f in widened(graph_def).library.function if f.signature.name == body.signature.name)
    assert (wide.ret[first], wide.ret[second]) == (f"{norm}:output:0", f"{norm}:output:2")
