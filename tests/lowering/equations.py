"""What a native cell computes, by its equation in NumPy and in float64: the truth about the labels of the grammar."""

from __future__ import annotations

import numpy as np


def simulate(generated, feed):
    """The outputs of a generated cell that is native, by name."""
    cell, layout = generated.cell, generated.layout
    x = np.asarray(feed["x"], np.float64)
    x_TBI = x if layout.time_major else x.transpose(1, 0, 2)
    if layout.backwards:
        x_TBI = x_TBI[::-1]
    states = {name: initial(generated, name, feed, x_TBI.shape[1]) for name in cell.states}
    every = []
    for x_BI in x_TBI:
        new = cell.step(x_BI, states)
        states = {name: new[name] for name in states}
        every.append(new["y"] if "y" in new else new["h"])
    every_TBH = np.stack(every)
    found = {f"last_{name}": value for name, value in states.items()}
    found["every_y"] = every_TBH if layout.time_major else every_TBH.transpose(1, 0, 2)
    return found


def initial(generated, name, feed, batch):
    start = feed.get(f"initial_{name}", generated.initial.get(name, 0.0))
    return np.broadcast_to(np.asarray(start, np.float64), (batch, *generated.cell.states[name]))
