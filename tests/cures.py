"""Models that an export refuses, each with the cure that the refusal names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from rnnexport.core.forms import CForm, TFLiteForm
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringRequest


@dataclass(frozen=True)
class Case:
    """A refusal, and the cure that it names.

    Attributes:
        make: the model.
        to: the format that refuses it.
        told: what is said, a pattern.
        cure: the keywords with which it is exported then; `to` is another format.
        asked: the keywords with which it is refused.
        mended: the model as the cure has it, where that is another one.
    """

    make: Callable[[], Any]
    to: str
    told: str
    cure: Mapping[str, Any]
    asked: Mapping[str, Any] = field(default_factory=dict)
    mended: Callable[[], Any] | None = None


class Centred(keras.layers.Layer):
    """Less the mean of the batch."""

    def call(self, x):
        return x - keras.ops.mean(x, axis=0, keepdims=True)


class Halves(keras.layers.Layer):
    """As many steps as half of the length."""

    def call(self, x):
        return keras.ops.max_pool(x, 2)


class Pairs(keras.layers.Layer):
    """Two steps as one; no odd number of them."""

    def call(self, x):
        return keras.ops.reshape(x, (-1, keras.ops.shape(x)[1] // 2, 2 * x.shape[-1]))


class Looped(keras.layers.Layer):
    """A loop of Python over axes that a graph may not know."""

    def __init__(self, axes, **options):
        super().__init__(**options)
        self.axes = axes

    def call(self, x):
        for axis in self.axes:
            x = keras.ops.stack([part * 2 for part in keras.ops.unstack(x, x.shape[axis], axis)], axis)
        return x

    def compute_output_shape(self, shape):
        return shape


class Short(keras.layers.Layer):
    """Another thing of short sequences, or of small batches."""

    def __init__(self, axis, **options):
        super().__init__(**options)
        self.axis = axis

    def call(self, x):
        size = x.shape[self.axis]
        return x * 2 if size is not None and size < 5 else x


class Counting(keras.layers.Layer):
    """What it has been called with so far is added; `rows` of it, or one for all."""

    def __init__(self, rows=None, **options):
        super().__init__(**options)
        self.rows = rows

    def build(self, shape):
        shape = (self.rows, shape[-1]) if self.rows else ()
        self.total = self.add_weight(shape=shape, initializer="zeros", trainable=False)

    def call(self, x):
        self.total.assign(self.total + keras.ops.sum(x, axis=1 if self.rows else None))
        return x + keras.ops.expand_dims(self.total, 1) if self.rows else x + self.total


def operation(name, function):
    """A layer of a class of that name, which calls a function."""
    return type(name, (keras.layers.Layer,), {"call": lambda self, x: function(x)})(name=name.lower())


def drawn(model):
    """The model with other weights, none of them zero."""
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.4, weight.shape).astype(str(weight.dtype)) for weight in model.get_weights()])
    return model


def around(layer, shape=(None, 3), batch=None, api=keras, **options):
    """A recurrence behind a layer."""
    x = api.Input(shape, batch_size=batch, name="x")
    y = api.layers.Dense(4, activation="tanh")(x)
    return drawn(api.Model(x, api.layers.GRU(3, return_sequences=True, name="gru", **options)(layer(y)), name="m"))


def of(layer, shape=(None, 3), **options):
    """A function that makes a model of a recurrence and what a function of the model's tensors makes of it."""

    def make():
        x = keras.Input(shape, name="x", **options)
        y = keras.layers.GRU(4, return_sequences=True, name="gru")(x)
        return drawn(keras.Model(x, layer(y), name="m"))

    return make


def product_over_time(x):
    import tensorflow as tf

    return tf.math.real(tf.reduce_prod(tf.complex(x, 1.0 - x), axis=1))


def incomplete_gamma(x):
    import tensorflow as tf

    return tf.math.igamma(1.0 + tf.abs(x), tf.abs(x))


def lstm(batch=None, **options):
    x = keras.Input((6, 3), batch_size=batch, name="x")
    return drawn(keras.Model(x, keras.layers.LSTM(4, name="lstm", **options)(x), name="m"))


def ragged(is_ragged):
    import tf_keras

    x = tf_keras.Input((None, 3), ragged=is_ragged, name="x")
    y = x if is_ragged else tf_keras.layers.Masking()(x)
    return tf_keras.Model(x, tf_keras.layers.GRU(3)(y), name="m")


def two_lengths(fixed):
    inputs = [keras.Input((size, 3), name=f"x{size}") for size in (6, 9)]
    inputs = inputs if fixed else [keras.Input((None, 3), name="x6"), inputs[1]]
    one, other = (keras.layers.GRU(3, name=f"gru{at}", return_sequences=not at)(x) for at, x in enumerate(inputs))
    return keras.Model(inputs, [one, keras.layers.Dense(2)(other)], name="m")


