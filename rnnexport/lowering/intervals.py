"""Between which two numbers a value lies, whatever the inputs are: known of activations, constants and what they make.

The answer may be wider than it need be; (-inf, inf) is always right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import Constants
from rnnexport.ir.terms import Term, below

Interval = tuple[float, float]
ALL: Interval = (-np.inf, np.inf)


def interval(term: Term, constants: Constants) -> Interval:
    """The least and the largest number that an element of `term` can be."""
    found: dict[Term, Interval] = {}
    for part in _below(term):
        known = constants(part)
        if known is not None:
            numeric = known.size and known.dtype.kind in "fiub"
            found[part] = (float(known.min()), float(known.max())) if numeric else ALL
        elif part.op == "Element":
            found[part] = found[part.sequence]
        else:
            found[part] = _of(part, [found[one] for one in part.operands])
    return found[term]


def _below(term: Term) -> list[Term]:
    """All that it is computed from, the sequences of elements too."""
    order = below([term])
    sequences = [part.sequence for part in order if part.op == "Element"]
    return list(dict.fromkeys([one for sequence in sequences for one in _below(sequence)] + order))


def _of(term: Term, given: Sequence[Interval]) -> Interval:
    if term.op in _RANGES:
        return _RANGES[term.op]
    if term.op == "Cast" and term.operands[0].dtype == ir.DataType.BOOL:
        return 0.0, 1.0
    if term.op == "Mul" and len(term.operands) == 2 and term.operands[0] is term.operands[1]:
        size = max(map(abs, given[0]))
        return 0.0, size * size
    rule = _RULES.get(term.op)
    if rule is None or not given or any(np.isnan(one) for pair in given for one in pair):
        return ALL
    low, high = rule(given)
    return (low, high) if low <= high else ALL  # NaN, as of inf - inf


def _add(given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    return a + c, b + d


def _sub(given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    return a - d, b - c


def _mul(given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    ends = [0.0 if 0 in (one, other) else one * other for one in (a, b) for other in (c, d)]
    return min(ends), max(ends)


def _div(given: Sequence[Interval]) -> Interval:
    numerator, (c, d) = given
    if c <= 0 <= d:
        return ALL
    return _mul([numerator, (1 / d, 1 / c)])


def _exp(given: Sequence[Interval]) -> Interval:
    ((low, high),) = given
    with np.errstate(over="ignore"):
        return float(np.exp(low)), float(np.exp(high))


def _sqrt(given: Sequence[Interval]) -> Interval:
    ((low, high),) = given
    return ALL if low < 0 else (float(np.sqrt(low)), float(np.sqrt(high)))


def _clip(given: Sequence[Interval]) -> Interval:
    (low, high), *bounds = given
    if len(bounds) != 2:
        return ALL
    (least, _), (_, most) = bounds
    return max(low, least), min(high, most)


_RANGES: dict[str, Interval] = {
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "Softmax"), (0.0, 1.0)),
    **dict.fromkeys(("Tanh", "Softsign", "Sin", "Cos", "Erf"), (-1.0, 1.0)),
    "Softplus": (0.0, np.inf),
}
_MOVED = "Identity Unsqueeze Squeeze Reshape Transpose Expand Slice Gather Split Tile Flatten"
_RULES: dict[str, Callable[[Sequence[Interval]], Interval]] = {
    **dict.fromkeys(_MOVED.split(), lambda given: given[0]),
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Exp": _exp,
    "Sqrt": _sqrt,
    "Clip": _clip,
    "Neg": lambda given: (-given[0][1], -given[0][0]),
    "Relu": lambda given: (max(given[0][0], 0.0), max(given[0][1], 0.0)),
    "Abs": lambda given: (0.0, max(map(abs, given[0]))),
    "Reciprocal": lambda given: _div([(1.0, 1.0), given[0]]),
    "Max": lambda given: (max(low for low, _ in given), max(high for _, high in given)),
    "Min": lambda given: (min(low for low, _ in given), min(high for _, high in given)),
    "Where": lambda given: (min(low for low, _ in given[1:]), max(high for _, high in given[1:])),
    "Concat": lambda given: (min(low for low, _ in given), max(high for _, high in given)),
}
