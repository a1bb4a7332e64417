"""Random right models: two to six layers of what Keras has for sequences, old and new, from tame to chaotic.

A seed gives the same model again, its weights too. Sizes are small and differ from each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_STEPS = 6  # of what has a fixed length, and of TFLite
_BATCH = 3  # of a stateful model
_APIS = ("keras", "tf_keras")
# How large weights are, against those that keep the size of what goes through: from tame to chaotic.
_SCALES = (0.3, 0.6, 1.0, 1.0, 2.0, 4.0)
_BOUNDED = ("tanh", "sigmoid", "hard_sigmoid", "softsign")
_UNBOUNDED = ("relu", "elu", "linear", "softplus", "swish", "selu")


@dataclass(frozen=True, eq=False)
class Drawn:
    """A model, and what it is.

    Attributes:
        model: built, with weights.
        told: its Keras, the scale of its weights, and its layers in order.
        steps: of an artifact that needs a fixed length.
    """

    model: Any
    told: str
    steps: int = _STEPS


class _Draw:
    """The layers of one model, drawn one after the other."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([21, seed])
        self.name = _APIS[int(self.rng.random() < 0.4)]
        self.api = __import__(self.name)
        self.scale = float(self.rng.choice(_SCALES))
        self.batch = _BATCH if self.rng.random() < 0.08 else None  # a stateful model has a batch of its own
        self.told: list[str] = []

    def input(self, *shape: int | None, **options: Any) -> Any:
        """An input of that shape, behind the batch."""
        return self.api.Input(batch_shape=(self.batch, *shape), **options)

    def chance(self, of: float) -> bool:
        return bool(self.rng.random() < of)

    def units(self) -> int:
        return int(self.rng.integers(2, 9))

    def activation(self) -> str:
        # What is not bounded overflows in a recurrence of large weights: that is no number to compare.
        kinds = _BOUNDED if self.scale > 1 or self.chance(0.7) else _UNBOUNDED
        return str(self.rng.choice(kinds))

    def layer(self, kind: str, *arguments: Any, **options: Any) -> Any:
        """A layer by the name of its class; told."""
        short = [str(one) for one in arguments if isinstance(one, int | str)]
        short += [f"{key}={value}" for key, value in options.items() if isinstance(value, int | str)]
        self.told.append(f"{kind}({', '.join(short)})")
        return getattr(self.api.layers, kind)(*arguments, **options)


def draw(seed: int) -> Drawn:
    """The model of that seed."""
    drawn = _Draw(seed)
    inputs, y = _source(drawn)
    kinds: tuple[Callable[[_Draw, Any], Any], ...] = (_recurrent, _recurrent, _both_ways, _stacked, _local, _normal)
    y = _with_states(drawn, y) if drawn.batch is None and drawn.chance(0.15) else _recurrent(drawn, y)
    for _ in range(int(drawn.rng.integers(0, 4))):
        y = kinds[int(drawn.rng.integers(len(kinds)))](drawn, y)
    if drawn.chance(0.25):
        y = _attention(drawn, y)
    y = _head(drawn, y)
    model = drawn.api.Model(inputs, y, name=f"model_{seed}")
    _fill(drawn, model)
    return Drawn(model, f"{drawn.name}, scale {drawn.scale:g}: {' > '.join(drawn.told)}")


def _source(drawn: _Draw) -> tuple[list[Any], Any]:
    """The inputs, and what is read of them: ids, features, frames, or two of them beside each other; masked or not."""
    kinds = {"ids": 0.25, "frames": 0.1, "both": 0.1, "features": 0.55}
    kind = drawn.rng.choice(tuple(kinds), p=tuple(kinds.values()))
    if kind == "frames":
        return _frames(drawn)
    inputs, read = [], []
    if kind != "features":
        inputs.append(drawn.input(None, dtype="int32", name="ids"))
        masked = kind == "ids" and drawn.chance(0.5)
        read.append(drawn.layer("Embedding", 20, drawn.units(), mask_zero=masked)(inputs[-1]))
    if kind != "ids":
        inputs.append(drawn.input(None, drawn.units(), name="x"))
        masked = kind == "features" and drawn.chance(0.2)
        read.append(drawn.layer("Masking")(inputs[-1]) if masked else inputs[-1])
    return inputs, drawn.layer("Concatenate")(read) if kind == "both" else read[0]


def _frames(drawn: _Draw) -> tuple[list[Any], Any]:
    """Lines or pictures over time through a recurrence of convolutions, then flat."""
    rank = 1 + int(drawn.chance(0.5))
    sizes = [int(drawn.rng.integers(3, 6)) for _ in range(rank)]
    x = drawn.input(None, *sizes, 2, name="frames")
    options = {"padding": str(drawn.rng.choice(("same", "valid"))), "activation": drawn.activation()}
    y = drawn.layer(f"ConvLSTM{rank}D", 3, 2, return_sequences=True, **options)(x)
    drawn.told.append("Flatten")
    return [x], drawn.layer("TimeDistributed", drawn.api.layers.Flatten())(y)


