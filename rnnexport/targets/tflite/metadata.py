"""The proof in a TFLite file: two entries of the flatbuffer's `metadata` table, each with a buffer of its own."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rnnexport.artifact.checksum import sealed
from rnnexport.artifact.provenance import Proof, read_proof
from rnnexport.core.errors import ForeignCode, ProviderError, UsageError, reason
from rnnexport.targets.tflite.tree import bytes_of, schema, tree_of

_PROVENANCE = "rnnexport.provenance"
_GOLDENS = "rnnexport.artifact.goldens"
_IDENTIFIER = b"TFL3"


def write(path: Path, proof: Proof) -> None:
    """Put the proof into the file at `path`, in place of one that is there."""
    path.write_bytes(sealed(with_proof(path.read_bytes(), proof)))


def with_proof(model: bytes, proof: Proof) -> bytes:
    """`model` with `proof` in place of one that it has. Raises as `tree.flatbuffer_classes`."""
    tree, classes = tree_of(model), schema()
    provenance, goldens = proof.blobs()
    for name, blob in ((_PROVENANCE, provenance.encode()), (_GOLDENS, goldens)):
        entry = next((one for one in tree.metadata or [] if _text(one.name) == name), None)
        if entry is None:
            if not blob:
                continue
            entry = classes.MetadataT()
            entry.name, entry.buffer = name, len(tree.buffers)
            tree.buffers.append(classes.BufferT())
            tree.metadata = [*(tree.metadata or []), entry]
        # An array is packed as a whole, a list byte by byte. Tensors count buffers: an empty one stays in its place.
        tree.buffers[entry.buffer].data = np.frombuffer(blob, np.uint8) if blob else None
    return bytes_of(tree)


def _text(name: str | bytes) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else name


def facts(path: Path) -> dict[str, str]:
    """What there is to say of a file that some tool changed, by label. Raises as `parse`."""
    model, classes = parse(path)
    names = {code: name for name, code in vars(classes.TensorType).items() if not name.startswith("_")}
    with ForeignCode(partial(_damaged, path)):
        graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
        kinds = Counter(names[g.Tensors(at).Type()].lower() for g in graphs for at in range(g.TensorsLength()))
    return {"tensors": ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))}


def read(path: Path) -> Proof | None:
    """The proof inside the file, or None where there is none. Needs ai-edge-litert, not TensorFlow."""
    model, _, data = _parsed(path)
    with ForeignCode(partial(_damaged, path)):
        entries = [model.Metadata(index) for index in range(model.MetadataLength())]
        blobs = {entry.Name().decode(): model.Buffers(entry.Buffer()).DataAsNumpy() for entry in entries}
        if _PROVENANCE not in blobs:
            return None
        provenance = blobs[_PROVENANCE].tobytes()
        held = blobs.get(_GOLDENS)
        goldens = held.tobytes() if isinstance(held, np.ndarray) else b""  # 0 for an empty buffer
    return read_proof(path, provenance, goldens, [("", data)])


def holds_state(path: Path) -> bool:
    """Whether a file keeps something from one call to the next, in variable tensors. Raises as `parse`."""
    model, _ = parse(path)
    with ForeignCode(partial(_damaged, path)):
        graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
        return any(g.Tensors(at).IsVariable() for g in graphs for at in range(g.TensorsLength()))


def operators(path: Path) -> Counter[str]:
    """Operators by their built-in names, over all subgraphs."""
    model, classes = parse(path)
    names = {code: name for name, code in vars(classes.BuiltinOperator).items() if not name.startswith("_")}
    with ForeignCode(partial(_damaged, path)):
        codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        # Codes above 127 do not fit the older field, which holds 127 then.
        labels = [names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] for code in codes]
        graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
        return Counter(labels[g.Operators(i).OpcodeIndex()] for g in graphs for i in range(g.OperatorsLength()))


def longest_sum(path: Path) -> int:
    """How many products FULLY_CONNECTED and convolutions add to one bias at most. Raises as `parse`."""
    model, classes = parse(path)
    summing = {getattr(classes.BuiltinOperator, name) for name in ("FULLY_CONNECTED", "CONV_2D", "TRANSPOSE_CONV")}
    with ForeignCode(partial(_damaged, path)):
        codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
        sums = [max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) in summing for code in codes]
        graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
        found = [
            int(np.prod(graph.Tensors(one.Inputs(1)).ShapeAsNumpy()[1:]))
            for graph in graphs
            for one in (graph.Operators(i) for i in range(graph.OperatorsLength()))
            if sums[one.OpcodeIndex()]
        ]
    return max(found, default=0)


def parse(path: Path) -> tuple[Any, Any]:
    """The flatbuffer's root and the module of its classes.

    Raises:
        ProviderError: ai-edge-litert is not installed.
        UsageError: it is no TFLite file, or is cut short.
    """
    model, classes, _ = _parsed(path)
    return model, classes


def _parsed(path: Path) -> tuple[Any, Any, bytes]:
    """What `parse` gives, and the bytes of the file."""
    try:
        from ai_edge_litert import schema_py_generated as classes
    except ModuleNotFoundError as error:
        raise ProviderError(
            "ai-edge-litert is not installed", "LiteRT, to read a TFLite file", "pip install 'rnnexport[cpu]'"
        ) from error
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}", "a readable file", "check its rights") from error
    if data[4:8] != _IDENTIFIER:
        raise UsageError(f"{path.name} is no TFLite file", f"{_IDENTIFIER.decode()} at byte 4", "export it again")
    with ForeignCode(partial(_damaged, path)):
        return classes.Model.GetRootAs(data, 0), classes, data


def _damaged(path: Path, error: BaseException) -> UsageError:
    """The flatbuffer classes follow the offsets in a file unchecked, and raise anything."""
    return UsageError(f"{path.name} is damaged ({reason(error)})", "a whole TFLite file", "copy or export it again")
