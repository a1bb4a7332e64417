"""Names in the graph: those that the code gives, where they belong, and none rather than a wrong one."""

from __future__ import annotations

import importlib.util
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from rnnexport.core.load_options import LoadOptions
from rnnexport.core.names import SourceNames
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.load import load_source
from rnnexport.source.naming import names_in_code
from rnnexport.source.trace import trace
from samples.catalog import SAMPLES_BY_NAME
from tests.emit.numpy.doubles import described, traced_function, with_random_weights

pytestmark = pytest.mark.xdist_group("naming")


def module(folder, code):
    path = folder / "user_code.py"
    path.write_text("import tensorflow as tf\n" + textwrap.dedent(code))
    spec = importlib.util.spec_from_file_location("user_code", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return path, loaded


def traced(loaded):
    """The graph of its `call(x, w)`, x of 3 rows and 4 columns."""
    specs = [tf.TensorSpec((3, 4), tf.float32, "x"), tf.TensorSpec((4, 4), tf.float32, "w")]
    return tf.function(lambda x, w: loaded.call(x, w), autograph=False).get_concrete_function(*specs).graph


def names(folder, code):
    return names_in_code(traced(module(folder, code)[1]), __file__)[0]


def body(statements, result="x"):
    return f"def call(x, w):\n{textwrap.indent(textwrap.dedent(statements).strip(), '    ')}\n    return {result}\n"


# --- what one statement names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ("z = tf.sigmoid(x @ w + 1.0)", {"Sigmoid": ("z",)}),
        ("y = x @ w\ny += 1.0", {"matmul": ("y",), "add": ("y",)}),
        ("y: tf.Tensor = tf.tanh(x)", {"Tanh": ("y",)}),
        ("z = tf.sigmoid(\n    x @ w\n    + 1.0\n)", {"Sigmoid": ("z",)}),
        ("a, b = tf.split(x, 2, axis=1)", {"split": ("a", "b")}),
        ("[a, _] = tf.split(x, 2, axis=1)", {"split": ("a", "")}),
        ("f, c = x + 1.0, tf.tanh(x)", {"add": ("f",), "Tanh": ("c",)}),
        ("f, y, c = x + 1.0, x, tf.tanh(x)", {"add": ("f",), "Tanh": ("c",)}),
        ("z = r = tf.tanh(x)", {"Tanh": ("z",)}),
        ("gates = tf.split(x, 2, axis=1)", {"split": ("gates_0", "gates_1")}),
        ("gates = tf.split(x, 2, axis=1)\nz, r = gates", {"split": ("z", "r")}),
        ("gates = tf.split(x, 2, axis=1)\nr = gates[1]", {"split": ("gates_0", "r")}),
        ("r = tf.split(x, 2, axis=1)[1]", {"split": ("", "r")}),
        ("parts = [tf.tanh(p) for p in tf.split(x, 2, axis=1)]", {"Tanh": ("parts_0",), "Tanh_1": ("parts_1",)}),
        ("z, r = (tf.tanh(p) for p in tf.split(x, 2, axis=1))", {"Tanh": ("z",), "Tanh_1": ("r",)}),
        ("(z := tf.sigmoid(x))", {"Sigmoid": ("z",)}),
        ("z = tf.sigmoid(x) if x.shape[0] == 3 else tf.tanh(x)", {"Sigmoid": ("z",)}),
        ("box = type('Box', (), {})()\nbox.z = tf.sigmoid(x)", {"Sigmoid": ("z",)}),
        ('gates = {}\ngates["z"] = tf.sigmoid(x)', {"Sigmoid": ("z",)}),
        ("y = tf.identity(tf.tanh(x))", {"Tanh": ("y",)}),
        ("t = tf.tanh(x)\ny = tf.identity(t)", {"Tanh": ("t",)}),
        ("first, *rest = tf.split(x, 2, axis=1)", {"split": ("first", "")}),
        # Nothing that could be wrong:
        ("a = tf.tanh(x); b = tf.sigmoid(x)", {}),
        ("tf.tanh(x)", {}),
        ("_ = tf.tanh(x)", {}),
        ("k = tf.constant([1.0, 2.0])", {}),
        ("h = tf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, tf.tanh(h)), (0, x))[1]", {}),
        ("for y in tf.split(x, 2, axis=1): pass", {}),
        ("first, *rest = tf.split(x, 4, axis=1)", {}),
        ("best = tf.math.top_k(x, 2)", {}),
    ],
)
def test_a_statement_names_the_last_thing_it_made(tmp_path, statements, expected):
    assert names(tmp_path, body(statements)) == expected


