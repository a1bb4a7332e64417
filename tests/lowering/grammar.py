"""A recurrent cell for each seed: what it is and whether an op of ONNX computes it, and a model with its Loop.

Seeds go round the five families, and within each family round its kinds; what is left to chance follows the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto

from tests.lowering.draws import GRU_KINDS, LSTM_KINDS, RNN_KINDS, random_gru, random_lstm, random_rnn
from tests.lowering.expressions import expression
from tests.lowering.lookalikes import LOOKALIKES
from tests.lowering.loops import Layout, LoopWriter, random_layout
from tests.lowering.near_cells import NEAR, native
from tests.lowering.odd_cells import ODD
from tests.lowering.wrappers import Masked, Packed

ANY = "any"
NONE = None


@dataclass(frozen=True)
class Cell:
    """One generated cell.

    Attributes:
        seed: that makes it again.
        family: "LSTM", "GRU", "RNN", "look-alike" or "free".
        kind: within the family.
        description: in words.
        label: the op of ONNX that it is by construction; None if there is none; "any" if nothing is claimed.
        accepted: the ops that it may become.
        model: the Loop, as tf2onnx would write it.
        cell: what computes it in NumPy too, if it is native.
        layout: how the Loop is written.
        initial: the constant that each state starts from, where it does.
    """

    seed: int
    family: str
    kind: str
    description: str
    label: str | None
    accepted: tuple[str, ...]
    model: ModelProto
    cell: Any
    layout: Layout
    initial: Mapping[str, np.ndarray]

    def __str__(self):
        return f"seed {self.seed}: {self.description}"

    def feed(self, batch, time, rng, scale=1.0):
        """Values for the inputs of the model; `time` is what it asks for, if it has a fixed length."""
        sizes = {"batch": batch, "time": time}
        made = {}
        for given in self.model.graph.input:
            dims = [sizes.get(dim.dim_param) or dim.dim_value for dim in given.type.tensor_type.shape.dim]
            if given.type.tensor_type.elem_type == TensorProto.BOOL:
                made[given.name] = rng.random(dims) < 0.65
            else:
                amount = scale if given.name == "x" else 1.0
                made[given.name] = rng.normal(0, amount, dims).astype(np.float32)
        return made


FAMILIES = {
    "LSTM": {kind: partial(native, random_lstm, kind) for kind in LSTM_KINDS},
    "GRU": {kind: partial(native, random_gru, kind) for kind in GRU_KINDS},
    "look-alike": LOOKALIKES,
    "RNN": {kind: partial(native, random_rnn, kind) for kind in RNN_KINDS},
    "free": {**NEAR, **ODD, **{f"expression {n}": expression for n in range(1, 15)}},
}


def generate(seed):
    """The cell of a seed."""
    rng = np.random.default_rng([2026, seed])
    turn, which = divmod(seed, len(FAMILIES))
    family = list(FAMILIES)[which]
    kind = list(FAMILIES[family])[turn % len(FAMILIES[family])]
    features, width = (int(size) for size in rng.permutation([2, 3, 4, 5, 6])[:2])
    cell = FAMILIES[family][kind](rng, features, width)
    if family == "LSTM" and rng.random() < 0.2:
        cell = Packed(cell, tuple(str(state) for state in rng.permutation(["h", "c"])))
    layout = random_layout(rng, cell, isinstance(cell, Masked))
    built = LoopWriter(cell, layout, rng).build()
    return Cell(
        seed=seed,
        family=family,
        kind=kind,
        description=f"{family} {kind}: {cell} [I={features} H={width}; {'; '.join(built.notes)}] {layout}",
        label={"look-alike": NONE, "free": ANY}.get(family, family),
        accepted=("LSTM", "GRU") if kind == "s-lstm" else (family,),
        model=built.model,
        cell=cell,
        layout=layout,
        initial=built.initial,
    )
