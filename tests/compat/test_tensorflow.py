"""Each part of TensorFlow without a public name does what it is used for."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from rnnexport.compat import tensorflow as parts


@tf.function
def doubled(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: 2 * x, lambda: x)


def test_functions_of_a_graph_are_found_and_written_as_graphs():
    concrete = doubled.get_concrete_function(tf.TensorSpec([3], tf.float32))
    (choice,) = (one for one in concrete.graph.get_operations() if one.type == "StatelessIf")
    name = choice.get_attr("then_branch").name
    assert parts.function_of(concrete.graph, name) is not None
    library = {one.signature.name: one for one in concrete.graph.as_graph_def().library.function}
    assert {"Mul"} <= {one.type for one in parts.function_def_to_graph(library[name]).get_operations()}
    graph_def, names = parts.function_def_to_graph_def(library[name])
    assert "Mul" in {node.op for node in graph_def.node}
    assert names


def test_definitions_and_kernels_of_operators():
    definition = parts.op_def_registry.get("MatMul")
    assert [one.name for one in definition.input_arg] == ["a", "b"]
    assert parts.op_def_registry.get("NoSuchOperator") is None
    kernels = parts.kernels.get_registered_kernels_for_op("MatMul").kernel
    types = {kind for one in kernels for limit in one.constraint for kind in limit.allowed_values.list.type}
    assert parts.types_pb2.DT_DOUBLE in types


def test_an_operator_that_is_run_by_name():
    attributes = ("T", tf.float32.as_datatype_enum)
    (found,) = parts.execute.execute(b"Neg", 1, [tf.constant([1.0, -2.0])], attributes, parts.context.context())
    np.testing.assert_array_equal(found, [-1, 2])
    assert parts.execute.must_record_gradient() in (True, False)


def test_operations_that_wait_for_others():
    with tf.Graph().as_default() as graph:
        one, two, three = (tf.constant(float(at), name=f"c{at}").op for at in range(3))
        parts.order_behind(three, [one])
        parts.order_behind(three, [two], only=True)
        parts.set_flag(three, "_flag", value=True)
        parts.set_words(three, "_words", [b"a", b"bc"])
    assert three.control_inputs == [two]
    assert three.get_attr("_flag") is True
    assert three.get_attr("_words") == [b"a", b"bc"]
    assert len(graph.get_operations()) == 3


def test_values_that_are_known_while_a_graph_is_made():
    with tf.Graph().as_default():
        assert parts.smart_constant_value(tf.constant(3)) == 3
        assert parts.smart_constant_value(tf.compat.v1.placeholder(tf.int32, [])) is None


def test_classes_of_tables_of_functions_and_of_freezing():
    keys = tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([1], tf.int64))
    assert isinstance(tf.lookup.StaticHashTable(keys, 0), parts.lookup_ops.InitializableLookupTableBase)
    assert hasattr(parts.lookup_ops, "MutableHashTable")
    wrapped = tf.compat.v1.wrap_function(lambda: tf.constant(1.0), [])
    assert isinstance(wrapped, parts.wrap_function.WrappedFunction)
    assert parts.wrap_function.VariableHolder()
    assert parts.convert_to_constants._GraphDef(wrapped.graph.as_graph_def()).nodes
    assert hasattr(parts.convert_to_constants, "_FunctionConverterDataInEager")
