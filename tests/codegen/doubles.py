"""Functions of TensorFlow, and models, as the tests of the float64 truth trace and run them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from rnnexport.codegen.oracle import Oracle, oracle
from rnnexport.signature import Boundary, Signature, TensorSpec
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


def traced_function(function: Callable[..., tf.Tensor], **inputs: np.ndarray) -> TracedModel:
    """A program without Keras: its arguments by name, with arrays that show shapes and dtypes; its result is `y`."""
    specs = {name: tf.TensorSpec([None] * array.ndim, array.dtype, name) for name, array in inputs.items()}
    concrete = tf.function(lambda **x: {"y": function(**x)}).get_concrete_function(**specs)
    names = [tensor.name for tensor in concrete.inputs]
    dims = {name: tuple(f"{name}_axis{k}" for k in range(array.ndim)) for name, array in inputs.items()}
    given = [name.removesuffix(":0") for name in names]
    rank = concrete.outputs[0].shape.rank
    shape = tuple(f"y_axis{k}" for k in range(rank or 0))
    signature = Signature(
        tuple(TensorSpec(name, str(inputs[name].dtype), dims[name]) for name in given),
        (TensorSpec("y", concrete.outputs[0].dtype.name, shape),),
    )
    return TracedModel("program", signature, concrete, tuple(names), (concrete.outputs[0].name,))


def run(function: Callable[..., tf.Tensor], **inputs: np.ndarray) -> np.ndarray:
    return opened(traced_function(function, **inputs)).run(inputs)["y"]


def with_random_weights(model, seed: int = 3, low: float = -0.8):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(low, 0.8, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype("float32")


IMAGE = normal(2, 5, 6, 3)
VECTORS = [np.abs(normal(3)) + 0.5 for _ in range(4)]


def batch_norm(x, *, form="NHWC", version=tf.raw_ops.FusedBatchNormV3, **attributes):
    scale, offset, mean, variance = map(tf.constant, VECTORS)
    given = version(x=x, scale=scale, offset=offset, mean=mean, variance=variance, data_format=form, **attributes)
    return given.y + given.batch_mean[0] + 2 * given.batch_variance[1]
