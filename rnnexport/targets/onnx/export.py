"""A converted model to an ONNX file: put its weights in, lower the recurrences, write."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import onnx
import onnx_ir as ir

from rnnexport.artifact.goldens import Arrays
from rnnexport.conversion.boundary import hold_weights
from rnnexport.conversion.cleanup import clean_up, quiet
from rnnexport.conversion.convert import NEWEST_OPSET, converted, require_converted
from rnnexport.core.errors import ConversionError
from rnnexport.core.lowering import LoweringDecision
from rnnexport.ir.from_onnx import Converted
from rnnexport.lowering.lower import lower
from rnnexport.lowering.portable import make_portable
from rnnexport.source.trace import Graphs
from rnnexport.targets.base import ExportOptions
from rnnexport.targets.onnx.dense_products import join_products
from rnnexport.targets.onnx.opset import at_opset, take_back
from rnnexport.targets.onnx.outside import with_arrays, without_arrays
from rnnexport.targets.onnx.plain_names import plain_names
from rnnexport.targets.onnx.session import measure, run
from rnnexport.targets.onnx.wire import write_model
from rnnexport.version import __version__


def export(graphs: Graphs, feeds: Sequence[Arrays], path: Path, options: ExportOptions) -> tuple[LoweringDecision, ...]:
    """Write a model to `path` as one ONNX file, without a proof.

    Of a stream the graph of whole sequences is left out: the one graph takes chunks of any length, a whole sequence
    among them.

    Raises:
        ConversionError: an op has no ONNX form, the form that is asked of a recurrence is not proven, or the result is
            no valid ONNX.
        ProviderError: ONNX Runtime, which checks the form of a recurrence, is not installed.
    """
    model, lowered = lowered_model(graphs, feeds, options)
    write_model(path, *with_arrays(model))
    return lowered


def lowered_model(
    graphs: Graphs, feeds: Sequence[Arrays], options: ExportOptions
) -> tuple[ir.Model, tuple[LoweringDecision, ...]]:
    """A model in ONNX, its large weights the arrays of the source, and what became of each recurrence.

    Raises:
        ConversionError, ProviderError: see `export`.
    """
    model = _with_weights(require_converted(graphs))
    if options.opset < NEWEST_OPSET and not take_back(model, options.opset):
        model = _with_weights(converted(graphs.main, options.opset))
    plain_names(model, graphs.main.names)
    with quiet():
        lowered = lower(model, options.lowering, feeds, run, measure)
    join_products(model)
    clean_up(model)
    if options.lowering.portable:
        make_portable(model)
    model = at_opset(model, options.opset)
    model.producer_name, model.producer_version = "rnnexport", __version__
    try:
        without_arrays(model, partial(onnx.checker.check_model, full_check=True))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(
            f"tf2onnx made an invalid ONNX graph of {graphs.main.name}: {error}",
            "a graph that onnx accepts",
            "report it; SavedModel and TFLite are made without that converter",
        ) from error
    return model, lowered


def _with_weights(found: Converted) -> ir.Model:
    """A copy of a converted model that holds its weights, cleaned up."""
    model: ir.Model = found.model.clone()
    hold_weights(model, found.weights)
    clean_up(model)
    return model
