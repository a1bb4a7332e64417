"""Lean artifacts: the goldens taken out of a finished one, to lie beside it or nowhere, or put back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rnnexport.api.copies import copy_with
from rnnexport.artifact.beside import PLACES, Place, proof_file
from rnnexport.artifact.provenance import own_proof, without_goldens
from rnnexport.core.errors import UsageError, in_python_words, require_path
from rnnexport.core.run_record import bytes_in_words, size_of
from rnnexport.targets.registry import target_of


@dataclass(frozen=True, repr=False)
class Stripped:
    """A lean artifact in place.

    Attributes:
        path: where it is.
        proof: the file of its goldens beside it; None where there is none.
        before, after: the bytes of its own files.
    """

    path: Path
    proof: Path | None
    before: int
    after: int

    def __str__(self) -> str:
        beside = "" if self.proof is None else f", its goldens in {self.proof}"
        return f"{self.path}: {bytes_in_words(self.before)} before, {bytes_in_words(self.after)} now{beside}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


@in_python_words()
def strip(artifact: str | Path, *, proof: Place = "beside", output: str | Path | None = None) -> Stripped:
    """Take the goldens out of an artifact. What computes is not touched, and its checksum is taken anew.

    Args:
        artifact: its path.
        proof: where its goldens go: `beside` it, in a file with `.proof` behind its name; `none`, so that it can be
            verified with its source alone; `inside`, where they came from.
        output: where the lean one goes; in place of `artifact` by default.

    Raises:
        UsageError: it is no artifact of rnnexport, was altered, or has no goldens to put there; or the place can't be
            written.
        ProviderError: what writes the format is not installed.
    """
    if proof not in PLACES:
        raise UsageError(f"proof={proof!r}", f"one of {', '.join(PLACES)}", "change it")
    path = Path(artifact)
    require_path(path, "an artifact")
    kind, destination = target_of(path), path if output is None else Path(output)
    kind.check_destination(destination)
    own = own_proof(path, kind.read_proof(path))
    if own.place == "none" and proof != "none":
        raise without_goldens(path)
    before = size_of(kind.files(path))
    with copy_with(replace(own, place=proof), kind, path, destination):
        pass
    after = size_of(kind.files(destination))
    return Stripped(destination, proof_file(destination) if proof == "beside" else None, before, after)
