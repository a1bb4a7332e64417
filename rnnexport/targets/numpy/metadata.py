"""The proof of a NumPy program: two entries of uint8 in the archive beside it. The seal covers both files."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rnnexport.artifact import archive
from rnnexport.artifact.checksum import Data, seal_of, with_seal
from rnnexport.artifact.provenance import Proof, read_proof
from rnnexport.targets.numpy.program import parsed, read_text

# The arrays of a program are called `layer/name`: one without a stroke is none of them.
_PROVENANCE = "rnnexport_provenance"
_GOLDENS = "rnnexport_goldens"
_HOLDER, _HELD = archive.entry_name(_PROVENANCE), archive.entry_name(_GOLDENS)
_PROGRAM = "program.py"  # the part of the seal that is no entry, whatever the file is called
# What a program does besides computing.
_FRAME = ("__init__", "__call__", "initial_state", "reset", "load_weights", "checked", "main")


def write(path: Path, proof: Proof) -> None:
    """Put the proof beside the program at `path`, in place of one that is there."""
    beside = archive.archive_of(path)
    if archive.carries(beside, _PROVENANCE):
        entries = {name: data for name, data in archive.read(beside).items() if name not in (_HOLDER, _HELD)}
        beside.write_bytes(archive.to_bytes(entries))
    provenance, goldens = proof.blobs()
    blobs = {_HOLDER: provenance.encode()} | ({_HELD: goldens} if goldens else {})
    own = {name: archive.to_entry(np.frombuffer(blob, np.uint8)) for name, blob in blobs.items()}
    whole = sealed(path.read_bytes(), archive.held(beside) | own)
    archive.add(beside, {name: bytes(whole[name]) for name in own})


def sealed(text: bytes, entries: Mapping[str, Data]) -> dict[str, Data]:
    """The entries of an archive that holds a provenance, with the seal of both files in place."""
    seal = seal_of(_parts(text, entries), _HOLDER)
    return {**entries, _HOLDER: with_seal(bytes(entries[_HOLDER]), seal)}


def read(path: Path) -> Proof | None:
    """The proof beside the program, or None where there is none. Nothing of the program runs."""
    beside = archive.archive_of(path)
    text, entries = read_text(path), archive.read(beside)
    if _HOLDER not in entries:
        return None
    provenance = archive.from_entry(beside, entries[_HOLDER])
    held = entries.get(_HELD)
    goldens = b"" if held is None else archive.from_entry(beside, held)
    return read_proof(path, provenance, goldens, _parts(text, entries), _HOLDER)


def owns(path: Path) -> bool:
    """Whether the archive beside `path` is that of an artifact, whole or not."""
    return archive.carries(archive.archive_of(path), _PROVENANCE)


def facts(path: Path) -> dict[str, str]:
    """What there is to say of an artifact that some tool changed: nothing."""
    return {}


def operators(path: Path) -> Counter[str]:
    """How often the program calls each function of NumPy and of its own, and multiplies matrices by `@`.

    Raises:
        UsageError: the file can't be read, or is no Python.
    """
    tree = parsed(path)
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} - set(_FRAME)
    return Counter(name for node in _computing(tree) if (name := _operator(node, own)))


def _parts(text: bytes, entries: Mapping[str, Data]) -> list[tuple[str, Data]]:
    """All that an artifact consists of: the program, and each array by its name."""
    return [(_PROGRAM, text), *sorted(entries.items())]


def _computing(tree: ast.Module) -> Iterator[ast.AST]:
    """Every node of the functions that compute, in the module and in its classes."""
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    for body in bodies:
        for node in body:
            if isinstance(node, ast.FunctionDef) and node.name not in _FRAME:
                yield from ast.walk(node)


def _operator(node: ast.AST, own: set[str]) -> str:
    """The name under which the node is counted; empty for one that is not."""
    if isinstance(node, ast.BinOp):
        return "@" if isinstance(node.op, ast.MatMult) else ""
    if not isinstance(node, ast.Call):
        return ""
    name = ast.unparse(node.func)
    return name if name in own or name.startswith("np.") else ""
