"""What a configuration means, by the Keras that wrote it: the differences that change numbers.

    1. Words of Keras 1 become words of Keras 2 (`keras1`), cuDNN layers become LSTM and GRU.
    2. GRU: where `reset_after` is not recorded, the shape of the bias tells: (3H,) before, (2, 3H) after the recurrent
       product. Without a bias the writer tells: Keras below 2.1.5 had no other than before.
    3. A recurrent activation that is not recorded is the default of the writer: hard_sigmoid below Keras 2.3 and in
       tf.keras of TensorFlow 1, sigmoid since; of the ConvLSTM layers hard_sigmoid in all of them.
    4. StackedRNNCells of Keras below 2.2.3 took and gave their states last cell first: where states cross the layer's
       boundary the model is refused (tf_keras has an option for it, which does not run).
    5. Kernels of convolutions from Theano are turned round in the file, and refused.
    6. Functions in an `.h5` of tf_keras are objects that its own loader does not take: they become their names again.
    7. hard_sigmoid is clip(0.2x + 0.5, 0, 1) in Keras 1 and 2, and relu6(x + 3) / 6 in Keras 3.

What none of this tells is refused. Every difference that was met is a note, for `inspect` and the provenance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rnnexport.core.errors import ConversionError
from rnnexport.source.configs import Config, KerasApiName, Origin, changed, label, serialised_objects
from rnnexport.source.keras1 import in_keras2_words
from rnnexport.source.stored import StoredWeights

_GRU = ("GRU", "GRUCell", "GRUV1", "GRUV2", "GRUCellV1", "GRUCellV2")  # tf.keras of TensorFlow 2.0 numbered them
_LSTM = ("LSTM", "LSTMCell", "LSTMV1", "LSTMV2", "LSTMCellV1", "LSTMCellV2")
_GATED = (*_GRU, *_LSTM, "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
_HARD_SIGMOID = {
    "tf_keras": "clip(0.2x + 0.5, 0, 1), as Keras 1 and 2 have it",
    "keras": "relu6(x + 3) / 6, as Keras 3 has it",
}
_DECIDE = "build the model in code, which decides it, and give it with --builder module:function"
_PLAIN = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
_EQUATION = {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}


@dataclass(frozen=True)
class Meaning:
    """A configuration for the Keras that loads it.

    Attributes:
        config: with nothing left to that Keras' defaults.
        notes: what was decided, a sentence each.
    """

    config: Config
    notes: tuple[str, ...]


def interpret(config: Config, origin: Origin, weights: StoredWeights | None, api: KerasApiName, name: str) -> Meaning:
    """What `config` means.

    Args:
        config: as the file has it.
        origin: who wrote it.
        weights: that belong to it.
        api: the Keras that will load it.
        name: of the file, for messages.

    Raises:
        ConversionError: the file does not tell, or contradicts itself; names the option that decides. Or it holds what
            no Keras writes there.
    """
    try:
        return _interpreted(config, origin, weights, api, name)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConversionError(
            f"{name} holds a configuration that no Keras wrote ({type(error).__name__}: {error})",
            "whole layers",
            "copy or save it again",
        ) from error


def _interpreted(
    config: Config, origin: Origin, weights: StoredWeights | None, api: KerasApiName, name: str
) -> Meaning:
    notes: list[str] = []
    if origin.major == 1:
        config = in_keras2_words(config, name)
        notes.append("Keras 1 names and weight order became those of Keras 2")
    notes += [
        f"{label(node)} became {'LSTM' if 'LSTM' in node['class_name'] else 'GRU (reset_after=True)'} "
        "with tanh and sigmoid gates, its weights laid out anew"
        for _, node in serialised_objects(config)
        if is_cudnn_layer(node)
    ]
    config = without_cudnn_layers(config)
    if api == "tf_keras":
        config = changed(config, _functions_by_name)
    refuse_theano_kernels((node["class_name"] for _, node in serialised_objects(config)), origin, name)
    if origin.major != 3:
        config = changed(config, lambda node: _decided(node, origin, weights, name, notes))
    if api == "keras" and origin.major == 2:
        config = changed(config, _for_keras_3)
    return Meaning(config, (*notes, *_named(config, origin, api)))


def _decided(node: Config, origin: Origin, weights: StoredWeights | None, name: str, notes: list[str]) -> Config:
    """The object with what it leaves to defaults written out."""
    kind, inner = node["class_name"], dict(node["config"])
    if kind in _GRU:
        recorded = inner.get("reset_after")
        inner["reset_after"], why = _reset_after(recorded, inner, origin, weights, f"{label(node)} in {name}")
        if recorded is None:
            notes.append(f"{label(node)}: reset_after={inner['reset_after']}, by {why}")
    if kind in _GATED and "recurrent_activation" not in inner:
        inner["recurrent_activation"] = _recurrent_default(kind, origin, f"{label(node)} in {name}")
        notes.append(f"{label(node)}: recurrent activation {inner['recurrent_activation']}, the default of {origin}")
    if origin.multi_backend and origin.below(2, 2, 3):
        _refuse_reversed_states(node, origin, name)
    return {**node, "config": inner}


def _refuse_reversed_states(node: Config, origin: Origin, name: str) -> None:
    cell = node["config"].get("cell")
    stacked = isinstance(cell, dict) and cell.get("class_name") == "StackedRNNCells"
    # A call of the layer is the list of the tensors it was called on: more than one are states.
    calls = node.get("inbound_nodes") or []
    given = any(isinstance(call, list) and len(call) > 1 for call in calls) or "initial_state" in str(calls)
    if stacked and (given or node["config"].get("return_state")):
        raise ConversionError(
            f"{label(node)} in {name} takes or gives states of stacked cells, which {origin} ordered last cell first",
            "states in the order of the cells",
            _DECIDE,
        )


def _reset_after(
    recorded: bool | None, inner: Config, origin: Origin, weights: StoredWeights | None, where: str
) -> tuple[bool, str]:
    """Whether the reset gate acts after the recurrent product, and what tells."""
    shapes = weights.bias_shapes(str(inner.get("name"))) if weights else set()
    # A layer that was a CuDNNGRU has the two biases one behind the other.
    meanings = {(3 * inner["units"],): False, (2, 3 * inner["units"]): True, (6 * inner["units"],): True}
    if len(shapes) == 1 and (shape := min(shapes)) in meanings:
        if recorded is not None and recorded != meanings[shape]:
            raise ConversionError(
                f"{where} records reset_after={recorded} and has a bias of shape {shape}",
                f"{(3 * inner['units'],)} for False or {(2, 3 * inner['units'])} for True",
                _DECIDE,
            )
        return meanings[shape], f"the shape {shape} of its bias"
    if recorded is not None:
        return recorded, "the configuration"
    if origin.multi_backend and origin.below(2, 1, 5):
        return False, f"{origin}, which had no other"
    raise ConversionError(
        f"{where} does not record reset_after, and the file has no bias of that name",
        "one of the two, to tell",
        _DECIDE,
    )


def _recurrent_default(kind: str, origin: Origin, where: str) -> str:
    if origin.version is None:
        raise ConversionError(
            f"{where} does not record its recurrent activation", "hard_sigmoid or sigmoid, written out", _DECIDE
        )
    if "ConvLSTM" in kind:
        return "hard_sigmoid"  # below Keras 3 it never changed
    if origin.multi_backend:
        return "hard_sigmoid" if origin.below(2, 3) else "sigmoid"
    if origin.below(2, 2):
        return "hard_sigmoid"  # 2.1.6-tf: TensorFlow 1.9 to 1.13
    if origin.below(2, 2, 5):
        raise ConversionError(
            f"{where} does not record its recurrent activation, and {origin} is TensorFlow 1.14 to 2.1",
            "hard_sigmoid (TensorFlow 1) or sigmoid (TensorFlow 2), written out",
            _DECIDE,
        )
    return "sigmoid"


def _functions_by_name(node: Config) -> Config:
    """
    Before: {"class_name": "Dense", "config": {"activation": {"class_name": "function", "config": "shop>bent", ...}}}
    After:  {"class_name": "Dense", "config": {"activation": "shop>bent"}}, where the layer itself is of the old form.
    """
    if "module" in node:
        return node
    named = {key: _function_name(value) if _is_function(value) else value for key, value in node["config"].items()}
    return {**node, "config": named}


def _is_function(value: object) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "function" and isinstance(value.get("config"), str)


def _for_keras_3(node: Config) -> Config:
    """Keras 3 knows no `time_major` (False is what it does), and no modules of tf_keras."""
    inner = {key: value for key, value in node["config"].items() if key != "time_major" or value}
    place = "keras.src.models.functional" if node["class_name"] == "Functional" else "keras"
    moved = {"module": place} if str(node.get("module")).startswith("tf_keras") else {}
    return {**node, **moved, "config": inner}


def _named(config: Config, origin: Origin, api: KerasApiName) -> Iterator[str]:
    """Notes on what the configuration says in plain words, and Kerases read in different ways."""
    objects = [node for _, node in serialised_objects(config) if isinstance(node["config"], dict)]
    for node in objects:
        if node["class_name"] in _GRU and isinstance(after := node["config"].get("reset_after"), bool):
            yield f"{label(node)}: reset gate {'after' if after else 'before'} the recurrent product"
    hard = [label(node) for node in objects if "hard_sigmoid" in map(_function_name, node["config"].values())]
    if hard:
        yield f"{', '.join(hard)}: hard_sigmoid is {_HARD_SIGMOID[api]}"
        if api == "keras" and origin.major in (1, 2):
            yield f"the numbers are not those of {origin}, whose hard_sigmoid is {_HARD_SIGMOID['tf_keras']}"
    if any(node["config"].get("unit_forget_bias") for node in objects):
        yield "unit_forget_bias sets where training starts; the file holds the trained biases"


def _function_name(value: object) -> object:
    return value.get("config") if isinstance(value, dict) else value


def refuse_theano_kernels(class_names: Iterable[str], origin: Origin, name: str) -> None:
    """Refuse convolutions from Theano: Keras 2 turned their kernels back, and no loader that is left does.

    Args:
        class_names: of the model's layers.
        origin: who wrote the file.
        name: of the file, for messages.

    Raises:
        ConversionError: names the layer.
    """
    for kind in class_names:
        if origin.backend == "theano" and "Conv" in kind:
            raise ConversionError(
                f"{kind} in {name}, whose kernels Keras on Theano stored turned round",
                "kernels as TensorFlow has them",
                "turn them round (numpy.flip over the spatial axes) and save the model on TensorFlow",
            )


def without_cudnn_layers(config: Config) -> Config:
    """The configuration with an LSTM or GRU in the place of every cuDNN layer, wrapped ones included.

        Before: CuDNNLSTM(units)     After: LSTM(units, activation="tanh", recurrent_activation="sigmoid")
        Before: CuDNNGRU(units)      After: GRU(units, the same, reset_after=True)

    These are the equations of cuDNN: gates with a sigmoid, the reset gate behind the recurrent product, two biases. The
    file keeps a layout of its own: the kernel of each gate lies as (units, inputs) and (units, units), row by row, in
    the shape of its transpose, and the biases of inputs and recurrence one behind the other (LSTM 8 x units: i, f, c, o
    twice; GRU 6 x units: z, r, h twice). tf_keras lays them out as LSTM (i, f, c, o; one bias, the sum) and GRU (z, r,
    h; two) when it loads them, and tells them by the length of the bias (`_convert_rnn_weights` of its
    `hdf5_format.py`).
    """
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
