"""A traced model to a TFLite file of built-in operators, its recurrences unrolled or loops."""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.lite.python.convert import ConverterError

from rnnexport.artifact.goldens import Arrays
from rnnexport.conversion.forms import in_forms, require_numbers
from rnnexport.core.errors import ConversionError, one_line
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.lowering import LoweringDecision
from rnnexport.source.floats import within
from rnnexport.source.trace import Graphs, initial_state
from rnnexport.targets.base import BATCH_ARGUMENT, INITIAL_STATE, SIGNATURE, STEP, ExportOptions
from rnnexport.targets.tflite.elements import NotFixed
from rnnexport.targets.tflite.fusing import Fusion, fusion_of, with_operators
from rnnexport.targets.tflite.recurrences import decisions
from rnnexport.targets.tflite.replaying import Style, in_other_forms
from rnnexport.targets.tflite.static_shapes import with_static_shapes
from rnnexport.targets.tflite.steps import NotWrittenError, TooManyOperatorsError, written_out
from rnnexport.targets.tflite.tree import bytes_of, tree_of

_LOCATIONS = re.compile(r'fused\["(\w+):", "([^"@]+)@')
_OP_LISTS = re.compile(r"(?:TF Select|Custom) ops: ([\w, ]+)")
# The converter sorts functions by name. The first is what a runtime calls that is not told a signature, so the main one
# has to be it.
_ORDER = re.compile(r"^\d_")

# The converter makes one operator of a gelu, by the error function in it. It is given loops, also where steps are to be
# written out: that takes it far longer than `written_out`, which leaves it those alone whose lists are no tensors.
_LOOPS = Style(kept=frozenset({"Erf", "Erfc"}), stacked=True)
_STEPS = Style(unrolled=True)

_OTHER_FLOATS = ("bfloat16", "float16", "float64")

Finish = Callable[[bytes], bytes]  # what is done to what the converter wrote

# Gradients are for training, and those of silu are functions that TensorFlow can't save.
_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)


def export(graphs: Graphs, feeds: Sequence[Arrays], path: Path, options: ExportOptions) -> tuple[LoweringDecision, ...]:
    """Write a model to `path`, without a proof.

    The signature is `serving_default`. Where there are states it is `step`, beside `initial_state`; then
    `serving_default` is the same function. In a stream it takes whole sequences, and is missing without a graph of
    these.

    Raises:
        ConversionError: an op has no built-in form; names the op and the layer it is in.
    """
    data, fusion = converted(graphs, options.tflite)
    path.write_bytes(data)
    return decisions(graphs, options.tflite, fusion.why_not)


def converted(graphs: Graphs, form: TFLiteForm) -> tuple[bytes, Fusion]:
    """The converter's own output, with its functions named, and which loops became operators.

    They are frozen already: TFLite returns NaN for one that is not. Where it has no form of float64 that is inside
    alone, that is float32.
    """
    require_numbers(graphs.main)
    try:
        return _in_a_form(graphs, form)
    except ConversionError:
        if (main := within(graphs.main)) is None:
            raise
        sequence = None if graphs.sequence is None else within(graphs.sequence) or graphs.sequence
        return _in_a_form(replace(graphs, main=main, sequence=sequence), form)


def _in_a_form(graphs: Graphs, form: TFLiteForm) -> tuple[bytes, Fusion]:
    sequence = None if graphs.sequence is None else in_forms(graphs.sequence)
    graphs = replace(graphs, main=in_forms(graphs.main), sequence=sequence)
    fusion = fusion_of(graphs) if form.form == "fused" else Fusion()
    finish: Finish = written_out if form.unrolls else partial(with_operators, lstms=fusion.lstms)
    first = replace(_LOOPS, growing=form.runtime == "litert" and not form.unrolls, fused=fusion.made)
    second = _STEPS if form.unrolls else replace(first, kept=frozenset())
    return _in_styles(graphs, (first, second), finish), fusion


def _in_styles(graphs: Graphs, styles: tuple[Style, Style], finish: Finish) -> bytes:
    """In the first style, or in the second where the converter refuses that."""
    first, second = styles
    try:
        return _written(graphs, first, finish)
    except TooManyOperatorsError:
        raise
    except (ConversionError, NotFixed, NotWrittenError) as error:
        again = _written_again(graphs, second, finish) if _is_different(graphs, *styles) else None
        if again is not None:
            return again
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(
            f"{graphs.main.name} has a list that can't be one tensor: {error}",
            "lists that are as long as they are made, of elements of one shape",
            f"give --form {'rolled' if second.unrolled else 'unroll and --timesteps'}",
        ) from error


def _is_different(graphs: Graphs, first: Style, second: Style) -> bool:
    """Whether there is something that the second style writes in another way."""
    traced = [graphs.main, *([] if graphs.sequence is None else [graphs.sequence])]
    found = {node.op for one in traced for node in _nodes(one.function.graph)}
    return bool(found & (first.kept - second.kept)) or (
        second.unrolled and any(op.startswith("TensorList") for op in found)
    )


