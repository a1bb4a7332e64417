"""A configuration of Keras 1 in the words of Keras 2.

    Before: {"class_name": "LSTM", "config": {"output_dim": 8, "inner_activation": "hard_sigmoid", ...}}
    After:  {"class_name": "LSTM", "config": {"units": 8, "recurrent_activation": "hard_sigmoid", ...}}

Only names change: the equations of these layers are those of Keras 2 with `reset_after=False` and
`implementation=1`. What acts on training alone (initial values, regularizers, constraints) is left out. A layer that is
not in the table is refused: nobody could show that its numbers stay what they were.

The weights keep their old order in the file (LSTM: W, U, b of i, c, f, o in twelve arrays; GRU: of z, r, h in nine);
tf_keras puts them into its own (LSTM i, f, c, o; GRU z, r, h) when it loads weights of version 1
(`preprocess_weights_for_loading` of its `hdf5_format.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rnnexport.core.errors import ConversionError
from rnnexport.source.configs import Config, changed, label, serialised_objects

# Arguments that keep their name in every layer.
_KEPT = ("name", "trainable", "batch_input_shape")
# What a trained model does not need, or what Keras 2 takes from elsewhere.
_DROPPED = (
    *("init", "inner_init", "W_regularizer", "U_regularizer", "b_regularizer", "activity_regularizer"),
    *(
        "W_constraint",
        "U_constraint",
        "b_constraint",
        "input_dim",
        "input_length",
        "input_dtype",
        "consume_less",
        "weights",
    ),
)
_RECURRENT = {
    "output_dim": "units",
    "activation": "activation",
    "inner_activation": "recurrent_activation",
    "forget_bias_init": "unit_forget_bias",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "return_sequences": "return_sequences",
    "go_backwards": "go_backwards",
    "stateful": "stateful",
    "unroll": "unroll",
}
_POOLING = {"pool_length": "pool_size", "stride": "strides", "border_mode": "padding"}
_RENAMED: dict[str, dict[str, str]] = {
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "SimpleRNN": _RECURRENT,
    "ConvLSTM2D": _RECURRENT
    | {
        "nb_filter": "filters",
        "nb_row": "kernel_size",
        "nb_col": "",
        "border_mode": "padding",
        "subsample": "strides",
        "dim_ordering": "data_format",
    },
    "Dense": {"output_dim": "units", "activation": "activation", "bias": "use_bias"},
    "Embedding": {"input_dim": "input_dim", "output_dim": "output_dim", "mask_zero": "mask_zero", "dropout": ""},
    "Convolution1D": {
        "nb_filter": "filters",
        "filter_length": "kernel_size",
        "border_mode": "padding",
        "subsample_length": "strides",
        "activation": "activation",
        "bias": "use_bias",
    },
    "MaxPooling1D": _POOLING,
    "AveragePooling1D": _POOLING,
    "GlobalMaxPooling1D": {},
    "GlobalAveragePooling1D": {},
    "Activation": {"activation": "activation"},
    "Dropout": {"p": "rate"},
    "SpatialDropout1D": {"p": "rate"},
    "LeakyReLU": {"alpha": "alpha"},
    "ELU": {"alpha": "alpha"},
    "GaussianNoise": {"sigma": "stddev"},
    "GaussianDropout": {"p": "rate"},
    "ZeroPadding1D": {"padding": "padding"},
    "UpSampling1D": {"length": "size"},
    "Masking": {"mask_value": "mask_value"},
    "RepeatVector": {"n": "n"},
    "Reshape": {"target_shape": "target_shape"},
    "Permute": {"dims": "dims"},
    "Flatten": {},
    "InputLayer": {"input_dtype": "dtype", "sparse": "sparse"},
    "TimeDistributed": {"layer": "layer"},
    "TimeDistributedDense": {"output_dim": "units", "activation": "activation", "bias": "use_bias"},
    "Bidirectional": {"layer": "layer", "merge_mode": "merge_mode"},
}
_CLASSES = {"Convolution1D": "Conv1D"}
_MODELS = ("Sequential", "Model", "Functional")
_DATA_FORMATS = {"tf": "channels_last", "th": "channels_first"}


def in_keras2_words(config: Config, name: str) -> Config:
    """The configuration with the names of Keras 2.

    Args:
        config: of the whole model, as the file has it.
        name: of the file, for messages.

    Raises:
        ConversionError: it holds a layer or an argument that is not in the table.
    """
    if isinstance(config.get("config"), list):  # a Sequential of Keras 1 is the list of its layers
        config = {**config, "config": {"name": "sequential", "layers": config["config"]}}
    inner = [node for _, node in serialised_objects(config) if node["class_name"] in _MODELS][1:]
    if inner:
        raise ConversionError(
            f"{label(inner[0])} inside a model of Keras 1 in {name}",
            "one model, since no loader is left that takes the weights of nested ones apart",
            "build the model in code and give it with --builder module:function",
        )
    renamed = changed(config, lambda node: _renamed(node, name))
    assert isinstance(renamed, dict)
    return renamed


def looks_like_keras1(config: Mapping[str, Any]) -> bool:
    """Whether a configuration without a version uses the words of Keras 1."""
    text = str(config)
    return any(f"'{word}'" in text for word in ("inner_activation", "inner_init", "W_regularizer", "consume_less"))


def _renamed(node: Config, name: str) -> Config:
    kind, old = node["class_name"], node["config"]
    if kind in _MODELS:
        return node
    table = _RENAMED.get(kind)
    if table is None:
        raise ConversionError(
            f"{label(node)} of Keras 1 in {name}",
            f"one of the {len(_RENAMED)} layers that can be translated",
            "build the model in code and give it with --builder module:function",
        )
    new = {key: old[key] for key in _KEPT if key in old}
    for key, value in old.items():
        if key in _KEPT or (key in _DROPPED and key not in table):
            continue
        if key not in table:
            if value is None:
                continue
            raise ConversionError(
                f"argument {key} of {label(node)} of Keras 1 in {name}",
                f"{', '.join(table)}",
                "build the model in code and give it with --builder module:function",
            )
        if table[key]:
            new[table[key]] = _value(key, value, old)
    if kind == "GRU":
        new["reset_after"] = False
    if kind == "TimeDistributedDense":
        inner = {"class_name": "Dense", "config": {key: new.pop(key) for key in table.values() if key in new}}
        return {**node, "class_name": "TimeDistributed", "config": {**new, "layer": inner}}
    return {**node, "class_name": _CLASSES.get(kind, kind), "config": new}


def _value(key: str, value: Any, old: Mapping[str, Any]) -> Any:
    if key == "nb_row":
        return [value, old["nb_col"]]
    if key == "dim_ordering":
        return _DATA_FORMATS.get(value, value)
    if key == "forget_bias_init":
        return value == "one"
    return value
