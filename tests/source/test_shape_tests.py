"""Where the syntax of a function lets a shape decide, and at which numbers."""

from __future__ import annotations

import ast
import textwrap

import keras
import pytest

from rnnexport.source.load import load_source
from rnnexport.source.shape_looks import TELLING, Decision, decisions, looks
from tests.source.shape_layers import with_layer

KNOWN = {"LIMIT": 40, "self.limit": 20}


def found(body):
    function = ast.parse("def call(self, x, states=()):\n" + textwrap.indent(textwrap.dedent(body), "    ")).body[0]
    return decisions(function, TELLING, lambda node: KNOWN.get(ast.unparse(node)))


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        ("if x.shape[1] > 64: pass", {64}),
        ("y = x if x.shape[1] is None else 2 * x", {2}),
        ("n = x.shape[0]\nreturn n < LIMIT", {40}),
        ("b, t = K.int_shape(x)[:2]\nwhile t >= self.limit: pass", {20}),
        ("return min(ops.shape(x)[1], 50)", {50}),
        ("return self.positions[:, : x.shape[1]]", set()),
        ("return x.shape[1] // 64 > 1", {64, 1, 65, 128, 2, 4160}),
        ("n = x.get_shape().as_list()[1] or 7\nreturn n", {7}),
        ("return len(x) > 9", {9}),
        ("match x.shape[1]:\n  case 5: pass", set()),
    ],
)
def test_a_shape_decides(body, numbers):
    made = found(body)
    assert made
    assert numbers <= {number for one in made for number in one.numbers}
    assert not numbers or max(numbers) == max(number for one in made for number in one.numbers)


@pytest.mark.parametrize(
    "body",
    [
        "return tf.zeros((x.shape[0], 4))",
        "return x if len(x.shape) == 3 else None",
        "return x if x.shape.rank == 3 else None",
        "n = x.shape\nreturn x if len(n) == 3 else None",
        "return x if self.kernel.shape[0] > 4 else None",
        "n = tf.zeros((x.shape[0], 4))\nreturn tf.where(n > 3, n, 0)",
    ],
)
def test_what_makes_no_difference_is_none(body):
    assert found(body) == []


def test_lines_are_those_of_the_file():
    assert found("n = x.shape[1]\n\nif n is None or n > 8:\n    pass") == [Decision(4, frozenset({2, 8}))]


def test_the_code_that_layers_call_is_looked_into():
    def of(kind):
        return [
            (look.layer, look.kind, look.file, sorted(look.numbers))
            for look in looks(load_source(with_layer(keras, kind)))
        ]

    assert of("Literal") == [("looking", "Literal", "shape_layers.py", [2, 64])]
    assert ("looking", "HandedOn", "shape_layers.py", [2, 30]) in of("HandedOn")
    assert of("Global") == [("looking", "Global", "shape_layers.py", [40])]
    assert of("BySize") == []


def test_code_without_a_file_is_looked_into_by_what_it_names():
    space = {"keras": keras, "__name__": "elsewhere"}
    exec(
        "class Hidden(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x * 2.0 if (x.shape[1] or 0) > 33 else x\n",
        space,
    )
    x = keras.Input((None, 3))
    [look] = looks(load_source(keras.Model(x, space["Hidden"](name="hidden")(x))))
    assert str(look) == "layer hidden (Hidden) at <string>:2"
    assert 33 in look.numbers
