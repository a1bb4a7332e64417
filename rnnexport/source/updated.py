"""Variables that a layer of a model's own reads and writes at inference, as states of the model.

A streaming layer, say, keeps the end of what it was called with in a weight that is not trained:

    self.ring = self.add_weight(shape=(batch, 2, features), trainable=False)
    ...
    self.ring.assign(tf.concat([self.ring, x], axis=1)[:, -2:])

Which ones these are is seen when the model runs. One with a row for each sequence of the batch becomes a state, that
starts from the value that the model holds; another one is refused where it changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import tensorflow as tf

from rnnexport.core.errors import ConversionError, ForeignCode
from rnnexport.source.api import KerasApi, Layer, NamedTensor, StateVariable
from rnnexport.source.carrying import StateCell
from rnnexport.source.eager import explain_call
from rnnexport.source.held import is_own
from rnnexport.source.model import SourceModel

_LENGTHS = (7, 17, 59)  # of what is open: the first that the model takes
# All that a tf.Variable is read and written by.
_READ, _WRITE = "_read_variable_op", ("assign", "assign_add", "assign_sub")


def with_updated_variables(source: SourceModel) -> SourceModel:
    """`source`, those variables states that its own layers change when it runs and that have a row for each sequence.

    It is run where such a layer has a weight that is not trained, and is as it was after that.
    """
    if source.api.name == "saved-model":
        return source
    own = [layer for layer in source.api.layers(source.model) if is_own(layer)]
    # The innermost layer comes last, and is the one that has it.
    owners = {id(variable): layer for layer in own for variable in layer.non_trainable_variables}
    known = {id(state.variable) for state in source.api.states(source.model)}
    held = [variable for _, variable in source.api.untrained(source.model) if id(variable) in owners]
    held = [variable for variable in held if id(variable) not in known and len(variable.shape)]
    updated = [StateVariable(owners[id(variable)].name, variable, value) for variable, value in _changed(source, held)]
    if not updated:
        return source
    again = source.again
    return replace(
        source,
        api=cast("KerasApi", source.api).keeping(updated),
        semantics=(*source.semantics, *(_note(owners[id(state.variable)], state) for state in updated)),
        again=None if again is None else lambda: with_updated_variables(again()),
    )


def _note(layer: Layer, state: StateVariable) -> str:
    name = getattr(state.variable, "path", state.variable.name)
    return f"{name}, which {layer.name} ({type(layer).__name__}) changes, is a state, from the value that it has here"


def _changed(source: SourceModel, variables: Sequence[Any]) -> list[tuple[Any, np.ndarray]]:
    """Those that another run makes another, with a row for each sequence, and their values now."""
    tensors = source.api.inputs(source.model)
    if not variables or not tensors:
        return []
    fixed = tensors[0].shape[0]
    for rows in [fixed] if fixed is not None else sorted({int(variable.shape[0]) for variable in variables}):
        candidates = [variable for variable in variables if variable.shape[0] == rows]
        for length in _LENGTHS:
            try:
                found = _changed_by(source, candidates, tensors, rows, length)
            except ConversionError:
                continue  # a batch or a length that it does not take
            if found:
                return found
            break
    return []


def _changed_by(
    source: SourceModel, variables: Sequence[Any], tensors: Sequence[NamedTensor], rows: int, length: int
) -> list[tuple[Any, np.ndarray]]:
    rng = np.random.default_rng(0)
    every = [variable for _, variable in source.api.untrained(source.model)]
    every += [state.variable for state in source.api.states(source.model)]
    before = [(variable, _value(variable)) for variable in every]
    mine = [(variable, _value(variable)) for variable in variables]
    try:
        with ForeignCode(explain_call(source)):
            source.api.call(source.model, [_some(rng, tensor, rows, length) for tensor in tensors])
        return [(variable, value) for variable, value in mine if not np.array_equal(_value(variable), value)]
    finally:
        for variable, value in before:
            variable.assign(value)


def _some(rng: np.random.Generator, tensor: NamedTensor, rows: int, length: int) -> tf.Tensor:
    shape = [size if size is not None else length if axis else rows for axis, size in enumerate(tensor.shape)]
    floats = tensor.dtype.startswith(("float", "bfloat"))
    drawn = rng.uniform(size=shape) if floats else rng.integers(0, 2, shape)
    return tf.constant(drawn.astype(str) if tensor.dtype == "string" else drawn, tensor.dtype)


def _value(variable: Any) -> np.ndarray:
    return np.asarray(tf.convert_to_tensor(variable).numpy())


@contextmanager
def variables_in_cells(variables: Sequence[tf.Variable], cells: Sequence[StateCell]) -> Iterator[None]:
    """Inside this block each variable of TensorFlow is read from and written to a cell, in a graph alone.

    What goes round these methods, to the variable's memory itself, finds the value that the variable has.
    """
    try:
        for variable, cell in zip(variables, cells, strict=True):
            assign, add, subtract = _writing(cell)
            values = dict(zip(_WRITE, (assign, add, subtract), strict=True)) | {_READ: _reading(cell)}
            for name, value in values.items():
                object.__setattr__(variable, name, value)
        yield
    finally:
        for variable in variables:
            for name in (_READ, *_WRITE):
                vars(variable).pop(name, None)


def _reading(cell: StateCell) -> Any:
    def read(no_copy: bool = False) -> tf.Tensor:
        del no_copy  # nothing writes to a tensor
        return cell.value

    return read


def _writing(cell: StateCell) -> tuple[Any, Any, Any]:
    # Stand in for methods of TensorFlow, with their arguments.
    def assign(value: Any, use_locking: Any = None, name: Any = None, read_value: Any = None) -> tf.Tensor:
        cell.assign(value)
        return cell.value

    def assign_add(delta: Any, use_locking: Any = None, name: Any = None, read_value: Any = None) -> tf.Tensor:
        return assign(cell.value + delta)

    def assign_sub(delta: Any, use_locking: Any = None, name: Any = None, read_value: Any = None) -> tf.Tensor:
        return assign(cell.value - delta)

    return assign, assign_add, assign_sub
