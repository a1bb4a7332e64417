"""Cells made of other cells: masked, or with all states side by side in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from tests.lowering.cells import Written
from tests.lowering.spelling import add, mul, take_apart


@dataclass(frozen=True)
class Masked:
    """Where the mask is false the states stay, and so does the output. As Keras does it."""

    cell: Any

    @property
    def op(self):
        return self.cell.op

    @property
    def features(self):
        return self.cell.features

    @property
    def states(self):
        return {**self.cell.states, **{f"previous_{name}": shape for name, shape in self.cell.outputs.items()}}

    @property
    def outputs(self):
        return self.cell.outputs

    def __str__(self):
        return f"masked {self.cell}"

    def write(self, body, values, states):
        inner = self.cell.write(body, values, {name: states[name] for name in self.cell.states})
        new = {name: select(body, values["mask"], inner.states[name], states[name]) for name in self.cell.states}
        outputs = {
            name: select(body, values["mask"], inner.outputs[name], states[f"previous_{name}"])
            for name in self.cell.outputs
        }
        return Written({**new, **{f"previous_{name}": value for name, value in outputs.items()}}, outputs)


@dataclass(frozen=True)
class HalfMasked(Masked):
    """Where the mask is false all states but one stay, and so does the output."""

    free: str = "c"

    def __str__(self):
        return f"masked but for {self.free} {self.cell}"

    def write(self, body, values, states):
        inner = self.cell.write(body, values, {name: states[name] for name in self.cell.states})
        new = {name: select(body, values["mask"], inner.states[name], states[name]) for name in self.cell.states}
        new[self.free] = inner.states[self.free]
        output = select(body, values["mask"], inner.outputs["y"], states["previous_y"])
        return Written({**new, "previous_y": output}, {"y": output})


def select(body, mask, new, old):
    if body.chance(0.25):
        body.note("Where")
        return body.op("Where", mask, new, old)
    kept = mul(body, old, body.op("Cast", body.op("Not", mask), to=TensorProto.FLOAT))
    return add(body, mul(body, body.op("Cast", mask, to=TensorProto.FLOAT), new), kept)


@dataclass(frozen=True)
class Packed:
    """All states of a cell as one, side by side in this order."""

    cell: Any
    order: tuple[str, ...]

    @property
    def op(self):
        return self.cell.op

    @property
    def features(self):
        return self.cell.features

    @property
    def states(self):
        return {"".join(self.order): (sum(self.cell.states[name][0] for name in self.order),)}

    @property
    def outputs(self):
        return self.cell.outputs

    def __str__(self):
        return f"{self.cell} in one state [{'|'.join(self.order)}]"

    def step(self, x, states):
        (whole,) = states.values()
        widths = [self.cell.states[name][0] for name in self.order]
        pieces = np.split(whole, np.cumsum(widths)[:-1], axis=-1)
        new = self.cell.step(x, dict(zip(self.order, pieces, strict=True)))
        return {"".join(self.order): np.concatenate([new[name] for name in self.order], -1), "y": new["h"]}

    def write(self, body, values, states):
        (whole,) = states.values()
        pieces = take_apart(body, whole, [self.cell.states[name][0] for name in self.order])
        inner = self.cell.write(body, values, dict(zip(self.order, pieces, strict=True)))
        new = body.op("Concat", *[inner.states[name] for name in self.order], axis=body.pick(1, -1))
        return Written({"".join(self.order): new}, inner.outputs)
