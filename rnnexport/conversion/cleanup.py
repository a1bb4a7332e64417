"""Clean-up of an ONNX graph by passes of onnx_ir and the constant folder of onnxscript, before and after the lowering.

It gives what is behind it ranks and dtypes inside the bodies of loops, constants as initializers, and no node that
computes what is known or what nobody reads. Every step leaves the boundary as it is and changes no result: a step that
could round differently has no place here. Not used, because tried and found wanting:

- the rewrite rules of `onnxscript.optimizer.optimize`: they take `x + 1e-9` and `x * 1.000005` for `x`;
- `IdentityEliminationPass`: it gives two outputs that are equal one name, and makes a value of the graph around a loop
  an output of the loop's body, which is no valid ONNX. The folder takes identities away as well, without either.

Slices without the axes that they leave whole: `x[:, :6]` of TensorFlow names both axes.

Before: Slice(x_BH, starts=[0, 0], ends=[2147483647, 6], axes=[0, 1])     After: Slice(x_BH, [0], [6], [1])

ONNX's inference of shapes forgets the name of an axis that a slice goes over.

Sizes that are asked of values nobody else reads, taken from the model's inputs instead.

Keras computes the first output of a masked recurrence once more, before its loop, to make zeros of its shape. Where the
sizes are known by the names of the inputs' own, all of that step is left out:

Before: h_BH = cell(x_0, state); s = Shape(h_BH)     After: s = Concat(Gather(Shape(x_BTI), [0]), [H])
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript.optimizer import FOLDED_FROM_KEY, fold_constants_ir

from rnnexport.conversion.boundary import forget_invented_dims
from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.ir.loop_body import initializer, subgraphs
from rnnexport.ir.terms import OPEN_END

# What is folded: operators that move numbers, or whose result IEEE 754 and integers leave no choice in. Others (Exp,
# MatMul, ...) have last digits of their own in each implementation, and onnx's own evaluator, which folds, computes an
# LSTM without looking at its activations.
_EXACT = frozenset(
    (
        *("Cast", "Concat", "Expand", "Flatten", "Gather", "Range", "Reshape", "Shape", "Size", "Slice", "Squeeze"),
        *("Tile", "Transpose", "Unsqueeze", "Where"),
        *("Abs", "Add", "Max", "Min", "Mul", "Neg", "Sqrt", "Sub"),
        *("And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Or"),
    )
)
# Numbers that a folded node may hold even where its inputs hold fewer.
_SMALL = 1024
# The folder's own limits are numbers of elements; `_worth_folding` decides instead.
_NO_LIMIT = 1 << 62
_RECURRENT_OUTPUTS = {"LSTM": 3, "GRU": 2, "RNN": 2}
# Equal initializers of up to so many elements become one; beyond, comparing them takes more than it saves.
_LARGE = 1 << 20
_LOGGERS = ("onnx_ir", "onnxscript")
_lock = threading.RLock()
_Dims = list[int | str]


def clean_up(model: ir.Model) -> None:
    """Run `STEPS` over `model` in place. The boundary keeps the shapes that it promises.

    Raises:
        ConversionError: a pass can't deal with the graph.
    """
    graph = model.graph
    shapes = [value.shape for value in (*graph.inputs, *graph.outputs)]
    with quiet():
        for step in STEPS:
            with ForeignCode(lambda error, step=step: _failed(model, step, error)):  # type: ignore[misc]
                step(model)
    for value, shape in zip((*graph.inputs, *graph.outputs), shapes, strict=True):
        value.shape = shape


@contextmanager
def quiet() -> Iterator[None]:
    """A block in which passes log nothing: they tell what they skip, and nobody asked."""
    with _lock:
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        levels = [logger.level for logger in loggers]
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def infer_shapes(model: ir.Model) -> None:
    """Give values ranks, dtypes and known sizes, inside bodies too."""
    infer = common.ShapeInferencePass(check_type=False, strict_mode=False)
    infer(model)
    while _give_ranks(model):
        infer(model)
    forget_invented_dims(model.graph)


def _give_ranks(model: ir.Model) -> bool:
    """Give what is reshaped the rank that the length of its new shape says; the sizes may be computed.

    Returns:
        Whether there was any: others may follow from it.
    """
    found = False
    for node in model.graph.all_nodes():
        if node.op_type == "Reshape" and node.outputs[0].shape is None:
            sizes = node.inputs[1].shape if node.inputs[1] is not None else None
            if sizes is not None and len(sizes) == 1 and isinstance(sizes[0], int):
                node.outputs[0].shape = ir.Shape([None] * sizes[0])
                found = True
    return found


def fold_constants(model: ir.Model) -> None:
    """Compute what depends on constants alone, and take identities away."""
    fold_constants_ir(
        model,
        onnx_shape_inference=True,
        input_size_limit=_NO_LIMIT,
        output_size_limit=_NO_LIMIT,
        should_fold=_worth_folding,
    )
    for value in _values(model):
        value.metadata_props.pop(FOLDED_FROM_KEY, None)  # a note for those who debug the folder


def lift_constants(model: ir.Model) -> None:
    """Make initializers of the outermost graph of all constants, those in bodies too."""
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.LiftSubgraphInitializersToMainGraphPass()(model)


def merge_initializers(model: ir.Model) -> None:
    """Keep one of equal initializers."""
    common.DeduplicateInitializersPass(size_limit=_LARGE)(model)


def complete_outputs(model: ir.Model) -> None:
    """Give recurrent nodes all their outputs, so that equal ones are seen to be equal.

    Two that compute the same and omit different outputs can't stay: the pass that merges nodes, and the one of ONNX
    Runtime as well, would make one of them that omits what the other gave.
    """
    for node in model.graph:
        if not node.domain and node.op_type in _RECURRENT_OUTPUTS:
            node.resize_outputs(_RECURRENT_OUTPUTS[node.op_type])


def merge_nodes(model: ir.Model) -> None:
    """Keep one of equal nodes of the outermost graph. All outputs must have names."""
    common.CommonSubexpressionEliminationPass()(model)


def remove_unused(model: ir.Model) -> None:
    """Take away nodes, optional outputs, initializers and opsets that no output depends on."""
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)


def fix_names(model: ir.Model) -> None:
    """Give every value and node a name of its own. The boundary keeps its names."""
    common.NameFixPass()(model)


# In this order:
STEPS: tuple[Callable[[ir.Model], None], ...] = (
    infer_shapes,  # first: tf2onnx knows a third of the values in bodies, and the folder decides by sizes
    fold_constants,
    lift_constants,  # what is constant in a body is constant around it, and is seen to be by who reads the graph
    merge_initializers,  # so that nodes that differ in the copy of a constant become equal
    complete_outputs,  # so that recurrent nodes of which different outputs are read become equal
    fix_names,  # a constant that left its body may share its name with another value; all outputs get one
    merge_nodes,
    remove_unused,  # what the steps before left without a reader
    infer_shapes,  # the nodes that folding and merging changed
)


def _worth_folding(node: ir.Node) -> bool:
    """Whether folding `node`, whose inputs are constants, keeps the model's size. A large `Expand` would not."""
    shapes = [output.shape for output in node.outputs]
    if node.op_type not in _EXACT or node.domain or len(shapes) != 1 or shapes[0] is None or not shapes[0].is_static():
        return False
    held = sum(value.const_value.size for value in node.inputs if value is not None and value.const_value is not None)
    return math.prod(shapes[0].numpy()) <= max(held, _SMALL)


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from graph.initializers.values()
        yield from (output for node in graph for output in node.outputs)


