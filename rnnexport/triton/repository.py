"""Writing a model into a Triton model repository, whole or not at all.

REPO/NAME/config.pbtxt            the configuration
REPO/NAME/VERSION/model.onnx      the artifact, byte for byte
REPO/NAME/initial_state/...       the numbers of states that do not start from zeros
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from rnnexport.artifact.atomic_write import made_folder, staged, writing
from rnnexport.artifact.provenance import require_unaltered
from rnnexport.core.errors import UsageError
from rnnexport.core.signature import Signature
from rnnexport.targets.onnx.metadata import load
from rnnexport.targets.registry import model_name, target_of
from rnnexport.triton.checks import problems
from rnnexport.triton.configuration import Configuration, configure, messages
from rnnexport.triton.refusals import require_options_apply, require_servable
from rnnexport.triton.serving import Serving

CONFIG, INITIAL, MODEL = "config.pbtxt", "initial_state", "model.onnx"
# What a folder, a URL and a label of a metric can hold alike.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VERSION = re.compile(r"[1-9][0-9]*")
_LAST_VERSION = 2**63 - 1
_HEAD = "# Written by rnnexport triton; sha256 of the lines below: "
_SERVING = Serving()


@dataclass(frozen=True, eq=False)
class Written:
    """A model in its repository.

    Attributes:
        folder: its folder.
        version: the version that was written.
        kept: the versions that were there before and still are.
        config: the `ModelConfig`, as it was read from the file.
    """

    folder: Path
    version: int
    kept: tuple[int, ...]
    config: Any


def write_repository(
    artifact: Path, repository: Path, name: str | None = None, version: int = 1, serving: Serving = _SERVING
) -> Written:
    """Put an ONNX artifact into a model repository, with the configuration it needs. Needs no TensorFlow.

    A model that was written before is replaced in one step. Other versions of it stay if one configuration serves all.

    Args:
        artifact: an ONNX file that rnnexport exported.
        repository: the folder of all models; made where it is missing.
        name: the name of the model on the server; that of the file by default.
        version: the number of its folder.
        serving: how the server is to run it.

    Raises:
        UsageError: there is no artifact, it is no ONNX file of rnnexport or was altered; the name or version can't be
            that of a folder; an option means nothing for this model; the folder of the model holds other things.
        ConversionError: Triton can't serve the model; says why.
        ProviderError: tritonclient is not installed.
    """
    signature = _signature(artifact)
    name = model_name(artifact, "onnx") if name is None else name
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the model name {name!r}", "letters, digits, '.', '_' and '-', a letter or digit first", "give --name"
        )
    if not 1 <= version <= _LAST_VERSION:
        raise UsageError(f"--version {version}", f"a number from 1 to {_LAST_VERSION}", "change it")
    require_servable(signature)
    require_options_apply(signature, serving)
    configuration = configure(name, signature, serving)
    folder = repository / name
    kept = _earlier(folder, configuration, version)
    layout = (CONFIG, INITIAL, *map(str, (*kept, version)))
    with made_folder(repository), staged(folder, layout) as built, writing(folder):
        _write(built, configuration)
        for number in kept:
            shutil.copytree(folder / str(number), built / str(number))
        (built / str(version)).mkdir()
        shutil.copyfile(artifact, built / str(version) / MODEL)
        config = _read_back(built, name, version)
    return Written(folder, version, kept, config)


def _signature(artifact: Path) -> Signature:
    kind = target_of(artifact)
    if kind.name != "onnx":
        raise UsageError(
            f"{artifact.name}, a {kind.name} artifact", "an ONNX file", "export the model by rnnexport onnx"
        )
    proof = kind.read_proof(artifact)
    if proof is None:
        raise UsageError(
            f"{artifact.name} was not made by rnnexport",
            "an artifact that says what its states are",
            "export it by rnnexport onnx",
        )
    require_unaltered(artifact.name, proof)
    return proof.provenance.signature


def _text(message: Any) -> str:
    """The configuration as the file has it, with a digest that tells whether somebody changed it since."""
    body = text_format.MessageToString(message)
    return f"{_HEAD}{hashlib.sha256(body.encode()).hexdigest()}\n{body}"


def _is_ours(text: str) -> bool:
    head, _, body = text.partition("\n")
    return head == f"{_HEAD}{hashlib.sha256(body.encode()).hexdigest()}"


def _write(built: Path, configuration: Configuration) -> None:
    built.mkdir()
    (built / CONFIG).write_text(_text(configuration.message), encoding="utf-8", newline="\n")
    if configuration.initial:
        (built / INITIAL).mkdir()
    for file, data in configuration.initial.items():
        (built / INITIAL / file).write_bytes(data)


def _read_back(built: Path, name: str, version: int) -> Any:
    """The configuration as a server will read it, after the checks that a server makes."""
    config = text_format.Parse((built / CONFIG).read_text(encoding="utf-8"), messages().ModelConfig())
    found = problems(config, name, load(built / str(version) / MODEL).graph, _sizes(built / INITIAL))
    if found:  # a fault of rnnexport: whatever the user can cause was refused before
        raise AssertionError(f"a configuration that Triton would refuse: {'; '.join(found)}")
    return config


def _sizes(folder: Path) -> Mapping[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()} if folder.is_dir() else {}


def _earlier(folder: Path, configuration: Configuration, version: int) -> tuple[int, ...]:
    """The other versions that stay. UsageError where the folder holds what rnnexport did not write."""
    with writing(folder):
        paths = sorted(folder.rglob("*")) if folder.is_dir() else []
        files = {path.relative_to(folder).as_posix() for path in paths if not path.is_dir() or path.is_symlink()}
        if not paths:
            return ()
        text = (folder / CONFIG).read_text(encoding="utf-8", errors="replace") if CONFIG in files else ""
    strange = sorted(file for file in files if not _expected(file))
    if strange or not _is_ours(text):
        foreign = f"a {CONFIG} that rnnexport did not write, or that was changed, or none"
        raise UsageError(
            f"{folder} holds {', '.join(strange[:3]) or foreign}",
            "a model that rnnexport wrote, or nothing",
            "give another --name or repository, or move it away",
        )
    kept = tuple(sorted({int(file.split("/")[0]) for file in files if file.endswith(f"/{MODEL}")} - {version}))
    if kept and not _is_same(folder, text, configuration):
        raise UsageError(
            f"{folder} holds version {kept[0]}, whose {CONFIG} is not the one of version {version}",
            "one configuration: it is that of all versions of a model",
            "give another --name, the same options as before, or remove the other versions",
        )
    return kept


def _expected(file: str) -> bool:
    first, _, rest = file.partition("/")
    if first == INITIAL:
        return bool(rest) and "/" not in rest
    return file == CONFIG or (bool(_VERSION.fullmatch(first)) and rest == MODEL)


def _is_same(folder: Path, text: str, configuration: Configuration) -> bool:
    with writing(folder):
        initial = {file: (folder / INITIAL / file).read_bytes() for file in _sizes(folder / INITIAL)}
    return text == _text(configuration.message) and initial == dict(configuration.initial)
