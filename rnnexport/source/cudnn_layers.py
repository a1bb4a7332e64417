"""Layers that run on an NVIDIA GPU alone, as the layers that compute the same anywhere.

    Before: CuDNNLSTM(units)     After: LSTM(units, activation="tanh", recurrent_activation="sigmoid")
    Before: CuDNNGRU(units)      After: GRU(units, the same, reset_after=True)

These are the equations of cuDNN: gates with a sigmoid, the reset gate behind the recurrent product, two biases. The
file keeps a layout of its own: the kernel of each gate lies as (units, inputs) and (units, units), row by row, in the
shape of its transpose, and the biases of inputs and recurrence one behind the other (LSTM 8 x units: i, f, c, o twice;
GRU 6 x units: z, r, h twice). tf_keras lays them out as LSTM (i, f, c, o; one bias, the sum) and GRU (z, r, h; two)
when it loads them, and tells them by the length of the bias (`_convert_rnn_weights` of its `hdf5_format.py`).
"""

from __future__ import annotations

from rnnexport.source.configs import Config, changed

_PLAIN = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
_EQUATION = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}


def without_cudnn_layers(config: Config) -> Config:
    """The configuration with an LSTM or GRU in the place of every cuDNN layer, wrapped ones included."""
    plain = changed(config, _plain)
    assert isinstance(plain, dict)
    return plain


def is_cudnn_layer(node: Config) -> bool:
    """Whether a serialised object is one of these layers."""
    return node["class_name"] in _PLAIN


def _plain(node: Config) -> Config:
    if not is_cudnn_layer(node):
        return node
    more = {"reset_after": True} if node["class_name"] == "CuDNNGRU" else {}
    return {**node, "class_name": _PLAIN[node["class_name"]], "config": {**node["config"], **_EQUATION, **more}}
