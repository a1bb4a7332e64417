"""Loops that lists go into, kept: LiteRT has WHILE, and no lists that are written in it where a size is open.

LiteRT copies what a loop carries, whole, in every step. A list that is filled step by step would cost the square of its
length, so it is filled in blocks, by a loop in the loop:

    Before: while cond: y[t] = step
    After:  while cond: block = zeros(K); while cond and k < K: block[k] = step
                        y = concat(y, block)            the length is open
                        y[t : t + K] = block            it is known, and LiteRT knows all shapes before it runs
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from rnnexport.compat.tensorflow import dynamic_update_slice, smart_constant_value
from rnnexport.targets.tflite.recurrences import counts, number_of, plain
from rnnexport.targets.tflite.stacking import Stacked

Values = Sequence[Any]
# Elements of a block: about the root of 1,000 steps.
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop of a graph, and how its parts are written again.

    Attributes:
        operation: that it is.
        body: the graph of a step.
        goes_on: the condition for what it carries.
        step: what it carries after a step.
        in_blocks: whether lists are filled in blocks, or are whole from the first step on.
    """

    operation: Any
    body: tf.Graph
    goes_on: Callable[[Values], Any]
    step: Callable[[Values], list[Any]]
    in_blocks: bool = True

    def written(self, carried: Values) -> list[Any]:
        """What the loop carries when it ends."""
        lists = {at: one for at, one in enumerate(carried) if isinstance(one, Stacked)}
        if any(one.item is None for one in lists.values()):
            first = self.step(carried)
            lists = {at: replace(one, item=first[at].item) for at, one in lists.items()}
        filled = _counted(self.body) if self.in_blocks else {}
        counted = {at: counter for at, counter in filled.items() if _is_filled(lists[at], carried[counter])}
        tensors = [
            one if at not in lists else _empty(lists[at]) if at in counted else lists[at].elements()
            for at, one in enumerate(carried)
        ]
        found = self._loop(tensors, lists, counted) if counted else self._plain(tensors, lists)
        return [self._list(lists[at], one, at in counted) if at in lists else one for at, one in enumerate(found)]

    def _list(self, given: Stacked, tensor: tf.Tensor, counted: bool) -> Stacked:
        """A list behind the loop; one that was filled may have ended early."""
        if counted and (count := _known(given)) is not None:
            tensor = tensor[:count]
        elif counted:
            rest = given.zeros(given.count - tf.shape(tensor)[0])
            tensor = tf.concat([tensor, rest], 0)
        return replace(given, tensor=tensor)

    def _plain(self, tensors: list[tf.Tensor], lists: Mapping[int, Stacked]) -> list[tf.Tensor]:
        """One loop."""

        def step(*values: tf.Tensor) -> list[tf.Tensor]:
            return _tensors(self.step(_with_lists(values, lists)))

        return _while(lambda *values: self.goes_on(_with_lists(values, lists)), step, tensors, self._shapes(tensors))

    def _loop(
        self, tensors: list[tf.Tensor], lists: Mapping[int, Stacked], counted: Mapping[int, int]
    ) -> list[tf.Tensor]:
        """A loop of blocks, each a loop; `counted` has the place of its counter for each list that is filled so."""
        shapes = self._shapes(tensors)

        def goes_on(*values: tf.Tensor) -> tf.Tensor:
            return self.goes_on(_with_lists(values, lists))

        def block(*values: tf.Tensor) -> list[tf.Tensor]:
            parts = {at: replace(lists[at], base=values[counter]) for at, counter in counted.items()}
            began = [_block(parts[at], one) if at in parts else one for at, one in enumerate(values)]

            def step(k: tf.Tensor, *inner: tf.Tensor) -> list[tf.Tensor]:
                return [k + 1, *_tensors(self.step(_with_lists(inner, {**lists, **parts})))]

            def inside(k: tf.Tensor, *inner: tf.Tensor) -> tf.Tensor:
                return tf.logical_and(k < _BLOCK, goes_on(*inner))

            inner_shapes = [one.shape if at in parts else shapes[at] for at, one in enumerate(began)]
            count, *ended = _while(inside, step, [tf.constant(0), *began], [tf.TensorShape(()), *inner_shapes])
            return [
                _with_block(parts[at], values[at], one, count) if at in parts else one for at, one in enumerate(ended)
            ]

        grows = {at for at in counted if _known(lists[at]) is None}
        grown = [tf.TensorShape([None, *one[1:]]) if at in grows else one for at, one in enumerate(shapes)]
        return _while(goes_on, block, tensors, grown)

    def _shapes(self, tensors: Sequence[tf.Tensor]) -> list[tf.TensorShape]:
        """What holds in every step: for what is no list, what the source says."""
        return [
            one.shape if given.dtype == tf.variant else given.shape
            for one, given in zip(tensors, self.operation.outputs, strict=True)
        ]


def _known(given: Stacked) -> int | None:
    """The length of a list; None for an open one."""
    found = smart_constant_value(given.count) if isinstance(given.count, tf.Tensor) else given.count
    return None if found is None else int(found)


def _empty(given: Stacked) -> tf.Tensor:
    """A list before its first block: whole blocks of zeros, or, of an open length, none."""
    count = _known(given)
    return given.zeros(0 if count is None else -(-count // _BLOCK) * _BLOCK)


def _block(part: Stacked, elements: tf.Tensor) -> tf.Tensor:
    """The zeros of the next block, which begins at `part.base`."""
    if _known(part) is None:
        return part.zeros(_BLOCK)
    return tf.gather(elements, part.base + tf.range(_BLOCK))


def _with_block(part: Stacked, elements: tf.Tensor, block: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The list with a block, of which `count` elements were written; the others are zeros."""
    if _known(part) is None:
        return tf.concat([elements, block[:count]], 0)
    start = tf.stack([part.base, *[tf.constant(0)] * (elements.shape.rank - 1)])
    found = dynamic_update_slice(elements, block, start)
    found.set_shape(elements.shape)
    return found


def _while(
    goes_on: Callable[..., tf.Tensor], step: Callable[..., list[Any]], began: Sequence[Any], shapes: Sequence[Any]
) -> list[tf.Tensor]:
    return list(tf.while_loop(goes_on, step, list(began), shape_invariants=list(shapes)))


def _with_lists(values: Values, lists: Mapping[int, Stacked]) -> list[Any]:
    return [replace(lists[at], tensor=one) if at in lists else one for at, one in enumerate(values)]


def _tensors(values: Values) -> list[tf.Tensor]:
    return [one.elements() if isinstance(one, Stacked) else one for one in values]


def _is_filled(given: Stacked, counter: Any) -> bool:
    """Whether a list is empty where the counter begins, at 0."""
    return given.tensor is None and number_of(counter) == 0


def _counted(body: Any) -> dict[int, int]:
    """The lists that a step writes at the place that a counter of steps says, and does not read: (list, counter)."""
    places = {tensor.name: at for at, tensor in enumerate(body.inputs)}
    found = {}
    for at, output in enumerate(map(plain, body.outputs)):
        if output.op.type != "TensorListSetItem":
            continue
        given, place = (places.get(plain(tensor).name) for tensor in output.op.inputs[:2])
        reads = [one for one in body.get_operations() if any(tensor is body.inputs[at] for tensor in one.inputs)]
        if at == given and reads == [output.op] and place is not None and counts(body, place):
            found[at] = place
    return found
