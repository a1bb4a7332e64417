"""The values inside an ONNX file, promoted to outputs of a copy in memory.

1. Every value of the outermost graph is an output, the outputs of recurrent operators that were omitted too. `Y` of a
   recurrent operator is given for each direction.
2. Every value in the body of a Scan or Loop is an output of the body, stacked over the steps.
3. Optimisations are off: a runtime that fuses nodes has no value to show for those inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from rnnexport.artifact.layer_map import InnerValue, InnerValues
from rnnexport.core.errors import ForeignCode, UsageError, reason
from rnnexport.core.lowering import CannotRun
from rnnexport.targets.onnx.metadata import lean
from rnnexport.targets.onnx.providers import execution_chain, prepared

Chain = list[tuple[str, dict[str, str]]]
# Numbers that one value may hold: 64 MiB of float32.
LARGEST = 1 << 24
_SILENT = 4
# Outputs that are fetched by one run: what is fetched together is in memory together.
_TOGETHER = 256
_FLOATS = {"tensor(float)", "tensor(float16)", "tensor(double)"}
_RECURRENT_OUTPUTS = {"LSTM": ("Y", "Y_h", "Y_c"), "GRU": ("Y", "Y_h"), "RNN": ("Y", "Y_h")}
_LOOPS = ("Loop", "Scan")
_DIRECTIONS = ("forward", "backward")
_RANK_OF_Y = 4
# What stacking can't take: values that are no tensors.
_NO_TENSORS = ("Sequence", "SplitToSequence", "Optional", "ConcatFromSequence")


def inner_values(
    path: Path, feed: Mapping[str, np.ndarray], provider: str = "cpu", *, tf32: bool = False
) -> InnerValues:
    """Every floating-point value inside the file at `path`, for one feed.

    Bodies of loops that can't be looked into (a value in them changes its shape from step to step) are left out.

    Args:
        feed: an array for every input, by its name.
        provider: the execution provider to run on, a key of `PROVIDERS`.
        tf32: whether float32 products may be computed in TF32, where the provider can.

    Raises:
        UsageError: the file can't be read, or the runtime refuses it.
        ProviderError: ONNX Runtime or the provider is not here.
    """
    ort, chain = prepared(provider, tf32=tf32), execution_chain(provider, tf32=tf32)
    try:
        return _run(ort, path, feed, chain, bodies=True)
    except CannotRun:
        pass
    try:
        return _run(ort, path, feed, chain, bodies=False)
    except CannotRun as error:
        raise UsageError(f"ONNX Runtime can't run {path.name}: {error}", "a file it runs", "export it again") from error


def _run(ort: Any, path: Path, feed: Mapping[str, np.ndarray], chain: Chain, *, bodies: bool) -> InnerValues:
    model = lean(path)
    recurrences = _promote(model.graph, bodies=bodies)
    order = _order(model.graph)
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = 1  # so that sums are added up in one order
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    with ForeignCode(_cannot):
        session = ort.InferenceSession(model.SerializeToString(), options, providers=chain, enable_fallback=0)
        types = {output.name: output.type for output in session.get_outputs()}
    names = [name for name in order if types.get(name) in _FLOATS]
    found: list[InnerValue] = []
    left_out: list[str] = []
    for start in range(0, len(names), _TOGETHER):
        chunk = names[start : start + _TOGETHER]
        with ForeignCode(_cannot):
            arrays = session.run(chunk, dict(feed))
        for name, array in zip(chunk, map(np.asarray, arrays), strict=True):
            if array.size > LARGEST:
                left_out.append(name)
            else:
                found += _split(name, array, *recurrences.get(name, ("", "")))
    return InnerValues(tuple(found), tuple(left_out))


def _split(name: str, array: np.ndarray, node: str, kind: str) -> Iterator[InnerValue]:
    """The value; of `Y [T, D, B, H]` of a recurrent operator each direction."""
    if kind == "Y" and array.ndim == _RANK_OF_Y and array.shape[1] == len(_DIRECTIONS):
        for index, direction in enumerate(_DIRECTIONS):
            yield InnerValue(f"{name}[{direction}]", array[:, index], f"{node}, {direction}")
    yield InnerValue(name, array, node)


def _promote(graph: onnx.GraphProto, *, bodies: bool) -> dict[str, tuple[str, str]]:
    """Make every value an output, in place.

    Returns:
        For the values of recurrences the node, and which value of it: `Y`, `Y_h`, ..., or `value`.
    """
    found: dict[str, tuple[str, str]] = {}
    for index, node in enumerate(graph.node):
        label = node.name or f"{node.op_type} {index}"
        if node.domain in ("", "ai.onnx") and node.op_type in _RECURRENT_OUTPUTS:
            kinds = _RECURRENT_OUTPUTS[node.op_type]
            _complete(node, kinds, index)
            found |= {name: (label, kind) for name, kind in zip(node.output, kinds, strict=True)}
        elif node.op_type in _LOOPS:
            if bodies:
                _promote_body(node, index)
            found |= dict.fromkeys(filter(None, node.output), (label, "value"))
    taken = {value.name for value in graph.output}
    wanted = [name for node in graph.node if not _no_tensor(node) for name in node.output]
    # The runtime knows the types: an output needs a name alone.
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(wanted) if name and name not in taken)
    return found


def _complete(node: onnx.NodeProto, kinds: Sequence[str], index: int) -> None:
    names = [*node.output, *[""] * (len(kinds) - len(node.output))]
    del node.output[:]
    node.output.extend(name or f"{node.name or index}/{kind}" for name, kind in zip(names, kinds, strict=True))


def _promote_body(node: onnx.NodeProto, index: int) -> None:
    """Make every value in the body of a loop an output of it, in the order of its nodes."""
    body = next(attribute.g for attribute in node.attribute if attribute.name == "body")
    taken = {value.name for value in body.output}
    # A value that is carried on is an output of the body already, but of the loop only its last is.
    inner = [name for part in body.node if not _no_tensor(part) for name in part.output if name]
    added = []
    for name in inner:
        seen = name
        if name in taken:
            seen = f"{name}/seen"
            body.node.append(onnx.helper.make_node("Identity", [name], [seen]))
        body.output.append(onnx.ValueInfoProto(name=seen))
        added.append(f"{node.name or index}/body/{name}")
    _fill_outputs(node, body, len(added))
    node.output.extend(added)
    for attribute in node.attribute:
        if attribute.name in ("scan_output_axes", "scan_output_directions"):
            attribute.ints.extend([0] * len(added))


def _fill_outputs(node: onnx.NodeProto, body: onnx.GraphProto, added: int) -> None:
    """Name outputs of the loop that were left out at the end, behind which none could be added."""
    condition = 1 if node.op_type == "Loop" else 0
    missing = len(body.output) - added - condition - len(node.output)
    node.output.extend(f"{node.name}/unread {position}" for position in range(missing))
    for position, name in enumerate(node.output):
        if not name:
            node.output[position] = f"{node.name}/unread {position}"


def _no_tensor(node: onnx.NodeProto) -> bool:
    return bool(node.op_type.startswith(_NO_TENSORS))


def _order(graph: onnx.GraphProto) -> list[str]:
    """The outputs of all nodes in order. What is in the body of a loop comes before what the loop gives."""
    order: list[str] = []
    for node in graph.node:
        inside = [name for name in node.output if "/body/" in name]
        order += inside + [name for name in node.output if name and "/body/" not in name]
    return order


def _cannot(error: BaseException) -> CannotRun:
    return CannotRun(reason(error))
