"""Activation functions, products of matrices, convolution, pooling, normalization and resizing as NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, UnwrittenError, Use, call, combined, literal
from rnnexport.emit.numpy.rules.common import (
    Rule,
    as_array,
    axis_at,
    helper,
    method,
    number,
    rank_of,
    scaled,
    shifted,
    word,
)


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


def _global_pool(name: str) -> Rule:
    """`x.name(axis=(2, 3), keepdims=True)`: over all axes of space."""

    def rule(use: Use) -> Expression:
        axes = tuple(range(2, rank_of(use.operand(0))))
        return method(use.operand(0), name, f"axis={axes[0] if len(axes) == 1 else axes}", "keepdims=True")

    return rule


def _dropout(use: Use) -> Expression | tuple[Expression, ...]:
    """What goes in, unless it may be training; the mask, if it is wanted, says that all of it comes out."""
    x, training = use.operand(0).expression, use.optional(2)
    if training is not None and (training.value is None or training.value.any()):
        raise UnwrittenError("in training")
    return x if len(use.results) == 1 else (x, call("np.ones_like", x.text, "bool", uses=[x]))


# What a float of ONNX can't hold: the constants of Selu, of which its attributes are the rounded ones.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _along(function: str) -> Rule:
    """`function(x)` along the last axis, or `function(x, axis=1)`."""

    def rule(use: Use) -> Expression:
        rank = use.operand(0).rank
        axis = int(use.attributes.get("axis", -1))
        last = axis == -1 or (rank is not None and axis == rank - 1)
        return helper(function, use, *([] if last else [f"axis={axis_at(axis, rank)}"]))

    return rule


def _selu(use: Use) -> Expression:
    alpha = _unrounded(use, "alpha", _SELU_ALPHA)
    return scaled(_unrounded(use, "gamma", _SELU_SCALE), helper("elu", use, alpha.text))


def _unrounded(use: Use, name: str, constant: float) -> Expression:
    """The constant where the attribute is it as far as ONNX can tell."""
    given = np.float32(use.attributes.get(name, constant))
    return literal(constant if given == np.float32(constant) else given)


def _hard_sigmoid(use: Use) -> Expression:
    line = shifted(scaled(number(use, "alpha", 0.2), as_array(use.operand(0))), number(use, "beta", 0.5))
    return call("np.clip", line.text, "0", "1", uses=[line])


def _mat_mul(use: Use) -> Expression:
    return _product(use.operand(0).expression, use.operand(1).expression)


def _gemm(use: Use) -> Expression:
    """`a @ b + c`, with what the attributes say: `alpha * (a.T @ b) + beta * c`."""
    left = _turned(use.operand(0), bool(use.attributes.get("transA", 0)))
    right = _turned(use.operand(1), bool(use.attributes.get("transB", 0)))
    product = scaled(number(use, "alpha", 1), _product(left, right))
    added = use.optional(2)
    if added is None or use.attributes.get("beta", 1) == 0:
        return product
    term = scaled(number(use, "beta", 1), added.expression)
    text = f"{product.within(Binding.SUM)} + {term.within(Binding.PRODUCT)}"
    return combined(text, Binding.SUM, [product, term])


def _product(left: Expression, right: Expression) -> Expression:
    """Brackets around products on the left too: `0.5 * x @ w` says less than `(0.5 * x) @ w`."""
    text = f"{left.within(Binding.UNARY)} @ {right.within(Binding.UNARY)}"
    return combined(text, Binding.PRODUCT, [left, right])


def _turned(operand: Operand, turn: bool) -> Expression:
    if not turn:
        return operand.expression
    return combined(f"{operand.expression.within(Binding.ATOM)}.T", Binding.ATOM, [operand.expression])


def _batch(use: Use) -> Expression:
    if use.attributes.get("training_mode", 0):
        raise UnwrittenError("in training")
    return helper("batch_normalize", use, number(use, "epsilon", 1e-5).text, inputs=range(5))


def _instance(use: Use) -> Expression:
    return helper("instance_normalize", use, number(use, "epsilon", 1e-5).text, inputs=range(3))


def _local_response(use: Use) -> Expression:
    settings = [number(use, name, default).text for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))]
    return helper("local_response_normalize", use, str(use.attributes["size"]), *settings)


_COORDINATES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn")


def _resize(use: Use) -> Expression:
    settings, scales, sizes = _settings(use), _filled(use.optional(2)), _filled(use.optional(3))
    x, axes = use.operand(0), use.attributes.get("axes")
    if sizes is not None and sizes.elements is None:
        text = sizes.expression.text
        pairs = f"enumerate({text})" if axes is None else f"zip({tuple(axes)}, {text}, strict=True)"
        return _call("resize", x, f"dict({pairs})", settings, [sizes.expression])
    if sizes is not None:
        wanted = dict(zip(_axes(use, len(sizes.elements or ())), sizes.elements or (), strict=True))
        changed = {axis: size for axis, size in wanted.items() if x.shape is None or size != x.shape[axis]}
        return _call("resize", x, _dict(changed), settings) if changed else x.expression
    if scales is None or scales.value is None:
        raise UnwrittenError("by scales that are computed")
    factors = dict(zip(_axes(use, scales.value.size), scales.value.astype(np.float32), strict=True))
    changed_by = {axis: factor for axis, factor in factors.items() if factor != 1}
    exact = _sizes(use, changed_by)
    if not changed_by:
        return x.expression
    if exact is not None:
        return _call("resize", x, _dict(exact), settings)
    return _call("resize_by", x, _dict({axis: literal(factor).text for axis, factor in changed_by.items()}), settings)


def _filled(operand: Operand | None) -> Operand | None:
    """An input that is there: an empty one is as good as none."""
    return None if operand is None or operand.shape == (0,) else operand


def _axes(use: Use, count: int) -> tuple[int, ...]:
    """The axes to be resized, counted from the first."""
    given: Sequence[int] | None = use.attributes.get("axes")
    if given is None:
        return tuple(range(count))
    return tuple(axis if axis >= 0 else axis + rank_of(use.operand(0)) for axis in given)


def _sizes(use: Use, factors: Mapping[int, np.float32]) -> Mapping[int, int] | None:
    """The new sizes, where a factor is nothing but new by old size as float32 has it; None where one is more."""
    old, new, found = use.operand(0).shape, use.results[0].shape, dict[int, int]()
    for axis, factor in factors.items():
        before, after = (None if shape is None else shape[axis] for shape in (old, new))
        if not isinstance(before, int) or not isinstance(after, int) or np.float32(after / before) != factor:
            return None
        found[axis] = after
    return found


def _settings(use: Use) -> list[str]:
    """What follows the sizes in the call.

    Raises:
        UnwrittenError: it is one of the kinds that nothing here computes.
    """
    mode = word(use, "mode", "nearest")
    coordinates = word(use, "coordinate_transformation_mode", "half_pixel")
    if coordinates not in _COORDINATES:
        raise UnwrittenError(f"with coordinates {coordinates}")
    if use.attributes.get("antialias", 0):
        raise UnwrittenError("with antialias")
    if word(use, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnwrittenError("that keeps the aspect ratio")
    if mode != "nearest" and use.operand(0).dtype not in (None, "float16", "bfloat16", "float32", "float64"):
        raise UnwrittenError(f"between elements of {use.operand(0).dtype}")
    settings = [f'"{mode}"', f'"{coordinates}"']
    if mode == "nearest":
        settings.append(f'"{word(use, "nearest_mode", "round_prefer_floor")}"')
    if mode == "cubic":
        settings.append(f"cubic={number(use, 'cubic_coeff_a', -0.75).text}")
        settings += ["exclude_outside=True"] if use.attributes.get("exclude_outside", 0) else []
    return settings


def _dict(items: Mapping[int, int | str]) -> str:
    return "{" + ", ".join(f"{axis}: {item}" for axis, item in items.items()) + "}"


def _call(function: str, x: Operand, what: str, settings: Sequence[str], uses: Sequence[Expression] = ()) -> Expression:
    array = as_array(x)
    return call(function, array.text, what, *settings, uses=[array, *uses], helper=True)


RULES: Mapping[str, Rule] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Dropout": _dropout,
    "GlobalAveragePool": _global_pool("mean"),
    "GlobalMaxPool": _global_pool("max"),
    "MaxPool": _max_pool,
    "HardSigmoid": _hard_sigmoid,
    "LogSoftmax": _along("log_softmax"),
    "Selu": _selu,
    "Softmax": _along("softmax"),
    "Gemm": _gemm,
    "MatMul": _mat_mul,
    "BatchNormalization": _batch,
    "InstanceNormalization": _instance,
    "LRN": _local_response,
    "Resize": _resize,
}