# --- functions of the code --------------------------------------------------------------------------------------------

FUNCTIONS = {
    "the caller's name wins": (
        """
        def gate(x):
            g = tf.sigmoid(x)
            return g
        def call(x, w):
            z = gate(x)
        """,
        {"Sigmoid": ("z",)},
    ),
    "what is inside keeps its names": (
        """
        def gate(x, w):
            s = x @ w
            return tf.sigmoid(s)
        def call(x, w):
            z = gate(x, w)
            r = gate(z, w)
        """,
        {"matmul": ("s",), "Sigmoid": ("z",), "matmul_1": ("s",), "Sigmoid_1": ("r",)},
    ),
    "results in another order than they were made": (
        """
        def both(x):
            c = tf.tanh(x)
            o = tf.sigmoid(x)
            return o, c
        def call(x, w):
            first, second = both(x)
        """,
        {"Sigmoid": ("first",), "Tanh": ("second",)},
    ),
    "a result that was not made last": (
        """
        def kept(x):
            y = tf.tanh(x)
            unused = tf.sigmoid(x)
            return y
        def call(x, w):
            z = kept(x)
        """,
        {"Tanh": ("z",), "Sigmoid": ("unused",)},
    ),
    "a result in a list, as cells return it": (
        """
        def cell(x, h):
            n = tf.tanh(x)
            h = n + h
            return h, [h]
        def call(x, w):
            y, states = cell(x, x)
        """,
        {"Tanh": ("n",), "add": ("y",)},
    ),
    "what is given back is not what was made": (
        """
        def aside(x):
            y = tf.tanh(x)
            return x
        def call(x, w):
            z = aside(x)
        """,
        {"Tanh": ("y",)},
    ),
    "a name that may mean something else by then": (
        """
        def turned(x):
            y = tf.tanh(x)
            y = x
            return y
        def call(x, w):
            z = turned(x)
        """,
        {"Tanh": ("y",)},
    ),
    "a call that gave back what it was given": (
        """
        def same(x, rate):
            return x if rate == 0 else x * rate
        def dropped(x):
            y = tf.tanh(x)
            y = same(y, 0)
            return y
        def call(x, w):
            z = dropped(x)
        """,
        {"Tanh": ("z",)},
    ),
    "a lambda": (
        """
        gate = lambda v: tf.sigmoid(v)
        def call(x, w):
            z = gate(x)
            y = (lambda v: tf.tanh(v))(z)
        """,
        {"Sigmoid": ("z",), "Tanh": ("y",)},
    ),
    "a function in a function": (
        """
        def call(x, w):
            scale = 2.0
            def gate(v):
                s = v * scale
                return tf.sigmoid(s)
            z = gate(x)
        """,
        {"mul": ("s",), "Sigmoid": ("z",)},
    ),
    "one return of several": (
        """
        def act(x, kind):
            if kind == "tanh":
                return tf.tanh(x)
            y = tf.sigmoid(x)
            return y
        def call(x, w):
            a = act(x, "tanh")
            b = act(x, "sigmoid")
        """,
        {"Tanh": ("a",), "Sigmoid": ("b",)},
    ),
    "a loop of Python": (
        """
        def call(x, w):
            for k in range(2):
                a = x @ w
                x = tf.tanh(a)
        """,
        {"matmul": ("a",), "Tanh": ("x",), "matmul_1": ("a",), "Tanh_1": ("x",)},
    ),
    "a method and an attribute": (
        """
        class Cell:
            def gate(self, x):
                self.last = tf.sigmoid(x)
                return self.last
            def __call__(self, x):
                z = self.gate(x)
                return z
        def call(x, w):
            return Cell()(x)
        """,
        {"Sigmoid": ("z",)},
    ),
}


@pytest.mark.parametrize("what", FUNCTIONS)
def test_a_function_passes_names_on(tmp_path, what):
    code, expected = FUNCTIONS[what]
    assert names(tmp_path, code) == expected


