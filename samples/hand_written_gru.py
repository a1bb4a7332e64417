"""A stateful GRU by hand in NumPy with one line wrong, and the program that rnnexport writes: how far each leads away.

The class is that of the question which `samples/stateful_gru.py` comes from, in other words. Its z says how much of the
new value is taken, as in Chung et al. 2014; that of Keras how much of the old one is kept, as in Cho et al. 2014.

Run it to print how far each is from Keras:  python -m samples.hand_written_gru
"""

import importlib.util
import tempfile
from pathlib import Path

import numpy as np

import rnnexport
from samples.stateful_gru import stateful_gru

STEPS = 100
TOLD = (1, 10, STEPS)


def hard_sigmoid(x):
    """As Keras 1 and 2 have it."""
    return np.clip(0.2 * x + 0.5, 0, 1)


def hard_sigmoid_of_keras_3(x):
    """It has the same name there."""
    return np.clip(x / 6 + 0.5, 0, 1)


class HandWrittenGRU:
    """One layer; each call goes on from the last."""

    gate = staticmethod(hard_sigmoid)

    def __init__(self, kernel, recurrent_kernel, bias):
        self.W_z, self.W_r, self.W_n = np.split(kernel, 3, axis=1)
        self.U_z, self.U_r, self.U_n = np.split(recurrent_kernel, 3, axis=1)
        self.b_z, self.b_r, self.b_n = np.split(bias, 3)
        self.h = np.zeros((1, len(recurrent_kernel)), kernel.dtype)

    def __call__(self, x):
        z = self.gate(x @ self.W_z + self.h @ self.U_z + self.b_z)
        r = self.gate(x @ self.W_r + self.h @ self.U_r + self.b_r)
        n = np.tanh(x @ self.W_n + self.recurrent(r) + self.b_n)
        self.h = self.update(z, n)
        return self.h

    def recurrent(self, r):
        return (r * self.h) @ self.U_n

    def update(self, z, n):
        return (1 - z) * self.h + z * n


class Mended(HandWrittenGRU):
    """The one line as Keras has it."""

    def update(self, z, n):
        return z * self.h + (1 - z) * n


class WithKeras3Gates(Mended):
    """The activation that the same name means in Keras 3."""

    gate = staticmethod(hard_sigmoid_of_keras_3)


class WithResetAfter(Mended):
    """The reset gate behind the product: the default of the Keras in TensorFlow 2, and of Keras 3."""

    def recurrent(self, r):
        return r * (self.h @ self.U_n)


def by_hand(layer, model, xs):
    """The states of the three layers after each step, one array a step."""
    gru = [layer(*model.get_layer(f"gru_layer_{index}").get_weights()) for index in range(3)]
    found = []
    for y in xs[:, 0]:
        for each in gru:
            y = each(y)
        found.append(np.stack([each.h for each in gru]))
    return found


def by_keras(model, xs):
    """The same in Keras."""
    found = []
    for x in xs:
        model(x)
        found.append(np.stack([np.asarray(model.get_layer(f"gru_layer_{index}").states[0]) for index in range(3)]))
    return found


def by_program(path, dtype, xs):
    """The same in the program at `path`."""
    spec = importlib.util.spec_from_file_location("program", path)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    model = program.MODEL(dtype=dtype)
    found, states = [], model.initial_state()
    for x in xs:
        _, states = model.step(x, states)
        found.append(np.stack(list(states.values())))
    return found


def main():
    """Print for each way the largest difference of any state after 1, 10 and 100 steps."""
    model = stateful_gru()
    xs = np.random.default_rng(0).standard_normal((STEPS, 1, 1, 4)).astype("float32")
    wanted = by_keras(model, xs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stateful_gru.py")
        rnnexport.export(model, "numpy", path, verify=False)  # what is printed is a comparison
        found = {
            "by hand: (1 - z) * h + z * n": by_hand(HandWrittenGRU, model, xs),
            "mended: z * h + (1 - z) * n": by_hand(Mended, model, xs),
            "mended, hard_sigmoid of Keras 3": by_hand(WithKeras3Gates, model, xs),
            "mended, reset_after=True": by_hand(WithResetAfter, model, xs),
            "the program of rnnexport": by_program(path, np.float32, xs),
            "the program in float64": by_program(path, np.float64, xs),
        }
    print(f"{'largest difference to Keras at':34}", *(f"{f'step {step}':>9}" for step in TOLD))
    for name, states in found.items():
        errors = (np.abs(states[step - 1] - wanted[step - 1]).max() for step in TOLD)
        print(f"{name:34}", *(f"{error:9.1e}" for error in errors))


if __name__ == "__main__":
    main()
