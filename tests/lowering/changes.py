"""Changes to a cell of any family that no op of ONNX can follow. A docstring is what the description says."""

from __future__ import annotations

from onnx import TensorProto

from tests.lowering.draws import kernel, recurrent
from tests.lowering.spelling import add, mul, product, sub


def layer_norm(body, a):
    centred = sub(body, a, body.op("ReduceMean", a, axes=[1], keepdims=1))
    variance = body.op("ReduceMean", mul(body, centred, centred), axes=[1], keepdims=1)
    return body.op("Div", centred, body.op("Sqrt", add(body, variance, body.const(0.05))))


def normalized(body, a):
    squares = body.op("ReduceSum", mul(body, a, a), body.ints(1), keepdims=1)
    return body.op("Div", a, body.op("Sqrt", add(body, squares, body.const(0.05))))


class ReadsSquares:
    """the gates read h * h"""

    def write_pre(self, body, x, h):
        return super().write_pre(body, x, mul(body, h, h))


class ReadsCentred:
    """the gates read h less its mean over the batch"""

    def write_pre(self, body, x, h):
        return super().write_pre(body, x, sub(body, h, body.op("ReduceMean", h, axes=[0], keepdims=1)))


class ReadsActivated:
    """the gates read tanh(h R)"""

    def write_pre(self, body, x, h):
        (width,) = self.states["h"]
        return super().write_pre(body, x, body.op("Tanh", product(body, h, recurrent(body.rng, width))))


class Multiplicative:
    """the gates read (x V) * (h U)"""

    def write_pre(self, body, x, h):
        (width,) = self.states["h"]
        seen = product(body, x, kernel(body.rng, self.features, width))
        return super().write_pre(body, x, mul(body, seen, product(body, h, recurrent(body.rng, width))))


class Normed:
    """the gates are layer-normalized"""

    def write_pre(self, body, x, h):
        pre = super().write_pre(body, x, h)
        if isinstance(pre, str):
            return layer_norm(body, pre)
        return {name: layer_norm(body, value) for name, value in pre.items()}


class Normalized:
    """the new state is normalized"""

    def write_new(self, body, new, old, values):
        return normalized(body, super().write_new(body, new, old, values))


class Decays:
    """the new state is divided by the number of the step"""

    def write_new(self, body, new, old, values):
        step = body.op("Cast", values["t"], to=TensorProto.FLOAT)
        return body.op("Div", new, add(body, body.const(1), mul(body, step, body.const(0.25))))


class TanhOfNew:
    """the new state goes through tanh once more"""

    def write_new(self, body, new, old, values):
        return body.op("Tanh", new)


class Clipped:
    """the new state is clipped"""

    def write_new(self, body, new, old, values):
        if body.chance(0.5):
            return body.op("Clip", new, body.const(-0.3), body.const(0.3))
        return body.op("Max", body.const(-0.3), body.op("Min", new, body.const(0.3)))


class Scaled:
    """the new state is scaled by 1.7"""

    def write_new(self, body, new, old, values):
        return mul(body, new, body.const(1.7))


class Residual:
    """a part of x is added to the new state"""

    def write_new(self, body, new, old, values):
        (width,) = self.states["h"]
        return add(body, new, product(body, values["x"], kernel(body.rng, self.features, width)))


class Zoneout:
    """a tenth of the old state is mixed in"""

    def write_new(self, body, new, old, values):
        return add(body, mul(body, new, body.const(0.9)), mul(body, old, body.const(0.1)))


class TwiceCandidate:
    """the candidate is doubled"""

    def write_candidate(self, body, *given):
        return mul(body, super().write_candidate(body, *given), body.const(2))


OF_ALL = (ReadsSquares, ReadsCentred, ReadsActivated, Multiplicative, Normed, Normalized, Decays, TanhOfNew)
OF_GATED = (Clipped, Scaled, Residual, Zoneout, TwiceCandidate)
