"""When, where and with what a command ran, the files that it was about, and how many numbers a model has learned."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# The packages that run artifacts and their sources, whose versions change numbers.
RUNTIMES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "ai-edge-litert",
    "tensorflow",
    "keras",
    "tf_keras",
)
_BLOCK = 2**20


@dataclass(frozen=True)
class RunRecord:
    """One run of a command or call.

    Attributes:
        started: when, in UTC, as ISO 8601 has it.
        seconds: how long it took.
        host: the name of the machine.
        system: its operating system and processor.
        python: the version of Python.
        versions: the runtimes that are installed, by the names of their distributions.
        command: the command line; empty where Python called.
    """

    started: str
    seconds: float
    host: str
    system: str
    python: str
    versions: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "host": self.host,
            "system": self.system,
            "python": self.python,
            "versions": dict(self.versions),
            "command": list(self.command),
        }


@dataclass(frozen=True)
class FileRecord:
    """One file of an artifact.

    Attributes:
        name: its path, relative to the folder that the artifact is in.
        size: in bytes.
        sha256: in hexadecimal.
    """

    name: str
    size: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"name": self.name, "bytes": self.size, "sha256": self.sha256}


class Watch:
    """Measures one run from where it is made."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._clock

    def record(self, command: Sequence[str] = ()) -> RunRecord:
        """The run until now, on this host."""
        import platform  # it and the versions take longer than all else of a small report

        from rnnexport.core.versions import installed

        return RunRecord(
            started=self._started.isoformat(timespec="seconds"),
            seconds=self.seconds,
            host=platform.node(),
            system=platform.platform(),
            python=platform.python_version(),
            versions=installed(*RUNTIMES),
            command=tuple(command),
        )


def file_records(paths: Iterable[Path]) -> tuple[FileRecord, ...]:
    """The files at these paths, and in the folders among them. Raises OSError where one can't be read."""
    found = []
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        found += [_record(file, file.relative_to(path.parent)) for file in files if file.is_file()]
    return tuple(found)


def _record(file: Path, name: Path) -> FileRecord:
    total, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            total.update(block)
            size += len(block)
    return FileRecord(name.as_posix(), size, total.hexdigest())


def size_of(paths: Iterable[Path]) -> int:
    """The bytes of all files at these paths."""
    found = 0
    for path in paths:
        files = path.rglob("*") if path.is_dir() else [path]
        found += sum(file.stat().st_size for file in files if file.is_file())
    return found


def bytes_in_words(count: int) -> str:
    """`812 B`, `79.3 KB`, `1.24 GB`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def seconds_in_words(seconds: float) -> str:
    """`0.4 s`, `12.3 s`, `4 min 5 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


_COUNT, _BYTES = "parameters", "parameter_bytes"  # in the source that a provenance records


@dataclass(frozen=True)
class Parameters:
    """Weights, trained or not; of a stateful layer its states are none.

    Attributes:
        count: how many numbers.
        size: their bytes.
    """

    count: int = 0
    size: int = 0

    def __str__(self) -> str:
        return f"{self.count:,}, {bytes_in_words(self.size)}"

    @classmethod
    def of(cls, arrays: Iterable[tuple[Sequence[int], int]]) -> Parameters:
        """All arrays of these (shape, bytes of a number) together."""
        counts = [(math.prod(shape), size) for shape, size in arrays]
        return cls(sum(count for count, _ in counts), sum(count * size for count, size in counts))

    def recorded(self) -> dict[str, str]:
        """As the source in a provenance has them."""
        return {_COUNT: str(self.count), _BYTES: str(self.size)}

    @classmethod
    def from_record(cls, source: Mapping[str, str]) -> Parameters | None:
        """The inverse; None where an older rnnexport recorded none."""
        return cls(int(source[_COUNT]), int(source[_BYTES])) if {_COUNT, _BYTES} <= source.keys() else None

    def to_json(self) -> dict[str, int]:
        """As plain values."""
        return {"count": self.count, "bytes": self.size}
