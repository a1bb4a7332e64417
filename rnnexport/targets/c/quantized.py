"""C programs with weights of int8: matrices that are multiplied with, a scale for each column; see `emit.c.integers`.

States and what is multiplied are rounded to 16 bits, by the range of each row, where a product needs whole numbers, and
are float32 else. So nothing is calibrated: the calls that others take ranges from are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.conversion.convert import require_converted
from rnnexport.core.errors import ConversionError
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.quantization import QuantizedPart
from rnnexport.emit.c.arrays import C_TYPES
from rnnexport.emit.c.module import constants_in
from rnnexport.emit.c.program import TranslationUnit
from rnnexport.emit.c.self_test import PREFIX
from rnnexport.quantization.calibration import Saturation
from rnnexport.source.trace import Graphs
from rnnexport.targets.base import ExportOptions
from rnnexport.targets.c.export import export
from rnnexport.targets.c.files import read_source, read_text, read_weights

_PRODUCTS = ("Gemm", "MatMul")
_BYTES = {ctype: np.dtype(name).itemsize for name, ctype in C_TYPES.items()}


class Quantizer:
    """See `targets.base.Quantizer`.

    Args:
        graphs, feeds, options: see `Target.export`.
    """

    def __init__(self, graphs: Graphs, feeds: Sequence[Arrays], options: ExportOptions) -> None:
        self._graphs, self._feeds = graphs, feeds
        self._options = replace(options, c=replace(options.c, int8=True))

    def write(
        self, path: Path, form: str, calls: Sequence[Arrays], only: frozenset[str] | None = None
    ) -> tuple[tuple[QuantizedPart, ...], tuple[LoweringDecision, ...]]:
        weights = require_converted(self._graphs).weights
        if infinite := [name for name, array in weights.items() if not np.isfinite(array.astype(float)).all()]:
            raise ConversionError(
                f"weights of {infinite[0]} that are not finite", "numbers, for --quantize int8", "leave --quantize out"
            )
        decisions = export(self._graphs, self._feeds, path, self._options)
        return _parts(read_source(path).parts(weights)), decisions

    def calibrates(self, form: str) -> bool:
        return False

    def separates(self, form: str) -> bool:
        return False

    def saturation(self, form: str, calls: Sequence[Arrays]) -> Saturation | None:
        return None

    def size(self, path: Path) -> int:
        return constant_bytes(path)


def quantizer(graphs: Graphs, feeds: Sequence[Arrays], options: ExportOptions) -> Quantizer:
    """What quantises a model. Raises as `Target.export`, later."""
    return Quantizer(graphs, feeds, options)


def constant_bytes(path: Path) -> int:
    """The bytes of the weights and constants of a program: what it takes of read-only memory besides code."""
    constants = constants_in(read_text(path).decode())
    inside = {name: each for name, each in constants.items() if not name.startswith(PREFIX)}
    sizes = (_BYTES[ctype] * (numbers.count(",") + 1) for ctype, numbers in inside.values())
    return sum(sizes) + len(read_weights(path, read_source(path)))


def _parts(unit: TranslationUnit) -> tuple[QuantizedPart, ...]:
    """What became of each weight that the program has."""
    found = []
    for name, (array, called) in unit.constants.items():
        path = called.partition(" (")[0]
        if name in unit.rounded:
            how = "int8 products, 16 bits by the range of each row"
            found.append(QuantizedPart(path, "MatMul", how, "", unit.rounded[name], array.nbytes))
        elif name in unit.weighed and array.dtype == np.float32:
            op = unit.weighed[name]
            why = "it is not on the right of a product" if op in _PRODUCTS else f"C has no {op} of int8"
            found.append(QuantizedPart(path, op, "", why, array.nbytes, array.nbytes))
    return tuple(found)
