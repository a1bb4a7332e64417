"""Activations that are not those of the source: another function, another slope, another constant, another epsilon."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx

from benchmarks.mutation.faults.gates import GATES
from benchmarks.mutation.nodes import attribute, drop_attribute, set_attribute, told, value_of
from benchmarks.mutation.view import Edit, Place, View

# The slope of Keras 1 and 2 over that of Keras 3: clip(0.2 x + 0.5, 0, 1) and relu6(x + 3) / 6.
OTHER_KERAS = 0.2 * 6
# Defaults of ONNX, which is what a converter writes that forgets the constant.
_ALPHAS = {"LeakyRelu": 0.01, "Elu": 1.0, "Selu": 1.67326, "ThresholdedRelu": 1.0, "Celu": 1.0}
_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_OTHER = {
    "Tanh": "Softsign",
    "Softsign": "Tanh",
    "Sigmoid": "HardSigmoid",
    "HardSigmoid": "Sigmoid",
    "Relu": "Tanh",
    "Elu": "Relu",
    "Selu": "Elu",
    "LeakyRelu": "Relu",
    "Softplus": "Relu",
    "Clip": "Sigmoid",
}
# How many constants of the lists activation_alpha and activation_beta an activation takes.
_TAKES = {"HardSigmoid": (1, 1), "Affine": (1, 1), "ScaledTanh": (1, 1), "LeakyRelu": (1, 0), "Elu": (1, 0)}


def hard_sigmoid_other(view: View) -> Iterator[Edit]:
    """The hard_sigmoid of the other Keras: all of them with a slope 1.2 times as steep, or as flat, around its middle.

    Which Keras wrote the model is not looked up: one of the two is the fault, the other a cousin of it.
    """
    for factor, what in ((OTHER_KERAS, "steeper"), (1 / OTHER_KERAS, "flatter")):
        natives = [node for _, node in view.nodes(*GATES) if b"HardSigmoid" in _names(node)]
        alone = [node for _, node in view.nodes("HardSigmoid")]
        clips = [(place, node) for place, node in view.nodes("Clip", "Min") if _clips_to(view, node)]
        for node in natives:
            yield Edit(told(node, what), partial(_bend_native, node, factor))
        for node in alone:
            yield Edit(told(node, what), partial(_bend_alone, node, factor))
        if clips:
            yield Edit(f"every Clip {what}", partial(_bend_clips, view, clips, factor))


def _names(node: onnx.NodeProto) -> list[bytes]:
    return [bytes(name) for name in value_of(node, "activations", [])]  # type: ignore[attr-defined]


def _floats(node: onnx.NodeProto, name: str) -> list[float]:
    return [float(number) for number in value_of(node, name, [])]  # type: ignore[attr-defined]


def _bend_native(node: onnx.NodeProto, factor: float) -> None:
    alphas, betas = _floats(node, "activation_alpha"), _floats(node, "activation_beta")
    a = b = 0
    for name in _names(node):
        takes = _TAKES.get(name.decode(), (0, 0))
        if name == b"HardSigmoid":
            while len(alphas) <= a:
                alphas.append(0.2)
            while len(betas) <= b:
                betas.append(0.5)
            alphas[a], betas[b] = alphas[a] * factor, (betas[b] - 0.5) * factor + 0.5
        a, b = a + takes[0], b + takes[1]
    set_attribute(node, "activation_alpha", alphas)
    set_attribute(node, "activation_beta", betas)


def _bend_alone(node: onnx.NodeProto, factor: float) -> None:
    alpha, beta = (float(str(value_of(node, name, default))) for name, default in (("alpha", 0.2), ("beta", 0.5)))
    set_attribute(node, "alpha", alpha * factor)
    set_attribute(node, "beta", (beta - 0.5) * factor + 0.5)


def _clips_to(view: View, node: onnx.NodeProto) -> float | None:
    """The upper bound of a Clip from 0 to it, or of the Min of a pair of Min and Max that does the same."""
    if node.op_type == "Min":
        others = {reader.op_type for reader, _ in view.readers(node.output[0])} | {_op(view, node.input[0])}
        bounds = [np.float32(0), view.array(node.input[1])] if "Max" in others else []
    else:
        bounds = [view.array(name) for name in node.input[1:3]]
    if len(bounds) < 2 or bounds[0] is None or bounds[1] is None or bounds[0].any():
        return None
    return float(bounds[1])


def _op(view: View, name: str) -> str:
    maker = view.producer(name)
    return "" if maker is None else maker.op_type


def _bend_clips(view: View, clips: list[tuple[Place, onnx.NodeProto]], factor: float) -> None:
    bends = [(place, node, (_clips_to(view, node) or 0) / 2) for place, node in clips]
    for place, node, middle in bends:
        steep = view.before(place, node, "Mul", [node.input[0], view.constant(np.float32(factor))])
        shift = view.constant(np.float32((1 - factor) * middle))
        node.input[0] = view.before(place, node, "Add", [steep, shift])


def alpha_default(view: View) -> Iterator[Edit]:
    """The slope of an activation forgotten: the default of ONNX holds."""
    for _, node in view.nodes(*_ALPHAS):
        found = attribute(node, "alpha")
        if found is not None and abs(found.f - _ALPHAS[node.op_type]) > 1e-5:
            yield Edit(told(node), partial(drop_attribute, node, "alpha"))
    for _, node in view.nodes(*GATES):
        for name in ("activation_alpha", "activation_beta"):
            if attribute(node, name) is not None:
                changed = [1.01 * number + 0.01 for number in _floats(node, name)]
                yield Edit(told(node, name), partial(set_attribute, node, name, changed))


def constant_off(view: View) -> Iterator[Edit]:
    """A number in the formula of an activation one percent off, such as the 3 or the 1/6 of a hard_sigmoid."""
    for _, node in view.nodes("Mul", "Add", "Sub", "Div", "Clip", "Max", "Min", "Pow", "PRelu"):
        for at, name in enumerate(node.input):
            array = view.array(name) if name else None
            if array is None or array.ndim or array.dtype != np.float32 or not array or not np.isfinite(array):
                continue
            if node.op_type == "Add" and abs(float(array)) < 0.1:
                continue  # an epsilon, which is a kind of its own
            yield Edit(
                told(node, f"{float(array):g}"), partial(_give, view, node, at, np.asarray(array * np.float32(1.01)))
            )


def _give(view: View, node: onnx.NodeProto, at: int, value: np.ndarray) -> None:
    node.input[at] = view.constant(value)


def activation_other(view: View) -> Iterator[Edit]:
    """Another activation: the operator's default for one that is not, a relative for the rest."""
    for _, node in view.nodes(*GATES):
        directions = 2 if value_of(node, "direction") == b"bidirectional" else 1
        names = [name.decode() for name in _names(node)] or list(_DEFAULTS[node.op_type]) * directions
        for at, name in enumerate(names[: len(_DEFAULTS[node.op_type])]):
            default = _DEFAULTS[node.op_type][at]
            other = default if name != default else {"Sigmoid": "Tanh", "Tanh": "Softsign"}[name]
            yield Edit(told(node, f"{at} {other} for {name}"), partial(_rename, node, names, at, other))
    for _, node in view.nodes("Tanh", "Softsign", "Sigmoid", "HardSigmoid", "Relu", "Elu", "Selu", "LeakyRelu"):
        yield Edit(told(node), partial(_replace, node))


