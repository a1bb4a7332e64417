"""Where a loop that is proven to be an LSTM has its parts: what it reads, its state h, and what keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from rnnexport.compat.tensorflow import smart_constant_value
from rnnexport.source.trace import TracedModel
from rnnexport.targets.tflite.recurrences import counts, function_in, number_of, plain

_PRODUCTS = ("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "MatMul")
_SAME_LENGTH = ("Identity", "ReverseV2")


class NotFusedError(Exception):
    """A loop has no parts that an operator could take the place of; the message says why."""


@dataclass(frozen=True)
class Places:
    """The parts of a loop, by the places of what it carries.

    Attributes:
        sequence: the list that it reads.
        hidden: the state h.
        written: the list of h, a step after the other; None where it keeps none.
        last: a list of one element, the last h; None where there is none.
    """

    sequence: int
    hidden: int
    written: int | None
    last: int | None


def places(traced: TracedModel, loop: Any) -> Places:
    """The parts of a loop.

    Args:
        traced: the model.
        loop: a loop of its graph that is an LSTM.

    Raises:
        NotFusedError: it has others, or something reads what the operator does not give.
    """
    return _Reading(traced, loop).places()


class _Reading:
    """One loop as it is read."""

    def __init__(self, traced: TracedModel, loop: Any) -> None:
        self._loop, self._outputs = loop, traced.output_tensors
        self._body, self._cond = (function_in(traced, loop, key) for key in ("body", "cond"))
        self._after = list(map(plain, self._body.outputs))
        carried = range(len(self._after))
        self._lists = [at for at in carried if self._body.inputs[at].dtype == tf.variant]
        self._changed = [at for at in carried if self._after[at] is not self._body.inputs[at]]
        self._counters = [at for at in self._changed if self._counts(at)]

    def places(self) -> Places:
        sequence, filled = self._sequence(), [at for at in self._lists if at in self._changed]
        self._require_all_steps(sequence)
        hidden = self._hidden()
        if len(filled) > 1 or any(not self._keeps(at, hidden) for at in filled):
            raise NotFusedError("it keeps something else than its output")
        self._require_unread({hidden, *filled})
        written = [at for at in filled if self._place_of(at) in self._counters]
        last = [at for at in filled if at not in written]
        if any(not self._is_last(at) for at in last):
            raise NotFusedError("it keeps its output somewhere else than at the number of the step")
        return Places(sequence, hidden, *(next(iter(found), None) for found in (written, last)))

    def _sequence(self) -> int:
        """The list that is read, once a step, in the order of steps."""
        reads = [one for one in self._body.get_operations() if one.type == "TensorListGetItem"]
        read = [at for at in self._lists if at not in self._changed]
        if len(reads) != 1 or len(read) != 1 or self._input(reads[0].inputs[0]) != read[0]:
            raise NotFusedError("it reads something else than one sequence")
        if self._input(reads[0].inputs[1]) not in self._counters:
            raise NotFusedError("it reads its sequence in another order")
        if self._loop.inputs[read[0]].op.type != "TensorListFromTensor":
            raise NotFusedError("it reads a list that is no sequence")
        return read[0]

    def _hidden(self) -> int:
        """The state that products read: of an LSTM whose units read each other that is h, and c is read by none."""
        states = [at for at in self._changed if at not in self._lists and self._body.inputs[at].shape.rank]
        if len(states) != 2:
            raise NotFusedError("its states are not those of the cell one by one")
        hidden = [at for at in states if _is_multiplied(self._body.inputs[at])]
        if len(hidden) != 1:
            raise NotFusedError("its state h can't be told")
        return hidden[0]

    def _require_all_steps(self, sequence: int) -> None:
        """Its condition is that the number of the step is below the length of the sequence, and nothing else."""
        tensor = self._loop.inputs[sequence].op.inputs[0]
        todo = [plain(self._cond.outputs[0])]
        while todo:
            operation = todo.pop().op
            if operation.type == "LogicalAnd":
                todo += map(plain, operation.inputs)
                continue
            found = [_at(self._cond, one) for one in operation.inputs] if operation.type == "Less" else []
            if not found or found[0] not in self._counters or not self._is_length(found[1], operation, tensor):
                raise NotFusedError("its number of steps is not that of its sequence")

    def _is_length(self, at: int | None, operation: Any, sequence: tf.Tensor) -> bool:
        limit = plain(operation.inputs[1]) if at is None else self._loop.inputs[at]
        if number_of(limit) is not None:
            return bool(number_of(limit) == sequence.shape[0])
        limit = plain(limit)
        if limit.op.type != "StridedSlice" or plain(limit.op.inputs[0]).op.type != "Shape":
            return False
        begin, end = (smart_constant_value(one) for one in limit.op.inputs[1:3])
        first = begin is not None and end is not None and begin.tolist() == [0] and end.tolist() == [1]
        return first and _same_length(plain(limit.op.inputs[0]).op.inputs[0]) is _same_length(sequence)

    def _keeps(self, at: int, hidden: int) -> bool:
        written = self._after[at].op
        own = written.type == "TensorListSetItem" and self._input(written.inputs[0]) == at
        return own and plain(written.inputs[2]) is self._after[hidden]

    def _place_of(self, at: int) -> int | None:
        return self._input(self._after[at].op.inputs[1])

    def _is_last(self, at: int) -> bool:
        """Whether a list has one element, which each step overwrites."""
        made = self._loop.inputs[at].op
        inside = self._after[at].op.inputs[1]
        given = self._input(inside)
        place = plain(inside) if given is None else self._loop.inputs[given]
        handed_on = given is None or given not in self._changed
        return (
            made.type == "TensorListReserve" and handed_on and (number_of(made.inputs[1]), number_of(place)) == (1, 0)
        )

    def _require_unread(self, given: set[int]) -> None:
        for at, tensor in enumerate(self._loop.outputs):
            if at not in given and (tensor.consumers() or tensor.name in self._outputs):
                raise NotFusedError("something reads its last cell state, which is no output of the operator")

    def _counts(self, at: int) -> bool:
        """Whether what is carried there begins at 0 and is 1 more after each step."""
        began = self._loop.inputs[at]
        return not began.shape.rank and number_of(began) == 0 and counts(self._body, at)

    def _input(self, tensor: tf.Tensor) -> int | None:
        return _at(self._body, tensor)


def _at(graph: Any, tensor: tf.Tensor) -> int | None:
    """Which input of a graph a tensor is; None for another one."""
    found = plain(tensor)
    return next((at for at, given in enumerate(graph.inputs) if given is found), None)


def _is_multiplied(state: tf.Tensor) -> bool:
    """Whether a product reads what is made of a state."""
    reached, todo = set(), [state]
    while todo:
        for operation in todo.pop().consumers():
            if operation.type in _PRODUCTS:
                return True
            if operation not in reached:
                reached.add(operation)
                todo += operation.outputs
    return False


def _same_length(tensor: tf.Tensor) -> tf.Tensor:
    """What a sequence is a copy of, or what it is backwards."""
    while tensor.op.type in _SAME_LENGTH:
        tensor = tensor.op.inputs[0]
    return tensor