def test_branches_loops_and_functions_of_the_graph(tmp_path):
    code = """
    @tf.function
    def gate(x, w):
        s = x @ w
        return tf.sigmoid(s)
    def call(x, w):
        z = gate(x, w)
        n = tf.cond(tf.reduce_sum(z) > 1.0, lambda: tf.tanh(z), lambda: tf.nn.relu(z))
        def step(i, h):
            h = h * z
            return i + 1, h
        i, last = tf.while_loop(lambda i, h: i < 3, step, (0, n))
        return last
    """
    assert names(tmp_path, code) == {
        "PartitionedCall": ("z",),
        "PartitionedCall/matmul": ("s",),
        "PartitionedCall/Sigmoid": ("z",),
        "cond": ("n",),
        "cond/Tanh": ("n",),
        "cond/Relu": ("n",),
        "while/mul": ("h",),
        "while": ("", "", "", "h", ""),
    }


def test_a_function_that_was_traced_before_is_not_named_by_its_first_caller(tmp_path):
    code = """
    @tf.function
    def gate(x):
        s = x * 2.0
        return tf.sigmoid(s)
    def call(x, w):
        first = gate(x) + 1.0
        z = gate(w[:3])
    """
    found = names(tmp_path, code)
    assert found == {
        "add": ("first",),
        "PartitionedCall/mul": ("s",),
        "PartitionedCall_1/mul": ("s",),
        "PartitionedCall_1": ("z",),
        "PartitionedCall_1/Sigmoid": ("z",),
    }


AUTOGRAPH = {
    "the body of a loop is run as a function": (
        """
        def gate(x):
            for _ in range(2):
                s = x * 2.0
                x = tf.tanh(s)
            return x
        """,
        {"mul": ("s",), "Tanh": ("x",), "mul_1": ("s",), "Tanh_1": ("z",)},
    ),
    "what one branch changes is not what it was": (
        """
        def gate(x):
            h = tf.tanh(x)
            if x[0, 0] > 0.0:
                h = h * 2.0
            return h
        """,
        {"Tanh": ("h",), "cond/mul": ("h",)},
    ),
}


@pytest.mark.parametrize("what", AUTOGRAPH)
def test_code_that_autograph_rewrites(tmp_path, what):
    code, expected = AUTOGRAPH[what]
    _, loaded = module(tmp_path, textwrap.dedent(code) + "def call(x):\n    z = gate(x)\n    return z\n")
    spec = tf.TensorSpec((3, 4), tf.float32, "x")
    graph = tf.function(lambda x: loaded.call(x)).get_concrete_function(spec).graph
    assert names_in_code(graph, __file__)[0] == expected


def test_operations_of_one_path_that_have_different_names_have_none(tmp_path):
    code = """
    def double(x):
        k = x * 2.0
        return k + 1.0
    def triple(x):
        p = x * 3.0
        return p + 1.0
    @tf.function
    def either(x):
        return tf.cond(x[0, 0] > 0.0, lambda: double(x), lambda: triple(x))
    @tf.function
    def anyway(x):
        return tf.cond(x[0, 0] > 1.0, lambda: double(x), lambda: double(x))
    def call(x, w):
        return either(x) @ anyway(w)
    """
    graph = traced(module(tmp_path, code)[1])
    found, paths = names_in_code(graph, __file__)
    assert paths.count("cond/mul") == 4
    assert found == {}


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "left",
    [None, "", "def call(:\n", "\ndef other(x, w):\n    z = tf.sigmoid(x)\n    return z\n"],
    ids=["gone", "empty", "no Python", "changed"],
)
def test_a_file_that_is_not_what_ran_gives_no_names(tmp_path, left):
    path, loaded = module(tmp_path, body("z = tf.sigmoid(x)"))
    graph = traced(loaded)
    assert names_in_code(graph, __file__)[0] == {"Sigmoid": ("z",)}
    path.unlink() if left is None else path.write_text(left)
    assert names_in_code(graph, __file__)[0] == {}


def test_code_that_calls_the_model_is_not_the_models_code(tmp_path):
    graph = traced(module(tmp_path, "def call(x, w): return tf.sigmoid(x)")[1])
    assert names_in_code(graph, __file__)[0] == {}
    assert names_in_code(graph, "another.py") == ({}, ["Sigmoid", "Identity"])


