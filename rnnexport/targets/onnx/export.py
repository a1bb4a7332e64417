"""A converted model to an ONNX file: put its weights in, lower the recurrences, write.

Names of an ONNX graph without what tracing put into them.

Before: sequential_1/gru_1/while/gru_cell_1/MatMul     After: gru/while/gru_cell/MatMul

A scope of TensorFlow counts how often a name was entered, and the outermost is that of the traced model. Layers get
their Keras names, weights their paths in the model (`dense/kernel`), and inputs, outputs and states keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import onnx
import onnx_ir as ir

from rnnexport.artifact.goldens import Arrays
from rnnexport.conversion.boundary import hold_weights
from rnnexport.conversion.canonical import without_function
from rnnexport.conversion.cleanup import clean_up, quiet
from rnnexport.conversion.convert import NEWEST_OPSET, converted, require_converted
from rnnexport.core.errors import ConversionError
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.names import SourceNames
from rnnexport.core.signature import unique_names
from rnnexport.ir.from_onnx import Converted
from rnnexport.lowering.lower import lower
from rnnexport.lowering.portable import make_portable
from rnnexport.source.trace import Graphs
from rnnexport.targets.base import ExportOptions
from rnnexport.targets.onnx.dense_products import join_products
from rnnexport.targets.onnx.opset import at_opset, take_back
from rnnexport.targets.onnx.outside import with_arrays, without_arrays
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


def plain_names(model: ir.Model, names: SourceNames) -> None:
    """Rename nodes and values of `model` in place. What it computes is untouched.

    1. The boundary keeps its names, and no other value gets one of them.
    2. No two values that had different names get the same one.
    """
    scopes = _scopes(names)
    if not scopes:
        return
    graph = model.graph
    boundary = {id(value): str(value.name) for value in (*graph.inputs, *graph.outputs)}
    values = [value for value in _values(graph) if id(value) not in boundary]
    wanted = [_plain(_weight(str(value.name), names.weights), scopes) for value in values]
    for value in values:  # so that none has a name that another one is about to get
        value.name = f"\0{id(value)}"
    for value, name in zip(values, unique_names(wanted, boundary.values()), strict=True):
        value.name = name
    for node in graph.all_nodes():
        if node.name is not None:
            node.name = _plain(node.name, scopes)


def _scopes(names: SourceNames) -> dict[str, str]:
    """What each scope of a layer is called instead. Scopes of one layer that was called twice stay two."""
    known = {layer.scope for layer in names.layers}
    found = dict.fromkeys({scope.partition("/")[0] for scope in known if "/" in scope} - known, "")  # the model's own
    for layer in names.layers:  # outer ones first
        above, _, _ = layer.scope.rpartition("/")
        outer = found.get(above, _plain(above, found))
        (found[layer.scope],) = unique_names([f"{outer}/{layer.name}".lstrip("/")], found.values())
    return found


def _plain(name: str, scopes: Mapping[str, str]) -> str:
    """A name with its longest scope that is known replaced."""
    scope = name = without_function(name)
    while scope:
        if scope in scopes:
            return f"{scopes[scope]}{name[len(scope) :]}".lstrip("/") or name
        scope = scope.rpartition("/")[0]
    return name


def _weight(name: str, weights: Mapping[str, str]) -> str:
    return weights.get(name.removesuffix(":0"), name)


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    """All values, those of bodies too, each once."""
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph.all_nodes():
        yield from node.outputs
        for attribute in node.attributes.values():
            if isinstance(attribute, ir.Attr) and attribute.type == ir.AttributeType.GRAPH:
                yield from attribute.as_graph().inputs
                yield from attribute.as_graph().initializers.values()
