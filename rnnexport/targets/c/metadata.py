"""The proof of a C program: two entries of the archive beside it. The seal covers all three files."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from rnnexport.artifact import archive
from rnnexport.artifact.checksum import seal_of, with_seal
from rnnexport.artifact.provenance import Proof, read_proof
from rnnexport.core.errors import UsageError
from rnnexport.emit.c.prelude import NAMES
from rnnexport.targets.c.files import (
    HEADER,
    WEIGHTS,
    beside,
    read_source,
    read_text,
    read_weights,
    source_in,
    to_entry,
    weights_file,
)
from rnnexport.targets.c.testing import with_self_test

_PROVENANCE, _GOLDENS = "rnnexport_provenance", "rnnexport_goldens"
_HOLDER = archive.entry_name(_PROVENANCE)
# The parts of the seal that are no entries, whatever the files are called.
_PROGRAM, _DECLARED, _WEIGHTS = "program.c", "program.h", "program.bin"
_FUNCTIONS = "#undef LANES"
_CALL = re.compile(r"\b([A-Za-z_]\w*)\(")


def write(path: Path, proof: Proof) -> None:
    """Put the proof beside the program at `path`, in place of one that is there, and a self-test into the program."""
    provenance, goldens = proof.blobs()
    atols = proof.provenance.override.get("atols", {}) if proof.provenance.quantization else {}
    entries = with_self_test(path, proof.goldens, atols)
    entries[_HOLDER] = to_entry(provenance.encode())
    entries.pop(archive.entry_name(_GOLDENS), None)
    if goldens:
        entries[archive.entry_name(_GOLDENS)] = to_entry(goldens)
    beside(path).write_bytes(archive.to_bytes(sealed(path, entries)))


def sealed(path: Path, entries: archive.Entries) -> archive.Entries:
    """The entries of an archive that holds a provenance, with the seal of all files in place."""
    seal = seal_of(_parts(path, entries), _HOLDER)
    return {**entries, _HOLDER: with_seal(entries[_HOLDER], seal)}


def read(path: Path) -> Proof | None:
    """The proof beside the program, or None where there is none. Nothing is compiled."""
    held = beside(path)
    entries = archive.read(held)
    if _HOLDER not in entries:
        return None
    provenance = archive.from_entry(held, entries[_HOLDER])
    golden = entries.get(archive.entry_name(_GOLDENS))
    goldens = b"" if golden is None else archive.from_entry(held, golden)
    return read_proof(path, provenance, goldens, _parts(path, entries), _HOLDER)


def owns(path: Path) -> bool:
    """Whether the archive beside `path` is that of an artifact, whole or not."""
    return archive.carries(beside(path), _PROVENANCE)


def external_files(path: Path) -> tuple[Path, ...]:
    """The file of its weights, where it has one. Raises as `read`."""
    file = weights_file(path, read_source(path))
    return () if file is None else (file,)


def owns_weights(path: Path) -> bool:
    """Whether the file of weights that is named after the program at `path` belongs to it."""
    try:
        return owns(path) and path.with_name(path.name + WEIGHTS) in external_files(path)
    except UsageError:
        return False


def facts(path: Path) -> dict[str, str]:
    """What there is to say of an artifact that some tool changed: nothing."""
    return {}


def operators(path: Path) -> Counter[str]:
    """How often the functions of the model call each function. UsageError where the file can't be read."""
    text = read_text(path).decode(errors="replace")
    _, _, code = text.partition("#define LANES ")
    code = code.partition(_FUNCTIONS)[0]
    code = code[code.find("/* One timestep of") if "/* One timestep of" in code else code.find("/* The model. */") :]
    called = Counter(_CALL.findall(re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL)))
    own = {name for name in called if name.endswith("_step")}
    return Counter({name: count - (name in own) for name, count in called.items() if name in NAMES | own})


def _parts(path: Path, entries: archive.Entries) -> list[tuple[str, bytes]]:
    """All that an artifact consists of: the program, its header, and each array by its name."""
    texts = [(_PROGRAM, read_text(path)), (_DECLARED, read_text(path.with_suffix(HEADER)))]
    source = source_in(path, entries)
    weights = [(_WEIGHTS, read_weights(path, source))] if source.weights else []
    return [*texts, *weights, *sorted(entries.items())]