# --- Keras ------------------------------------------------------------------------------------------------------------


def in_loops(model_names, graph):
    """(name, type of an operation that has it) in the bodies of loops."""
    nodes = {node.name: node for function in graph.as_graph_def().library.function for node in function.node_def}
    return {
        (name, nodes[path].op)
        for path, given in model_names.variables.items()
        if path in nodes and "while" in path
        for name in given
        if name
    }


def values_of(found):
    """The constants of a graph by the path of the weight that they hold."""
    nodes = {node.name: node for node in found.function.graph.as_graph_def().node}
    return {path: tf.make_ndarray(nodes[name].attr["value"].tensor) for name, path in found.names.weights.items()}


GRU = {"x_z": "Split", "x_r": "Split", "x_n": "Split", "z": "Sigmoid", "r": "Sigmoid", "n": "Tanh", "h": "AddV2"}
GATES = {"z": "Sigmoid", "r": "Sigmoid", "n": "Tanh", "h_next": "AddV2"}
IN_SAMPLES = {
    "stateful_gru": GRU | {"z": "Maximum", "r": "Maximum", "recurrent_z": "StridedSlice", "recurrent_n": "MatMul"},
    "cgru_split_reset_after": GATES | {"w_z": "Split", "u_h": "Split", "b_r": "Split", "c_z": "Split", "reset": "Mul"},
    "cgru_fused_reset_before": GATES | {"x_z": "Split", "x_h": "Split", "h_r": "Split", "reset": "MatMul"},
    "cgru_no_bias": {"z": "Sigmoid", "r": "Sigmoid", "n": "Softsign", "h_next": "AddV2"},
    "conv3d_gru": {"u": "Sigmoid", "r": "Sigmoid", "n": "Tanh", "h_next": "AddV2", "from_state": "LeakyRelu"},
    "attention_decoder": {
        **{"energy": "Reshape", "attention": "Softmax", "context": "Sum", "r": "Sigmoid", "z": "Sigmoid"},
        **{"p": "Tanh", "s_next": "AddV2", "y_next": "Softmax"},
    },
    "multi_output_gru": GRU | {"joined": "ConcatV2", "recurrent_n": "Mul", "input_bias": "Unpack"},
    "simple_rnn": {"x_h": "AddV2", "h": "AddV2"},
    "lstm": {
        **{f"z_{gate}": "Split" for gate in "ifco"},
        **{"i": "Sigmoid", "f": "Sigmoid", "o": "Sigmoid", "c": "AddV2", "h": "Mul"},
    },
    "s_lstm": {"x_f": "AddV2", "x_c": "AddV2", "b_f": "Split", "f": "Maximum", "c_next": "AddV2"},
}


@pytest.mark.parametrize("name", IN_SAMPLES)
def test_the_equations_of_a_sample_are_found(name):
    source, _, found = described(SAMPLES_BY_NAME[name].build())
    inside = in_loops(found.names, found.function.graph)
    assert IN_SAMPLES[name].items() <= inside
    assert not {"hh", "h_tm1", "output", "outputs", "x", "inputs"} & {given for given, _ in inside}
    paths = {getattr(weight, "path", weight.name).removesuffix(":0"): weight for weight in source.model.weights}
    values = values_of(found)
    assert set(values) == {path for path in paths if "seed" not in path}
    for path, value in values.items():
        np.testing.assert_array_equal(value, np.array(paths[path]))


def test_the_gates_of_keras_are_in_its_order():
    _, _, found = described(SAMPLES_BY_NAME["lstm"].build())
    nodes = {n.name: n for function in found.function.graph.as_graph_def().library.function for n in function.node_def}
    reading = {}
    for path, given in found.names.variables.items():
        if path in nodes and given[0] in "ifo":
            split, _, port = nodes[path].input[0].partition(":output:")
            reading[given[0]] = found.names.variables[split][int(port)]
    assert reading == {"i": "z_i", "f": "z_f", "o": "z_o"}


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_the_mask_that_a_layer_makes_is_not_its_result(tmp_path, name):
    code = f"""
    import {name} as keras
    class Reader(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.table = keras.layers.Embedding(7, 3, mask_zero=True)
        def call(self, ids):
            e = self.table(ids)
            return e
    reader = Reader()
    reader(tf.zeros((3, 4), "int32"))
    def call(x, w):
        return reader(tf.cast(x, "int32"))
    """
    found = names(tmp_path, code)
    assert list(found.values()) == [("e",)]
    assert "NotEqual" not in "".join(found)


