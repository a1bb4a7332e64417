"""TFLite files with quantised weights, made of the float32 file that the converter wrote.

| form | weights | computed in |
| --- | --- | --- |
| dynamic | int8 | FULLY_CONNECTED: products of integers, by the range of each call; others: float32 |
| int8 | int8 | int8, by ranges that calibration found |
| weights | int8 | float32, behind a DEQUANTIZE |
| float16 | half precision | float32, behind a DEQUANTIZE |

The second is the converter's own quantiser, which takes no loops. What it is calibrated on are sequences from their
initial states, a row at a time, and never random states.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.compat.tflite_quantizer import calibrated_int8
from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.quantization import QuantizedPart
from rnnexport.core.signature import BATCH, Signature, argument_name
from rnnexport.quantization.calibration import Saturation
from rnnexport.source.trace import Graphs
from rnnexport.targets.base import SIGNATURE, STEP, ExportOptions
from rnnexport.targets.tflite.export import converted
from rnnexport.targets.tflite.quantized_weights import has_loops, narrowed, parts_of, with_used_codes
from rnnexport.targets.tflite.recurrences import decisions

_MOST_ROWS = 512  # rows that ranges are taken from, a call each


class Quantizer:
    """See `targets.base.Quantizer`.

    Args:
        graphs, options: see `Target.export`.
    """

    def __init__(self, graphs: Graphs, options: ExportOptions) -> None:
        self._graphs, self._options = graphs, options
        self._plain: bytes | None = None
        self._decisions: tuple[LoweringDecision, ...] = ()

    def write(
        self, path: Path, form: str, calls: Sequence[Arrays], only: frozenset[str] | None = None
    ) -> tuple[tuple[QuantizedPart, ...], tuple[LoweringDecision, ...]]:
        plain = self._float32()
        if form == "int8":
            self._require_straight(plain)
            rows = partial(_rows, self._graphs.main.signature, calls)
            with ForeignCode(partial(_refused, self._graphs.main.name, form)):
                data = calibrated_int8(with_used_codes(plain), rows)
            parts = parts_of(data, plain)
        else:
            data, parts = narrowed(plain, form, only)
        path.write_bytes(data)
        return parts, self._decisions

    def saturation(self, form: str, calls: Sequence[Arrays]) -> Saturation | None:
        return None

    def calibrates(self, form: str) -> bool:
        return form == "int8"

    def separates(self, form: str) -> bool:
        return form != "int8"

    def size(self, path: Path) -> int | None:
        return None

    def _require_straight(self, plain: bytes) -> None:
        written, name = self._options.tflite.form, self._graphs.main.name
        if has_loops(plain):
            cure = "" if written == "unroll" else "give --form unroll and --timesteps, or "
            raise ConversionError(
                f"--quantize int8 with --form {written}, in which {name} has a loop",
                "operators one behind the other: the calibrator of TensorFlow runs no loops",
                f"{cure or 'give '}--quantize weights or dynamic",
            )

    def _float32(self) -> bytes:
        if self._plain is None:
            self._plain, fusion = converted(self._graphs, self._options.tflite)
            self._decisions = decisions(self._graphs, self._options.tflite, fusion.why_not)
        return self._plain


def quantizer(graphs: Graphs, feeds: Sequence[Arrays], options: ExportOptions) -> Quantizer:
    """What quantises a model. Raises as `Target.export`, later."""
    return Quantizer(graphs, options)


def _rows(signature: Signature, calls: Sequence[Arrays]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Rows of the calls as calls of their own, of one shape throughout, which is what the calibrator takes.

    Those of many are spread over all: the first calls of a stream have states that nothing has moved yet.
    """
    opened = [spec.name for spec in signature.all_inputs if spec.shape[:1] == (BATCH,)]
    entry = STEP if signature.states else SIGNATURE
    shapes = _row_shapes(calls[0], opened)
    alike = [call for call in calls if _row_shapes(call, opened) == shapes]
    places = [(call, row) for call in alike for row in range(len(call[opened[0]]) if opened else 1)]
    for at in np.linspace(0, len(places) - 1, min(len(places), _MOST_ROWS)).astype(int):
        call, row = places[at]
        feed = {name: array[row : row + 1] if name in opened else array for name, array in call.items()}
        yield entry, {argument_name(name): np.ascontiguousarray(array) for name, array in feed.items()}


def _row_shapes(call: Arrays, opened: Sequence[str]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape[1:] if name in opened else array.shape for name, array in call.items()}


def _refused(name: str, form: str, error: BaseException) -> ConversionError:
    return ConversionError(
        f"the TFLite quantiser refuses {name} as {form}: {reason(error)}",
        "a graph that it quantises",
        "take --quantize weights, dynamic or float16, or --form unroll",
    )
