"""The class of a program, its names and its command line, for models that a layer API hardly gives but a graph may."""

from __future__ import annotations

import ast
import re
import runpy
import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from rnnexport.core.names import SourceNames
from rnnexport.core.signature import Signature, StateSpec
from rnnexport.emit.numpy.loading import opened
from rnnexport.emit.numpy.naming import attributes_of, camel, identifier, quoted, shown, snake
from rnnexport.targets.numpy import program as numpy_program
from rnnexport.targets.numpy.runner import NumpyRunner
from tests.emit.numpy.programs import module_of, signature_of, written

HEAD = '<ir_version: 8, opset_import: ["" : 18]>\n'
# The output is the state after the call.
SUM = """g (float[batch,3] x, float[batch,3] h) => (float[batch,3] y, float[batch,3] next_h) {
    next_h = Add(x, h)
    y = Identity(next_h) }"""
ZEROS = np.zeros((1, 3), np.float32)
SCALED = "g (float[batch,3] x) => (float[batch,3] y) { k = Constant<value = float {2.0}>()\n y = Mul(x, k) }"
# Quotes, escapes, line ends, formats of two kinds, and a letter outside ASCII.
ODD = 'a\'b"c"""\\d\\\n\te%(x)s%é{f}'


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def program(graph, states=(), name="generated", weights=None, renamed=None, paths=None):
    """The program of a graph.

    Args:
        states: (input, output, first value) of each.
        renamed: other names of inputs and outputs, such as the text form of a graph can't have.
        paths: of weights, by their names.
    """
    model = onnx.parser.parse_model(HEAD + graph)
    called = renamed or {}
    for value in (*model.graph.input, *model.graph.output):
        value.name = called.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:], node.output[:] = (
            [called.get(name, name) for name in side] for side in (node.input, node.output)
        )
    whole = signature_of(model)
    spec = {each.name: each for each in (*whole.inputs, *whole.outputs)}
    before, after = ({state[at] for state in states} for at in (0, 1))
    signature = Signature(
        tuple(each for each in whole.inputs if each.name not in {*before, *(weights or {})}),
        tuple(each for each in whole.outputs if each.name not in after),
        tuple(StateSpec("layer", spec[one], spec[other], first) for one, other, first in states),
    )
    return module_of(ir.from_proto(model), signature, SourceNames(weights=paths or {}), weights or {}, name)


def made(*args, dtype=np.float32, **kwargs):
    """An instance of the class of the program."""
    found = program(*args, **kwargs)
    return opened(found.text, found.arrays, dtype)


def test_the_states_are_the_objects_own():
    model = made(SUM, [("h", "next_h", ZEROS)])
    first = model(np.ones((2, 3)))
    first += 100
    np.testing.assert_array_equal(model(np.ones((2, 3))), np.full((2, 3), 2))
    delayed = SUM.replace("next_h = Add(x, h)", "next_h = Identity(x)").replace("Identity(next_h)", "Sub(x, h)")
    model, x = made(delayed, [("h", "next_h", ZEROS)]), np.ones((2, 3), np.float32)
    model(x)
    x[:] = 5
    np.testing.assert_array_equal(model(x), np.full((2, 3), 4))
    before = model.states
    model.reset([0])
    np.testing.assert_array_equal(before["h"], np.full((2, 3), 5))
    np.testing.assert_array_equal(model.states["h"], [[0] * 3, [5] * 3])


def test_one_name_is_one_length():
    model = made(SUM, [("h", "next_h", ZEROS)])
    model(drawn(4, 3))
    with pytest.raises(ValueError, match=re.escape("h has the shape (4, 3), not ('batch', 3) with batch 1")):
        model(drawn(1, 3))
    with pytest.raises(ValueError, match=re.escape("h has the shape (1, 3), not ('batch', 3) with batch 2")):
        model.step(drawn(2, 3), {"h": drawn(1, 3)})
    model.reset()
    assert model(drawn(1, 3)).shape == (1, 3)
    model = made("g (float[batch,n] x, float[batch,n] z) => (float[batch,n] y) { y = Add(x, z) }")
    with pytest.raises(ValueError, match=re.escape("z has the shape (1, 3), not ('batch', 'n') with batch 4")):
        model(drawn(4, 3), drawn(1, 3))
    assert model(drawn(4, 3), drawn(4, 3)).shape == (4, 3)