def noisy(kept):
    x = keras.Input((None, 4), name="x")
    noise = operation(
        "Noise", lambda y: y + keras.random.normal(keras.ops.shape(y), seed=keras.random.SeedGenerator(1))
    )
    y = keras.layers.GRU(3, return_sequences=True)(x)
    return keras.Model(x, noise(y) if kept else y, name="m")


def words():
    x = keras.Input((None,), dtype="string", name="x")
    ids = keras.layers.StringLookup(vocabulary=["a", "bc", "cat"], num_oov_indices=2, name="words")(x)
    return drawn(keras.Model(x, keras.layers.GRU(3)(keras.layers.Embedding(8, 4)(ids)), name="m"))


def inputs_of(names):
    inputs = [keras.Input((None, 2), name=name) for name in names]
    return keras.Model(inputs, keras.layers.GRU(3)(keras.layers.Concatenate()(inputs)), name="m")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="m")
        self.gru = keras.layers.GRU(3)

    def call(self, x):
        return self.gru(x)


def called(model):
    model(np.ones((2, 5, 3), "float32"))
    return model


CURES = {
    "rows": Case(lambda: around(Centred()), "c", r"gru of m depends on the other rows .*; give batch=N", {"batch": 3}),
    "length": Case(
        lambda: around(Halves()), "c", r"no C form of MaxPool in .*halves.*: .* give timesteps=N", {"timesteps": 6}
    ),
    "adaptive": Case(
        lambda: around(keras.layers.AdaptiveAveragePooling1D(2)),
        "numpy",
        r"\(in AdaptiveAveragePooling1D\); .*; give timesteps=N",
        {"timesteps": 6},
    ),
    "dtype in TFLite": Case(
        lambda: around(keras.layers.LSTM(4, return_sequences=True, dtype="float64")),
        "tflite",
        r"float64 in .*lstm.*; give cast='float32'",
        {"cast": "float32", "timesteps": 6},
        {"timesteps": 6},
    ),
    "dtype in C": Case(
        lambda: around(keras.layers.LSTM(4, return_sequences=True, dtype="float16")),
        "c",
        r"float16.*; export with cast='float32'",
        {"cast": "float32"},
    ),
    "size of the data in C": Case(
        of(lambda y: operation("Positive", lambda y: y[y > 0.1])(y)),
        "c",
        r"no C form of NonZero in .*; export to another format",
        {"to": "numpy"},
        {"batch": 1},
    ),
    "function of the C library": Case(
        of(lambda y: keras.ops.erf(y)),
        "c",
        r"erff? of the C library.*; leave CForm\(deterministic=True\) out",
        {"c": CForm()},
        {"c": CForm(deterministic=True)},
    ),
    "open axis of complex numbers": Case(
        of(lambda y: operation("Signal", product_over_time)(y)),
        "onnx",
        r"no form of Prod of complex numbers along an open axis in .*signal.*timesteps=N",
        {"timesteps": 6},
    ),
    "operator in ONNX": Case(
        of(lambda y: operation("Odd", incomplete_gamma)(y)),
        "onnx",
        r"no ONNX form of Igamma in layer odd .*export to saved-model",
        {"to": "saved-model"},
    ),
    "operator in TFLite": Case(
        of(lambda y: operation("Odd", incomplete_gamma)(y)),
        "tflite",
        r"no built-in TFLite form of Igamma in .*odd.*export to saved-model",
        {"to": "saved-model"},
        {"timesteps": 6},
    ),
    "form of a recurrence": Case(
        lambda: around(keras.layers.Identity(), activation="silu"),
        "onnx",
        r"has no proven form native: .*; use LoweringRequest\(form='auto'\)",
        {"lowering": LoweringRequest()},
        {"lowering": LoweringRequest("native")},
    ),
    "lengths that it runs at": Case(
        lambda: around(Pairs()),
        "onnx",
        r"calling m in eager mode raises .*; give timesteps=N, a length at which it runs, such as 8",
        {"timesteps": 6},
    ),
    "length in Python": Case(
        lambda: around(Short(1)), "onnx", r"give timesteps=N to export it for one size", {"timesteps": 6}
    ),
    "batch in Python": Case(lambda: around(Short(0)), "onnx", r"give batch=N to export it for one size", {"batch": 3}),
    "traced at a length": Case(
        lambda: around(Looped([1])), "onnx", r"give timesteps=N, with which it can be traced", {"timesteps": 6}
    ),
    "traced at a batch": Case(
        lambda: around(Looped([0])), "onnx", r"give batch=N, with which it can be traced", {"batch": 3}
    ),
    "traced at both": Case(
        lambda: around(Looped([0, 1])),
        "onnx",
        r"give timesteps=N batch=N, with which it can be traced",
        {"timesteps": 6, "batch": 3},
    ),
    "nothing to stream": Case(
        lambda: keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(2)]),
        "onnx",
        r"has no layer that carries anything .*; export it without stream=",
        {},
        {"stream": 1},
    ),
    "a stream that looks ahead": Case(
        lambda: around(keras.layers.Bidirectional(keras.layers.LSTM(2, return_sequences=True))),
        "onnx",
        r"; stream the part of the model before it, or export without stream=",
        {},
        {"stream": 1},
    ),
    "two lengths in a stream": Case(
        lambda: two_lengths(fixed=True),
        "onnx",
        r"runs over sequences of 6 and of 9 .*; build it with an open length for that one",
        {"stream": 1},
        {"stream": 1},
        lambda: two_lengths(fixed=False),
    ),
    "state of rows": Case(
        lambda: around(Counting(1)), "onnx", r"has 1 rows, and the batch is open; .*; give batch=1", {"batch": 1}
    ),
    "hidden state": Case(
        lambda: around(Counting()),
        "onnx",
        r"changes at inference .*or in a weight with a row for each sequence of a fixed batch",
        {},
        {},
        lambda: around(Counting(2), batch=2),
    ),
    "ragged": Case(
        lambda: ragged(True),
        "onnx",
        r"input x of m is ragged; .*ragged=False\) and Masking",
        {},
        {},
        lambda: ragged(False),
    ),
    "steps written out": Case(
        of(lambda y: y),
        "tflite",
        r"takes 10001 timesteps, .*; give TFLiteForm\(form='rolled'\) \(.*\) or fewer timesteps=",
        {"timesteps": 12, "tflite": TFLiteForm("unroll")},
        {"timesteps": 10_001, "tflite": TFLiteForm("unroll")},
    ),
    "days in Keras": Case(
        of(lambda y: y, (1_000_000, 3)),
        "onnx",
        r"reads 1000000 timesteps, .*; build the model with an open length",
        {},
        {},
        of(lambda y: y),
    ),
    "random numbers": Case(
        lambda: noisy(True), "onnx", r"leave that layer out of the model", {}, {}, lambda: noisy(False)
    ),
    "open length in TFLite": Case(
        lambda: around(keras.layers.Identity()),
        "tflite",
        r"has a dynamic time; .*; give timesteps=N, or TFLiteForm\(form='rolled'\)",
        {"tflite": TFLiteForm("rolled")},
    ),
    "open batch of a fused form": Case(
        lstm,
        "tflite",
        r"its batch is open.*; give batch=N",
        {"batch": 3, "tflite": TFLiteForm("fused")},
        {"tflite": TFLiteForm("fused")},
    ),
    "no fused form": Case(
        lambda: lstm(2, stateful=True),
        "tflite",
        r"does not begin at zero.*; give TFLiteForm\(form='rolled'\)",
        {"tflite": TFLiteForm("rolled")},
        {"tflite": TFLiteForm("fused")},
    ),
    "open sizes on a microcontroller": Case(
        lstm,
        "tflite",
        r"with an open size; .*; give batch=1 and timesteps=N",
        {"batch": 1, "tflite": TFLiteForm(runtime="tflm")},
        {"tflite": TFLiteForm(runtime="tflm")},
    ),
    "names that are one": Case(
        lambda: inputs_of(["a b", "a_b"]), "onnx", r"; rename the Input layers", {}, {}, lambda: inputs_of(["a", "b"])
    ),
    "subclassed, never called": Case(
        Subclassed, "onnx", r"never called.*; call it once on real inputs", {}, {}, lambda: called(Subclassed())
    ),
    "subclassed, never called, with its inputs": Case(
        Subclassed,
        "onnx",
        r"or give LoadOptions\(inputs=\{\"x\": \(\(None, None, 8\), \"float32\"\)\}\)",
        {"loading": LoadOptions(inputs={"x": ((None, None, 8), "float32")})},
    ),
    "bfloat16": Case(
        of(lambda y: keras.ops.cast(y, "bfloat16")),
        "onnx",
        r"output .* of dtype bfloat16; .*; give cast='float32'",
        {"cast": "float32"},
    ),
    "complex numbers": Case(
        of(lambda y: operation("Signal", lambda y: keras.ops.view_as_complex(y[..., :2]))(y)),
        "onnx",
        r"of dtype complex64; .*make two of it, of the real and the imaginary parts",
        {},
        {},
        of(lambda y: [y[..., 0], y[..., 1]]),
    ),
    "text": Case(
        words,
        "onnx",
        r"is text in layer words .*; export to saved-model, or export what has numbers on both sides",
        {"to": "saved-model"},
    ),
    "weights of more than a format holds": Case(
        lambda: around(keras.layers.Dense(40)),
        "tflite",
        r"has weights of .* GB; .*; export it to onnx",
        {"to": "onnx"},
        {"timesteps": 6},
    ),
}