def _written_again(graphs: Graphs, style: Style, finish: Finish) -> bytes | None:
    """None where a loop has no number of steps."""
    try:
        return _written(graphs, style, finish)
    except (NotFixed, NotWrittenError):
        return None


def _written(graphs: Graphs, style: Style, finish: Finish) -> bytes:
    traced, custom = in_other_forms(graphs.main, style), bool(style.fused)
    sequence = graphs.sequence and in_other_forms(graphs.sequence, replace(style, fused={}))
    if not traced.signature.states:
        return finish(_converted({SIGNATURE: traced.function}, custom=custom))
    functions = {STEP: traced.function, INITIAL_STATE: initial_state(traced.signature, BATCH_ARGUMENT)}
    if sequence is not None:
        functions[SIGNATURE] = sequence.function
    ordered = {f"{at}_{name}": function for at, (name, function) in enumerate(functions.items())}
    data = finish(_converted(ordered, custom=custom))
    return _named(data, {} if graphs.is_stream else {SIGNATURE: STEP})


def _converted(functions: Mapping[str, Any], *, custom: bool) -> bytes:
    """One file with these functions by the names of their signatures. What they have in common is in it once.

    Its shapes are known before it runs, where they follow from those of the inputs: a step that is copied has them so.

    Args:
        functions: by name.
        custom: whether some of their operators are ours.
    """
    module = tf.Module()
    module.functions = list(functions.values())
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.saved_model.save(module, folder, signatures=dict(functions), options=_OPTIONS)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            converter.allow_custom_ops = custom
            converter.exclude_conversion_metadata = True  # which takes a sixth of the time
            data: bytes = converter.convert()
        except ConverterError as error:
            raise _refusal([function.graph for function in functions.values()], error) from error
        except tf.errors.OpError as error:  # how TensorFlow tells of a failed write
            raise OSError(errno.EIO, error.message) from error
    return with_static_shapes(data)


def _named(model: bytes, twins: Mapping[str, str]) -> bytes:
    """The file without the numbers in front of its names, and with a second name for each of `twins`' values."""
    tree = tree_of(model)
    for graph in tree.subgraphs:
        graph.name = _ORDER.sub("", graph.name.decode())
    for entry in tree.signatureDefs:
        entry.signatureKey = _ORDER.sub("", entry.signatureKey.decode())
    by_key = {entry.signatureKey: entry for entry in tree.signatureDefs}
    for name, twin in twins.items():
        again = copy(by_key[twin])
        again.signatureKey = name
        tree.signatureDefs.append(again)
    return bytes_of(tree)


def _refusal(graphs: Iterable[Any], error: ConverterError) -> ConversionError:
    """The converter's page of text as one line with the ops and their layers."""
    text = str(error)
    ops = sorted({op for found in _OP_LISTS.findall(text) for op in re.findall(r"\w+", found)})
    nodes = [node for graph in graphs for node in _nodes(graph)]
    if dtypes := _other_floats(nodes, ops):
        return ConversionError(
            f"{' and '.join(dtypes)} in {_layer_of(nodes, ops[0])}",
            "float32, the one float that LiteRT's operators compute in",
            "give --cast float32, or export to another target",
        )
    places = [f"{op} in {_layer_of(nodes, op)}" for op in ops]
    # An op that is there but can't be lowered is told by its place in the graph alone.
    places = places or [f"{op} in {node.rpartition('/')[0] or node}" for op, node in _LOCATIONS.findall(text)[:1]]
    return ConversionError(
        f"no built-in TFLite form of {'; '.join(places) or one_line(text, 200)}",
        "built-in operators (a Flex op would need TensorFlow in the runtime)",
        "write the layer with other operations, or export to saved-model, which keeps every operator",
    )


def _other_floats(nodes: Sequence[Any], ops: Sequence[str]) -> list[str]:
    """The floats of another width that operators of each of these kinds compute in; none where those of one don't."""
    found: set[str] = set()
    for op in ops:
        values = [value for node in nodes if node.op == op for value in node.attr.values()]
        types = {number for value in values for number in (value.type, *value.list.type) if number}
        others = {tf.as_dtype(number).name for number in types} & set(_OTHER_FLOATS)
        if not others:
            return []
        found |= others
    return sorted(found)


def _nodes(graph: Any) -> list[Any]:
    graph_def = graph.as_graph_def()
    return [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]


def _layer_of(nodes: Sequence[Any], op: str) -> str:
    """The scope of the first node of that type, which Keras names after the layer."""
    scopes = [node.name.rpartition("/")[0] or node.name for node in nodes if node.op == op]
    return scopes[0] if scopes else "a layer that is not known"