def test_the_batch_is_that_of_the_dimension():
    graph = """g (float[4] a, float[time,batch,3] x, float[batch,3] h) => (float[batch,3] y, float[batch,3] next_h) {
        k = Constant<value = int64[1] {0}>()
        s = ReduceSum<keepdims = 0>(x, k)
        m = ReduceSum<keepdims = 1>(a)
        n = ReduceSum<keepdims = 0>(m)
        t = Mul(s, n)
        next_h = Add(t, h)
        y = Identity(next_h) }"""
    model, a, x = made(graph, [("h", "next_h", ZEROS + 1)]), drawn(4), drawn(5, 2, 3, seed=1)
    np.testing.assert_allclose(model(a, x.tolist()), 1 + x.sum(0) * a.sum(), rtol=1e-5)
    model.reset([1])
    np.testing.assert_array_equal(model.states["h"][1], np.ones(3))
    with pytest.raises(ValueError, match=re.escape("x has the shape (), not ('time', 'batch', 3)")):
        made(graph, [("h", "next_h", ZEROS)])(a, 1.0)


def test_a_model_without_states_or_batch():
    model = made("g (float x) => (float y) { y = Exp(x) }")
    np.testing.assert_allclose(model(1), np.e, rtol=1e-6)
    model.reset([0])
    assert model.initial_state() == {}
    graph = "g (float[3] x, float[3] h) => (float[3] y, float[3] n) { n = Add(x, h)\n y = Identity(n) }"
    model = made(graph, [("h", "n", np.ones(3, np.float32))])
    model([1, 2, 3])
    np.testing.assert_array_equal(model([1, 2, 3]), [3, 5, 7])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan, -0.0, 0.0, 0.1, np.float32(1e-30)])
def test_a_first_state_of_one_number(value, dtype):
    initial = np.full((1, 3), value, np.float32)
    found = program(SUM, [("h", "next_h", initial)])
    assert not found.arrays
    start = opened(found.text, found.arrays, dtype).initial_state(2)["h"]
    np.testing.assert_array_equal(start.astype(np.float32), np.broadcast_to(initial, (2, 3)))
    np.testing.assert_array_equal(np.signbit(start), np.signbit(np.broadcast_to(initial, (2, 3))))
    assert start.dtype == dtype


@pytest.mark.parametrize("initial", [[[-(2**63)] * 3], [[2, 3, 4]]])
def test_a_first_state_of_integers(initial):
    graph = SUM.replace("float[", "int64[")
    start = made(graph, [("h", "next_h", np.array(initial))]).initial_state(2)["h"]
    np.testing.assert_array_equal(start, initial * 2)
    assert start.dtype == np.int64


def test_a_first_state_of_several_numbers():
    initial = np.array([[np.nan, np.nan, 2]], np.float32)
    start = made(SUM, [("h", "next_h", initial)]).initial_state(4)["h"]
    np.testing.assert_array_equal(start, np.repeat(initial, 4, 0))
    mixed = np.array([[0, -0.0, 0]], np.float32)
    start = made(SUM, [("h", "next_h", mixed)]).initial_state(1)["h"]
    np.testing.assert_array_equal(np.signbit(start), np.signbit(mixed))


def test_the_rows_of_a_fixed_batch_may_differ():
    initial, x = drawn(2, 3), drawn(2, 3, seed=1)
    model = made(SUM.replace("batch", "2"), [("h", "next_h", initial)])
    np.testing.assert_array_equal(model.initial_state()["h"], initial)
    np.testing.assert_array_equal(model(x), x + initial)
    model.reset([1])
    np.testing.assert_array_equal(model.states["h"], [(x + initial)[0], initial[1]])
    model.initial_state()["h"][:] = 9  # it is the caller's own
    np.testing.assert_array_equal(model.initial_state(2)["h"], initial)
    with pytest.raises(ValueError, match="the batch is 2, not 3"):
        model.initial_state(3)


