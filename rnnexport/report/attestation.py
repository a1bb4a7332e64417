"""A verification as an in-toto Statement: which bytes were verified, and with what result.

Statement v1 with the predicate test-result v0.1 (https://github.com/in-toto/attestation). It is not signed: who signs
it (GitHub's attest action, cosign) says who verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rnnexport.core.errors import UsageError
from rnnexport.verification.report import ArtifactReport, Report
from rnnexport.version import __version__

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"


def to_statement(report: Report) -> str:
    """The Statement as JSON, with a trailing newline. What was not run is no pass: it counts as failed.

    Raises:
        UsageError: the report has no digests of the files that it is about.
    """
    if not report.artifacts or any(not item.files for item in report.artifacts):
        raise UsageError("a report without digests", "one that verify recorded", "verify it with record=True")
    passed, failed = _tests(report.artifacts)
    value = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in _files(report.artifacts).items()],
        "predicateType": PREDICATE,
        "predicate": {
            "result": "PASSED" if report.passed else "FAILED",
            "configuration": _configuration(report),
            "passedTests": passed,
            "warnedTests": [],
            "failedTests": failed,
        },
    }
    return json.dumps(value, indent=2) + "\n"


def _files(items: Iterable[ArtifactReport]) -> dict[str, str]:
    """The digest of every file of all artifacts by its name.

    Raises:
        UsageError: two that differ have one name, which would say of one what is true of the other.
    """
    found: dict[str, str] = {}
    for item in items:
        for file in item.files:
            if found.setdefault(file.name, file.sha256) != file.sha256:
                raise UsageError(
                    f"two different files of the name {file.name}", "a name for each", "attest them one by one"
                )
    return found


def _tests(items: Iterable[ArtifactReport]) -> tuple[list[str], list[str]]:
    """The calls of each artifact that passed, and what failed: calls, and what is wrong with an artifact as a whole."""
    passed: list[str] = []
    failed: list[str] = []
    for item in items:
        name = f"{item.files[0].name} on {item.provider}"
        for feed in item.feeds:
            side = passed if all(one.passed for one in feed.outputs) else failed
            side.append(f"{name}: {feed.label}")
        failed += [f"{name}: {problem}" for problem in item.problems]
        if item.status != "passed" and not any(one.startswith(f"{name}: ") for one in failed):
            failed.append(f"{name}: {item.status}")
    return passed, failed


def _configuration(report: Report) -> list[Mapping[str, Any]]:
    """What the result depends on: rnnexport and the runtimes, and the source of each artifact, by its digest."""
    versions = {"rnnexport": __version__, **(report.run.versions if report.run else {})}
    found: list[Mapping[str, Any]] = [
        {"name": name, "uri": f"pkg:pypi/{name}@{version}"} for name, version in versions.items()
    ]
    sources = [item.provenance.source for item in report.artifacts if item.provenance is not None]
    known = {source["sha256"]: source["name"] for source in sources if source.get("sha256")}
    return [*found, *({"name": name, "digest": {"sha256": digest}} for digest, name in known.items())]
