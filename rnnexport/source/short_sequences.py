"""Layers that TensorFlow 2.21 runs on fewer steps than they need, with what lies in memory, or until the process ends.

    DepthwiseConv1D(3, dilation_rate=2)(x_B3I)    reads five steps; gives three, of numbers that nobody computed
    AdaptiveMaxPooling1D(2)(x_B1I)                divides by zero in the kernel, which ends the process (SIGFPE)

Others raise. Inside the block here these do so, too: on such a sequence there is no truth.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from rnnexport.source.api import Layer, Model, ModelApi
from rnnexport.source.carrying import LayerCall, calls_replaced

_POOLING = "AdaptiveMaxPooling1D"


def short_sequences_refused(api: ModelApi, model: Model) -> AbstractContextManager[None]:
    """Inside this block such a layer raises a ValueError where it has fewer steps than it reads at once."""
    return calls_replaced({layer: _checked for layer in api.layers(model) if _is_dilated(layer) or _pools(layer)})


def _is_dilated(layer: Layer) -> bool:
    dilation = getattr(layer, "dilation_rate", None)
    return isinstance(dilation, tuple) and max(dilation) > 1 and getattr(layer, "padding", None) == "valid"


def _pools(layer: Layer) -> bool:
    return any(kind.__name__ == _POOLING for kind in type(layer).__mro__)


def _checked(call: LayerCall) -> Any:
    layer = call.layer
    first = 2 if layer.data_format == "channels_first" else 1
    needed = (2,) if _pools(layer) else _reads(layer)
    sizes = tuple(call.sequence.shape[first : first + len(needed)])
    if any(size is not None and size < least for size, least in zip(sizes, needed, strict=True)):
        raise ValueError(f"layer {layer.name} reads {needed} steps at once, and is given {sizes}")
    return call.run()


def _reads(layer: Layer) -> tuple[int, ...]:
    return tuple(rate * (size - 1) + 1 for rate, size in zip(layer.dilation_rate, layer.kernel_size, strict=True))
