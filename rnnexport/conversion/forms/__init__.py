"""Operators of TensorFlow that no converter knows, written in those that all of them know, before any sees the graph.

Complex numbers become pairs of real ones, Fourier transforms products with matrices. ONNX, NumPy and TFLite are made of
what this gives. SavedModel and the float64 run of the graph keep TensorFlow's own operators: they judge it.

The refusals of what a format has no form of: each once, with its layer, and a way that works.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from rnnexport.conversion.forms import arrays, complex_numbers, decompositions, fourier, reductions, special, text
from rnnexport.conversion.forms.replay import FormReplay, has_known_branch
from rnnexport.conversion.forms.values import ComplexPair, Form, Value
from rnnexport.core.errors import ConversionError
from rnnexport.core.names import LayerName, SourceNames
from rnnexport.core.signature import TEXT
from rnnexport.source.freezing import captured
from rnnexport.source.graphs import CASES, every_node
from rnnexport.source.trace import TracedModel

_FORMS: Mapping[str, Form] = {
    **arrays.FORMS,
    **decompositions.FORMS,
    **fourier.FORMS,
    **reductions.FORMS,
    **special.FORMS,
}
_LEFT: Mapping[str, Form] = {**arrays.LEFT, **text.FORMS}
_COMPLEX = frozenset({tf.complex64.as_datatype_enum, tf.complex128.as_datatype_enum})
# Made of the same graph, whose operators it keeps.
_ANYWAY = "or export to saved-model, which keeps every operator"


def in_forms(traced: TracedModel) -> TracedModel:
    """The model without operators that have another form; itself where there are none.

    Raises:
        ConversionError: an input or an output is text, or an operator has no form here; names it and the layer.
    """
    _require_forms_of_text(traced)
    return _written(traced) if _has_any(traced.graph_def()) else traced


def _require_forms_of_text(traced: TracedModel) -> None:
    """Words may go in where they are looked up, and where nothing else is done with them."""
    if any(map(text.works_on_text, every_node(traced.graph_def()))):
        require_numbers(traced)
    _require_numbers_out(traced)


def require_numbers(traced: TracedModel) -> None:
    """ConversionError where an input or output is text; names the layer that reads or gives it."""
    graph, layers = traced.function.graph, traced.names.layers
    # States, which are numbers, come behind.
    specs = zip(traced.input_tensors, traced.signature.inputs, strict=False)
    if (given := next(((tensor, spec) for tensor, spec in specs if spec.dtype == TEXT), None)) is not None:
        tensor = graph.get_tensor_by_name(given[0])
        reader = next(iter(tensor.consumers()), tensor.op)
        build = "Model(model.get_layer({layer}).output, model.outputs)"
        raise text_refused(f"input {given[1].name} of {traced.name}", build, reader.name, layers)
    _require_numbers_out(traced)


def _require_numbers_out(traced: TracedModel) -> None:
    graph, layers = traced.function.graph, traced.names.layers
    specs = zip(traced.output_tensors, traced.signature.outputs, strict=False)
    if (made := next(((tensor, spec) for tensor, spec in specs if spec.dtype == TEXT), None)) is not None:
        writer = graph.get_tensor_by_name(made[0]).op
        while writer.type == "Identity":
            writer = writer.inputs[0].op
        build = "Model(model.inputs, model.get_layer({layer}).input)"
        raise text_refused(f"output {made[1].name} of {traced.name}", build, writer.name, layers)


def _has_any(graph_def: Any) -> bool:
    """Whether there is something to write: an operator with another form, a complex number, a branch that is known."""
    return has_known_branch(graph_def) or any(
        node.op in _FORMS
        or node.op in CASES
        or text.is_number_of_word(node)
        or any(_COMPLEX & {value.type, *value.list.type} for value in node.attr.values())
        for node in every_node(graph_def)
    )


def _form_of(operation: tf.Operation, inputs: Sequence[Value]) -> Form | None:
    is_complex = any(isinstance(value, ComplexPair) for value in inputs) or any(
        tensor.dtype.is_complex for tensor in operation.outputs
    )
    if operation.type in _FORMS:
        return _FORMS[operation.type]
    if not is_complex or operation.type in arrays.LEFT:
        return _LEFT.get(operation.type)  # which is no reason to write a model anew
    return complex_numbers.FORMS.get(operation.type, complex_numbers.of_each_part(operation))


def _written(traced: TracedModel) -> TracedModel:
    source = tf.Graph()
    with source.as_default():
        tf.import_graph_def(traced.graph_def(), name="")
    element = source.get_tensor_by_name
    given, wanted = [list(map(element, names)) for names in (traced.input_tensors, traced.output_tensors)]
    made: dict[str, Any] = {}

    def write() -> None:
        inputs = {t.name: tf.compat.v1.placeholder(t.dtype, t.shape, t.op.name) for t in given}
        outputs = FormReplay(source, _form_of).write(inputs | captured(traced.open_weights), wanted)
        made.update(inputs=list(inputs.values()), outputs=outputs)

    graph = tf.compat.v1.wrap_function(write, [])
    fetched = {spec.name: tensor for spec, tensor in zip(traced.signature.all_outputs, made["outputs"], strict=True)}
    return replace(
        traced,
        function=graph.prune(made["inputs"], fetched),
        input_tensors=tuple(tensor.name for tensor in made["inputs"]),
        output_tensors=tuple(tensor.name for tensor in made["outputs"]),
        names=_with_parts(traced.names, source),
    )


def _with_parts(names: SourceNames, source: tf.Graph) -> SourceNames:
    """Names of the parts of complex weights besides."""
    return replace(names, weights=dict(_parts(names.weights, source)))


def _parts(weights: Mapping[str, str], source: tf.Graph) -> Iterator[tuple[str, str]]:
    constants = {one.name for one in source.get_operations() if one.type == "Const" and one.outputs[0].dtype.is_complex}
    for node, path in weights.items():
        if node in constants:
            yield from ((f"{node}/{part}", f"{path}_{part}") for part in ("real", "imag"))
        else:
            yield node, path


def no_form(operators: Iterable[tuple[str, str]], layers: Sequence[LayerName], opset: int | None) -> ConversionError:
    """What to say of operators without an ONNX form.

    Args:
        operators: each with the path in the graph that it is at.
        layers: of the model.
        opset: one that has all of them; None where none has.
    """
    places: dict[str, dict[str, None]] = {}
    for operator, path in operators:
        places.setdefault(_place(path, layers), {})[operator] = None
    told = "; ".join(f"{', '.join(names)} in {place}" for place, names in places.items())
    todo = f"write it with other operations, {_ANYWAY}" if opset is None else f"give --opset {opset}"
    return ConversionError(f"no ONNX form of {told}", "operators that ONNX has", todo)


def text_refused(tensor: str, names: str, path: str, layers: Sequence[LayerName]) -> ConversionError:
    """What to say of text where a format has numbers alone.

    Args:
        tensor: the input or output that is text, in words.
        names: what has to be built of the model instead, `{layer}` standing for the layer's name.
        path: in the graph, of the operator that reads or makes the text.
        layers: of the model.
    """
    layer = _layer(path, layers)
    build = names.format(layer="NAME" if layer is None else repr(layer.name))
    return ConversionError(
        f"{tensor} is text in {_place(path, layers)}",
        "numbers; in ONNX and NumPy also words that StringLookup takes whole, with num_oov_indices of 0 or 1",
        f"export to saved-model, or export what has numbers on both sides, {build}",
    )


def _place(path: str, layers: Sequence[LayerName]) -> str:
    """The innermost layer at a path of the graph; the path where none is known."""
    inner = _layer(path, layers)
    return path if inner is None else f"layer {inner.name} ({inner.class_name})"


def _layer(path: str, layers: Sequence[LayerName]) -> LayerName | None:
    around = [layer for layer in layers if layer.scope and (path == layer.scope or path.startswith(f"{layer.scope}/"))]
    return max(around, key=lambda layer: len(layer.scope), default=None)
