"""A NumPy artifact made without TensorFlow: a GRU layer with one state and a dense layer, written by hand."""

from __future__ import annotations

from inspect import getsource
from pathlib import Path

import numpy as np

from rnnexport.artifact import archive
from rnnexport.artifact.goldens import Golden
from rnnexport.artifact.provenance import Proof, Provenance
from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.emit.numpy import skeleton
from rnnexport.targets.numpy import program
from rnnexport.targets.registry import target

NUMPY = target("numpy")

HEAD = '''"""carried in NumPy. T time, B batch, I input, H hidden, O output."""

from __future__ import annotations

import argparse
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

WEIGHTS = Path(__file__).with_suffix(".npz")
'''

COMPUTING = '''
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_cell(x_z, x_r, x_n, h_BH, kernel_zr, kernel_n):
    """The reset gate acts before the matrix."""
    z_BH, r_BH = np.split(h_BH @ kernel_zr, 2, axis=-1)
    z_BH = sigmoid(x_z + z_BH)
    r_BH = sigmoid(x_r + r_BH)
    n_BH = np.tanh(x_n + (r_BH * h_BH) @ kernel_n)
    return z_BH * h_BH + (1 - z_BH) * n_BH


class Carried:
    INPUTS = ("my-input",)
    OUTPUTS = ("readout",)
    STATES = ("state_gru_00",)
    SIGNATURE: ClassVar = {
        "my-input": ("float32", ("batch", "time", 3)),
        "readout": ("float32", ("batch", "time", 2)),
        "state_gru_00": ("float32", ("batch", 4)),
        "next_state_gru_00": ("float32", ("batch", 4)),
    }

    def __init__(self, weights=WEIGHTS, dtype=np.float32):
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"the dtype is {self.dtype}, not float32 or float64")
        self.weights = load_weights(weights, self.dtype)
        self.states = None

    def initial_state(self, batch=1):
        return {"state_gru_00": np.full((batch, 4), 0.25, self.dtype)}

    def reset(self, rows=None):
        if rows is None or self.states is None:
            self.states = None
        else:
            self.states["state_gru_00"][rows] = 0.25

    def __call__(self, my_input):
        if self.states is None:
            self.states = self.initial_state(len(my_input))
        outputs, self.states = self.step(my_input, self.states)
        return outputs["readout"]

    def step(self, my_input, states):
        w = self.weights
        x_TBG = np.swapaxes(my_input, 0, 1) @ w.gru.kernel + w.gru.bias
        h_BH = states["state_gru_00"]
        h_TBH = np.empty((len(x_TBG), *h_BH.shape), self.dtype)
        for t in range(len(x_TBG)):
            h_BH = gru_cell(*np.split(x_TBG[t], 3, axis=-1), h_BH, w.gru.recurrent_zr, w.gru.recurrent_n)
            h_TBH[t] = h_BH
        readout_TBO = h_TBH @ w.dense.kernel + w.dense.bias
        return {"readout": np.swapaxes(readout_TBO, 0, 1)}, {"state_gru_00": h_BH}


MODEL = Carried
'''
FRAME = [f"\n\n{getsource(function)}" for function in (skeleton.load_weights, skeleton.checked, skeleton.main)]
TEXT = f"""{HEAD}{"".join(FRAME[:2])}

{COMPUTING}{FRAME[2]}

if __name__ == "__main__":
    main(MODEL)
"""

BEFORE, AFTER = (TensorSpec(f"{when}state_gru_00", "float32", ("batch", 4)) for when in ("", "next_"))
SIGNATURE = Signature(
    (TensorSpec("my-input", "float32", ("batch", "time", 3)),),
    (TensorSpec("readout", "float32", ("batch", "time", 2)),),
    (StateSpec("gru", BEFORE, AFTER, np.full((1, 4), 0.25, "float32")),),
)


def weights() -> dict[str, np.ndarray]:
    """Distinct random weights, in an order that is not that of their names."""
    rng = np.random.default_rng(5)
    shapes = {
        "dense/kernel": (4, 2),
        "gru/kernel": (3, 12),
        "gru/bias": (12,),
        "gru/recurrent_zr": (4, 8),
        "gru/recurrent_n": (4, 4),
        "dense/bias": (2,),
    }
    return {name: rng.uniform(-0.8, 0.8, shape).astype("float32") for name, shape in shapes.items()}


def equations(x_BTI: np.ndarray, h_BH: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The model in float64, gate by gate, unit by unit: `(y_BTO, h_BH)`."""
    w = {name: array.astype(float) for name, array in weights().items()}
    y_BTO, h_BH = np.zeros((*x_BTI.shape[:2], 2)), np.array(h_BH, float)
    for row, x_TI in enumerate(np.asarray(x_BTI, float)):
        h = h_BH[row]
        for t, x in enumerate(x_TI):
            gates = [
                sum(x[i] * w["gru/kernel"][i] for i in range(3))[4 * k :][:4] + w["gru/bias"][4 * k :][:4]
                for k in range(3)
            ]
            z = 1 / (1 + np.exp(-gates[0] - w["gru/recurrent_zr"][:, :4].T @ h))
            r = 1 / (1 + np.exp(-gates[1] - w["gru/recurrent_zr"][:, 4:].T @ h))
            n = np.tanh(gates[2] + w["gru/recurrent_n"].T @ (r * h))
            h = n + z * (h - n)
            y_BTO[row, t] = w["dense/kernel"].T @ h + w["dense/bias"]
        h_BH[row] = h
    return y_BTO, h_BH


def proof() -> Proof:
    """Goldens of several sizes, from the equations."""
    rng = np.random.default_rng(6)
    goldens = []
    for batch, length in ((2, 5), (3, 1), (5, 4), (1, 7), (2, 3), (4, 6)):
        x, h = rng.standard_normal((batch, length, 3)), rng.uniform(-0.9, 0.9, (batch, 4))
        feed = {"my-input": x.astype("float32"), "state_gru_00": h.astype("float32")}
        truth = dict(zip(("readout", "next_state_gru_00"), equations(*feed.values()), strict=True))
        expected = {name: array.astype("float32") for name, array in truth.items()}
        goldens.append(Golden(f"feed {len(goldens)}", feed, expected, truth))
    provenance = Provenance(
        "numpy",
        {"name": "carried", "sha256": "", "writer": "a hand"},
        "keras",
        {"batch": None, "timesteps": None, "stream": None},
        {"numpy": "2"},
        SIGNATURE,
        {"rtol": 1e-5, "atol": 2e-6},
    )
    return Proof(provenance, tuple(goldens))


def artifact(folder: Path, name: str = "carried", text: str = TEXT) -> Path:
    """The program in `folder`, with its archive and its proof."""
    path = folder / f"{name}.py"
    program.write(path, text, weights())
    NUMPY.write_proof(path, proof())
    return path


def npz(path: Path) -> Path:
    """The archive beside a program."""
    return archive.archive_of(path)
