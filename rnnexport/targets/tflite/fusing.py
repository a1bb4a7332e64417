"""A loop that is proven to be an LSTM as UNIDIRECTIONAL_SEQUENCE_LSTM.

The converter is given a function that it takes for one operator, of a name of ours; in the file that it writes, that
operator becomes LiteRT's, its weights those of the proof.

    Before: h_TBU, h_BU, c_BU = while(x_TBI)     After: h_TBU = LSTM(x_TBI, weights, states); h_BU = h_TBU[T - 1]

The operator goes on from the states of the call before, which it holds in variable tensors of a fixed batch: whoever
calls it resets these (`reset_all_variables`). Nothing may read the last c, which is no output of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.core.errors import ConversionError
from rnnexport.source.trace import Graphs
from rnnexport.targets.tflite.places import NotFusedError, Places, places
from rnnexport.targets.tflite.proofs import LSTM, proven
from rnnexport.targets.tflite.recurrences import path_of, recurrences
from rnnexport.targets.tflite.tree import bytes_of, constant, schema, tree_of

_PREFIX = "rnnexport.lstm."
_OPEN_BATCH = "its batch is open, and the operator holds states of a fixed one"


@dataclass(frozen=True, eq=False)
class Fusion:
    """Which loops of a model become operators.

    Attributes:
        lstms: what they compute, in the order of the graph.
        made: by the name of a loop, what gives its results, see `Style.fused`.
        why_not: for every loop, why it becomes none; empty for one that does.
    """

    lstms: Sequence[LSTM] = ()
    made: Mapping[str, Any] = field(default_factory=dict)
    why_not: Mapping[str, str] = field(default_factory=dict)


def fusion_of(graphs: Graphs) -> Fusion:
    """What of `graphs.main` is fused.

    Raises:
        ConversionError: nothing is; says why of each recurrence.
    """
    fusion = possible(graphs)
    if not fusion.lstms:
        raise _nothing(graphs, fusion.why_not)
    return fusion


def possible(graphs: Graphs) -> Fusion:
    """What of `graphs.main` can be fused."""
    cells = proven(graphs)
    lstms: list[LSTM] = []
    made, why_not = {}, {}
    for loop in recurrences(graphs.main):
        try:
            lstm = _required(cells.get(loop.name, "its equation is not read"))
            where = places(graphs.main, loop)
            if loop.inputs[where.sequence].op.inputs[0].shape[1] is None:
                raise NotFusedError(_OPEN_BATCH)
        except NotFusedError as error:
            why_not[loop.name] = str(error)
            continue
        made[loop.name] = partial(_fused, len(lstms), lstm, where)
        lstms.append(lstm)
        why_not[loop.name] = ""
    return Fusion(lstms, made, why_not)


def _required(found: LSTM | str) -> LSTM:
    if isinstance(found, str):
        raise NotFusedError(found)
    return found


def _nothing(graphs: Graphs, why_not: Mapping[str, str]) -> ConversionError:
    told = [f"{path_of(loop)}: {why_not[loop.name]}" for loop in recurrences(graphs.main)]
    return ConversionError(
        f"{graphs.main.name} has no recurrence with a fused form ({'; '.join(told) or 'it has none'})",
        "an LSTM that begins at zero, over whole sequences of a fixed batch",
        "give --batch N" if any(one.endswith(_OPEN_BATCH) for one in told) else "give --form rolled",
    )


def _fused(at: int, lstm: LSTM, where: Places, inputs: Sequence[Any]) -> list[Any]:
    """What a loop gives, by operator number `at`. What nothing reads is what it was before the first step."""
    x_TBI = inputs[where.sequence].elements()
    size = lstm.width
    words = f'name: "{_PREFIX}{at}" attr {{ key: "tfl_fusable_op" value {{ b: true }} }}'

    def operator(sequence: tf.Tensor) -> tf.Tensor:
        return tf.zeros([tf.shape(sequence)[0], sequence.shape[1], size])

    y_TBU = tf.function(operator, experimental_implements=words)(x_TBI)
    y_TBU.set_shape([*x_TBI.shape[:2], size])
    found = list(inputs)
    found[where.hidden] = y_TBU[-1]
    for place, kept in ((where.written, y_TBU), (where.last, y_TBU[-1:])):
        if place is not None:
            found[place] = replace(inputs[place], tensor=kept, item=(x_TBI.shape[1], size))
    return found


def with_operators(model: bytes, lstms: Sequence[LSTM]) -> bytes:
    """A file with LiteRT's own operators in the place of those of our names.

    Args:
        model: the file.
        lstms: what they compute, by the number in the name.

    Raises:
        ConversionError: the file has an operator that is neither ours nor built in.
    """
    if not lstms:
        return model
    tree = tree_of(model)
    ours = {at: _number(code) for at, code in enumerate(tree.operatorCodes) if code.customCode}
    for at in ours:
        code = tree.operatorCodes[at]
        code.customCode, code.version = None, 1
        code.builtinCode = code.deprecatedBuiltinCode = schema().BuiltinOperator.UNIDIRECTIONAL_SEQUENCE_LSTM
    for graph in tree.subgraphs:
        for operator in graph.operators:
            if operator.opcodeIndex in ours:
                _Additions(tree, graph).become(operator, lstms[ours[operator.opcodeIndex]])
    return bytes_of(tree)


def _number(code: Any) -> int:
    name = code.customCode.decode()
    if not name.startswith(_PREFIX):
        raise ConversionError(
            f"no built-in TFLite form of {name.removeprefix('Flex')}",
            "built-in operators",
            "write the layer with other operations, or give --form rolled, which says where it is",
        )
    return int(name.removeprefix(_PREFIX))


@dataclass(frozen=True, eq=False)
class _Additions:
    """Adds to one graph of a file."""

    tree: Any
    graph: Any

    def become(self, operator: Any, lstm: LSTM) -> None:
        """Give an operator its inputs in LiteRT's order; -1 for one that it does without."""
        name = self.graph.tensors[operator.outputs[0]].name.decode()
        rows = int(self.graph.tensors[operator.inputs[0]].shape[1])

        def every(label: str, arrays: Mapping[str, np.ndarray], gates: str) -> list[int]:
            return [self._weight(f"{name}/{label}_{one}", arrays[one]) if one in arrays else -1 for one in gates]

        projection, normalization = [-1] * 2, [-1] * 4
        operator.inputs = [
            operator.inputs[0],
            *every("kernel", lstm.kernel, "ifgo"),
            *every("recurrent", lstm.recurrent, "ifgo"),
            *every("peephole", lstm.peephole, "ifo"),
            *every("bias", lstm.bias, "ifgo"),
            *projection,
            *(self._state(f"{name}/{state}", (rows, lstm.width)) for state in "hc"),
            *normalization,
        ]
        options = schema().UnidirectionalSequenceLSTMOptionsT()
        options.fusedActivationFunction = getattr(schema().ActivationFunctionType, lstm.squash)
        options.timeMajor = True
        operator.builtinOptionsType = schema().BuiltinOptions.UnidirectionalSequenceLSTMOptions
        operator.builtinOptions, operator.customOptions = options, None

    def _weight(self, name: str, array: np.ndarray) -> int:
        return self._added(constant(self.tree, array, name))

    def _state(self, name: str, shape: Sequence[int]) -> int:
        tensor = schema().TensorT()
        tensor.name, tensor.shape, tensor.isVariable = name.encode(), list(shape), True
        tensor.type = schema().TensorType.FLOAT32
        return self._added(tensor)

    def _added(self, tensor: Any) -> int:
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1
