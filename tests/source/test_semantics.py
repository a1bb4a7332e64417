"""What a configuration means by the Keras that wrote it, and the equations of what older ones stored."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.core.errors import ConversionError
from rnnexport.source.configs import Origin, choose_api, parsed
from rnnexport.source.keras1 import in_keras2_words
from rnnexport.source.semantics import interpret
from rnnexport.source.stored import StoredLayer, StoredWeights

H = 4


def model(class_name, **config):
    layer = {"class_name": class_name, "config": {"name": "layer", "units": H, **config}}
    return {"class_name": "Sequential", "config": {"name": "m", "layers": [layer]}}


def layer_of(meaning):
    return meaning.config["config"]["layers"][0]


def bias(*shape, layer="layer", name="layer/bias:0"):
    return StoredWeights("layers", Origin(None), (StoredLayer(layer, ((name, shape),)),))


def decided(config, version, weights=None, api="tf_keras"):
    return interpret(config, Origin(version), weights, api, "m.h5")


@pytest.mark.parametrize(
    ("shape", "after"), [((3 * H,), False), ((2, 3 * H), True), ((6 * H,), True)], ids=["one", "two", "cudnn"]
)
@pytest.mark.parametrize("version", ["2.0.8", "2.2.4", "2.2.4-tf", "2.15.0"])
def test_the_shape_of_the_bias_tells_reset_after(shape, after, version):
    meaning = decided(model("GRU", recurrent_activation="sigmoid"), version, bias(*shape))
    assert layer_of(meaning)["config"]["reset_after"] is after
    assert f"GRU 'layer': reset_after={after}, by the shape {shape} of its bias" in meaning.notes
    assert f"GRU 'layer': reset gate {'after' if after else 'before'} the recurrent product" in meaning.notes


@pytest.mark.parametrize(
    "name", ["bidirectional/forward_layer/gru_cell/bias:0", "time/layer/bias:0", "stack/layer/bias:0"]
)
def test_the_bias_of_a_wrapped_layer_is_found(name):
    meaning = decided(model("GRU", recurrent_activation="sigmoid"), "2.2.4", bias(2, 3 * H, layer="wrap", name=name))
    assert layer_of(meaning)["config"]["reset_after"] is True


def test_the_bias_of_another_layer_tells_nothing():
    with pytest.raises(ConversionError, match=r"does not record reset_after.*--builder"):
        decided(model("GRU"), "2.2.4", bias(2, 3 * H, layer="other", name="other/bias:0"))


@pytest.mark.parametrize("version", ["2.0.0", "2.1.4"])
def test_without_a_bias_a_keras_that_had_no_other_tells(version):
    meaning = decided(model("GRU"), version)
    assert layer_of(meaning)["config"]["reset_after"] is False


@pytest.mark.parametrize("version", ["2.1.5", "2.3.1", "2.1.6-tf", "2.4.0"])
def test_without_a_bias_a_keras_that_had_both_is_refused(version):
    with pytest.raises(ConversionError, match=r"does not record reset_after, and the file has no bias of that"):
        decided(model("GRU"), version)


def test_a_bias_that_contradicts_the_configuration_is_refused():
    with pytest.raises(ConversionError, match=r"records reset_after=False and has a bias of shape \(2, 12\)"):
        decided(model("GRU", reset_after=False), "2.3.0", bias(2, 3 * H))


@pytest.mark.parametrize(
    ("version", "activation"),
    [
        ("2.0.8", "hard_sigmoid"),
        ("2.2.5", "hard_sigmoid"),
        ("2.3.0", "sigmoid"),
        ("2.1.6-tf", "hard_sigmoid"),
        ("2.3.0-tf", "sigmoid"),
        ("2.4.0", "sigmoid"),
        ("2.21.0", "sigmoid"),
    ],
)
@pytest.mark.parametrize("kind", ["LSTM", "LSTMCell", "LSTMV2"])
def test_a_recurrent_activation_that_is_not_recorded_is_the_writers_default(kind, version, activation):
    meaning = decided(model(kind), version)
    assert layer_of(meaning)["config"]["recurrent_activation"] == activation
    assert any(f"recurrent activation {activation}, the default of" in note for note in meaning.notes)


@pytest.mark.parametrize("version", ["1.2.2", "2.2.4", "2.3.1", "2.2.4-tf", "2.15.0"])
def test_convolutional_recurrences_kept_their_default(version):
    config = {"class_name": "ConvLSTM2D", "config": {"name": "layer"}}
    found = decided({"class_name": "Sequential", "config": {"name": "m", "layers": [config]}}, version)
    assert layer_of(found)["config"]["recurrent_activation"] == "hard_sigmoid"


def test_where_tensorflow_1_and_2_wrote_the_same_version_it_is_refused():
    with pytest.raises(ConversionError, match=r"TensorFlow 1\.14 to 2\.1; expected hard_sigmoid .*--builder"):
        decided(model("LSTM"), "2.2.4-tf")


def test_hard_sigmoid_is_named_by_the_keras_that_loads():
    config = model("LSTM", recurrent_activation="hard_sigmoid")
    assert (
        "LSTM 'layer': hard_sigmoid is clip(0.2x + 0.5, 0, 1), as Keras 1 and 2 have it"
        in decided(config, "2.2.4").notes
    )
    forced = decided(config, "2.2.4", api="keras").notes
    assert "LSTM 'layer': hard_sigmoid is relu6(x + 3) / 6, as Keras 3 has it" in forced
    assert any(note.startswith("the numbers are not those of Keras 2.2.4") for note in forced)
    assert not any("not those" in note for note in decided(config, "3.1.0", api="keras").notes)


@pytest.mark.parametrize("kind", ["Conv1D", "Conv2D", "ConvLSTM2D", "SeparableConv1D", "Conv2DTranspose"])
@pytest.mark.parametrize("version", ["1.2.2", "2.1.3"])
def test_kernels_that_theano_turned_round_are_refused(kind, version):
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": [{"class_name": kind, "config": {}}]}}
    with pytest.raises(ConversionError, match=f"{kind} .*"):
        interpret(config, Origin(version, "theano"), None, "tf_keras", "m.h5")
    if version != "1.2.2":
        interpret(model(kind, recurrent_activation="sigmoid"), Origin(version, "tensorflow"), None, "tf_keras", "m.h5")
    interpret(model("LSTM", recurrent_activation="sigmoid"), Origin("2.1.3", "theano"), None, "tf_keras", "m.h5")


@pytest.mark.parametrize(("kind", "what"), [("LSTM", "recurrent activation"), ("GRU", "reset_after")])
def test_a_file_of_no_version_leaves_nothing_to_defaults(kind, what):
    with pytest.raises(ConversionError, match=f"{kind} .*does not record (its )?{what}"):
        interpret(model(kind), Origin(None), None, "tf_keras", "m.h5")


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "GRU", "config": {"name": "g"}},
        {"class_name": "GRU", "config": {"units": None}},
        {"class_name": "RNN", "config": {"cell": {"class_name": "StackedRNNCells", "config": {}}}, "inbound_nodes": 3},
    ],
)
def test_what_no_keras_wrote_is_told(config):
    with pytest.raises(ConversionError, match="configuration that no Keras wrote"):
        interpret({"class_name": "Sequential", "config": {"layers": [config]}}, Origin("2.1.0"), None, "tf_keras", "m")


@pytest.mark.parametrize("config", [{"nb_row": 3}, {"dim_ordering": [1]}])
def test_what_no_keras_1_wrote_is_told(config):
    layers = [{"class_name": "ConvLSTM2D", "config": {"nb_filter": 2, **config}}]
    with pytest.raises(ConversionError, match="configuration that no Keras wrote"):
        interpret({"class_name": "Sequential", "config": layers}, Origin("1.2.2"), None, "tf_keras", "m")


def test_keras_3_gets_no_time_major():
    config = model("LSTM", recurrent_activation="sigmoid", time_major=False)
    assert "time_major" not in layer_of(decided(config, "2.15.0", api="keras"))["config"]
    assert "time_major" in layer_of(decided(config, "2.15.0"))["config"]


@pytest.mark.parametrize("version", ["2.0.9", "2.2.2"])
@pytest.mark.parametrize("states", [{"return_state": True}, {}])
def test_states_of_stacked_cells_that_were_ordered_otherwise_are_refused(version, states):
    config = model("RNN", cell={"class_name": "StackedRNNCells", "config": {"cells": []}}, **states)
    if not states:
        decided(config, version)  # no state crosses the boundary
        config["config"]["layers"][0]["inbound_nodes"] = [[["x", 0, 0, {}], ["h", 0, 0, {}]]]
    with pytest.raises(ConversionError, match=r"which Keras .* ordered last cell first"):
        decided(config, version)
    decided(config, "2.2.3")


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("1.2.2", "Keras 1.2.2"),
        ("2.2.4", "Keras 2.2.4"),
        ("2.2.4-tf", "tf.keras 2.2.4-tf"),
        ("2.15.0", "tf.keras 2.15.0"),
        ("2.21.0", "tf_keras 2.21.0"),
        ("3.15.1", "Keras 3.15.1"),
    ],
)
def test_the_writer_is_named(version, text):
    assert str(parsed(version)) == text


def test_an_unknown_writer_needs_the_option():
    with pytest.raises(ConversionError, match="--keras-api keras"):
        choose_api(Origin(None), "auto", "m.json")
    assert choose_api(Origin(None), "tf_keras", "m.json")[0] == "tf_keras"
    assert choose_api(Origin("2.2.4"), "keras", "m.json")[0] == "keras"


def test_a_model_inside_a_model_of_keras_1_is_refused():
    """tf_keras cuts the weights of nested models by the counts of Keras 2."""
    inner = {"class_name": "Sequential", "config": [{"class_name": "LSTM", "config": {"name": "l", "output_dim": 3}}]}
    with pytest.raises(ConversionError, match=r"Sequential inside a model of Keras 1 in m\.h5.*--builder"):
        in_keras2_words({"class_name": "Sequential", "config": [inner]}, "m.h5")


def test_keras_1_words_become_those_of_keras_2():
    old = {
        "class_name": "Sequential",
        "config": [
            {
                "class_name": "Bidirectional",
                "config": {
                    "name": "b",
                    "batch_input_shape": [None, 9, 3],
                    "merge_mode": "sum",
                    "layer": {
                        "class_name": "LSTM",
                        "config": {
                            "name": "lstm_1",
                            "output_dim": 4,
                            "inner_activation": "hard_sigmoid",
                            "activation": "tanh",
                            "forget_bias_init": "one",
                            "dropout_W": 0.2,
                            "inner_init": "orthogonal",
                            "consume_less": "gpu",
                        },
                    },
                },
            },
            {
                "class_name": "Convolution1D",
                "config": {"name": "c", "nb_filter": 2, "filter_length": 3, "border_mode": "same", "bias": False},
            },
            {"class_name": "TimeDistributedDense", "config": {"name": "t", "output_dim": 5, "activation": "relu"}},
        ],
    }
    inner = {"name": "lstm_1", "units": 4, "recurrent_activation": "hard_sigmoid", "activation": "tanh"}
    inner |= {"unit_forget_bias": True, "dropout": 0.2}
    assert in_keras2_words(old, "m.h5")["config"]["layers"] == [
        {
            "class_name": "Bidirectional",
            "config": {
                "name": "b",
                "batch_input_shape": [None, 9, 3],
                "merge_mode": "sum",
                "layer": {"class_name": "LSTM", "config": inner},
            },
        },
        {
            "class_name": "Conv1D",
            "config": {"name": "c", "filters": 2, "kernel_size": 3, "padding": "same", "use_bias": False},
        },
        {
            "class_name": "TimeDistributed",
            "config": {
                "name": "t",
                "layer": {"class_name": "Dense", "config": {"units": 5, "activation": "relu"}},
            },
        },
    ]


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        ({"class_name": "Merge", "config": {"mode": "sum"}}, "Merge of Keras 1"),
        ({"class_name": "BatchNormalization", "config": {"mode": 0}}, "BatchNormalization of Keras 1"),
        ({"class_name": "LSTM", "config": {"output_dim": 3, "peephole": True}}, "argument peephole of LSTM"),
    ],
)
def test_what_no_table_translates_is_refused(layer, what):
    with pytest.raises(ConversionError, match=rf"{what}.*--builder"):
        in_keras2_words({"class_name": "Sequential", "config": [layer]}, "m.h5")


# The equations of what is in the file, from its raw arrays, after Keras 1's `recurrent.py` and cuDNN's manual.


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def hard_sigmoid(x):
    return np.clip(0.2 * x + 0.5, 0, 1)


def lstm_of_gates(x_BTI, gates, gate):
    """Keras 1: gates by name, each (W_IH, U_HH, b_H)."""
    h_BH = c_BH = np.zeros((len(x_BTI), gates["i"][1].shape[0]))
    for t in range(x_BTI.shape[1]):
        z = {name: x_BTI[:, t] @ W + h_BH @ U + b for name, (W, U, b) in gates.items()}
        c_BH = gate(z["f"]) * c_BH + gate(z["i"]) * np.tanh(z["c"])
        h_BH = gate(z["o"]) * np.tanh(c_BH)
    return h_BH


def arrays_of(path):
    import h5py

    with h5py.File(path) as file:
        weights = file["model_weights"]
        (layer,) = [name for name in weights.attrs["layer_names"] if len(weights[name].attrs["weight_names"])]
        return [np.float64(weights[layer][name][()]) for name in weights[layer].attrs["weight_names"]]


@pytest.mark.xdist_group("semantics")
def test_an_lstm_of_keras_1_computes_its_own_equation(tmp_path):
    from rnnexport.source.load import load_source
    from tests import origins

    written = origins.keras1("LSTM, hard_sigmoid", tmp_path)
    arrays = arrays_of(written.path)
    gates = {name: arrays[3 * at : 3 * at + 3] for at, name in enumerate("icfo")}
    x = origins.feed("LSTM")
    found = np.asarray(load_source(written.path).model(x))
    np.testing.assert_allclose(found, lstm_of_gates(x, gates, hard_sigmoid), atol=2e-6)


@pytest.mark.xdist_group("semantics")
def test_a_cudnn_gru_computes_the_equation_of_cudnn(tmp_path):
    from rnnexport.source.load import load_source
    from tests import origins

    written = origins.keras2("2.2.4")("CuDNNGRU", tmp_path)
    kernel, recurrent, biases = arrays_of(written.path)
    inputs, units = kernel.shape[0], recurrent.shape[0]
    assert biases.shape == (6 * units,)
    W = dict(zip("zrn", [k.reshape(units, inputs) for k in np.split(kernel, 3, axis=1)], strict=True))
    R = dict(zip("zrn", [k.reshape(units, units) for k in np.split(recurrent, 3, axis=1)], strict=True))
    bW, bR = (dict(zip("zrn", np.split(half, 3), strict=True)) for half in np.split(biases, 2))
    x = origins.feed("CuDNNGRU")
    h = np.zeros((len(x), units))
    for t in range(x.shape[1]):
        z = sigmoid(x[:, t] @ W["z"].T + h @ R["z"].T + bW["z"] + bR["z"])
        r = sigmoid(x[:, t] @ W["r"].T + h @ R["r"].T + bW["r"] + bR["r"])
        n = np.tanh(x[:, t] @ W["n"].T + bW["n"] + r * (h @ R["n"].T + bR["n"]))
        h = (1 - z) * n + z * h
    np.testing.assert_allclose(np.asarray(load_source(written.path).model(x))[:, -1], h, atol=2e-6)


@pytest.mark.xdist_group("semantics")
def test_a_cudnn_lstm_computes_the_equation_of_cudnn(tmp_path):
    from rnnexport.source.load import load_source
    from tests import origins

    written = origins.keras2("2.2.4")("CuDNNLSTM", tmp_path)
    kernel, recurrent, biases = arrays_of(written.path)
    inputs, units = kernel.shape[0], recurrent.shape[0]
    assert biases.shape == (8 * units,)
    W = [k.reshape(units, inputs).T for k in np.split(kernel, 4, axis=1)]
    R = [k.reshape(units, units).T for k in np.split(recurrent, 4, axis=1)]
    b = np.split(np.add(*np.split(biases, 2)), 4)
    x = origins.feed("CuDNNLSTM")
    expected = lstm_of_gates(x, dict(zip("ifco", zip(W, R, b, strict=True), strict=True)), sigmoid)
    np.testing.assert_allclose(np.asarray(load_source(written.path).model(x))[:, -1], expected, atol=2e-6)
