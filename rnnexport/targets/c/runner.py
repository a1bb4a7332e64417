"""A C program, compiled by the host's compiler and called in this process."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rnnexport.core.errors import ProviderError
from rnnexport.core.signature import TensorSpec, argument_name
from rnnexport.targets.base import RuntimeTensor
from rnnexport.targets.c import compiler
from rnnexport.targets.c.calling import CompiledModel
from rnnexport.targets.c.files import HEADER, read_source, read_text, weights_file


class CRunner:
    """See `Runner`. A row of a batch is a call of its own."""

    ordered = True
    entries: tuple[str, ...] = ()

    def __init__(self, program: CompiledModel, settings: Mapping[str, str]) -> None:
        self._program, self.settings = program, settings
        signature = program.signature
        self.inputs = tuple(_tensor(spec, argument_name(spec.name)) for spec in signature.all_inputs)
        self.outputs = tuple(_tensor(spec, spec.name) for spec in signature.all_outputs)

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self._program.run(feed)

    def at(self, entry: str) -> CRunner:
        raise KeyError(entry)

    def placement(self) -> None:
        return None


@contextmanager
def open_runner(path: Path, provider: str, tf32: bool = False) -> Iterator[CRunner]:
    """Compile the program into a folder of its own, and load it; on the CPU, the one `provider` of this target.

    Raises:
        ProviderError: there is no compiler, or it fails.
        UsageError: the program can't be read.
    """
    source = read_source(path)
    found = compiler.find()
    with TemporaryDirectory(prefix="rnnexport_c_") as folder:
        program, settings = _without_warnings(path, Path(folder), found)
        yield CRunner(CompiledModel(program, source.signature, source.name, weights_file(path, source)), settings)


def _without_warnings(path: Path, folder: Path, found: compiler.Compiler) -> tuple[Path, dict[str, str]]:
    """The compiled program and its settings. A compiler that warns computes the same, and is told."""
    strict = {"compiler": found.version, "flags": shlex.join(compiler.FLAGS)}
    try:
        return compiled(path, folder, found), strict
    except ProviderError as error:
        flags = tuple(flag for flag in compiler.FLAGS if flag != compiler.STRICT)
        program = compiled(path, folder, found, flags)  # raises for whatever is more than a warning
        return program, {"compiler": found.version, "flags": shlex.join(flags), "warning": error.found}


def compiled(path: Path, folder: Path, with_: compiler.Compiler, flags: tuple[str, ...] = compiler.FLAGS) -> Path:
    """A shared object of the program in `folder`, where its files have the names that they were written with."""
    from rnnexport.emit.c.interface import file_name

    name = file_name(read_source(path).name)
    program, header = folder / f"{name}.c", folder / f"{name}{HEADER}"
    program.write_bytes(read_text(path))
    header.write_bytes(read_text(path.with_suffix(HEADER)))
    to = folder / f"{name}.so"
    with_.shared(program, to, flags)
    return to


def _tensor(spec: TensorSpec, name: str) -> RuntimeTensor:
    return RuntimeTensor(name, spec.dtype, tuple(spec.shape))
