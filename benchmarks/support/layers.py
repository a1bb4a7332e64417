"""One use of each layer of Keras 3 and tf_keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

WIDTH = 4
IDS = 7  # of them there are
# What goes into a layer: features over time (B, T, 4); two of these; rows of them, which a recurrence gives (B, 4); ids
# over time (B, T); numbers over time (B, T); pictures, volumes; pictures over time; words.
Kind = Literal["sequence", "pair", "row", "ids", "wave", "picture", "volume", "film", "words"]


@dataclass(frozen=True)
class Use:
    """How a layer is used.

    Attributes:
        make: the layer, of the module `layers` of its Keras.
        kind: what goes in.
        alone: whether no recurrence can follow: Keras does not know the shape that it gives.
    """

    make: Callable[[Any], Any]
    kind: Kind = "sequence"
    alone: bool = False


def _plain(name: str, *arguments: Any, **options: Any) -> Callable[[Any], Any]:
    def make(layers: Any) -> Any:
        return getattr(layers, name)(*arguments, **options)

    return make


def _all(names: str, kind: Kind, *arguments: Any, **options: Any) -> dict[str, Use]:
    return {name: Use(_plain(name, *arguments, **options), kind) for name in names.split()}


def _by_rank(name: str, *arguments: Any, **options: Any) -> dict[str, Use]:
    """A layer that there is in one, two and three dimensions."""
    kinds: tuple[Kind, ...] = ("sequence", "picture", "volume")
    return {
        f"{name}{at}D": Use(_plain(f"{name}{at}D", *arguments, **options), kind) for at, kind in enumerate(kinds, 1)
    }


_SIMPLE: dict[str, Use] = {
    **_all("Identity ReLU ELU LeakyReLU Softmax ActivityRegularization ThresholdedReLU Masking", "sequence"),
    **_all("LayerNormalization BatchNormalization RMSNormalization UnitNormalization", "sequence"),
    **_all("Dropout AlphaDropout GaussianDropout GaussianNoise SpatialDropout1D", "sequence", 0.3),
    **_all("SpatialDropout2D", "picture", 0.3),
    **_all("SpatialDropout3D", "volume", 0.3),
    **_all("Add Subtract Multiply Average Maximum Minimum Concatenate Attention AdditiveAttention", "pair"),
    **_all("LSTM GRU SimpleRNN", "sequence", 5, return_sequences=True),
    **_all("Dense", "sequence", 5, activation="tanh"),
    **_all("Flatten", "row"),
    **_by_rank("AdaptiveAveragePooling", 2),
    **_by_rank("AdaptiveMaxPooling", 2),
    **_by_rank("AveragePooling", 2),
    **_by_rank("AvgPool", 2),
    **_by_rank("MaxPooling", 2),
    **_by_rank("MaxPool", 2),
    **_by_rank("GlobalAveragePooling"),
    **_by_rank("GlobalAvgPool"),
    **_by_rank("GlobalMaxPooling"),
    **_by_rank("GlobalMaxPool"),
    **_by_rank("Conv", 5, 3, padding="same"),
    **_by_rank("Convolution", 5, 3, padding="same"),
    **_by_rank("Cropping", 1),
    **_by_rank("UpSampling", 2),
    **_by_rank("ZeroPadding", 1),
}
_TRANSPOSED = {
    f"{name}{at}DTranspose": Use(_plain(f"{name}{at}DTranspose", 5, 3, strides=2), kind)
    for name in ("Conv", "Convolution")
    for at, kind in enumerate(("sequence", "picture", "volume"), 1)
}
_CONVOLUTIONS = {
    "DepthwiseConv1D": Use(_plain("DepthwiseConv1D", 3, padding="same", depth_multiplier=2)),
    "DepthwiseConv2D": Use(_plain("DepthwiseConv2D", 3, padding="same", depth_multiplier=2), "picture"),
    **_all("SeparableConv1D SeparableConvolution1D", "sequence", 5, 3, padding="same"),
    **_all("SeparableConv2D SeparableConvolution2D", "picture", 5, 3, padding="same"),
    "LocallyConnected1D": Use(_plain("LocallyConnected1D", 5, 3)),
    "LocallyConnected2D": Use(_plain("LocallyConnected2D", 5, 3), "picture"),
    "ConvLSTM1D": Use(_plain("ConvLSTM1D", 3, 3, padding="same"), "film"),
    "ConvLSTM2D": Use(_plain("ConvLSTM2D", 3, 3, padding="same"), "film"),
    "ConvLSTM3D": Use(_plain("ConvLSTM3D", 3, 3, padding="same"), "film"),
}
_PICTURES = (
    "AugMix AutoContrast CenterCrop ContrastLimitedAdaptiveHistogramEqualization Equalization RandAugment "
    "RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform "
    "RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight RandomHue RandomInvert RandomPerspective "
    "RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomWidth "
    "RandomZoom Resizing Solarization"
)
_PICTURE_ARGUMENTS: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("CenterCrop", "RandomCrop", "Resizing"), (4, 3)),
    **dict.fromkeys(
        ("RandomBrightness", "RandomContrast", "RandomHeight", "RandomRotation", "RandomWidth", "RandomZoom"), (0.2,)
    ),
    **dict.fromkeys(("RandomColorDegeneration", "RandomHue", "RandomSaturation", "RandomSharpness"), (0.2,)),
    "RandomTranslation": (0.2, 0.2),
    "RandomPosterization": (4,),
    "RandomGrayscale": (0.5,),
}
_OF_PICTURES = {name: Use(_plain(name, *_PICTURE_ARGUMENTS.get(name, ())), "picture") for name in _PICTURES.split()}
_OF_PICTURES["RandomCrop"] = Use(_plain("RandomCrop", 4, 3), "picture", alone=True)
_LOOKUPS = {
    "CategoryEncoding": Use(_plain("CategoryEncoding", IDS, output_mode="multi_hot"), "ids"),
    "Discretization": Use(_plain("Discretization", bin_boundaries=[-1.0, 0.0, 1.5]), "wave"),
    "Embedding": Use(_plain("Embedding", IDS, 5, mask_zero=True), "ids"),
    "ReversibleEmbedding": Use(_plain("ReversibleEmbedding", IDS, 5), "ids"),
    "Hashing": Use(_plain("Hashing", 5), "ids"),
    "HashedCrossing": Use(lambda layers: partial(_crossed, layers.HashedCrossing(5)), "ids"),
    "IntegerLookup": Use(_plain("IntegerLookup", vocabulary=[2, 3, 5]), "ids"),
    "StringLookup": Use(_plain("StringLookup", vocabulary=["a", "bc"]), "words"),
    "TextVectorization": Use(_plain("TextVectorization", vocabulary=["a", "bc"], output_sequence_length=3), "words"),
    "Normalization": Use(_plain("Normalization", mean=[0.1, 0.2, 0.3, 0.4], variance=[1.0, 2.0, 0.5, 1.5])),
}
_OTHERS = {
    "Activation": Use(_plain("Activation", "gelu")),
    "Bidirectional": Use(lambda layers: layers.Bidirectional(layers.GRU(3, return_sequences=True))),
    "Dot": Use(_plain("Dot", axes=(2, 2)), "pair"),
    "EinsumDense": Use(_plain("EinsumDense", "btf,fg->btg", (None, 5), bias_axes="g")),
    "GRUCell": Use(lambda layers: layers.RNN(layers.GRUCell(5), return_sequences=True)),
    "LSTMCell": Use(lambda layers: layers.RNN(layers.LSTMCell(5), return_sequences=True)),
    "SimpleRNNCell": Use(lambda layers: layers.RNN(layers.SimpleRNNCell(5), return_sequences=True)),
    "RNN": Use(lambda layers: layers.RNN(layers.GRUCell(5), return_sequences=True, go_backwards=True)),
    "StackedRNNCells": Use(
        lambda layers: layers.RNN(
            layers.StackedRNNCells([layers.GRUCell(5), layers.LSTMCell(3)]), return_sequences=True
        )
    ),
    "GroupNormalization": Use(_plain("GroupNormalization", 2)),
    "GroupQueryAttention": Use(lambda layers: partial(_itself, layers.GroupQueryAttention(3, 4, 2))),
    "MultiHeadAttention": Use(lambda layers: partial(_itself, layers.MultiHeadAttention(2, 3))),
    "InputLayer": Use(_plain("Identity")),
    "Lambda": Use(_plain("Lambda", lambda x: x * 2 + 1)),
    "MelSpectrogram": Use(
        _plain(
            "MelSpectrogram",
            fft_length=16,
            sequence_stride=8,
            sequence_length=16,
            sampling_rate=100,
            num_mel_bins=5,
            min_freq=1.0,
            max_freq=40.0,
        ),
        "wave",
    ),
    "STFTSpectrogram": Use(
        _plain("STFTSpectrogram", frame_length=16, frame_step=8, fft_length=16, window=None), "wave"
    ),
    "PReLU": Use(_plain("PReLU", shared_axes=[1])),
    "Permute": Use(_plain("Permute", (2, 1))),
    "Pipeline": Use(lambda layers: layers.Pipeline([layers.Rescaling(0.5), layers.Rescaling(2.0, -1.0)])),
    "RepeatVector": Use(_plain("RepeatVector", 3), "row"),
    "Rescaling": Use(_plain("Rescaling", 0.5, -1.0)),
    "Reshape": Use(_plain("Reshape", (-1, 2))),
    "SpectralNormalization": Use(lambda layers: layers.SpectralNormalization(layers.Dense(5))),
    "TimeDistributed": Use(lambda layers: layers.TimeDistributed(layers.Conv2D(2, 3, padding="same")), "film"),
}

USES: Mapping[str, Use] = {**_SIMPLE, **_TRANSPOSED, **_CONVOLUTIONS, **_OF_PICTURES, **_LOOKUPS, **_OTHERS}

NOT_APPLICABLE: Mapping[str, str] = {
    "AbstractRNNCell": "a base class",
    "CutMix": "for training alone, on pictures with labels",
    "DenseFeatures": "reads feature columns of TensorFlow 1",
    "FlaxLayer": "runs JAX",
    "InputSpec": "no layer",
    "JaxLayer": "runs JAX",
    "Layer": "a base class",
    "MaxNumBoundingBoxes": "for training alone, on bounding boxes",
    "MixUp": "for training alone, on pictures with labels",
    "TFSMLayer": "reads a SavedModel from a path",
    "TorchModuleWrapper": "runs torch",
    "Wrapper": "a base class",
}

# By kind: what comes behind the batch, and the dtype.
SHAPES: Mapping[Kind, tuple[tuple[int | None, ...], str]] = {
    "sequence": ((None, WIDTH), "float32"),
    "pair": ((None, WIDTH), "float32"),
    "row": ((None, WIDTH), "float32"),
    "ids": ((None,), "int32"),
    "wave": ((None,), "float32"),
    "picture": ((5, 6, 3), "float32"),
    "volume": ((4, 5, 6, 3), "float32"),
    "film": ((None, 5, 6, 3), "float32"),
    "words": ((None,), "string"),
}
# What a few layers want otherwise.
OWN_SHAPES: Mapping[str, tuple[int | None, ...]] = {
    "HashedCrossing": (2,),
    "TextVectorization": (1,),
    "STFTSpectrogram": (None, 1),
    "Discretization": (None, WIDTH),
    "ConvLSTM1D": (None, 5, 3),
    "ConvLSTM3D": (None, 3, 4, 5, 2),
}


def _itself(layer: Any, x: Any) -> Any:
    return layer(x, x)


def _crossed(layer: Any, ids: Any) -> Any:
    return layer((ids[:, :1], ids[:, 1:2]))


def values(rng: np.random.Generator, path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Distinct weights and non-zero biases, as of a trained model; variances and factors above 0."""
    if "variance" in path or "gamma" in path:
        return rng.uniform(0.4, 1.5, shape)
    if len(shape) < 2:
        return rng.uniform(-0.5, 0.5, shape)
    return rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
