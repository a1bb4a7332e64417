"""Parts of a verification, one a shard of the user's data: written by `verify --shard`, put together by `merge`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnexport.core.errors import ForeignCode, UsageError, reason, require_file
from rnnexport.core.user_data import Shard
from rnnexport.verification.merging import merged, plain, read
from rnnexport.verification.report import ArtifactReport, Report
from rnnexport.version import __version__

_FORMAT = "rnnexport part 1"


@dataclass(frozen=True)
class ShardResult:
    """What one shard gave.

    Attributes:
        format: of the file.
        rnnexport: the version that wrote it.
        index: which shard, from 1.
        count: of how many.
        artifacts: the reports, an entry an artifact and provider, with the digests of its files.
    """

    format: str
    rnnexport: str
    index: int
    count: int
    artifacts: tuple[ArtifactReport, ...]

    @property
    def shard(self) -> Shard:
        """The shard as one value. Raises UsageError where it is none."""
        return Shard(self.index, self.count)

    def to_json(self) -> str:
        """As a file, with a trailing newline."""
        return json.dumps(plain(self), allow_nan=False) + "\n"

    @staticmethod
    def from_file(path: Path) -> ShardResult:
        """The inverse of `to_json`.

        Raises:
            UsageError: it is no part, or that of another version.
        """
        require_file(path, "a part that `verify --shard --json` wrote")
        with ForeignCode(lambda error: _no_part(path, reason(error))):
            value: Any = json.loads(path.read_bytes())
            if not isinstance(value, dict) or value.get("format") != _FORMAT:
                found = value.get("format") if isinstance(value, dict) else None
                raise _no_part(path, f"format {found}" if found else "another kind of file")
            if value.get("rnnexport") != __version__:
                raise _no_part(path, f"of rnnexport {value.get('rnnexport')}, and this is {__version__}")
            part = read(ShardResult, value)
            _ = part.shard
        return part


def part_of(report: Report, shard: Shard) -> ShardResult:
    """The report of a shard, to be merged."""
    return ShardResult(_FORMAT, __version__, shard.index, shard.count, report.artifacts)


def merge(parts: Mapping[str, ShardResult]) -> Report:
    """The report of a single run over all the data.

    Args:
        parts: each with the name that messages call it by.

    Raises:
        UsageError: one is missing, or is there twice, or they are not of one run.
    """
    _require_all(parts)
    ordered = sorted(parts.values(), key=lambda part: part.index)
    first = ordered[0]
    for name, part in parts.items():
        if [(one.target, one.provider) for one in part.artifacts] != [(o.target, o.provider) for o in first.artifacts]:
            raise UsageError(f"{name} is of other providers", "parts of the same run", "run the shards alike")
        for one, other in zip(first.artifacts, part.artifacts, strict=True):
            if one.files != other.files:
                raise UsageError(
                    f"{name} is of another {Path(one.artifact).name}",
                    "parts of one artifact",
                    "run the shards on it again",
                )
    columns = zip(*(part.artifacts for part in ordered), strict=True)
    return Report(tuple(merged(column) for column in columns))


def _require_all(parts: Mapping[str, ShardResult]) -> None:
    """Every shard once."""
    if not parts:
        raise UsageError("no parts", "those of all shards", "give the files of `verify --shard --json`")
    by_shard: dict[Shard, str] = {}
    (first, one), *_ = parts.items()
    for name, part in parts.items():
        if part.count != one.count:
            raise UsageError(f"{first} is shard {one.shard} and {name} {part.shard}", "one N", "run them alike")
        if part.shard in by_shard:
            raise UsageError(
                f"{by_shard[part.shard]} and {name} are both shard {part.shard}", "each once", "leave one out"
            )
        by_shard[part.shard] = name
    if missing := [at for at in range(1, one.count + 1) if Shard(at, one.count) not in by_shard]:
        told = ", ".join(map(str, missing[:10])) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        raise UsageError(
            f"no part {told} of {one.count}", "the parts of all shards", f"run --shard {missing[0]}/{one.count}"
        )


def _no_part(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} is no part ({why})", "what `verify --shard K/N --json FILE` wrote", "run that shard again"
    )