def _failed(model: ir.Model, step: Callable[[ir.Model], None], error: BaseException) -> ConversionError:
    return ConversionError(
        f"{step.__name__} can't deal with the ONNX graph of {model.graph.name}: {reason(error)}",
        "a graph that onnx_ir and onnxscript can clean up",
        "report this model",
    )


def leave_whole_axes_out(model: ir.Model) -> None:
    """Let no slice go over an axis from end to end, in bodies too; in place. One that cuts nothing is an identity."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Slice" and len(node.inputs) >= 4:
            _shorten(node)


def _shorten(node: ir.Node) -> None:
    bounds = [None if value is None else ir.convenience.get_const_tensor(value) for value in node.inputs[1:]]
    if any(tensor is None for tensor in bounds):
        return
    arrays = [tensor.numpy() for tensor in bounds if tensor is not None]
    starts, ends, steps = arrays[0], arrays[1], arrays[3] if len(arrays) > 3 else np.ones_like(arrays[0])
    cut = ~((starts == 0) & (ends >= OPEN_END) & (steps == 1))
    if cut.all():
        return
    if not cut.any():
        whole = node.inputs[0]
        assert whole is not None, "what is sliced is no option"
        node.outputs[0].replace_all_uses_with(whole)
        return
    assert node.graph is not None, "it is part of the model"
    for at, array in enumerate(arrays):
        node.replace_input_with(at + 1, initializer(node.graph, array[cut], f"{node.name}/{at}"))


def ask_inputs_for_sizes(model: ir.Model, inputs: Sequence[ir.Value]) -> None:
    """Compute no value of the outermost graph for its sizes alone, if the inputs have them; in place.

    Args:
        model: with the shapes of its values inferred; equal names stand for equal sizes.
        inputs: of the model, but for its weights.
    """
    sizes = _Sizes(model.graph, inputs)
    asked = [node for node in model.graph if sizes.is_asked_alone(node)]
    if any(sizes.known(node) is None for node in asked):
        _infer_through_loops(model)
    known = [(node, dims) for node in asked if (dims := sizes.known(node)) is not None]
    for node, dims in known:
        node.outputs[0].replace_all_uses_with(sizes.shape(dims, str(node.name)), replace_graph_outputs=False)
    if known:
        model.graph.insert_before(model.graph[0], sizes.nodes)
        remove_unused(model)


def _infer_through_loops(model: ir.Model) -> None:
    """Give the states of loops the sizes of their initial values, where a step keeps them; and what follows from it."""
    loops = [node for node in model.graph if node.op_type == "Loop"]
    refuted: set[ir.Value] = set()
    for _ in loops:  # a later loop may begin with what an earlier one gives
        states = [state for loop in loops for state in _states(loop) if state.inside not in refuted]
        states = [state for state in states if state.initial.shape not in (None, state.inside.shape)]
        if not states:
            return
        before = {value: value.shape for value in _values_behind(model)}
        for state in states:
            state.inside.shape = state.last.shape = state.initial.shape
        infer_shapes(model)
        if changed := {state.inside for state in states if state.after.shape != state.inside.shape}:
            refuted |= changed
            for value, shape in before.items():  # nothing that was inferred of them holds
                value.shape = shape


@dataclass(frozen=True)
class _State:
    """A state of a loop: its initial value, what it is in the body and after a step, what it is in the end."""

    initial: ir.Value
    inside: ir.Value
    after: ir.Value
    last: ir.Value


def _states(loop: ir.Node) -> list[_State]:
    body = subgraphs(loop)[0]
    values = zip(loop.inputs[2:], body.inputs[2:], body.outputs[1:], loop.outputs, strict=False)
    return [_State(initial, inside, after, last) for initial, inside, after, last in values if initial is not None]


def _values_behind(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from (*graph.inputs, *(output for node in graph for output in node.outputs))


class _Sizes:
    """The nodes that give the sizes of a model's inputs."""

    def __init__(self, graph: ir.Graph, inputs: Sequence[ir.Value]) -> None:
        self.nodes: list[ir.Node] = []
        self._graph = graph
        self._found: dict[str, ir.Value] = {}
        self._places: dict[str, tuple[ir.Value, int]] = {}
        for value in inputs:
            for axis, dim in enumerate(value.shape or ()):
                if isinstance(dim, ir.SymbolicDim) and dim.value is not None:
                    self._places.setdefault(dim.value, (value, axis))

    def is_asked_alone(self, node: ir.Node) -> bool:
        """Whether this is a `Shape` of a value that is computed for nothing else."""
        value = node.inputs[0] if node.op_type == "Shape" and not node.attributes else None
        if value is None or value.producer() is None:
            return False
        given = {value, node.outputs[0]} & set(self._graph.outputs)
        return not given and all(use.node.op_type == "Shape" for use in value.uses())

    def known(self, node: ir.Node) -> _Dims | None:
        """What a `Shape` gives, as numbers and names, if the inputs have every size that is open; else None."""
        shape = node.inputs[0].shape if node.inputs[0] is not None else None
        if shape is None:
            return None
        dims = [dim.value if isinstance(dim, ir.SymbolicDim) else dim for dim in shape]
        found: _Dims = [dim for dim in dims if isinstance(dim, int) or dim in self._places]
        return found if len(found) == len(dims) else None

    def shape(self, dims: _Dims, name: str) -> ir.Value:
        """A vector of these sizes; `name` is the path of who asks."""
        parts = [self._size(dim, name) for dim in dims]
        return parts[0] if len(parts) == 1 else self._node("Concat", parts, name, len(dims), axis=0)

    def _size(self, dim: int | str, name: str) -> ir.Value:
        if isinstance(dim, int):
            return self._number(dim)
        if dim not in self._found:
            value, axis = self._places[dim]
            whole = self._node("Shape", [value], f"{name}/{dim}", len(value.shape or ()))
            self._found[dim] = self._node("Gather", [whole, self._number(axis)], f"{name}/{dim}/Gather", 1, axis=0)
        return self._found[dim]

    def _node(self, op: str, inputs: Sequence[ir.Value], name: str, length: int, axis: int | None = None) -> ir.Value:
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        node = ir.Node("", op, inputs, attributes, num_outputs=1, name=name)
        (output,) = node.outputs
        output.name, output.type, output.shape = f"{name}:sizes", ir.TensorType(ir.DataType.INT64), ir.Shape([length])
        self.nodes.append(node)
        return output

    def _number(self, number: int) -> ir.Value:
        return initializer(self._graph, np.array([number], np.int64), f"size_{number}")
