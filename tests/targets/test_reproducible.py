"""Equal models give equal bytes: in processes of different hash seeds, in any order, whatever tf2onnx numbered."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterable

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from rnnexport.conversion.canonical import canonicalise, lookalikes, plain
from rnnexport.targets.onnx.session import run
from tests.conftest import ROOT

# A process that exports models one after the other to ONNX and TFLite, and tells the form of each recurrence.
EXPORTS = """
import json, sys
from pathlib import Path
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringRequest
from rnnexport.api.export import export_all

orders, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
for path, targets, form, code in orders:
    done = export_all(
        path, targets, folder / form, loading=LoadOptions(code), lowering=LoweringRequest(form),
        tflite_timesteps=3, verify=False, proof="inside",
    )
    print(Path(path).stem, *(item.chosen for item in done[0].lowering))
"""


def two_directions(path):
    """A Keras 3 model: a Bidirectional LSTM, and a GRU that has no native form."""
    import keras

    keras.utils.set_random_seed(7)
    x = keras.Input((None, 4), name="x")
    both = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True), name="both")(x)
    last = keras.layers.GRU(2, activation="mish", name="last")(both)
    keras.Model(x, [last, keras.layers.Dense(2, name="dense")(last)], name="two_directions").save(path)
    return str(path)


def words(path):
    """A tf_keras model with a table, which TensorFlow names after a count of all that it made."""
    import tf_keras

    tf_keras.utils.set_random_seed(7)
    ids = tf_keras.Input((None,), dtype="int32", name="ids")
    vectors = tf_keras.layers.Embedding(9, 4, name="table")(ids)
    tf_keras.Model(ids, tf_keras.layers.LSTM(3, name="reader")(vectors), name="words").save(path)
    return str(path)


@pytest.mark.long
@pytest.mark.xdist_group("multi_output_gru")
def test_processes_of_different_hash_seeds_write_the_same_bytes(saved, tmp_path):
    """The second process exports in the other order: nothing that was exported before leaves a trace either."""
    two, few = two_directions(tmp_path / "two_directions.keras"), words(tmp_path / "words.keras")
    orders = [
        (two, ["onnx", "tflite", "numpy"], "auto", []),
        (few, ["onnx"], "loop", []),
        (str(saved("multi_output_gru")), ["onnx"], "auto", [str(ROOT / "samples" / "multi_output_gru.py")]),
        (few, ["onnx", "tflite", "numpy"], "auto", []),
    ]
    folders = [tmp_path / "one", tmp_path / "other"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", EXPORTS, json.dumps(each), str(folder)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for each, folder, seed in zip((orders, orders[::-1]), folders, ("1", "2"), strict=True)
    ]
    told = [sorted(process.communicate(timeout=600)[0].splitlines()) for process in processes]
    assert told[0] == [
        "multi_output_gru scan",
        "two_directions native native scan",
        "words loop",
        "words native",
    ]
    assert told[1] == told[0]
    one, other = ({str(path.relative_to(at)): path.read_bytes() for path in at.rglob("*.*")} for at in folders)
    assert len(one) == 10
    assert [name for name in one if one[name] != other[name]] == []


# What tf2onnx makes of a layer, in small: copies, identities, numbers; `a/t`, `a/u` and their readers are equal.
GRAPH = """<ir_version: 8, opset_import: ["": 17]>
g (float[unk__1, 2] x, int64 count)
  => (float[unk__1, 2] y, float[unk__1, 2] same, float[unk__1, 2] also, float[unk__1, 2] given)
