"""The samples compute what their docstrings say: their equations in float64 NumPy, and the seeds' own shapes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from samples.catalog import SAMPLES, SAMPLES_BY_NAME

ROOT = Path(__file__).parent.parent
GROUP = pytest.mark.xdist_group("samples")
FILES = sorted({sample.file for sample in SAMPLES})
RNG = np.random.default_rng(11)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def keras2_hard_sigmoid(x):
    return np.clip(x * 0.2 + 0.5, 0.0, 1.0)


def softmax(x):
    exponents = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def float64_weights(model):
    return [np.asarray(weight, "float64") for weight in model.get_weights()]


@GROUP
@pytest.mark.parametrize("file", FILES)
def test_every_sample_file_runs_and_saves_its_models(file, tmp_path, warm):
    command = [sys.executable, str(ROOT / "samples" / f"{file}.py"), str(tmp_path)]
    done = warm.run(command, tmp_path, os.environ)
    assert done.returncode == 0, done.stderr
    expected = {f"{sample.name}.keras" for sample in SAMPLES if sample.file == file}
    assert {path.name for path in tmp_path.iterdir()} == expected


@GROUP
@pytest.mark.parametrize(
    ("name", "reset_after", "gate", "activation"),
    [
        ("cgru_split_reset_before", False, sigmoid, np.tanh),
        ("cgru_split_reset_after", True, sigmoid, np.tanh),
        ("cgru_fused_reset_before", False, sigmoid, np.tanh),
        ("cgru_fused_reset_after", True, lambda x: np.clip(x / 6 + 0.5, 0, 1), np.tanh),
        ("cgru_no_bias", False, sigmoid, lambda x: x / (1 + np.abs(x))),
    ],
)
def test_cgru_is_its_equations(name, reset_after, gate, activation):
    model = SAMPLES_BY_NAME[name].build()
    weights = {weight.path.split("/")[-1]: np.asarray(weight, "float64") for weight in model.layers[1].weights}
    kernel, recurrent = weights["kernel"], weights["recurrent_kernel"]
    bias = weights.get("bias", np.zeros(21))
    b, c = bias if reset_after else (bias, np.zeros(21))
    w_z, w_r, w_h = np.split(kernel, 3, axis=1)
    u_z, u_r, u_h = np.split(recurrent, 3, axis=1)
    x_bti = RNG.standard_normal((2, 4, 5))
    h = np.zeros((2, 7))
    for t in range(4):
        x = x_bti[:, t]
        z = gate(x @ w_z + b[:7] + h @ u_z + c[:7])
        r = gate(x @ w_r + b[7:14] + h @ u_r + c[7:14])
        reset = r * (h @ u_h + c[14:]) if reset_after else (r * h) @ u_h
        h = (1 - z) * h + z * activation(x @ w_h + b[14:] + reset)
    readout_w, readout_b = (np.asarray(weight, "float64") for weight in model.layers[2].weights)
    found = np.asarray(model(x_bti.astype("float32")))
    np.testing.assert_allclose(found[:, -1], h @ readout_w + readout_b, atol=1e-6)


@GROUP
def test_stateful_gru_is_the_hand_written_class_with_its_last_line_mended():
    model = SAMPLES_BY_NAME["stateful_gru"].build()
    layers = [float64_weights(model.get_layer(f"gru_layer_{k}")) for k in range(3)]
    dense_w, dense_b = float64_weights(model.get_layer("output_node"))
    states = [np.zeros((1, 64)) for _ in range(3)]
    for x in RNG.standard_normal((6, 1, 1, 4)):
        y = x[:, 0]
        for k, (kernel, recurrent, bias) in enumerate(layers):
            (w_z, w_r, w_h), (u_z, u_r, u_h) = np.split(kernel, 3, axis=1), np.split(recurrent, 3, axis=1)
            b_z, b_r, b_h = np.split(bias, 3)
            h = states[k]
            z = keras2_hard_sigmoid(y @ w_z + h @ u_z + b_z)
            r = keras2_hard_sigmoid(y @ w_r + h @ u_r + b_r)
            candidate = np.tanh(y @ w_h + (r * h) @ u_h + b_h)
            y = states[k] = z * h + (1 - z) * candidate
        found = np.asarray(model(x.astype("float32")))
        np.testing.assert_allclose(found[:, 0], softmax(y @ dense_w + dense_b), atol=1e-6)


@GROUP
def test_multi_output_gru_has_the_three_outputs_of_its_answer():
    model = SAMPLES_BY_NAME["multi_output_gru"].build()
    x, h, z = (RNG.standard_normal(shape).astype("float32") for shape in ((4, 3, 12), (4, 10), (4, 8)))
    hidden, special, last = (np.asarray(output) for output in model([x, h, z]))
    assert (hidden.shape, special.shape, last.shape) == ((4, 3, 10), (4, 3, 15), (4, 10))
    np.testing.assert_array_equal(hidden[:, -1], last)
    without = [np.asarray(output) for output in model([x, h, np.zeros_like(z)])]
    assert np.abs(without[0] - hidden).max() > 1e-2  # the constant is read
    np.testing.assert_allclose(without[1], special, atol=1e-6)  # by the state alone


@GROUP
def test_attention_decoder_is_its_equations():
    model = SAMPLES_BY_NAME["attention_decoder"].build()
    probabilities = SAMPLES_BY_NAME["attention_probabilities"].build()
    layer = model.get_layer("decoded")
    w = {v.name.split("/")[-1].split(":")[0]: np.asarray(v, "float64") for v in layer.weights}
    x_bti = RNG.standard_normal((2, 6, 5))
    y, s, outputs, attentions = np.zeros((2, 4)), np.tanh(x_bti[:, 0] @ w["W_s"]), [], []
    for _ in range(6):
        energy = np.tanh((s @ w["W_a"])[:, None] + x_bti @ w["U_a"] + w["b_a"]) @ w["V_a"]
        a = softmax(energy)
        c = (a[:, :, None] * x_bti).sum(axis=1)

        def affine(gate, state, y=y, c=c):
            return y @ w[f"W_{gate}"] + state @ w[f"U_{gate}"] + c @ w[f"C_{gate}"] + w[f"b_{gate}"]

        r, z = sigmoid(affine("r", s)), sigmoid(affine("z", s))
        p = np.tanh(affine("p", r * s))
        y, s = softmax(affine("o", s)), (1 - z) * s + z * p
        outputs.append(y)
        attentions.append(a)
    x = x_bti.astype("float32")
    np.testing.assert_allclose(np.asarray(model(x)), np.stack(outputs, 1), atol=1e-6)
    np.testing.assert_allclose(np.asarray(probabilities(x)), np.stack(attentions, 1), atol=1e-6)


@GROUP
def test_conv3d_gru_keeps_its_grid_and_reads_every_step():
    model = SAMPLES_BY_NAME["conv3d_gru"].build()
    x = RNG.standard_normal((2, 5, 6)).astype("float32")
    whole = np.asarray(model(x))
    assert whole.shape == (2, 4, 4, 4, 3)
    for t in range(5):
        changed = x.copy()
        changed[:, t] += 1
        assert np.abs(np.asarray(model(changed)) - whole).max() > 1e-4


@GROUP
def test_my_layers_are_their_equations():
    a, b = RNG.standard_normal((3, 5)), RNG.standard_normal((3, 4))
    one, two = SAMPLES_BY_NAME["my_layer"].build(), SAMPLES_BY_NAME["my_layers"].build()
    np.testing.assert_allclose(np.asarray(one(a.astype("float32"))), a @ float64_weights(one)[0], atol=1e-6)
    total, mean = (np.asarray(output) for output in two([a.astype("float32"), b.astype("float32")]))
    np.testing.assert_allclose(total, a @ float64_weights(two)[0] + b, atol=1e-6)
    np.testing.assert_allclose(mean, b.mean(axis=-1), atol=1e-6)


@GROUP
def test_s_lstm_from_one_starts_there():
    zero, one = (SAMPLES_BY_NAME[name].build() for name in ("s_lstm", "s_lstm_from_one"))
    w, r, b = (weight.astype("float64") for weight in zero.get_weights())
    h, c, expected = np.ones((1, 1)), np.zeros((1, 1)), []
    for _ in range(5):
        x = np.full((1, 1), 0.5)
        f = keras2_hard_sigmoid(x @ w[:, :1] + h @ r[:, :1] + b[:1])
        c = f * c + (1 - f) * (x @ w[:, 1:] + h @ r[:, 1:] + b[1:])
        h = c
        expected.append(h[0, 0])
    x = np.full((1, 5, 1), 0.5, "float32")
    np.testing.assert_allclose(np.asarray(one(x)).ravel(), expected, atol=1e-6)
    assert abs(float(np.asarray(zero(x))[0, 0, 0]) - expected[0]) > 0.1
