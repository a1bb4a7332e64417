"""The goldens of a lean artifact: a file beside it that has its name and `.proof` behind it, or no file at all.

The provenance stays inside: what the artifact is, its signature and states, its checksum, and the digest of the
goldens, by which a file beside it is known to be its own.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal, get_args

from rnnexport.core.errors import UsageError

# Where the goldens of an artifact are.
ProofPlace = Literal["inside", "beside", "none"]
PLACES: tuple[ProofPlace, ...] = get_args(ProofPlace)
SUFFIX = ".proof"
_ABOUT = "about.npy"  # an array that all goldens have


def proof_file(artifact: Path) -> Path:
    """Where the goldens of that artifact are, if they are beside it."""
    return artifact.with_name(artifact.name + SUFFIX)


def artifact_of(proof: Path) -> Path | None:
    """The artifact whose goldens a file is, by its name; None for another kind of name."""
    return proof.with_name(proof.name.removesuffix(SUFFIX)) if proof.name.endswith(SUFFIX) else None


def read_beside(artifact: Path) -> bytes:
    """The goldens beside an artifact; empty where there are none.

    Raises:
        UsageError: they can't be read.
    """
    place = proof_file(artifact)
    try:
        return place.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(f"can't read {place}: {error.strerror}", "a readable file", "check its rights") from error


def write_beside(artifact: Path, goldens: bytes) -> None:
    """Put goldens beside an artifact, or, where they are empty, take away those of an earlier one.

    Raises:
        OSError: they can't be written.
    """
    if goldens:
        proof_file(artifact).write_bytes(goldens)
    else:
        proof_file(artifact).unlink(missing_ok=True)


def check_beside(artifact: Path) -> None:
    """Refuse to replace a file of somebody else where goldens may go.

    Raises:
        UsageError: it is no file of goldens.
    """
    place = proof_file(artifact)
    if place.exists() and not has_goldens_beside(artifact):
        raise UsageError(
            f"{place}, which rnnexport did not write",
            "earlier goldens, or nothing, there",
            "move it away, or change -o",
        )


def has_goldens_beside(artifact: Path) -> bool:
    """Whether the file beside an artifact that has the name for it holds goldens."""
    try:
        with zipfile.ZipFile(proof_file(artifact)) as archive:
            return _ABOUT in archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False
