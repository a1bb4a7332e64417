"""Signatures of artifacts by the package `model-signing`, with bare keys of elliptic curves, offline.

The checksum inside an artifact says that its bytes are those that were written; a signature says by whom. Both the
signature and its check are those of `model_signing sign key` and `model_signing verify key`; an artifact of several
files is signed as the folder that holds these files alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rnnexport.artifact.atomic_write import check_destination, staged
from rnnexport.artifact.provenance import own_proof
from rnnexport.core.errors import ForeignCode, ProviderError, UsageError, reason, require_file, require_path
from rnnexport.targets.registry import target_of

PASSWORD = "RNNEXPORT_KEY_PASSWORD"  # the variable of the environment, not a password


def sign(artifact: str | Path, key: str | Path, output: str | Path | None = None) -> Path:
    """Sign an artifact that is as it was exported.

    Args:
        artifact: its path.
        key: a PEM file with a private key of an elliptic curve; its password, where it has one, is in the variable
            `RNNEXPORT_KEY_PASSWORD` of the environment.
        output: where the signature goes; by default beside the artifact, with `.sig` behind its name.

    Returns:
        Where the signature is.

    Raises:
        UsageError: the artifact was altered, or carries nothing; the key can't be read; the place can't be written.
        ProviderError: model-signing is not installed.
    """
    path = Path(artifact)
    place = path.with_name(f"{path.name}.sig") if output is None else Path(output)
    require_path(path, "an artifact")
    require_file(Path(key), "a private key, a PEM file")
    check_destination(place)
    kind = target_of(path)
    own_proof(path, kind.read_proof(path))
    config = _config("signing")
    password = os.environ.get(PASSWORD)
    secret = None if password is None else password.encode()  # cryptography 50 takes bytes alone
    with ForeignCode(partial(_refused_key, Path(key))):
        config.use_elliptic_key_signer(private_key=Path(key), password=secret)
    with _as_one(path) as whole, staged(place) as file, ForeignCode(partial(_unsigned, path)):
        config.sign(whole, file)
    return place


def require_signed(artifact: str | Path, signature: str | Path, key: str | Path) -> None:
    """Refuse an artifact whose signature is not that of the key over its very bytes. Nothing of it runs.

    Args:
        artifact: its path.
        signature: what `sign` wrote for it.
        key: a PEM file with the public key.

    Raises:
        UsageError: one of them is missing, or they do not belong together.
        ProviderError: model-signing is not installed.
    """
    path = Path(artifact)
    require_path(path, "an artifact")
    for file, what in ((Path(signature), "a signature"), (Path(key), "a public key, a PEM file")):
        require_file(file, what)
    config = _config("verifying")
    with ForeignCode(partial(_refused_key, Path(key))):
        config.use_elliptic_key_verifier(public_key=Path(key))
    with _as_one(path) as whole, ForeignCode(partial(_unsigned, path)):
        config.verify(whole, Path(signature))


def _config(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"model_signing.{module}").Config()
    except ImportError as error:
        raise ProviderError(
            f"model-signing is not installed ({error})", "it, for signatures", "pip install 'rnnexport[sign]'"
        ) from error


@contextmanager
def _as_one(path: Path) -> Iterator[Path]:
    """The artifact as one path: that of a folder with copies of its files, where it has several."""
    files = target_of(path).every_file(path)
    if len(files) == 1:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / path.stem
        whole.mkdir()
        for file in files:
            require_path(file, f"a file of {path.name}")
            shutil.copy(file, whole / file.name)
        yield whole


def _refused_key(key: Path, error: BaseException) -> UsageError:
    return UsageError(f"{key} can't be used ({reason(error)})", "a PEM key of an elliptic curve", "check the key")


def _unsigned(path: Path, error: BaseException) -> UsageError:
    return UsageError(
        f"the signature of {path.name} does not hold ({reason(error)})",
        "that of the key over the very bytes of the artifact",
        "get both again from whoever signed",
    )
