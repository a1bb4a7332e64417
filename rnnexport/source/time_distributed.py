"""`TimeDistributed` of either Keras, traced as eager Keras computes it, whatever is known of the length and the batch.

    Eager Keras: the layer is called once for each timestep, with `x_BI`
    Traced:      it is called once for all of them, with `x_(B*T)I`, where its rows do not depend on each other; else in
                 a loop over time

Left alone, Keras 3 takes the number of steps from the shape before it swaps batch and time where the length is open,
and so returns `(B, B, ...)`. Of a layer that is not its own, tf_keras folds time into the batch where the batch is
open, and loops where it is known, as it is in eager mode; that loop repeats the output before a masked step, and the
mask of what comes out is that of what went in.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.source.api import Layer, attributes_set

_lock = threading.Lock()
_BEFORE_FEATURES = 2  # axes: batch and time
_KEEPS = "the layer keeps something from call to call"
_ROWS = 3
_SIZES = (7, 17, 59)  # of what is open: the first that the layer takes, which may need as many steps as it pools


@contextmanager
def steps_of_keras_3(layer_class: Any) -> Iterator[None]:
    """Inside this block `TimeDistributed` of Keras 3 computes what it computes eagerly. One thread at a time.

    Args:
        layer_class: `TimeDistributed`.
    """
    original = layer_class.call

    def call(self: Layer, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        options = {"training": training} if self.layer._call_has_training_arg else {}
        masks = {} if mask is None or not self.layer._call_has_mask_arg else {"mask": mask}
        step = partial(self.layer.call, **options)
        if rows_are_independent(partial(_in_keras_3, self.layer, step), inputs):
            return _folded(step, inputs, masks)
        if inputs.shape[1] is not None:
            return original(self, inputs, training=training, mask=mask)
        kept, carrying = _carrying_in_keras_3(self.layer, step, inputs[:, 0])
        found, after = _looped(carrying, inputs, masks, [variable.value for variable in kept])
        for variable, value in zip(kept, after, strict=True):
            variable.assign(value)
        return found

    with _lock, attributes_set([layer_class], {"call": call}):
        yield


@contextmanager
def steps_of_tf_keras(layer_class: Any, backend: Any) -> Iterator[None]:
    """Inside this block `TimeDistributed` of tf_keras computes what it computes eagerly. One thread at a time.

    Args:
        layer_class: `TimeDistributed`.
        backend: the module whose `rnn` it calls.
    """
    original, original_mask = layer_class.call, layer_class.compute_mask

    def call(self: Layer, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if self._always_use_reshape:
            return original(self, inputs, training=training, mask=mask)
        takes_training = "training" in inspect.signature(self.layer.call).parameters
        step = partial(self.layer, **({"training": training} if takes_training else {}))
        if mask is None and rows_are_independent(partial(_in_tf_keras, self.layer, step), inputs):
            return _folded(step, inputs, {})
        if mask is None and _is_stateful(self.layer):
            step(inputs[:, 0])  # `rnn` takes the first step twice, to see what comes out, and so do the states
            cells = _states(self.layer)

            def carrying(states: Sequence[Any], x: Any) -> tuple[Any, list[Any]]:
                for cell, state in zip(cells, states, strict=True):
                    cell.assign(state)
                return step(x), list(map(tf.convert_to_tensor, cells))

            found, after = _looped(carrying, inputs, {}, list(map(tf.convert_to_tensor, cells)))
            for cell, value in zip(cells, after, strict=True):
                cell.assign(value)
            return found
        return backend.rnn(lambda x, _: (step(x), []), inputs, initial_states=[], mask=mask)[1]

    def compute_mask(self: Layer, inputs: Any, mask: Any = None) -> Any:
        return original_mask(self, inputs, mask) if self._always_use_reshape else mask

    with _lock, attributes_set([layer_class], {"call": call, "compute_mask": compute_mask}):
        yield


def _in_keras_3(layer: Layer, step: Callable[..., Any], rows: Any) -> Any:
    """What a layer of Keras 3 gives for rows. Nothing is changed; one that would change a variable raises."""
    from keras import StatelessScope

    with StatelessScope() as scope:
        result = step(rows)
    kept = {id(variable) for variable in layer.variables if "seed_generator" not in variable.path}
    if kept & set(scope.state_mapping):
        raise ValueError(_KEEPS)
    return result


def _carrying_in_keras_3(layer: Layer, step: Callable[..., Any], x_B: Any) -> tuple[list[Any], Callable[..., Any]]:
    """The variables that a step changes, and the step as a function of their values that gives these too."""
    from keras import StatelessScope

    variables = list({id(one): one for one in [*_states(layer), *layer.variables]}.values())
    with StatelessScope([(variable, variable.value) for variable in variables]) as scope:
        before = dict(scope.state_mapping)
        step(x_B)
        changed = [one for one in variables if scope.state_mapping[id(one)] is not before[id(one)]]
    kept = [one for one in changed if "seed_generator" not in one.path]

    def carrying(states: Sequence[Any], x_B: Any, **masks: Any) -> tuple[Any, list[Any]]:
        with StatelessScope(list(zip(kept, states, strict=True))) as scope:
            return step(x_B, **masks), [scope.get_current_value(variable) for variable in kept]

    return kept, carrying


def _in_tf_keras(layer: Layer, step: Callable[..., Any], rows: Any) -> Any:
    """The same of tf_keras."""
    if _is_stateful(layer):
        raise ValueError(_KEEPS)
    before = [(variable, variable.numpy()) for variable in layer.non_trainable_variables]
    result = step(rows)
    changed = [(variable, value) for variable, value in before if not np.array_equal(variable.numpy(), value)]
    for variable, value in changed:
        variable.assign(value)
    if changed:
        raise ValueError(_KEEPS)
    return result


def _is_stateful(layer: Layer) -> bool:
    return any(getattr(one, "stateful", False) for one in layer._flatten_layers())


def _states(layer: Layer) -> list[Any]:
    """What stands for the states of the stateful layers inside."""
    stateful = [one for one in layer._flatten_layers() if getattr(one, "stateful", False)]
    return [state for one in stateful for state in tf.nest.flatten(one.states)]


def _folded(layer: Callable[..., Any], x_BT: Any, masks: dict[str, Any]) -> Any:
    """The layer called once, with a row for each timestep of each sequence."""
    flat = {name: _reshaped(mask_BT, [-1], _BEFORE_FEATURES) for name, mask_BT in masks.items()}
    y = layer(_reshaped(x_BT, [-1], _BEFORE_FEATURES), **flat)
    batch, length = x_BT.shape[:2]
    sizes = [-1 if batch is None else batch, tf.shape(x_BT)[1] if length is None else length]
    return _reshaped(y, sizes, 1)


def _reshaped(tensor: Any, sizes: list[Any], axes: int) -> Any:
    """With `sizes` in place of the first `axes` axes."""
    known = tensor.shape.as_list()
    inner = [tf.shape(tensor)[axis] if known[axis] is None else known[axis] for axis in range(axes, len(known))]
    return tf.reshape(tensor, [*sizes, *inner])


def _looped(
    layer: Callable[..., tuple[Any, list[Any]]], x_BT: Any, masks: dict[str, Any], states: Sequence[Any]
) -> tuple[Any, list[Any]]:
    """A layer called once for each timestep, in the form in which Keras writes a recurrence; and the states behind it.

    Args:
        layer: takes the states and a step, and gives what comes out and the states behind it.
        x_BT: the steps.
        masks: by the names of arguments.
        states: in front of the first step.
    """
    parts = [_swapped(part) for part in (x_BT, *masks.values())]
    length = tf.shape(parts[0])[0]
    arrays = [tf.TensorArray(part.dtype, length).unstack(part) for part in parts]

    def at(read: Callable[[int], Any], states: Sequence[Any]) -> tuple[Any, list[Any]]:
        x, *rest = map(read, range(len(parts)))
        y, after = layer(states, x, **dict(zip(masks, rest, strict=True)))
        return tf.convert_to_tensor(y), after

    def step(t: Any, states: Sequence[Any], found: Any) -> tuple[Any, ...]:
        y, after = at(lambda which: arrays[which].read(t), states)
        return t + 1, after, found.write(t, y)

    first, _ = at(lambda which: parts[which][0], states)  # says what comes out, and is left out of the graph
    outputs = tf.TensorArray(first.dtype, length, element_shape=first.shape)
    start = (0, list(states), outputs)
    _, after, outputs = tf.while_loop(lambda t, *_: t < length, step, start, maximum_iterations=length)
    return _swapped(outputs.stack()), after


def _swapped(tensor: Any) -> Any:
    """Batch and time swapped: `[B, T, ...]` to `[T, B, ...]` and back."""
    return tf.transpose(tensor, [1, 0, *range(2, len(tensor.shape))])


def rows_are_independent(layer: Callable[[Any], Any], x_BT: Any) -> bool:
    """Whether `layer` gives, for a batch of steps of `x_BT`, the rows that it gives for each of them alone.

    It is run on random numbers. One that raises, takes several tensors, gives something else than one, or gives another
    thing when it is called again does not.

    Args:
        layer: takes and gives a batch of rows.
        x_BT: what steps are taken from, a tensor with a batch and a length.
    """
    if not hasattr(x_BT, "shape"):
        return False
    for size in _SIZES:
        shape = [_ROWS, *(size if one is None else one for one in x_BT.shape[2:])]
        try:
            with tf.init_scope(), ForeignCode(_not_run):
                rows = _some(shape, x_BT.dtype)
                together, again = layer(rows), layer(rows)
                alone = [layer(rows[at : at + 1]) for at in range(_ROWS)]
        except ConversionError:
            continue
        return all(_alike(together, other) for other in (again, alone))
    return False


def _not_run(error: BaseException) -> ConversionError:
    return ConversionError(reason(error), "a layer that takes a batch of rows", "loop over time")


def _some(shape: list[int], dtype: tf.DType) -> Any:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape) if dtype.is_floating else rng.integers(0, 2, shape)
    return tf.constant(values, dtype)


def _alike(together: Any, other: Any) -> bool:
    """Equal but for rounding, which differs with the batch."""
    if not hasattr(together, "shape"):
        return False
    joined = np.concatenate([np.asarray(one) for one in other]) if isinstance(other, list) else np.asarray(other)
    found = np.asarray(together)
    return found.shape == joined.shape and np.allclose(found, joined, rtol=1e-2, atol=1e-3, equal_nan=True)