def test_two_first_states_of_one_argument_name():
    graph = """g (float[batch,3] x, float[batch,3] p, float[batch,3] q) => (float[batch,3] y, float[batch,3] p1,
        float[batch,3] q1) { m = Mul(p, q)\n y = Add(x, m)\n p1 = Identity(p)\n q1 = Identity(q) }"""
    first, second, x = drawn(1, 3), drawn(1, 3, seed=1), drawn(1, 3, seed=2)
    states = [("a.b", "p1", first), ("a_b", "q1", second)]
    model = made(graph, states, renamed={"p": "a.b", "q": "a_b"})
    np.testing.assert_array_equal(model.initial_state()["a.b"], first)
    np.testing.assert_array_equal(model.initial_state()["a_b"], second)
    np.testing.assert_allclose(model(x), x + first * second, rtol=1e-6)


@pytest.mark.parametrize("layer", ["constants", "start", "weights", "other"])
def test_weights_constants_and_first_states_keep_apart(layer):
    graph = """g (float[batch,6] x, float[6] v, float[6] u, float[batch,6] h) => (float[batch,6] y, float[batch,6] n) {
        c = Constant<value = float[6] {10., 20., 30., 40., 50., 60.}>()
        p = Mul(c, x)
        q = Add(p, v)
        r = Mul(q, u)
        n = Add(r, h)
        y = Identity(n) }"""
    v, u, x, h = (drawn(*shape, seed=at) for at, shape in enumerate([(6,), (6,), (2, 6), (1, 6)]))
    paths = {"v": f"{layer}/constant_1", "u": f"{layer}/h"}
    found = program(graph, [("h", "n", h)], weights={"v": v, "u": u}, paths=paths)
    assert len(found.arrays) == 4
    model = opened(found.text, found.arrays)
    np.testing.assert_allclose(model(x), (np.arange(10, 70, 10) * x + v) * u + h, rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        *("B", "T", "H", "I", "O", "w", "self", "np", "dtype", "sizes", "states", "outputs", "scan", "sigmoid"),
        *("checked", "load_weights", "main", "MODEL", "_t0_", "len", "range", "input", "class", "after", "sys", "1st"),
        *("x²", "ﬁ", "a b", "%s", "\a" * 60, ODD),
    ],
)
def test_an_input_may_be_called_anything(name, tmp_path):
    graph = """g (float[batch,time,3] x, float[batch,3] h) => (float[batch,time,3] y, int64[3] s, float[batch,3] n) {
        s = Shape(x)
        k = Constant<value = int64[1] {1}>()
        m = Sigmoid(x)
        e = Unsqueeze(h, k)
        y = Add(m, e)
        n = ReduceSum<keepdims = 0>(y, k) }"""
    x, h = drawn(2, 5, 3), drawn(2, 3, seed=1)
    found = program(graph, [("h", "n", ZEROS)], renamed={"x": name})
    model = opened(found.text, found.arrays)
    for outputs, states in (
        model.step(x, {"h": h}),
        ((given := NumpyRunner(model).run({name: x, "h": h})), {"h": given["n"]}),
    ):
        np.testing.assert_allclose(outputs["y"], 1 / (1 + np.exp(-x)) + h[:, None], rtol=1e-5)
        np.testing.assert_array_equal(outputs["s"], x.shape)
        np.testing.assert_allclose(states["h"], outputs["y"].sum(1), rtol=1e-5)
    assert model(x)["y"].shape == x.shape
    assert name in " ".join(type(model).__doc__.splitlines()) or len(name.split()) > 1
    assert tuple(model.INPUTS) == (name,)


