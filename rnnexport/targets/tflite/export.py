"""A traced, unrolled model to a TFLite file of built-in operators."""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.lite.python.convert import ConverterError

from rnnexport.errors import ConversionError, one_line
from rnnexport.goldens import Arrays
from rnnexport.lowered import Lowered
from rnnexport.source.trace import TracedModel
from rnnexport.targets.base import SIGNATURE, ExportOptions

_LOCATIONS = re.compile(r'fused\["(\w+):", "([^"@]+)@')
_OP_LISTS = re.compile(r"(?:TF Select|Custom) ops: ([\w, ]+)")

# Gradients are for training, and those of silu are functions that TensorFlow can't save.
_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)


def export(traced: TracedModel, feeds: Sequence[Arrays], path: Path, options: ExportOptions) -> tuple[Lowered, ...]:
    """Write `traced` to `path`, without a proof. It has one form, whatever the options.

    Raises:
        ConversionError: an op has no built-in form; names the op and the layer it is in.
    """
    path.write_bytes(convert(traced))
    return ()


def convert(traced: TracedModel) -> bytes:
    """The converter's own output. The function is frozen already: TFLite returns NaN for one
    that is not.
    """
    module = tf.Module()
    module.call = traced.function
    with tempfile.TemporaryDirectory() as folder:
        try:
            tf.saved_model.save(module, folder, signatures={SIGNATURE: traced.function}, options=_OPTIONS)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            data: bytes = converter.convert()
        except ConverterError as error:
            raise _refusal(traced, error) from error
        except tf.errors.OpError as error:  # how TensorFlow tells of a failed write
            raise OSError(errno.EIO, error.message) from error
    return data


def _refusal(traced: TracedModel, error: ConverterError) -> ConversionError:
    """The converter's page of text as one line with the ops and their layers."""
    text = str(error)
    ops = sorted({op for found in _OP_LISTS.findall(text) for op in re.findall(r"\w+", found)})
    places = [f"{op} in {_layer_of(traced.function.graph, op)}" for op in ops]
    # An op that is there but can't be lowered is told by its place in the graph alone.
    places = places or [f"{op} in {node.rpartition('/')[0] or node}" for op, node in _LOCATIONS.findall(text)[:1]]
    return ConversionError(
        f"no built-in TFLite form of {'; '.join(places) or one_line(text, 200)}",
        "built-in operators (a Flex op would need TensorFlow in the runtime)",
        "write the layer with other operations, or export to another target",
    )


def _layer_of(graph: Any, op: str) -> str:
    """The scope of the first node of that type, which Keras names after the layer."""
    nodes = list(graph.as_graph_def().node)
    nodes += [node for function in graph.as_graph_def().library.function for node in function.node_def]
    scopes = [node.name.rpartition("/")[0] or node.name for node in nodes if node.op == op]
    return scopes[0] if scopes else "a layer that is not known"
