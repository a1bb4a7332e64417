"""Model files of every Keras, written by tf_keras and Keras 3 or made by hand after what older ones wrote.

A layer is a function that builds the model with the Keras it is given; an origin is a function that writes that model.
What no older Keras can be asked any more is told by tf_keras, which has the equations of Keras 1 and 2; the gate orders
of the files made by hand come from the definitions in the Keras sources of their time:

    Keras 1 LSTM    W_i, U_i, b_i, then c, f, o (`recurrent.py` of 1.2.2); tf_keras: i, f, c, o in one array
    Keras 1 GRU     W_z, U_z, b_z, then r, h; tf_keras: z, r, h in one array
    CuDNNLSTM       i, f, c, o, each kernel row by row as (units, inputs) in the shape (inputs, units); two biases
    CuDNNGRU        z, r, h, likewise
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnexport.core.load_options import LoadOptions

BATCH, TIME, FEATURES = 3, 7, 5


@dataclass(frozen=True)
class Written:
    """A model on disk: what to export, how to load it, and the live model whose numbers it has."""

    path: Path
    live: Any
    loading: LoadOptions = field(default_factory=LoadOptions)


def _recurrent(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda k: k.Sequential([k.Input((None, FEATURES), name="x"), make(k.layers)])


def _gru(k: Any, **options: Any) -> Any:
    return k.GRU(4, return_sequences=True, **options)


def _stateful(k: Any) -> Any:
    x = k.Input(batch_shape=(BATCH, None, FEATURES), name="x")
    return k.Model(x, k.layers.LSTM(4, stateful=True, return_sequences=True)(x))


LAYERS: dict[str, Callable[[Any], Any]] = {
    "LSTM": _recurrent(lambda k: k.LSTM(4, return_sequences=True)),
    "LSTM, hard_sigmoid": _recurrent(lambda k: k.LSTM(4, recurrent_activation="hard_sigmoid")),
    "GRU, reset after": _recurrent(lambda k: _gru(k, reset_after=True)),
    "GRU, reset before": _recurrent(lambda k: _gru(k, reset_after=False)),
    "GRU, reset before, hard_sigmoid": _recurrent(
        lambda k: _gru(k, reset_after=False, recurrent_activation="hard_sigmoid")
    ),
    "GRU, reset before, no bias": _recurrent(lambda k: _gru(k, reset_after=False, use_bias=False)),
    "SimpleRNN": _recurrent(lambda k: k.SimpleRNN(4)),
    "Bidirectional": _recurrent(lambda k: k.Bidirectional(k.LSTM(4, return_sequences=True))),
    "TimeDistributed": lambda k: k.Sequential(
        [
            k.Input((None, FEATURES), name="x"),
            k.layers.LSTM(4, return_sequences=True),
            k.layers.TimeDistributed(k.layers.Dense(2)),
        ]
    ),
    "ConvLSTM2D": lambda k: k.Sequential(
        [k.Input((None, 6, 5, 2), name="x"), k.layers.ConvLSTM2D(3, (3, 2), padding="same", return_sequences=True)]
    ),
    "StackedRNNCells": _recurrent(
        lambda k: k.RNN(k.StackedRNNCells([k.LSTMCell(4), k.GRUCell(2, reset_after=False)]), return_sequences=True)
    ),
    "stateful": _stateful,
    "masks": lambda k: k.Sequential(
        [
            k.Input((None, FEATURES), name="x"),
            k.layers.Masking(0.0),
            k.layers.Bidirectional(k.layers.GRU(4, reset_after=False, return_sequences=True)),
        ]
    ),
    "CuDNNLSTM": _recurrent(lambda k: k.LSTM(4, return_sequences=True)),
    "CuDNNGRU": _recurrent(lambda k: _gru(k)),
    "Bidirectional CuDNNLSTM": _recurrent(lambda k: k.Bidirectional(k.LSTM(4))),
}


def live(k: Any, layer: str) -> Any:
    """The model with distinct random weights, biases too."""
    k.backend.clear_session()
    model = LAYERS[layer](k)
    rng = np.random.default_rng(7)
    model.set_weights([rng.normal(0, 0.5, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def feed(layer: str) -> np.ndarray:
    """A feed of `x`, padded in the middle and behind where the layer masks."""
    shape = (BATCH, TIME, 6, 5, 2) if layer == "ConvLSTM2D" else (BATCH, TIME, FEATURES)
    x = np.random.default_rng(11).standard_normal(shape).astype("float32")
    if layer == "masks":
        x[0, 5:] = 0
        x[1, 2:4] = 0
    return x


def written_by_tf_keras(form: str) -> Callable[[str, Path], Written]:
    """`form` is one of .h5, .keras, .json, .weights.h5, builder and saved-model."""

    def write(layer: str, folder: Path) -> Written:
        import tf_keras

        model = live(tf_keras, layer)
        if form == "saved-model":
            model.save(folder / "model", save_format="tf")
            return Written(folder / "model", model)
        return _written(model, form, folder, "model.h5")

    return write


def written_by_keras3(form: str) -> Callable[[str, Path], Written]:
    def write(layer: str, folder: Path) -> Written:
        import keras

        model = live(keras, layer)
        if form == "saved-model":
            model.export(folder / "model", verbose=False)
            return Written(folder / "model", model)
        return _written(model, form, folder, "model.weights.h5")

    return write


def _written(model: Any, form: str, folder: Path, weights: str) -> Written:
    if form in (".h5", ".keras"):
        model.save(folder / f"model{form}")
        return Written(folder / f"model{form}", model)
    path = folder / (form.removeprefix("builder ") if form.startswith("builder") else weights)
    model.save_weights(path)
    if form == ".json":
        (folder / "model.json").write_text(model.to_json())
        return Written(folder / "model.json", model)
    # Weights of tf_keras by their place do not tell who wrote them, which matters to hard_sigmoid alone.
    api: Any = "tf_keras" if "hard_sigmoid" in str(model.get_config()) and weights == "model.h5" else "auto"
    return Written(path, model, LoadOptions(keras_api=api, builder=lambda: type(model).from_config(model.get_config())))


def edited_h5(layer: str, folder: Path, version: str, backend: str | None = None) -> tuple[Path, Any, dict[str, Any]]:
    """What tf_keras saves, as another version: the file, the live model and its configuration, to be edited."""
    import h5py
    import tf_keras

    model = live(tf_keras, layer)
    path = folder / "model.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for group in (file, file["model_weights"]):
            group.attrs["keras_version"] = version
            group.attrs["backend"] = backend or "tensorflow"
    return path, model, config


def put(path: Path, config: dict[str, Any]) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(config)


def keras2(version: str, *dropped: str, backend: str | None = None) -> Callable[[str, Path], Written]:
    """Keras 2 of that version, which did not know the arguments `dropped`."""

    def write(layer: str, folder: Path) -> Written:
        path, model, config = edited_h5(layer, folder, version, None if "Conv" in layer else backend)
        put(path, _without(config, {"time_major", "ragged", *dropped}))
        if "CuDNN" in layer:
            make_cudnn(path)
        return Written(path, model)

    return write


def _without(node: Any, names: set[str]) -> Any:
    if isinstance(node, list):
        return [_without(child, names) for child in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _without(child, names) for name, child in node.items() if name not in names}
    if kept.get("class_name") == "Functional":
        kept["class_name"] = "Model"
    return kept


def make_cudnn(path: Path) -> None:
    """Turn the LSTM or GRU of a file into the layer that cuDNN runs, in its own layout."""
    import h5py

    unknown = {"activation", "recurrent_activation", "use_bias", "dropout", "recurrent_dropout", "implementation"}

    def renamed(node: Any) -> Any:
        if isinstance(node, list):
            return [renamed(child) for child in node]
        if not isinstance(node, dict):
            return node
        node = {name: renamed(child) for name, child in node.items()}
        if node.get("class_name") in ("LSTM", "GRU"):
            config = {k: v for k, v in node["config"].items() if k not in {*unknown, "unroll", "reset_after"}}
            node = {**node, "class_name": f"CuDNN{node['class_name']}", "config": config}
        return node

    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(renamed(json.loads(file.attrs["model_config"])))
        weights = file["model_weights"]
        for layer in weights.attrs["layer_names"]:
            for name in weights[layer].attrs["weight_names"]:
                array = weights[layer][name][()]
                replace(weights[layer], name, cudnn_layout(str(name), array))


def cudnn_layout(name: str, array: np.ndarray) -> np.ndarray:
    if "bias" in name:
        if array.ndim == 2:
            return array.reshape(-1)
        share = np.random.default_rng(3).normal(0, 0.3, array.shape).astype("float32")
        return np.concatenate([array - share, share])
    gates = np.split(array, 4 if "lstm" in name else 3, axis=1)
    return np.concatenate([gate.T.reshape(gate.shape) for gate in gates], axis=1)


def replace(group: Any, name: Any, array: np.ndarray) -> None:
    del group[name]
    group[name] = array


def keras1(layer: str, folder: Path) -> Written:
    """Keras 1.2.2: other words, a list of layers, an array a gate."""
    import h5py

    path, model, config = edited_h5(layer, folder, "1.2.2", "tensorflow" if "Conv" in layer else "theano")
    layers = [in_keras1_words(node) for node in config["config"]["layers"] if node["class_name"] != "InputLayer"]
    first = next(n["config"] for n in config["config"]["layers"] if n["class_name"] == "InputLayer")
    layers[0]["config"]["batch_input_shape"] = first["batch_input_shape"]
    put(path, {"class_name": "Sequential", "config": layers})
    with h5py.File(path, "r+") as file:
        weights = file["model_weights"]
        for name in weights.attrs["layer_names"]:
            group = weights[name]
            old = [(str(w), group[w][()]) for w in group.attrs["weight_names"]]
            arrays = [piece for at in range(0, len(old), 3) for piece in split_gates(old[at : at + 3])]
            for key in list(group):
                del group[key]
            for at, array in enumerate(arrays):
                group[f"param_{at}"] = array
            group.attrs["weight_names"] = [f"param_{at}".encode() for at in range(len(arrays))]
    return Written(path, model)


def split_gates(weights: list[tuple[str, np.ndarray]]) -> list[np.ndarray]:
    """The arrays of one layer, a triple a gate in the order of Keras 1 where the layer has gates."""
    arrays = [array for _, array in weights]
    if not any(kind in weights[0][0] for kind in ("lstm", "gru")):
        return arrays
    count = 4 if "lstm" in weights[0][0] else 3
    gates = [list(triple) for triple in zip(*(np.split(array, count, axis=-1) for array in arrays), strict=True)]
    order = (0, 2, 1, 3) if count == 4 else (0, 1, 2)  # i, c, f, o of i, f, c, o; z, r, h
    return [array for at in order for array in gates[at]]


_KERAS1_WORDS = {
    "units": "output_dim",
    "filters": "nb_filter",
    "recurrent_activation": "inner_activation",
    "dropout": "dropout_W",
    "recurrent_dropout": "dropout_U",
    "padding": "border_mode",
    "strides": "subsample",
    "use_bias": "bias",
}
_KERAS1_KEPT = ("name", "trainable", "activation", "return_sequences", "go_backwards", "stateful", "mask_value")
_KERAS1_KEPT += ("merge_mode", "unroll")


def in_keras1_words(node: dict[str, Any]) -> dict[str, Any]:
    kind, new = node["class_name"], node["config"]
    old = {_KERAS1_WORDS.get(key, key): value for key, value in new.items() if key in (*_KERAS1_WORDS, *_KERAS1_KEPT)}
    if "layer" in new:
        old["layer"] = in_keras1_words(new["layer"])
    if kind in ("LSTM", "GRU", "SimpleRNN", "ConvLSTM2D"):
        old.pop("bias")
        old |= {"init": "glorot_uniform", "inner_init": "orthogonal", "input_dim": FEATURES, "W_regularizer": None}
        old |= {"consume_less": "cpu", "input_length": None, "forget_bias_init": "one"} if kind == "LSTM" else {}
    if kind == "ConvLSTM2D":
        old.pop("unroll", None)
        rows, columns = new["kernel_size"]
        old |= {"nb_row": rows, "nb_col": columns, "dim_ordering": "tf"}
    return {"class_name": kind, "config": old}
