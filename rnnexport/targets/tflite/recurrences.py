"""The recurrences of a model that a TFLite file is made of, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import function_def_to_graph, smart_constant_value
from rnnexport.core.forms import FORMS, TFLiteForm
from rnnexport.core.lowering import LoweringDecision
from rnnexport.source.trace import Graphs, TracedModel

_NONE: Mapping[str, str] = {}
_LOOPS = ("While", "StatelessWhile")
_DYNAMIC = "dynamic length"


def decisions(graphs: Graphs, form: TFLiteForm, fusion: Mapping[str, str] = _NONE) -> tuple[LoweringDecision, ...]:
    """What became of each recurrence, in the order of the graph.

    Args:
        graphs: of the model.
        form: that it has.
        fusion: where fused operators are asked for, by the name of a loop: why it is none, empty where it is one.
    """
    rolled = graphs.rolled
    if rolled is None:
        return ()
    return tuple(_decision(rolled, loop, form, fusion.get(loop.name)) for loop in recurrences(rolled))


def _decision(traced: TracedModel, loop: Any, form: TFLiteForm, why_not: str | None) -> LoweringDecision:
    what, name = _described(traced, loop), path_of(loop)
    if form.form != "fused":
        return LoweringDecision(name, what, form.form, form.because, (form.form,))
    if why_not == "":
        return LoweringDecision(name, f"LSTM; {what}", "fused", form.because, ("fused", "rolled"))
    refused = {"fused": why_not or "it is not read"}
    return LoweringDecision(name, what, "rolled", "it has no fused form", ("rolled",), refused)


def choices(traced: TracedModel, form: TFLiteForm, fusion: Mapping[str, str]) -> tuple[LoweringDecision, ...]:
    """What each recurrence of a model would become, and which other forms it may have; arguments as of `decisions`."""
    return tuple(_choice(traced, loop, form, fusion.get(loop.name, "it is not read")) for loop in recurrences(traced))


def _choice(traced: TracedModel, loop: Any, form: TFLiteForm, why_not: str) -> LoweringDecision:
    what = _described(traced, loop)
    refused = {"fused": why_not} if why_not else {}
    if what.endswith(_DYNAMIC):
        refused["unroll"] = "its length is open: give --timesteps"
    proven = tuple(one for one in FORMS if one not in refused)
    chosen, why = (form.form, form.because) if form.form in proven else ("rolled", "it takes any length")
    return LoweringDecision(path_of(loop), what, chosen, why, proven, refused)


def recurrences(traced: TracedModel) -> Iterator[Any]:
    """The loops of a graph that lists go into: sequences, and what a step gives."""
    for operation in traced.function.graph.get_operations():
        if operation.type in _LOOPS and any(tensor.dtype == tf.variant for tensor in operation.inputs):
            yield operation


def function_in(traced: TracedModel, loop: Any, key: str) -> Any:
    """The graph of a step, `body`, or of the condition, `cond`."""
    library = traced.function.graph.as_graph_def().library.function
    name = loop.get_attr(key).name
    with traced.function.graph.as_default():
        return function_def_to_graph(next(one for one in library if one.signature.name == name))


def plain(tensor: tf.Tensor) -> tf.Tensor:
    """What a tensor is a copy of."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


def number_of(tensor: tf.Tensor) -> int | None:
    """A number that follows from constants."""
    found = None if tensor.dtype == tf.variant else smart_constant_value(tensor)
    return None if found is None or np.ndim(found) else int(found)


def counts(body: Any, at: int) -> bool:
    """Whether a step adds 1 to what is carried there."""
    operation = plain(body.outputs[at]).op
    if operation.type not in ("Add", "AddV2"):
        return False
    one, other = map(plain, operation.inputs)
    return one is body.inputs[at] and number_of(other) == 1


def path_of(loop: Any) -> str:
    """The path of the layer: what TensorFlow calls `model/lstm/while`."""
    name: str = loop.name
    return name.removesuffix("/while") or name


def _described(traced: TracedModel, loop: Any) -> str:
    """Such as `2 states of 32 and 32; dynamic length`."""
    body = function_in(traced, loop, "body")
    states = [
        before.shape[1:].as_list()
        for before, after in zip(body.inputs, body.outputs, strict=True)
        if before.dtype != tf.variant and before.shape.rank and plain(after) is not before
    ]
    sizes = " and ".join("x".join("?" if size is None else str(size) for size in shape) or "1" for shape in states)
    count = len(states)
    told = [f"{count} state{'s' if count > 1 else ''} of {sizes}"] if count else ["a map over a sequence"]
    sequences = [one.op.inputs[0] for one in loop.inputs if one.op.type == "TensorListFromTensor"]
    steps = {tensor.shape[0] for tensor in sequences}
    length = steps.pop() if len(steps) == 1 else None
    return "; ".join([*told, _DYNAMIC if length is None else f"{length} step{'s' if length > 1 else ''}"])
