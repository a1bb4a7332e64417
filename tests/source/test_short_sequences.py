"""Layers without truth on fewer steps than they read: TensorFlow gives what lies in memory, or ends the process."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import rnnexport
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.eager import reference
from rnnexport.source.load import load_source
from tests.streams import chain, with_random_weights

APIS = ("keras", "tf_keras")


def dilated(api, kind):
    layers = importlib.import_module(api).layers
    made = {
        "each channel": lambda: layers.DepthwiseConv1D(3, dilation_rate=2),
        "separable": lambda: layers.SeparableConv1D(4, 3, dilation_rate=2),
        "all": lambda: layers.Conv1D(3, 3, dilation_rate=2),
    }[kind]
    memory = layers.GRU(4, return_sequences=True)
    return with_random_weights(chain(importlib.import_module(api), made(), memory), 2)


@pytest.mark.parametrize("kind", ["each channel", "separable", "all"])
@pytest.mark.parametrize("api", APIS)
def test_a_sequence_that_is_too_short_is_refused_by_the_reference(api, kind):
    source = load_source(dilated(api, kind), LoadOptions())
    signature = describe(source, Boundary())
    (name,) = (spec.name for spec in signature.inputs)
    for length in (3, 4):
        with pytest.raises(rnnexport.ConversionError, match=r"reads \(5,\) steps at once, and is given"):
            reference(source, signature, {name: np.ones((2, length, 3), "float32")})
    assert next(iter(reference(source, signature, {name: np.ones((2, 5, 3), "float32")}).values())).shape[:2] == (2, 1)


def test_one_step_is_never_given_to_a_kernel_that_ends_the_process():
    import keras

    pooled = keras.layers.AdaptiveMaxPooling1D(2)
    source = load_source(chain(keras, pooled, keras.layers.GRU(4)), LoadOptions())
    signature = describe(source, Boundary())
    (name,) = (spec.name for spec in signature.inputs)
    with pytest.raises(rnnexport.ConversionError, match=r"reads \(2,\) steps at once, and is given \(1,\)"):
        reference(source, signature, {name: np.ones((2, 1, 3), "float32")})


@pytest.mark.long
def test_a_model_with_one_is_exported(tmp_path):
    done = rnnexport.export(dilated("keras", "each channel"), "onnx", tmp_path / "m.onnx")
    assert done.report.status == "passed"