CELL = """
import {keras}
import tensorflow as tf

class Cell({base}):
    state_size = 4
    output_size = 4

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(3, 8))
        self.table = tf.reshape(tf.range(16, dtype="float32") / 7, (4, 4))
        self.built = True

    def gate(self, x):
        s = x * 2.0
        return tf.sigmoid(s)

    def call(self, inputs, states):
        (h,) = states
        a, n = [tf.tanh(part) for part in tf.split(inputs @ tf.convert_to_tensor(self.kernel), 2, axis=1)]
        {branch}
        z = self.gate(a + h @ self.table)
        h_next = z * n + (1.0 - z) * h
        return h_next, [h_next]
"""
BRANCH = """if tf.reduce_sum(a) > 0.0:
            k = a * 2.0
        else:
            k = a + 1.0
        for _ in tf.range(3):
            k = k * 0.5
        n = n - k"""


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def own_cell(request, tmp_path_factory):
    """A cell of one's own, run twice, in a file: the model's file, the code's, and the model traced."""
    folder = tmp_path_factory.mktemp(request.param)
    code = folder / "cells.py"
    base = {"keras": "keras.layers.Layer", "tf_keras": "tf_keras.layers.AbstractRNNCell"}[request.param]
    branch = {"keras": "", "tf_keras": BRANCH}[request.param]
    code.write_text(CELL.format(keras=request.param, base=base, branch=branch))
    spec = importlib.util.spec_from_file_location("cells", code)
    cells = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(cells)
    layers = importlib.import_module(request.param).layers
    x = layers.Input((None, 3), name="x")
    rnn = layers.RNN(cells.Cell(name="own"), return_sequences=True, name="rnn")
    y = layers.Dense(3, name="between")(rnn(x))
    model = importlib.import_module(request.param).Model(x, rnn(y))
    with_random_weights(model).save(folder / "model.keras")
    return folder / "model.keras", code


def traced_file(model, code):
    source = load_source(model, LoadOptions([str(code)]))
    return source, trace(source, describe(source, Boundary()), unroll=False)


def test_a_cell_of_ones_own_in_a_file_run_twice(own_cell):
    source, found = traced_file(*own_cell)
    names = found.names
    expected = {"a": "Tanh", "n": "Tanh", "s": "Mul", "z": "Sigmoid", "h_next": "AddV2"}
    in_branches = {("n", "Sub"), ("k", "StatelessIf"), ("k", "Mul"), ("k", "StatelessWhile")}
    wanted = expected.items() | (in_branches if source.api.name == "tf_keras" else set())
    assert wanted <= in_loops(names, found.function.graph)
    scopes = {layer.scope for layer in names.layers if (layer.name, layer.class_name) == ("own", "Cell")}
    in_both = {path.rpartition("/")[0] for path, given in names.variables.items() if given == ("h_next",)}
    assert in_both <= scopes
    assert sum("while" in scope for scope in in_both) == 2
    values = values_of(found)
    assert set(values) == {"rnn/own/kernel", "between/kernel", "between/bias", "rnn/own/table"}
    np.testing.assert_array_equal(values["rnn/own/table"], np.arange(16, dtype="float32").reshape(4, 4) / 7)
    (kernel,) = [weight for weight in source.model.weights if "own" in getattr(weight, "path", weight.name)]
    np.testing.assert_array_equal(values["rnn/own/kernel"], np.array(kernel))