<float[2] w = {1.0, 2.0}, float[2] v__12 = {1.0, 2.0}, float[2] unread = {3.0, 4.0}, bool yes = {1}> {
  ["a/t"] t = Tanh(x)
  ["a/longer"] u = Tanh(x)
  ["a/t__3"] p = Mul(t, w)
  ["a/u__4"] q = Mul(u, v__12)
  ["nobody"] lost = Neg(p)
  ["a/add"] sum = Add(p, q)
  ["a/id"] copy = Identity(sum)
  ["a/lstm/while_loop"] total, steps = Loop(count, yes, copy) <body = b__5 (int64 i, bool go, float[unk__1, 2] s)
      => (bool on, float[unk__1, 2] next, float[unk__1, 2] step) {
    ["a_while_cond_frozen_17_a/lstm/while/keep"] on = Identity(go)
    ["a/lstm/while/add"] next = Add(s, q)
    ["a/lstm/while/id"] step = Identity(next)
  }>
  ["a/selu"] bent = Selu<gamma = 1.25, alpha = 1.5>(total)
  ["a/last"] y = Add(bent, copy)
  ["a/id_1"] same = Identity(sum)
  ["a/id_2"] also = Identity(same)
  ["a/id_3"] given = Identity(x)
}"""


def parsed():
    return onnx.parser.parse_model(GRAPH)


def canonical(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = ir.from_proto(proto)
    canonicalise(model)
    found = ir.to_proto(model)
    onnx.checker.check_model(found, full_check=True)
    return found


def scrambled(proto: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """The same graph as another process might give it: nodes and initializers in another order, other numbers."""
    rng = random.Random(seed)
    model = ir.from_proto(proto)
    for graph in model.graphs():
        nodes = list(graph)
        graph.remove(nodes)
        while nodes:
            ready = [node for node in nodes if not any(other in nodes for other in sources(node))]
            node = rng.choice(ready)
            nodes.remove(node)
            graph.append(node)
        values = list(graph.initializers.values())
        graph.initializers.clear()
        for value in rng.sample(values, len(values)):
            value.name = renumbered(value.name, rng)
            graph.initializers.add(value)
    boundary = {*model.graph.inputs, *model.graph.outputs}
    for number, node in enumerate(model.graph.all_nodes()):
        node.name = renumbered(node.name, rng)
        for key in rng.sample(list(node.attributes), len(node.attributes)):
            node.attributes[key] = node.attributes.pop(key)
        for value in node.outputs:
            if value not in boundary:
                value.name = f"v{rng.randrange(100)}_{number}_{value.index()}"
    return ir.to_proto(model)


def renumbered(name: str, rng: random.Random) -> str:
    return re.sub(r"(?<=__)\d+|(?<=frozen_)\d+", lambda _: str(rng.randrange(1000)), name)


def sources(node: ir.Node) -> Iterable[ir.Node | None]:
    parts = [node, *(part for item in node.attributes.values() if item.name == "body" for part in item.as_graph())]
    return [value.producer() for part in parts for value in part.inputs if value is not None]


@pytest.mark.parametrize("seed", range(20))
def test_order_and_numbers_leave_no_trace(seed):
    scramble = scrambled(parsed(), seed)
    assert scramble.SerializeToString() != parsed().SerializeToString()
    assert canonical(scramble).SerializeToString() == canonical(parsed()).SerializeToString()


def test_canonical_graph():
    """The contract of `canonical.py`, line by line; and it computes what the graph computed."""
    found = canonical(parsed())
    nodes = [(node.name, node.op_type, list(node.input), list(node.output)) for node in found.graph.node]
    assert nodes == [
        ("a/t", "Tanh", ["x"], ["a/t:0"]),
        ("a/t/Mul", "Mul", ["a/t:0", "w"], ["a/t/Mul:0"]),
        ("a/add", "Add", ["a/t/Mul:0", "a/t/Mul:0"], ["same"]),
        ("a/lstm/while_loop", "Loop", ["count", "yes", "same"], ["a/lstm/while_loop:0", "a/lstm/while_loop:1"]),
        ("a/selu", "Selu", ["a/lstm/while_loop:0"], ["a/selu:0"]),
        ("a/last", "Add", ["a/selu:0", "same"], ["y"]),
        ("a/add/Identity", "Identity", ["same"], ["also"]),
        ("x/Identity", "Identity", ["x"], ["given"]),
    ]
    body = found.graph.node[3].attribute[0].g
    assert [value.name for value in body.input] == [f"a/lstm/while_loop/in_{at}" for at in range(3)]
    assert [(node.name, list(node.input), list(node.output)) for node in body.node] == [
        ("a/lstm/while/add", ["a/lstm/while_loop/in_2", "a/t/Mul:0"], ["a/lstm/while/add:0"]),
        ("a/lstm/while/add/Identity", ["a/lstm/while/add:0"], ["a/lstm/while/add/Identity:0"]),
    ]
    assert [value.name for value in body.output] == [
        "a/lstm/while_loop/in_1",  # a body may give what it was given
        "a/lstm/while/add:0",
        "a/lstm/while/add/Identity:0",
    ]
    assert [tensor.name for tensor in found.graph.initializer] == ["w", "yes"]
    assert list(found.graph.input) == list(parsed().graph.input)
    assert list(found.graph.output) == list(parsed().graph.output)
    feed = {"x": np.array([[0.5, -1.0], [2.0, 0.25], [0.0, 3.0]], np.float32), "count": np.int64(4)}
    (before,), (after,) = (run(ir.from_proto(model), [feed]) for model in (parsed(), found))
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


@pytest.mark.parametrize(
    ("one", "other", "merged"),
    [
        ("Cast<to = 7>(x)", "Cast<to = 7>(x)", True),
        ("Cast<to = 7>(x)", "Cast<to = 6>(x)", False),
        ("Tanh(x)", "Sin(x)", False),
        ("RandomUniformLike<seed = 1.0>(x)", "RandomUniformLike<seed = 1.0>(x)", False),
        ("Constant<value_ints = [1, 2]>()", "Constant<value_ints = [1, 2]>()", True),
        ("Constant<value_ints = [1, 2]>()", "Constant<value_ints = [1, 3]>()", False),
        ("Constant<value = float[2] {0.0, 1.0}>()", "Constant<value = float[2] {0.0, 1.0}>()", True),
        ("Constant<value = float[2] {0.0, 1.0}>()", "Constant<value = float[2] {-0.0, 1.0}>()", False),
    ],
)
def test_what_is_the_same(one, other, merged):
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (int64[1] a, int64[1] b) {{
          ["one"] p = {one}
          ["other"] q = {other}
          ["size_1"] a = Shape(p)
          ["size_2"] b = Shape(q)
        }}"""
    )
    found = [node.name for node in canonical(model).graph.node]
    assert found == (["one", "size_1", "size_1/Identity"] if merged else ["one", "size_1", "other", "size_2"])


def test_paths():
    """Numbers and names of functions go, but for what the user called so."""
    assert plain("m/lstm_1/Shape_1__2982") == "m/lstm_1/Shape_1"
    assert plain("m_lstm_while_cond_frozen_170733_m/lstm/while/Less") == "m/lstm/while/Less"
    assert plain("cond___m_while_cond_frozen_12_m/while/Less") == "m/while/Less"
    assert plain("__inference_while_body_451_m/while/Less") == "m/while/Less"
    assert plain("const_axes__1391") == "const_axes"
    assert plain("m/embedding/embedding_lookup_1/7097:0") == "m/embedding/embedding_lookup_1:0"
    assert plain("m/zeros/packed/1") == "m/zeros/packed/1"
    own = lookalikes(["m/lstm__2/while", "m/dense/MatMul"])
    assert own == {"lstm__2"}
    assert plain("m/lstm__2/while_loop__77", own) == "m/lstm__2/while_loop"
