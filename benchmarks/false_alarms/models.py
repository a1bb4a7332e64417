"""Random right models: two to six layers of what Keras has for sequences, old and new, from tame to chaotic.

A seed gives the same model again, its weights too. Sizes are small and differ from each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_STEPS = 6  # of what has a fixed length, and of TFLite
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
        self.rng = np.random.default_rng([20, seed])
        self.name = _APIS[int(self.rng.random() < 0.4)]
        self.api = __import__(self.name)
        self.scale = float(self.rng.choice(_SCALES))
        self.told: list[str] = []

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
    y = _recurrent(drawn, y)
    for _ in range(int(drawn.rng.integers(0, 4))):
        y = kinds[int(drawn.rng.integers(len(kinds)))](drawn, y)
    if drawn.chance(0.25):
        y = _attention(drawn, y)
    y = _head(drawn, y)
    model = drawn.api.Model(inputs, y, name=f"model_{seed}")
    _fill(drawn, model)
    return Drawn(model, f"{drawn.name}, scale {drawn.scale:g}: {' > '.join(drawn.told)}")


def _source(drawn: _Draw) -> tuple[Any, Any]:
    """Ids or features, masked or not."""
    if drawn.chance(0.3):
        x = drawn.api.Input((None,), dtype="int32", name="ids")
        return x, drawn.layer("Embedding", 20, drawn.units(), mask_zero=drawn.chance(0.5))(x)
    x = drawn.api.Input((None, drawn.units()), name="x")
    return x, drawn.layer("Masking")(x) if drawn.chance(0.2) else x


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
    kind = str(drawn.rng.choice(("LayerNormalization", "BatchNormalization", "Dropout", "Add")))
    if kind == "Add":
        return drawn.layer("Add")([y, drawn.layer("Dense", int(y.shape[-1]), activation=drawn.activation())(y)])
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
