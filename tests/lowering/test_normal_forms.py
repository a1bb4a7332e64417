"""Normal forms: what is the same, written in another way, has one; what is nearly the same has another."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from rnnexport.ir.loop_body import Constants
from rnnexport.ir.terms import Terms
from rnnexport.lowering.activations import cut
from rnnexport.lowering.algebra import number, plus, times
from rnnexport.lowering.normal_form import NormalForms
from tests.lowering.small import drawn

WEIGHTS = drawn(W=(3, 4), R=(4, 4), S=(4, 4), b=(4,), k=(4,))


class Value:
    """A term with the operators of Python."""

    def __init__(self, terms, term):
        self.terms, self.term = terms, term

    def of(self, op, *others, results=None, **attributes):
        inputs = [self.term, *(None if other is None else self._term(other) for other in others)]
        results = results or [(self.term.dtype, self.term.shape)]
        made = self.terms.call(op, inputs, attributes, results)
        values = [Value(self.terms, term) for term in made]
        return values[0] if len(values) == 1 else values

    def _term(self, other):
        if isinstance(other, Value):
            return other.term
        array = np.asarray(other)
        return self.terms.const(array.astype(np.float32) if array.dtype == np.float64 else array)

    def _pair(self, op, left, right):
        return Value(self.terms, self.terms.elementwise(op, self._term(left), self._term(right)))

    def __add__(self, other):
        return self._pair("Add", self, other)

    def __radd__(self, other):
        return self._pair("Add", other, self)

    def __sub__(self, other):
        return self._pair("Sub", self, other)

    def __rsub__(self, other):
        return self._pair("Sub", other, self)

    def __mul__(self, other):
        return self._pair("Mul", self, other)

    def __rmul__(self, other):
        return self._pair("Mul", other, self)

    def __truediv__(self, other):
        return self._pair("Div", self, other)

    def __rtruediv__(self, other):
        return self._pair("Div", other, self)

    def __neg__(self):
        return self.of("Neg")

    def __matmul__(self, matrix):
        matrix = np.asarray(matrix)
        return Value(self.terms, self.terms.matmul(self.term, self._term(matrix)))

    def __getitem__(self, lanes):
        shape = (None, lanes.stop - lanes.start)
        bounds = [np.array([bound]) for bound in (lanes.start, lanes.stop, 1)]
        return self.of("Slice", *bounds, results=[(self.term.dtype, shape)])


def joined(*values):
    return Value(values[0].terms, values[0].terms.concat([value.term for value in values]))


def halves(value):
    return value.of("Split", np.array([2, 2]), axis=-1, results=[(value.term.dtype, (None, 2))] * 2)


def sigmoid(value):
    return value.of("Sigmoid")


def tanh(value):
    return value.of("Tanh")


def clip(value, low, high):
    return value.of("Clip", np.float32(low), np.float32(high))


def gemm(value, matrix, bias, **attributes):
    return value.of("Gemm", matrix, bias, **attributes)


class Step:
    """What the expressions are about: states h and c of four lanes, an input x of three, a mask of one."""

    def __init__(self):
        self.terms = Terms()
        self.forms = NormalForms(self.terms, Constants())
        self.h, self.c = self.leaf("State", 4), self.leaf("State", 4)
        self.x = self.leaf("Element", 3)
        self.on = self.leaf("Element", 1, ir.DataType.BOOL)
        self.mask = self.cast(self.on)
        self.a = self.x @ WEIGHTS["W"] + self.h @ WEIGHTS["R"] + WEIGHTS["b"]
        self.d = self.h @ WEIGHTS["S"] + WEIGHTS["k"]

    def leaf(self, op, width, dtype=ir.DataType.FLOAT):
        return Value(self.terms, self.terms.leaf(op, None, dtype, (None, width)))

    def cast(self, value):
        return value.of("Cast", to=1, results=[(ir.DataType.FLOAT, value.term.shape)])

    def form(self, expression):
        return self.forms(expression(self).term)


# Expressions that are one another.
SAME = {
    "a mixture": (
        lambda s: s.h + sigmoid(s.a) * (tanh(s.d) - s.h),
        lambda s: (1.0 - sigmoid(s.a)) * s.h + sigmoid(s.a) * tanh(s.d),
        lambda s: s.h - sigmoid(s.a) * s.h + tanh(s.d) * sigmoid(s.a),
        lambda s: tanh(s.d) + (1.0 - sigmoid(s.a)) * (s.h - tanh(s.d)),
        lambda s: sigmoid(-s.a) * s.h + sigmoid(s.a) * tanh(s.d),
        lambda s: s.h - sigmoid(s.a) * (s.h + tanh(-s.d)),
    ),
    "a sigmoid": (
        lambda s: sigmoid(s.a),
        lambda s: 1.0 - sigmoid(-s.a),
        lambda s: (1.0 + (-s.a).of("Exp")).of("Reciprocal"),
        lambda s: 1.0 / (1.0 + (-s.a).of("Exp")),
        lambda s: 1.0 / ((-s.a).of("Exp") + 1.0),
    ),
    "the complement of a sigmoid": (
        lambda s: 1.0 - sigmoid(s.a),
        lambda s: sigmoid(-s.a),
        lambda s: sigmoid(0.0 - s.a),
    ),
    "an odd function": (lambda s: tanh(-s.a), lambda s: -tanh(s.a), lambda s: -1.0 * tanh(s.a)),
    "another odd function": (
        lambda s: s.a.of("Softsign"),
        lambda s: -((-s.a).of("Softsign")),
        lambda s: s.a / (1.0 + s.a.of("Abs")),
        lambda s: s.a / ((-s.a).of("Abs") + 1.0),
    ),
    "a hard sigmoid of a quarter": (
        lambda s: s.a.of("HardSigmoid", alpha=0.25, beta=0.5),
        lambda s: s.a.of("HardSigmoid", alpha=0.25),
        lambda s: clip(0.25 * s.a + 0.5, 0, 1),
        lambda s: (s.a * 0.25 + 0.5).of("Min", np.float32(1)).of("Max", np.float32(0)),
        lambda s: (s.a * 0.25 + 0.5).of("Max", np.float32(0)).of("Min", np.float32(1)),
        lambda s: clip(s.a + 2.0, 0, 4) * 0.25,
        lambda s: 1.0 - clip(0.5 - 0.25 * s.a, 0, 1),
        lambda s: (s.a * 0.25 + 0.5).of("Relu").of("Min", np.float32(1)),
    ),
    "a hard sigmoid of an eighth": (
        lambda s: clip(s.a + 4.0, 0, 8) / 8.0,
        lambda s: (s.a + 4.0).of("Relu").of("Min", np.float32(8)) * 0.125,
        lambda s: s.a.of("HardSigmoid", alpha=0.125, beta=0.5),
    ),
    "a leaky relu": (
        lambda s: s.a.of("LeakyRelu", alpha=0.25),
        lambda s: s.a.of("Max", 0.25 * s.a),
        lambda s: (s.a * 0.25).of("Max", s.a),
    ),
    "a relu": (
        lambda s: s.a.of("Relu"),
        lambda s: s.a.of("Max", np.float32(0)),
        lambda s: s.a.of("Clip", np.float32(0)),
    ),
    "a softplus": (lambda s: s.a.of("Softplus"), lambda s: (1.0 + s.a.of("Exp")).of("Log")),
    "an affine map": (
        lambda s: s.a,
        lambda s: joined(s.x, s.h) @ np.concatenate([WEIGHTS["W"], WEIGHTS["R"]]) + WEIGHTS["b"],
        lambda s: joined(s.h, s.x) @ np.concatenate([WEIGHTS["R"], WEIGHTS["W"]]) + WEIGHTS["b"],
        lambda s: gemm(s.h, WEIGHTS["R"], s.x @ WEIGHTS["W"] + WEIGHTS["b"]),
        lambda s: gemm(s.h, WEIGHTS["R"].T, s.x @ WEIGHTS["W"] + WEIGHTS["b"], transB=1),
        lambda s: s.h @ WEIGHTS["R"] - (-(s.x @ WEIGHTS["W"])) + WEIGHTS["b"],
    ),
    "two matrices": (
        lambda s: (s.h @ WEIGHTS["R"]) @ WEIGHTS["S"],
        lambda s: s.h @ (np.float32(WEIGHTS["R"]).astype(float) @ np.float32(WEIGHTS["S"]).astype(float)),
    ),
    "lanes": (
        lambda s: tanh(s.a),
        lambda s: joined(tanh(s.a[0:2]), tanh(s.a[2:4])),
        lambda s: joined(tanh(s.a)[0:2], tanh(s.a)[2:4]),
        lambda s: joined(*halves(tanh(s.a))),
        lambda s: tanh(joined(*halves(s.a))),
        lambda s: joined(tanh(s.a[0:1]), tanh(s.a[1:3]), tanh(s.a)[3:4]),
    ),
    "a mask": (
        lambda s: Value(
            s.terms, s.terms.call("Where", [s.on.term, s.h.term, s.c.term], results=[(s.h.term.dtype, (None, 4))])[0]
        ),
        lambda s: s.mask * s.h + (1.0 - s.mask) * s.c,
        lambda s: s.mask * s.h + s.cast(s.on.of("Not")) * s.c,
        lambda s: s.mask * (s.mask * s.h) + s.c - s.c * s.mask,
    ),
    "nothing": (lambda s: s.h - s.h + 0.0 * s.c, lambda s: s.c * 0.0 + s.h * 0.0),
}


def parts(form):
    """The lanes of a row, one sum each: rows may be cut in different places."""
    return [cut(part, lane, lane + 1) for part in form for lane in range(part.width)]


def equal(first, second):
    first, second = parts(first), parts(second)
    return len(first) == len(second) and all(one.equals(other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("what", SAME)
def test_what_is_the_same(what):
    step = Step()
    first, *others = (step.form(expression) for expression in SAME[what])
    for at, other in enumerate(others, 1):
        assert equal(first, other), f"spelling {at}"


def test_what_is_the_same_exactly_has_one_key():
    step = Step()
    for what in ("a mixture", "the complement of a sigmoid", "an odd function", "a mask"):
        keys = {tuple(part.key for part in step.form(expression)) for expression in SAME[what][:2]}
        assert len(keys) == 1, what


def test_what_is_not_the_same():
    """Of all the groups above, no two are one."""
    step = Step()
    firsts = [step.form(SAME[what][0]) for what in SAME]
    for at, first in enumerate(firsts):
        assert not any(equal(first, other) for other in firsts[at + 1 :]), list(SAME)[at]


# Pairs that differ in one place.
NEAR = {
    "the other share": (SAME["a mixture"][0], lambda s: s.h + sigmoid(s.a) * (tanh(s.d) + s.h)),
    "another state": (SAME["a mixture"][0], lambda s: s.c + sigmoid(s.a) * (tanh(s.d) - s.h)),
    "shares that are not one": (lambda s: 0.999 * s.h, lambda s: 1.0 * s.h),
    "a sigmoid of the negated": (lambda s: sigmoid(s.a), lambda s: sigmoid(-s.a)),
    "tanh of the negated": (lambda s: tanh(s.a), lambda s: tanh(-s.a)),
    "minus a sigmoid": (lambda s: -sigmoid(s.a), lambda s: sigmoid(-s.a)),
    "an even function": (lambda s: s.a.of("Relu"), lambda s: -((-s.a).of("Relu"))),
    "another slope": (lambda s: s.a.of("HardSigmoid", alpha=0.2), lambda s: s.a.of("HardSigmoid", alpha=0.21)),
    "another offset": (lambda s: s.a.of("HardSigmoid", beta=0.5), lambda s: s.a.of("HardSigmoid", beta=0.45)),
    "another bound": (lambda s: clip(0.2 * s.a + 0.5, 0, 1), lambda s: clip(0.2 * s.a + 0.5, 0, 0.9)),
    "another alpha": (lambda s: s.a.of("LeakyRelu", alpha=0.3), lambda s: s.a.of("LeakyRelu", alpha=0.2)),
    "another bias": (lambda s: tanh(s.a), lambda s: tanh(s.a + 0.001)),
    "a bias in one lane": (lambda s: s.a, lambda s: s.a + np.array([0.0, 0.0, 0.001, 0.0])),
    "the matrix turned": (lambda s: s.h @ WEIGHTS["R"], lambda s: s.h @ WEIGHTS["R"].T),
    "another matrix": (lambda s: s.h @ WEIGHTS["R"], lambda s: s.h @ WEIGHTS["S"]),
    "the matrices in the other order": (
        lambda s: (s.h @ WEIGHTS["R"]) @ WEIGHTS["S"],
        lambda s: (s.h @ WEIGHTS["S"]) @ WEIGHTS["R"],
    ),
    "before the matrix or after": (
        lambda s: (sigmoid(s.d) * s.h) @ WEIGHTS["R"],
        lambda s: sigmoid(s.d) * (s.h @ WEIGHTS["R"]),
    ),
    "lanes in another order": (lambda s: tanh(s.a), lambda s: joined(tanh(s.a[2:4]), tanh(s.a[0:2]))),
    "halves of another": (lambda s: joined(s.h[0:2], s.c[2:4]), lambda s: joined(s.c[0:2], s.h[2:4])),
    "the mask turned": (SAME["a mask"][1], lambda s: s.mask * s.c + (1.0 - s.mask) * s.h),
    "a square": (lambda s: sigmoid(s.a) * sigmoid(s.a), lambda s: sigmoid(s.a)),
    "a scaled tanh": (lambda s: 2.0 * tanh(s.a), lambda s: tanh(2.0 * s.a)),
}


@pytest.mark.parametrize("what", NEAR)
def test_what_is_nearly_the_same(what):
    step = Step()
    first, second = (step.form(expression) for expression in NEAR[what])
    assert not equal(first, second)
    assert [part.key for part in first] != [part.key for part in second]


def test_numbers_that_only_rounding_tells_apart_are_one():
    step = Step()
    third = np.float32(1 / 3)
    (first,), (second,) = (step.form(lambda s, by=by: by(s)) for by in (lambda s: s.h / 3.0, lambda s: s.h * third))
    assert first.equals(second)
    assert not first.equals(times(number(1 + 1e-6), second))
    assert plus(first, first, -1).products == {}