def test_inputs_are_given_by_position():
    model = made("g (float[batch,3] np, float[batch,3] a) => (float[batch,3] y) { y = Sub(np, a) }")
    x, a = drawn(2, 3), drawn(2, 3, seed=1)
    np.testing.assert_array_equal(NumpyRunner(model).run({"a": a, "np": x})["y"], x - a)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("none", "NoneModel"),
        ("true", "TrueModel"),
        ("value_error", "ValueErrorModel"),
        ("path", "PathModel"),
        ("x²", "X2"),
        ("ªb", "Ab"),
        ("día", "Día"),
        ("1st", "Layer1st"),
        ("", "Value"),
        (ODD, "ABCDEXSÉF"),
    ],
)
def test_a_model_may_be_called_anything(name, title):
    found = program(SCALED, name=name)
    assert camel(name) == title
    assert type(opened(found.text, {})).__name__ == title
    assert ast.get_docstring(ast.parse(found.text), clean=False).startswith(f"{name} in NumPy")
    with pytest.raises(ValueError, match="has the shape"):  # the class does not hide the error that it raises
        opened(found.text, {})(np.ones(3))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("GRUCell", "gru_cell"),
        ("Lambda", "lambda_"),
        ("If", "if_"),
        ("Np", "np_"),
        ("Range", "range_"),
        ("Sys", "sys_"),
        ("Zelle²", "zelle2"),
    ],
)
def test_snake(name, expected):
    assert snake(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dense-1", "dense_1"),
        ("x²", "x2"),
        ("ﬁ", "fi"),
        ("ª", "a"),
        ("a€b", "a_b"),
        ("٣", "layer_٣"),
        ("·x", "layer_·x"),
        ("class", "class_"),
        ("", "value"),
        ("/", "value"),
    ],
)
def test_identifier(name, expected):
    found = identifier(name)
    assert found == expected
    exec(f"{found} = 1", names := {})
    assert found in names  # as Python itself writes it


@pytest.mark.parametrize("path", ["/", "", "a/x²", "a/ﬁ", "ª/b", "a/class", "mro/__class__", f"{ODD}/{ODD}"])
def test_a_weight_may_be_called_anything(path):
    graph = "g (float[batch,3] x, float[3] v) => (float[batch,3] y) { y = Mul(x, v) }"
    v, x = drawn(3), drawn(2, 3, seed=1)
    np.testing.assert_array_equal(made(graph, weights={"v": v}, paths={"v": path})(x), x * v)


def test_groups_of_the_archive_are_taken():
    found = attributes_of(["constants/a", "constants_/a", "start/a", "lstm/a"])
    assert list(found.values()) == [("constants_", "a"), ("constants_", "a_2"), ("start_", "a"), ("lstm", "a")]


@pytest.mark.parametrize(
    "text", ["", "a", "'", '"', "\\", '"""', "\\'", '\\"', "\n\r\x00\x85\u2028", "é😀", "\udc80", ODD]
)
def test_quoted(text):
    assert ast.literal_eval(quoted(text)) == text
    assert ast.literal_eval(f'"""{shown(text)} """') == f"{text} "
    assert quoted(text).isprintable()


class Prompt:
    """A program in files, run as if from a prompt."""

    def __init__(self, folder, monkeypatch, capsys, found):
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        numpy_program.write(folder / "generated.py", found.text, found.arrays)

    def __call__(self, *arguments):
        """(exit code, stdout, stderr)."""
        self.monkeypatch.chdir(self.folder)
        self.monkeypatch.setattr(sys, "argv", ["generated.py", *arguments])
        code = 0
        try:
            runpy.run_path("generated.py", run_name="__main__")
        except SystemExit as exit:
            if isinstance(exit.code, str):
                print(exit.code, file=sys.stderr)
            code = 1 if isinstance(exit.code, str) else exit.code
        return code, *self.capsys.readouterr()


@pytest.fixture
def prompt(tmp_path, monkeypatch, capsys):
    return lambda *args, **kwargs: Prompt(tmp_path, monkeypatch, capsys, program(*args, **kwargs))


def test_the_command_line_takes_and_gives_any_name(prompt, tmp_path):
    names = {"x": ODD, "y": "file", "z": "allow_pickle"}
    run = prompt(
        SUM.replace("y, float", "y, float[batch,3] z, float").replace("{", "{ z = Neg(x)\n"),
        [("h", "next_h", drawn(1, 3))],
        renamed=names,
    )
    x, h = drawn(4, 3, seed=1), drawn(4, 3, seed=2)
    np.savez(tmp_path / "input.npz", **{ODD: x})
    assert run("input.npz", "output.npz") == (0, "", "")
    with np.load(tmp_path / "output.npz", allow_pickle=False) as found:
        assert set(found) == {"file", "allow_pickle", "h"}
        np.testing.assert_allclose(found["file"], x + drawn(1, 3), rtol=1e-6)
        np.testing.assert_array_equal(found["allow_pickle"], -x)
        np.testing.assert_array_equal(found["h"], found["file"])
    np.savez(tmp_path / "input.npz", **{ODD: x, "h": h})
    assert run("input.npz", "output.npz", "--dtype", "float64") == (0, "", "")
    with np.load(tmp_path / "output.npz", allow_pickle=False) as found:
        np.testing.assert_array_equal(found["file"], x.astype(float) + h)
    code, printed, _ = run("input.npz")
    assert (code, printed.startswith("file\n(4, 3)\n")) == (0, True)
    code, helped, _ = run("--help")
    assert code == 0
    assert "".join(ODD.split()) in "".join(helped.split())


