"""Cells of the literature that Keras 3 has not and no sample shows, for the benchmarks.

In all of them x_BF is the input of the step, h_BU its last output, W the input's kernel, R the state's, b the bias.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]
Step = tuple[Any, list[Any]]


class _FusedCell(keras.layers.Layer):
    """A cell whose gates share one kernel, one recurrent kernel and one bias."""

    gates: int
    states: int

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units
        self.state_size = [units] * self.states if self.states > 1 else units
        self.output_size = units

    def build(self, input_shape: Shape) -> None:
        """Make the weights that all such cells have."""
        width = self.gates * self.units
        self.kernel = self.add_weight(shape=(input_shape[-1], width), name="kernel")
        self.recurrent_kernel = self.add_weight(shape=(self.units, width), name="recurrent_kernel")
        self.bias = self.add_weight(shape=(width,), name="bias")


class PeepholeLSTMCell(_FusedCell):
    """The LSTM whose gates see the cell state (Gers et al. 2002), gates in the order i, f, n, o.

    i = sigmoid(x W_i + h R_i + b_i + p_i * c);  f = sigmoid(x W_f + h R_f + b_f + p_f * c)
    c' = f * c + i * tanh(x W_n + h R_n + b_n)
    o = sigmoid(x W_o + h R_o + b_o + p_o * c');  h' = o * tanh(c')
    """

    gates, states = 4, 2

    def build(self, input_shape: Shape) -> None:
        """Make the weights, the peepholes too."""
        super().build(input_shape)
        self.peephole_i = self.add_weight(shape=(self.units,), name="peephole_i")
        self.peephole_f = self.add_weight(shape=(self.units,), name="peephole_f")
        self.peephole_o = self.add_weight(shape=(self.units,), name="peephole_o")

    def call(self, inputs: Any, states: list[Any]) -> Step:
        """One step."""
        h, c = states
        i, f, n, o = ops.split(inputs @ self.kernel + h @ self.recurrent_kernel + self.bias, 4, axis=1)
        i = ops.sigmoid(i + self.peephole_i * c)
        f = ops.sigmoid(f + self.peephole_f * c)
        c_next = f * c + i * ops.tanh(n)
        o = ops.sigmoid(o + self.peephole_o * c_next)
        h_next = o * ops.tanh(c_next)
        return h_next, [h_next, c_next]


class MinimalGatedCell(_FusedCell):
    """The minimal gated unit (Zhou et al. 2016), gates in the order f, n.

    f = sigmoid(x W_f + h R_f + b_f);  n = tanh(x W_n + (f * h) R_n + b_n);  h' = (1 - f) * h + f * n
    """

    gates, states = 2, 1

    def call(self, inputs: Any, states: list[Any]) -> Step:
        """One step."""
        h = states[0]
        x_f, x_n = ops.split(inputs @ self.kernel + self.bias, 2, axis=1)
        f = ops.sigmoid(x_f + h @ self.recurrent_kernel[:, : self.units])
        n = ops.tanh(x_n + (f * h) @ self.recurrent_kernel[:, self.units :])
        h_next = (1 - f) * h + f * n
        return h_next, [h_next]


class LayerNormLSTMCell(_FusedCell):
    """The LSTM with layer normalisation (Ba et al. 2016, equations 20 to 22), gates in the order i, f, n, o.

    i, f, n, o = LN(x W) + LN(h R) + b;  c' = sigmoid(f) * c + sigmoid(i) * tanh(n);  h' = sigmoid(o) * tanh(LN(c'))
    """

    gates, states = 4, 2

    def __init__(self, units: int) -> None:
        super().__init__(units)
        self.norm_x = keras.layers.LayerNormalization(name="norm_x")
        self.norm_h = keras.layers.LayerNormalization(name="norm_h")
        self.norm_c = keras.layers.LayerNormalization(name="norm_c")

    def build(self, input_shape: Shape) -> None:
        """Make the weights, those of the normalisations too."""
        super().build(input_shape)
        self.norm_x.build((None, 4 * self.units))
        self.norm_h.build((None, 4 * self.units))
        self.norm_c.build((None, self.units))

    def call(self, inputs: Any, states: list[Any]) -> Step:
        """One step."""
        h, c = states
        gates = self.norm_x(inputs @ self.kernel) + self.norm_h(h @ self.recurrent_kernel) + self.bias
        i, f, n, o = ops.split(gates, 4, axis=1)
        c_next = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(n)
        h_next = ops.sigmoid(o) * ops.tanh(self.norm_c(c_next))
        return h_next, [h_next, c_next]


class MinGRUCell(_FusedCell):
    """The minGRU (Feng et al. 2024): its gates see the input alone, in the order z, n. Linear in its state.

    z = sigmoid(x W_z + b_z);  h' = (1 - z) * h + z * (x W_n + b_n)
    """

    gates, states = 2, 1

    def call(self, inputs: Any, states: list[Any]) -> Step:
        """One step. The recurrent kernel is left out of it."""
        z, n = ops.split(inputs @ self.kernel + self.bias, 2, axis=1)
        z = ops.sigmoid(z)
        h_next = (1 - z) * states[0] + z * n
        return h_next, [h_next]


class SRUCell(_FusedCell):
    """The simple recurrent unit (Lei et al. 2018, without the state in its gates), in the order u, f, r, s. Linear.

    f, r = sigmoid(x W_f + b_f), sigmoid(x W_r + b_r);  c' = f * c + (1 - f) * u;  y = r * tanh(c') + (1 - r) * s
    """

    gates, states = 4, 1

    def call(self, inputs: Any, states: list[Any]) -> Step:
        """One step. The recurrent kernel is left out of it."""
        u, f, r, s = ops.split(inputs @ self.kernel + self.bias, 4, axis=1)
        f, r = ops.sigmoid(f), ops.sigmoid(r)
        c_next = f * states[0] + (1 - f) * u
        return r * ops.tanh(c_next) + (1 - r) * s, [c_next]


class SLSTMBlockCell(_FusedCell):
    """The sLSTM of xLSTM (Beck et al. 2024, equations 8 to 17), gates in the order i, f, n, o; l is log sigmoid(f).

    m' = max(l + m, i);  i' = exp(i - m');  f' = exp(l + m - m')
    c' = f' * c + i' * tanh(n);  q' = f' * q + i';  h' = sigmoid(o) * c' / q'
    """

    gates, states = 4, 4

    def call(self, inputs: Any, states: list[Any]) -> Step:
        """One step."""
        h, c, q, m = states
        i, f, n, o = ops.split(inputs @ self.kernel + h @ self.recurrent_kernel + self.bias, 4, axis=1)
        kept = ops.log_sigmoid(f) + m
        m_next = ops.maximum(kept, i)
        i, f = ops.exp(i - m_next), ops.exp(kept - m_next)
        c_next, q_next = f * c + i * ops.tanh(n), f * q + i
        h_next = ops.sigmoid(o) * c_next / (q_next + 1e-6)
        return h_next, [h_next, c_next, q_next, m_next]


class SelectiveCell(keras.layers.Layer):
    """A selective state space (Mamba, Gu and Dao 2023, algorithm 2), N numbers for each unit. Linear in its state.

    d = softplus(x W_d);  s' = exp(-exp(a) * d) * s + (d * (x W_u)) (x W_b)^T;  y = s' (x W_c)
    """

    def __init__(self, units: int, size: int) -> None:
        super().__init__()
        self.units, self.size = units, size
        self.state_size, self.output_size = units * size, units

    def build(self, input_shape: Shape) -> None:
        """Make the weights."""
        shapes = {"W_d": self.units, "W_u": self.units, "W_b": self.size, "W_c": self.size}
        made = {name: self.add_weight(shape=(input_shape[-1], width), name=name) for name, width in shapes.items()}
        self.kernels = list(made.values())
        self.decay = self.add_weight(shape=(self.units, self.size), name="decay")

    def call(self, inputs: Any, states: list[Any]) -> Step:
        """One step."""
        d, u, b, c = (inputs @ kernel for kernel in self.kernels)
        d = ops.softplus(d)
        s = ops.reshape(states[0], (-1, self.units, self.size))
        s_next = ops.exp(-ops.exp(self.decay) * d[:, :, None]) * s + (d * u)[:, :, None] * b[:, None, :]
        y = ops.sum(s_next * c[:, None, :], axis=-1)
        return y, [ops.reshape(s_next, (-1, self.units * self.size))]