def _rename(node: onnx.NodeProto, names: list[str], at: int, other: str) -> None:
    """Another activation in the list, its constants taken out of theirs."""
    takes = [_TAKES.get(name, (0, 0)) for name in names]
    for index, kind in enumerate(("activation_alpha", "activation_beta")):
        numbers = _floats(node, kind)
        start = sum(each[index] for each in takes[:at])
        if numbers and takes[at][index]:
            del numbers[start : start + 1]
            set_attribute(node, kind, numbers) if numbers else drop_attribute(node, kind)
    set_attribute(node, "activations", [*names[:at], other, *names[at + 1 :]])


def _replace(node: onnx.NodeProto) -> None:
    node.op_type = _OTHER[node.op_type]
    del node.attribute[:]
    del node.input[1:]


def norm_epsilon(view: View) -> Iterator[Edit]:
    """The epsilon of a normalisation: 1e-5, which is that of ONNX, or 1e-3, which is that of Keras."""
    for _, node in view.nodes("BatchNormalization", "LayerNormalization", "InstanceNormalization"):
        new = _other_epsilon(float(str(value_of(node, "epsilon", 1e-5))))
        yield Edit(told(node), partial(set_attribute, node, "epsilon", new))
    for _, node in view.nodes("Add"):
        roots = {reader.op_type for reader, _ in view.readers(node.output[0])} & {"Sqrt", "Rsqrt", "Pow"}
        for at, name in enumerate(node.input):
            array = view.array(name)
            if roots and array is not None and array.size == 1 and 0 < float(array.ravel()[0]) < 0.1:
                changed = np.full_like(array, _other_epsilon(float(array.ravel()[0])))
                yield Edit(told(node), partial(_give, view, node, at, changed))


def _other_epsilon(epsilon: float) -> float:
    return 1e-5 if epsilon > 2e-4 else 1e-3


def softmax_axis(view: View) -> Iterator[Edit]:
    """A Softmax over the axis before its own."""
    for _, node in view.nodes("Softmax"):
        axis = int(str(value_of(node, "axis", -1)))
        yield Edit(told(node), partial(set_attribute, node, "axis", axis - 1 if axis else 1))