def _with_states(drawn: _Draw, y: Any) -> Any:
    """A recurrence that starts from the last states of another one, as in an encoder and a decoder."""
    kind, units, options = _kind(drawn), drawn.units(), {"return_sequences": True, "return_state": True}
    _, *states = drawn.layer(kind, units, **options, **_cell_options(drawn, kind))(y)
    read, *_ = drawn.layer(kind, units, **options, **_cell_options(drawn, kind))(y, initial_state=states)
    return read


def _cell_options(drawn: _Draw, kind: str) -> dict[str, Any]:
    options: dict[str, Any] = {"activation": drawn.activation()} if drawn.chance(0.4) else {}
    if kind != "SimpleRNN" and drawn.chance(0.3):
        options["recurrent_activation"] = str(drawn.rng.choice(_BOUNDED))
    if kind == "GRU":
        options["reset_after"] = drawn.chance(0.6)
    if drawn.chance(0.15):
        options["use_bias"] = False
    return options


def _kind(drawn: _Draw) -> str:
    return str(drawn.rng.choice(("LSTM", "GRU", "SimpleRNN")))


def _recurrent(drawn: _Draw, y: Any) -> Any:
    kind = _kind(drawn)
    options = _cell_options(drawn, kind) | ({"go_backwards": True} if drawn.chance(0.15) else {})
    options |= {"stateful": True} if drawn.batch is not None else {}
    return drawn.layer(kind, drawn.units(), return_sequences=True, **options)(y)


def _both_ways(drawn: _Draw, y: Any) -> Any:
    kind = _kind(drawn)
    inner = getattr(drawn.api.layers, kind)(drawn.units(), return_sequences=True, **_cell_options(drawn, kind))
    drawn.told.append(kind)
    return drawn.layer("Bidirectional", inner, merge_mode=str(drawn.rng.choice(("concat", "sum", "mul", "ave"))))(y)


def _stacked(drawn: _Draw, y: Any) -> Any:
    kinds = [_kind(drawn) for _ in range(2)]
    cells = [getattr(drawn.api.layers, f"{kind}Cell")(drawn.units(), **_cell_options(drawn, kind)) for kind in kinds]
    drawn.told.append("+".join(kinds))
    return drawn.layer("RNN", cells, return_sequences=True)(y)


def _local(drawn: _Draw, y: Any) -> Any:
    """A layer that looks at a few steps, or at one."""
    if drawn.chance(0.4):
        padding = str(drawn.rng.choice(("same", "causal")))
        return drawn.layer("Conv1D", drawn.units(), 3, padding=padding, activation=drawn.activation())(y)
    drawn.told.append("Dense")
    return drawn.layer("TimeDistributed", drawn.api.layers.Dense(drawn.units(), activation=drawn.activation()))(y)


def _normal(drawn: _Draw, y: Any) -> Any:
    kind = str(drawn.rng.choice(("LayerNormalization", "BatchNormalization", "GroupNormalization", "Dropout", "Add")))
    if kind == "Add":
        return drawn.layer("Add")([y, drawn.layer("Dense", int(y.shape[-1]), activation=drawn.activation())(y)])
    if kind == "GroupNormalization":
        return drawn.layer(kind, groups=next(n for n in (3, 2, 1) if y.shape[-1] % n == 0))(y)
    return drawn.layer(kind, *([0.3] if kind == "Dropout" else []))(y)


def _attention(drawn: _Draw, y: Any) -> Any:
    if drawn.chance(0.5):
        return drawn.layer("MultiHeadAttention", 2, 3)(y, y)
    return drawn.layer(str(drawn.rng.choice(("Attention", "AdditiveAttention"))))([y, y])


def _head(drawn: _Draw, y: Any) -> Any:
    """All steps, the last, or one for all; and classes, perhaps."""
    ending = drawn.rng.random()
    if ending < 0.3:
        y = drawn.layer(str(drawn.rng.choice(("GlobalAveragePooling1D", "GlobalMaxPooling1D"))))(y)
    elif ending < 0.6:
        kind = _kind(drawn)
        y = drawn.layer(kind, drawn.units(), **_cell_options(drawn, kind))(y)
    if drawn.chance(0.4):
        y = drawn.layer("Dense", drawn.units(), activation=str(drawn.rng.choice(("softmax", "linear", "sigmoid"))))(y)
    return y


def _fill(drawn: _Draw, model: Any) -> None:
    """Distinct weights and non-zero biases, as of a trained model; variances above 0."""
    weights = []
    for weight in model.weights:
        shape, name = tuple(weight.shape), str(getattr(weight, "path", weight.name))
        values = drawn.rng.standard_normal(shape) if len(shape) > 1 else drawn.rng.uniform(-0.5, 0.5, shape)
        if len(shape) > 1:
            values *= drawn.scale / np.sqrt(np.prod(shape[:-1]))
        if "variance" in name or "gamma" in name:
            values = drawn.rng.uniform(0.4, 1.5, shape)
        weights.append(values.astype("float32"))
    model.set_weights(weights)