def test_without_its_code_a_model_has_the_names_of_its_weights_and_layers(own_cell):
    model, code = own_cell
    text = code.read_text()
    source = load_source(model, LoadOptions([str(code)]))
    try:
        code.unlink()
        found = trace(source, describe(source, Boundary()), unroll=False)
    finally:
        code.write_text(text)
    assert found.names.variables == {}
    assert "rnn/own/kernel" in found.names.weights.values()
    assert "own" in {layer.name for layer in found.names.layers}


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_layers_and_weights_of_stacked_cells_and_both_directions(name):
    keras = importlib.import_module(name)
    layers = keras.layers
    x = layers.Input((5, 3), name="x")
    cells = layers.StackedRNNCells([layers.GRUCell(4, name="lower"), layers.LSTMCell(5, name="upper")], name="both")
    y = layers.RNN(cells, return_sequences=True, name="stack")(x)
    y = layers.Bidirectional(layers.LSTM(3, name="lstm"), name="directions")(y)
    source, _, found = described(with_random_weights(keras.Model(x, y)))
    classes = {layer.name: layer.class_name for layer in found.names.layers}
    assert classes.items() >= {
        ("stack", "RNN"),
        ("lower", "GRUCell"),
        ("upper", "LSTMCell"),
        ("directions", "Bidirectional"),
        ("forward_lstm", "LSTM"),
        ("backward_lstm", "LSTM"),
    }
    once = {"z", "r", "n", "i", "f", "o"}
    inner = {layer.name: layer.scope for layer in found.names.layers if "/while/" in layer.scope}
    for cell, gates in {"lower": {"z", "r", "n", "h"}, "upper": {"i", "f", "c", "o", "h"}}.items():
        given = {g for path, names in found.names.variables.items() if path.startswith(inner[cell]) for g in names}
        assert gates <= given
        assert not (once - gates) & given - {"z"}
    for weight in source.model.weights:
        path = getattr(weight, "path", weight.name).removesuffix(":0")
        np.testing.assert_array_equal(values_of(found)[path], np.array(weight))


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_layers_that_the_scopes_of_tensorflow_could_confuse(name):
    keras = importlib.import_module(name)
    layers = keras.layers
    x = layers.Input((None,), dtype="int32", name="ids")
    y = layers.Embedding(7, 3, name="table")(x)
    y = layers.RNN(layers.GRUCell(4, name="cell"), return_sequences=True, name="rnn")(y)
    y = layers.RNN(layers.LSTMCell(5, name="cell"), name="rnn_1")(y)
    source, _, found = described(with_random_weights(keras.Model(x, y)))
    cells = {layer.scope: layer for layer in found.names.layers if layer.name == "cell" and "/while/" in layer.scope}
    outer = {layer.scope: layer.name for layer in found.names.layers if layer.class_name == "RNN"}
    classes = {}
    for path, given in found.names.variables.items():
        if "/while/" in path and given in (("n",), ("o",)):
            scope = path.rpartition("/")[0]
            classes[given[0]] = (outer[scope.partition("/while/")[0]], cells[scope].class_name)
    assert classes == {"n": ("rnn", "GRUCell"), "o": ("rnn_1", "LSTMCell")}
    values = values_of(found)
    for weight in source.model.weights:
        path = getattr(weight, "path", weight.name).removesuffix(":0")
        np.testing.assert_array_equal(values[path], np.array(weight))


def test_a_saved_model_has_the_names_of_its_weights(tmp_path):
    import keras

    x = keras.Input((None,), dtype="int32")
    y = keras.layers.GRU(4, name="gru")(keras.layers.Embedding(7, 3, name="table")(x))
    model = with_random_weights(keras.Model(x, y))
    weights = {weight.path: np.array(weight) for weight in model.weights}
    model.export(tmp_path / "program", verbose=False)
    for source in (model, tmp_path / "program"):
        _, _, found = described(source)
        values = values_of(found)
        assert {path for path in weights if "seed" not in path} == set(values)
        for path, value in values.items():
            np.testing.assert_array_equal(value, weights[path])
    assert found.names.variables == {}
    assert found.names.layers == ()


def test_an_unrolled_model_and_a_graph_of_ones_own_have_none():
    source, signature, _ = described(SAMPLES_BY_NAME["stateful_gru"].build())
    assert trace(source, signature, unroll=True).names == SourceNames()
    assert traced_function(tf.tanh, x=np.zeros((2, 3), "float32")).names == SourceNames()


def test_names_leave_the_graph_as_it_is(monkeypatch):
    source, signature, found = described(SAMPLES_BY_NAME["s_lstm"].build())
    assert found.names != SourceNames()
    monkeypatch.setattr("rnnexport.source.trace.source_names", lambda *_: SourceNames())
    without = trace(source, signature, unroll=False)
    assert without.names == SourceNames()
    named, unnamed = (one.function.graph.as_graph_def() for one in (found, without))
    assert [node.name for node in named.node] == [node.name for node in unnamed.node]
