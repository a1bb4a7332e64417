"""Convolutions, pooling and batch normalisation. Letters: N rows, C channels in, M channels out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from rnnexport.emit.c.arrays import Array, Poly, Size, factor, product, quotient, text
from rnnexport.emit.c.body import FunctionWriter, loops
from rnnexport.emit.c.elementwise import NoFormError, number
from rnnexport.emit.c.groups import place
from rnnexport.emit.c.operators.parts import viewed
from rnnexport.emit.c.operators.reductions import _reduced
from rnnexport.ir.terms import Term


@dataclass(frozen=True)
class Window:
    """How a window moves along one axis of space.

    Attributes:
        size: of the window.
        stride: from one window to the next.
        dilation: from one of its elements to the next.
        before: what is put before the axis.
        count: how many windows there are.
        whole: the size of the axis.
    """

    size: int
    stride: int
    dilation: int
    before: int
    count: Size
    whole: Size

    @property
    def is_inside(self) -> bool:
        """Whether no window reaches beyond the axis."""
        reach = (self.count - 1) * self.stride + (self.size - 1) * self.dilation + 1
        return self.before == 0 and (
            reach == self.whole or (isinstance(reach, int) and isinstance(self.whole, int) and reach <= self.whole)
        )

    def place(self, window: str, element: str) -> str:
        """Where an element of a window is on the axis."""
        parts = [window if self.stride == 1 else f"{window} * {self.stride}"]
        if self.size > 1:
            parts.append(element if self.dilation == 1 else f"{element} * {self.dilation}")
        return " + ".join(parts)


def windows(term: Term, space: Sequence[Size], sizes: Sequence[int]) -> list[Window]:
    """How windows of these sizes move, by the attributes of the operator."""
    rank = len(space)
    strides, dilations = (list(term.attribute(name) or [1] * rank) for name in ("strides", "dilations"))
    pads = list(term.attribute("pads") or [0] * 2 * rank)
    automatic = term.attribute("auto_pad") or "NOTSET"
    automatic = automatic.decode() if isinstance(automatic, bytes) else automatic
    found = []
    for at, (whole, size) in enumerate(zip(space, sizes, strict=True)):
        reach = (size - 1) * dilations[at] + 1
        before, behind = pads[at], pads[rank + at]
        if automatic == "VALID":
            before = behind = 0
        elif automatic.startswith("SAME"):
            before, behind = _same(whole, strides[at], reach, upper=automatic == "SAME_UPPER")
        room = whole + before + behind - reach
        rounded_up = term.attribute("ceil_mode", 0)
        count = _windows(room, strides[at], up=bool(rounded_up))
        found.append(Window(size, strides[at], dilations[at], before, count, whole))
    return found


def _same(whole: Size, stride: int, reach: int, *, upper: bool) -> tuple[int, int]:
    if isinstance(whole, Poly):
        if stride != 1:
            raise NoFormError("what is put around depends on the length")
        more = reach - 1
    else:
        more = max((-(-whole // stride) - 1) * stride + reach - whole, 0)
    return (more // 2, more - more // 2) if upper else (more - more // 2, more // 2)


def _windows(room: Size, stride: int, *, up: bool) -> Size:
    if isinstance(room, int):
        if room < 0:
            raise NoFormError("its window is larger than what it looks at")
        return (-(-room // stride) if up else room // stride) + 1
    found = quotient(room, stride)
    if found is None:
        raise NoFormError("how many windows there are depends on the length")
    return found + 1


def _require_floats(x: Array) -> None:
    if x.dtype not in ("float32", "float64"):
        raise NoFormError(f"its numbers are {x.dtype}")


def _function(name: str, x: Array) -> str:
    """A function of <math.h> for numbers of an array."""
    return f"{name}f" if x.dtype == "float32" else name


def _conv(body: FunctionWriter, term: Term) -> None:
    x, kernel = (viewed(body, term, body.array(part)) for part in term.operands[:2])
    _require_floats(x)
    bias = body.solid(term.operands[2]) if len(term.operands) > 2 else None
    groups = term.attribute("group", 1)
    sizes = [size for size in kernel.shape[2:] if isinstance(size, int)]
    moves = windows(term, x.shape[2:], sizes)
    if not isinstance(kernel.shape[0], int):
        raise NoFormError("its channels depend on the length")
    if groups == 1 and x.dtype == "float32":
        _conv_of_all(body, term, x, kernel, bias, moves)
    else:
        _conv_of_groups(body, term, body.made_solid(x, "inputs"), kernel, bias, moves)


def _conv_of_all(
    body: FunctionWriter, term: Term, x: Array, kernel: Array, bias: Array | None, moves: Sequence[Window]
) -> None:
    """Each place of the result is a sum of rows of products; its channels are next to each other in memory."""
    channels, rank = kernel.shape[0], len(moves)
    last = kernel.seen((*kernel.shape[1:], channels), (*kernel.strides[1:], kernel.strides[0]))
    turned = last.seen(
        (*last.shape[1:-1], last.shape[0], channels), (*last.strides[1:-1], last.strides[0], last.strides[-1])
    )
    weights = body.made_solid(turned, "kernel")
    shape = (x.shape[0], *(each.count for each in moves), channels)
    made, sums = body.fresh(body.name_of(term), x.dtype, shape), body.fresh("sums", x.dtype, (channels,))
    outer, inner = ["n", *(f"o{at}" for at in range(rank))], [f"k{at}" for at in range(rank)]
    depth, stride = x.shape[1], x.strides[1]
    body.uses(depth, stride, channels)
    with loops(body, outer, shape[:-1]):
        with body.block(f"for (size_t at = 0; at < {text(channels)}; at += LANES)"):
            start = "splat(0.0f)" if bias is None else f"load({bias.pointer} + at)"
            body.line(f"store({sums.base} + at, {start});")
        with _looking(body, moves) as places:
            source = _element(body, x, "0", places)
            rows = f"{_at(weights, inner)}, {text(depth)}, {text(channels)}, {text(stride)}"
            body.line(f"columns_of({sums.base}, &{source}, {rows}, 1);")
        body.line(f"memcpy({_at(made, outer)}, {sums.base}, {factor(channels)} * sizeof(float));")
    body.set(term, made.seen((shape[0], channels, *shape[1:-1]), _second_last(made.strides)))


def _second_last(items: Sequence[Size]) -> tuple[Size, ...]:
    """With the last one in the second place."""
    return (items[0], items[-1], *items[1:-1])


def _at(array: Array, indices: Sequence[str]) -> str:
    """The address of a row of a solid array."""
    where = place(indices, array.strides[: len(indices)], array.offset)
    return f"{array.base} + {where}" if where else array.base


def _conv_of_groups(
    body: FunctionWriter, term: Term, x: Array, kernel: Array, bias: Array | None, moves: Sequence[Window]
) -> None:
    channels, inside = kernel.shape[0], kernel.shape[1]
    assert isinstance(channels, int)
    made = body.made(term, (x.shape[0], channels, *(each.count for each in moves)), x.dtype)
    outer = ["n", "m", *(f"o{at}" for at in range(len(moves)))]
    inner = ["c", *(f"k{at}" for at in range(len(moves)))]
    with loops(body, outer, made.shape):
        body.line(f"{made.ctype} total = {'0.0f' if bias is None else bias.element_at('m')};")
        with body.loop("c", inside), _looking(body, moves) as places:
            channel = f"m / {channels // term.attribute('group', 1)} * {text(inside)} + c"
            source = _element(body, x, channel, places)
            body.line(f"total += {source} * {kernel.element(['m', *inner])};")
        body.line(f"{made.element(outer)} = total;")


@contextmanager
def _looking(body: FunctionWriter, moves: Sequence[Window]) -> Iterator[list[str]]:
    """Loops over the elements of a window that are on the axes; gives where each is."""
    with ExitStack() as stack:
        places = []
        for at, move in enumerate(moves):
            stack.enter_context(body.loop(f"k{at}", move.size))
            place = move.place(f"o{at}", f"k{at}")
            if not move.is_inside:
                body.uses(move.whole)
                place = f"{place} - {move.before}" if move.before else place
                body.line(f"const size_t p{at} = {place};")
                body.line(f"if (p{at} >= {text(move.whole)}) continue;")
                place = f"p{at}"
            places.append(f"({place})" if " " in place else place)
        yield places


def _element(body: FunctionWriter, x: Array, channel: str, places: Sequence[str]) -> str:
    """A number that a window looks at."""
    body.uses(x.offset, *x.strides)
    return x.element(["n", f"({channel})" if " " in channel else channel, *places])


def _pool(body: FunctionWriter, term: Term) -> None:
    x = body.solid(term.operands[0])
    _require_floats(x)
    sizes = [int(size) for size in term.attribute("kernel_shape")]
    moves = windows(term, x.shape[2:], sizes)
    made = body.made(term, (*x.shape[:2], *(each.count for each in moves)), x.dtype)
    outer = ["n", "c", *(f"o{at}" for at in range(len(moves)))]
    largest = term.op == "MaxPool"
    with loops(body, outer, made.shape):
        body.line(f"{made.ctype} total = {'-INFINITY' if largest else '0'};")
        body.line("size_t seen = 0;")
        with _looking(body, moves) as places:
            source = _element(body, x, "c", places)
            body.line(f"total = {source} > total ? {source} : total;" if largest else f"total += {source};")
            body.line("seen++;")
        whole = 1
        for size in sizes:
            whole *= size
        divisor = str(whole) if term.attribute("count_include_pad", 0) else "seen"
        body.line(f"{made.element(outer)} = total{'' if largest else f' / ({made.ctype}){divisor}'};")
        body.line("(void)seen;")


def _global(body: FunctionWriter, term: Term) -> None:
    x = body.pointed(body.array(term.operands[0]), "numbers")
    made = body.made(term, (*x.shape[:2], *(1 for _ in x.shape[2:])))
    op = "ReduceMean" if term.op == "GlobalAveragePool" else "ReduceMax"
    _reduced(body, op, x, set(range(2, len(x.shape))), made)


def _batch_normalization(body: FunctionWriter, term: Term) -> None:
    x, scale, bias, mean, variance = (body.solid(part) for part in term.operands)
    made = body.made(term, x.shape)
    epsilon, root = number_of(term.attribute("epsilon", 1e-5)), _function("sqrt", x)
    indices = ["n", "c", *(f"o{at}" for at in range(len(x.shape) - 2))]
    with loops(body, indices, x.shape):
        one, by, add, middle, spread = (
            each.element_at("c") if each is not x else x.element(indices) for each in (x, scale, bias, mean, variance)
        )
        body.line(f"{made.element(indices)} = ({one} - {middle}) / {root}({spread} + {epsilon}) * {by} + {add};")


def _instance_normalization(body: FunctionWriter, term: Term) -> None:
    """Each channel of each row by its own mean and variance."""
    x, scale, bias = (body.solid(part) for part in term.operands)
    made = body.made(term, x.shape)
    count, epsilon = product(x.shape[2:]), number_of(term.attribute("epsilon", 1e-5))
    body.uses(count)
    with loops(body, ("n", "c"), x.shape[:2]):
        start = f"(n * {factor(x.shape[1])} + c) * {factor(count)}"
        body.line(f"{made.ctype} mean = 0, variance = 0;")
        with body.loop("at", count):
            body.line(f"mean += {x.element_at(f'{start} + at')};")
        body.line(f"mean /= ({made.ctype})({text(count)});")
        with body.loop("at", count):
            body.line(f"const {made.ctype} off = {x.element_at(f'{start} + at')} - mean;")
            body.line("variance += off * off;")
        body.line(f"variance /= ({made.ctype})({text(count)});")
        body.line(f"const {made.ctype} root = {_function('sqrt', x)}(variance + {epsilon});")
        with body.loop("at", count):
            one = f"({x.element_at(f'{start} + at')} - mean) / root"
            body.line(f"{made.base}[{start} + at] = {one} * {scale.element_at('c')} + {bias.element_at('c')};")


def _local_response(body: FunctionWriter, term: Term) -> None:
    """By the squares of the channels around."""
    x, size = body.solid(term.operands[0]), int(term.attribute("size"))
    alpha, beta, bias = (
        number_of(term.attribute(name, default)) for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    made = body.made(term, x.shape)
    inner, channels, before = product(x.shape[2:]), x.shape[1], (size - 1) // 2
    with loops(body, ("n", "c", "at"), (x.shape[0], channels, inner)):
        body.line(f"{made.ctype} total = 0;")
        with body.loop("k", size):
            body.line(f"const size_t near = c + k - {before};")
            body.line(f"if (near >= {text(channels)}) continue;")
            other = x.element_at(f"(n * {factor(channels)} + near) * {factor(inner)} + at")
            body.line(f"total += {other} * {other};")
        place = f"(n * {factor(channels)} + c) * {factor(inner)} + at"
        root = f"{_function('pow', x)}({bias} + {alpha} / {size} * total, {beta})"
        body.line(f"{made.base}[{place}] = {x.element_at(place)} / {root};")


def _conv_transpose(body: FunctionWriter, term: Term) -> None:
    """Each number spread by the kernel, of the shape (C, M / groups, ...)."""
    x, kernel = body.solid(term.operands[0]), body.solid(term.operands[1])
    bias = body.solid(term.operands[2]) if len(term.operands) > 2 else None
    groups, sizes = int(term.attribute("group", 1)), [int(size) for size in kernel.shape[2:] if isinstance(size, int)]
    channels, inside = kernel.shape[:2]
    if not isinstance(channels, int) or not isinstance(inside, int) or len(sizes) != len(kernel.shape) - 2:
        raise NoFormError("its kernel depends on the length")
    moves = _spreading(term, x.shape[2:], sizes)
    shape = (x.shape[0], inside * groups, *(each.whole for each in moves))
    made = body.made(term, shape, x.dtype)
    space = [f"o{at}" for at in range(len(moves))]
    with loops(body, ("n", "m", *space), made.shape):
        body.line(f"{made.element(['n', 'm', *space])} = {'0' if bias is None else bias.element_at('m')};")
    with loops(body, ("n", "c", *space, "m"), (x.shape[0], channels, *x.shape[2:], inside)):
        body.line(f"const {made.ctype} number = {x.element(['n', 'c', *space])};")
        with _looking(body, moves) as places:
            channel = "m" if groups == 1 else f"(c / {channels // groups} * {inside} + m)"
            source = kernel.element(["c", "m", *(f"k{at}" for at in range(len(moves)))])
            body.line(f"{made.element(['n', channel, *places])} += number * {source};")


def _spreading(term: Term, space: Sequence[Size], sizes: Sequence[int]) -> list[Window]:
    """How the kernel moves over the result, axis by axis."""
    rank = len(space)
    strides, dilations = (list(term.attribute(name) or [1] * rank) for name in ("strides", "dilations"))
    pads, more = list(term.attribute("pads") or [0] * 2 * rank), list(term.attribute("output_padding") or [0] * rank)
    wanted = list(term.attribute("output_shape") or [])
    automatic = term.attribute("auto_pad") or "NOTSET"
    automatic = automatic.decode() if isinstance(automatic, bytes) else automatic
    found = []
    for at, (count, size) in enumerate(zip(space, sizes, strict=True)):
        whole = (count - 1) * strides[at] + (size - 1) * dilations[at] + 1 + more[at]
        before, result = (0, whole) if automatic == "VALID" else (pads[at], whole - pads[at] - pads[rank + at])
        if wanted or automatic.startswith("SAME"):
            result = wanted[at] if wanted else count * strides[at]
            rest = whole - result
            if not isinstance(rest, int):
                raise NoFormError("how much is cut off depends on the length")
            result, rest = (whole, 0) if rest < 0 and not wanted else (result, max(rest, 0))
            before = rest // 2 if automatic == "SAME_UPPER" else rest - rest // 2
        found.append(Window(size, strides[at], dilations[at], before, count, result))
    return found


def number_of(value: float) -> str:
    """A float32 of an attribute as C has it."""
    return number(np.float32(value))


OPERATORS: dict[str, Callable[[FunctionWriter, Term], None]] = {
    "Conv": _conv,
    **dict.fromkeys(("MaxPool", "AveragePool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global),
    "BatchNormalization": _batch_normalization,
    "ConvTranspose": _conv_transpose,
    "InstanceNormalization": _instance_normalization,
    "LRN": _local_response,
}
