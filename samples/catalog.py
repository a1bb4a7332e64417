"""The table of the samples: every model that the sample files build."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """One model of one sample file.

    Attributes:
        name: of the model, and of its artifacts.
        file: the sample file's name, without `.py`.
        what: what is special about it, in a few words.
        timesteps: the length to fix for TFLite; None where the model has one, or has no time.
    """

    name: str
    file: str
    what: str
    timesteps: int | None = 6

    @property
    def path(self) -> Path:
        """The sample file, to be given as custom objects."""
        return FOLDER / f"{self.file}.py"

    def build(self) -> Any:
        """The Keras model. Imports its Keras."""
        return importlib.import_module(f"samples.{self.file}").MODELS[self.name]()

    def printed(self) -> list[str]:
        """The predictions that its article prints, as text; empty where there are none."""
        module = importlib.import_module(f"samples.{self.file}")
        text = getattr(module, "PRINTED", {}).get(self.name, "")
        return [number.strip() for number in inspect.cleandoc(text).split(",") if number.strip()]


SAMPLES = (
    Sample("cgru_split_reset_before", "cgru_cell", "custom GRU cell, implementation 1, reset_after=False"),
    Sample("cgru_split_reset_after", "cgru_cell", "custom GRU cell, implementation 1, reset_after=True"),
    Sample("cgru_fused_reset_before", "cgru_cell", "custom GRU cell, implementation 2, reset_after=False, dropout"),
    Sample("cgru_fused_reset_after", "cgru_cell", "custom GRU cell, implementation 2, reset_after=True"),
    Sample("cgru_no_bias", "cgru_cell", "custom GRU cell without biases, softsign"),
    Sample("conv3d_gru", "conv3d_gru", "3-D convolutional GRU cell with batch normalisation, state of rank 5"),
    Sample("stateful_gru", "stateful_gru", "three stateful GRU layers, batch and length 1", timesteps=None),
    Sample("my_layer", "my_layer", "custom layer, one input and output", timesteps=None),
    Sample("my_layers", "my_layer", "custom layer, several inputs and outputs", timesteps=None),
    Sample("attention_decoder", "attention_decoder", "Bahdanau decoder, initial state from the inputs, tf_keras"),
    Sample("attention_probabilities", "attention_decoder", "the same, giving the attention (time by time)"),
    Sample("multi_output_gru", "multi_output_gru", "nested outputs, constants, initial state as input, tf_keras"),
    Sample("simple_rnn", "partial_sums", "RNN(SimpleRNNCell), printed predictions", timesteps=30),
    Sample("lstm", "partial_sums", "RNN(LSTMCell), printed predictions", timesteps=30),
    Sample("s_lstm", "s_lstm", "simplified LSTM cell, printed predictions, tf_keras", timesteps=30),
    Sample("s_lstm_from_one", "s_lstm", "the same, started from h = 1", timesteps=30),
)

SAMPLES_BY_NAME = {sample.name: sample for sample in SAMPLES}