def test_a_model_of_one_number_runs_from_a_prompt(prompt, tmp_path):
    run = prompt("g (float x) => (float y) { y = Exp(x) }")
    np.savez(tmp_path / "input.npz", x=1.0)
    assert run("input.npz", "output.npz") == (0, "", "")
    with np.load(tmp_path / "output.npz", allow_pickle=False) as found:
        np.testing.assert_allclose(found["y"], np.e, rtol=1e-6)


def test_a_wrong_input_is_told_of_in_one_line(prompt, tmp_path):
    run = prompt(SUM, [("h", "next_h", drawn(1, 3))])
    np.save(tmp_path / "plain.npy", np.ones(3))
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "nothing.npz")
    np.savez(tmp_path / "objects.npz", x=np.array([None]))
    np.savez(tmp_path / "number.npz", x=1.0)
    np.savez(tmp_path / "other.npz", x=drawn(4, 3), h=drawn(2, 3))
    np.savez_compressed(tmp_path / "good.npz", x=drawn(4, 3))
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-20])
    at = whole.index(b"x.npy") + len("x.npy") + 20  # behind the sizes: the first block, of no kind that there is
    (tmp_path / "flipped.npz").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    unread = {name: f"can't read {name} as an .npz: " for name in ("plain.npy", "empty.npz", "objects.npz", "none.npz")}
    unread |= {name: f"can't read {name} as an .npz: " for name in ("cut.npz", "flipped.npz")}
    other = {
        "nothing.npz": "nothing.npz has no array 'x'",
        "number.npz": "x has the shape (), not ('batch', 3)",
        "other.npz": "h has the shape (2, 3), not ('batch', 3) with batch 4",
    }
    for name, told in {**unread, **other}.items():
        code, printed, error = run(name, "output.npz")
        assert (code, printed, error.count("\n"), error.startswith(told)) == (1, "", 1, True), (name, error)
    assert not (tmp_path / "output.npz").exists()
    assert run("good.npz", "no_folder/output.npz")[0] == 1
    (tmp_path / "generated.npz").write_bytes(b"PK")
    code, _, error = run("good.npz", "output.npz")
    assert (code, error.count("\n"), "generated.npz as an .npz: " in error) == (1, 1, True)


def test_the_help_is_no_format(prompt):
    """argparse reads a name as a format."""
    run = prompt(SCALED, renamed={"x": "100%(prog)d"})
    code, helped, error = run("--help")
    assert (code, "100%(prog)d" in helped, error) == (0, True, "")


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.array([2**32 + 1, 2]), "ids holds int64 that is no int32"),
        (np.array([1.5, 2.0]), "ids holds float64 that is no int32"),
        (np.array([1j, 2]), "ids holds complex128 that is no int32"),
        (np.array(["a", "b"]), "ids holds <U1 that is no int32"),
    ],
)
def test_numbers_that_an_input_can_not_hold_are_refused(array, found):
    made = onnx.parser.parse_model(HEAD + "graph (int32[B] ids) => (int32[B] y) { y = Neg(ids) }")
    program = written(made)
    model = opened(program.text, program.arrays)
    with pytest.raises(ValueError, match=re.escape(found)):
        model(array)
    assert model([3, -4]).tolist() == [-3, 4]


@pytest.mark.parametrize("dtype", [np.float16, "int32"])
def test_a_dtype_that_is_neither_is_refused(dtype):
    made = onnx.parser.parse_model(HEAD + "graph (float[B] x) => (float[B] y) { y = Neg(x) }")
    program = written(made)
    with pytest.raises(ValueError, match=f"the dtype is {np.dtype(dtype)}, not float32 or float64"):
        opened(program.text, program.arrays, dtype)
