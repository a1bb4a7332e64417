"""Functions of TensorFlow, and models, as the tests of the float64 truth trace and run them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from rnnexport.core.signature import Boundary, Signature, TensorSpec
from rnnexport.emit.numpy.oracle import Oracle, oracle
from rnnexport.source.describe import describe
from rnnexport.source.load import load_source
from rnnexport.source.trace import TracedModel, trace

RNG = np.random.default_rng(7)


def described(model) -> tuple[object, Signature, TracedModel]:
    source = load_source(model)
    signature = describe(source, Boundary())
    return source, signature, trace(source, signature, unroll=False)


def opened(traced: TracedModel) -> Oracle:
    found = oracle(traced)
    assert isinstance(found, Oracle), found
    return found


def traced_functions(functions: Mapping[str, Callable[..., tf.Tensor]], **inputs: np.ndarray) -> TracedModel:
    """Functions without Keras, an output each: of arguments by name, with arrays that show shapes and dtypes."""
    specs = {name: tf.TensorSpec([None] * array.ndim, array.dtype, name) for name, array in inputs.items()}
    call = tf.function(lambda **x: {name: function(**x) for name, function in functions.items()})
    concrete = call.get_concrete_function(**specs)
    outputs = concrete.structured_outputs
    names = [tensor.name for tensor in concrete.inputs]
    given = [name.removesuffix(":0") for name in names]
    signature = Signature(
        tuple(spec(name, str(inputs[name].dtype), inputs[name].ndim) for name in given),
        tuple(spec(name, tensor.dtype.name, tensor.shape.rank or 0) for name, tensor in outputs.items()),
    )
    return TracedModel("program", signature, concrete, tuple(names), tuple(tensor.name for tensor in outputs.values()))


def spec(name: str, dtype: str, rank: int) -> TensorSpec:
    return TensorSpec(name, dtype, tuple(f"{name}_axis{axis}" for axis in range(rank)))


def traced_function(function: Callable[..., tf.Tensor], **inputs: np.ndarray) -> TracedModel:
    """One function; its result is `y`."""
    return traced_functions({"y": function}, **inputs)


def run(function: Callable[..., tf.Tensor], **inputs: np.ndarray) -> np.ndarray:
    return opened(traced_function(function, **inputs)).run(inputs)["y"]


def with_random_weights(model, seed: int = 3, low: float = -0.8):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(low, 0.8, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype("float32")


IMAGE = normal(2, 5, 6, 3)
