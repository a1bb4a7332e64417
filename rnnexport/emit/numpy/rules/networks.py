"""Convolution, pooling and dropout as NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rnnexport.emit.numpy.expression import Expression, UnwrittenError, Use, call
from rnnexport.emit.numpy.rules.attributes import helper, word
from rnnexport.emit.numpy.rules.common import Rule, method, rank_of


def _conv(use: Use) -> Expression:
    return helper("convolve", use, *_window(use), *_groups(use), inputs=range(3))


def _conv_transpose(use: Use) -> Expression:
    more = [
        f"{name}={_tuple(use.attributes[name])}"
        for name in ("output_padding", "output_shape")
        if any(use.attributes.get(name, ()))
    ]
    return helper("transposed_convolve", use, *_window(use), *_groups(use), *more, inputs=range(3))


def _groups(use: Use) -> list[str]:
    groups = use.attributes.get("group", 1)
    return [] if groups == 1 else [f"groups={groups}"]


def _window(use: Use) -> list[str]:
    """Strides, dilations and padding, where they are not the defaults."""
    settings = [
        f"{name}={_tuple(use.attributes[name])}"
        for name in ("strides", "dilations")
        if any(item != 1 for item in use.attributes.get(name, ()))
    ]
    automatic = word(use, "auto_pad", "NOTSET")
    pads = [int(item) for item in use.attributes.get("pads", ())]
    if automatic.startswith("SAME"):
        settings.append(f'padding="{automatic.lower()}"')
    elif automatic == "NOTSET" and any(pads):
        half = len(pads) // 2
        settings.append(f"padding={tuple(zip(pads[:half], pads[half:], strict=True))}")
    return settings


def _tuple(items: Iterable[int]) -> str:
    return repr(tuple(int(item) for item in items))


def _pool(function: str, use: Use, *more: str) -> Expression:
    complete = ["ceil_mode=True"] if use.attributes.get("ceil_mode", 0) else []
    return helper(function, use, _tuple(use.attributes["kernel_shape"]), *_window(use), *complete, *more)


def _max_pool(use: Use) -> Expression:
    if len(use.results) > 1:
        raise UnwrittenError("with the places of the largest")
    if use.operand(0).dtype in ("int8", "uint8"):
        raise UnwrittenError(f"of {use.operand(0).dtype}")
    return _pool("max_pool", use)


def _average_pool(use: Use) -> Expression:
    return _pool("average_pool", use, *(["count_padding=True"] if use.attributes.get("count_include_pad", 0) else []))


def _power_pool(use: Use) -> Expression:
    p = use.attributes.get("p", 2)
    return _pool("power_pool", use, *([] if p == 2 else [f"p={p}"]))


def _global_pool(name: str) -> Rule:
    """`x.name(axis=(2, 3), keepdims=True)`: over all axes of space."""

    def rule(use: Use) -> Expression:
        axes = tuple(range(2, rank_of(use.operand(0))))
        return method(use.operand(0), name, f"axis={axes[0] if len(axes) == 1 else axes}", "keepdims=True")

    return rule


def _dropout(use: Use) -> Expression | tuple[Expression, ...]:
    """What goes in, unless it may be training; the mask, if it is wanted, says that all of it comes out."""
    x, training = use.operand(0).expression, use.given(2)
    if training is not None and (training.value is None or training.value.any()):
        raise UnwrittenError("in training")
    return x if len(use.results) == 1 else (x, call("np.ones_like", x.text, "bool", uses=[x]))


RULES: Mapping[str, Rule] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Dropout": _dropout,
    "GlobalAveragePool": _global_pool("mean"),
    "GlobalMaxPool": _global_pool("max"),
    "LpPool": _power_pool,
    "MaxPool": _max_pool,
}
