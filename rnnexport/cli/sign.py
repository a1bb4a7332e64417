"""`rnnexport sign`, and the options of `verify` that say who signed and what is attested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from rnnexport.cli import options
from rnnexport.cli.grouping import OptionGroup, grouped
from rnnexport.cli.session import session_of
from rnnexport.core.errors import UsageError
from rnnexport.core.run_record import FileRecord, file_records
from rnnexport.targets.registry import target_of
from rnnexport.verification.report import Report

_PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class Trust:
    """What the options of `trust_options` say.

    Attributes:
        signature, public_key: of the one artifact that is verified; None for none.
        attest: where a Statement is written to; None for nowhere.
    """

    signature: Path | None
    public_key: Path | None
    attest: Path | None

    def check(self, artifacts: Sequence[Path]) -> Mapping[Path, tuple[FileRecord, ...]]:
        """Refuse an artifact that was not signed; and look at the bytes that are to be attested.

        Raises:
            UsageError: the signature does not hold; or an option lacks the other.
        """
        if (self.signature is None) != (self.public_key is None) or (self.signature and len(artifacts) != 1):
            raise UsageError("--signature or --public-key", "both, for one artifact", "give the other too")
        if self.signature is not None and self.public_key is not None:
            from rnnexport.api.signing import require_signed

            require_signed(artifacts[0], self.signature, self.public_key)
        return {path: file_records(target_of(path).every_file(path)) for path in artifacts} if self.attest else {}

    def write(self, report: Report, before: Mapping[Path, tuple[FileRecord, ...]]) -> None:
        """Write the Statement, if one is asked for.

        Raises:
            UsageError: an artifact changed while it was verified, or the place can't be written.
        """
        if self.attest is None:
            return
        from rnnexport.artifact.atomic_write import write_text
        from rnnexport.report.attestation import to_statement

        for item in report.artifacts:
            if item.files != before[Path(item.artifact)]:
                raise UsageError(f"{item.artifact} changed while it was verified", "the same bytes", "verify it again")
        write_text(self.attest, to_statement(report))


def trust_options() -> OptionGroup:
    """Who signed an artifact, and what is said of it to others."""
    return OptionGroup(
        options.OUTPUT,
        (
            click.Option(
                ["--signature"],
                type=_PATH,
                metavar="FILE.sig",
                help="Refuse an artifact that this does not sign, before anything of it is used; needs --public-key.",
            ),
            click.Option(["--public-key"], type=_PATH, metavar="KEY.pem", help="The key of whoever signed."),
            click.Option(
                ["--attest"],
                type=_PATH,
                metavar="FILE",
                help="Write an in-toto Statement (test-result v0.1) over the digests of the artifacts.",
            ),
        ),
        "trust",
        Trust,
    )


@grouped(
    "sign",
    OptionGroup(
        options.OUTPUT,
        (
            click.Option(
                ["--key"], type=_PATH, required=True, metavar="KEY.pem", help="A private key of an elliptic curve."
            ),
            click.Option(
                ["-o", "--output"], type=_PATH, metavar="FILE.sig", help="Where the signature goes (default: beside)."
            ),
        ),
    ),
    options.message_options(),
    arguments=[click.Argument(["artifact"], type=_PATH)],
)
@click.pass_context
def command(ctx: click.Context, artifact: Path, key: Path, output: Path | None) -> None:
    """Sign ARTIFACT with a bare key, offline, as the package model-signing does.

    One that was altered since its export is refused. The password of a key is read from RNNEXPORT_KEY_PASSWORD.

    \b
    Example:
      openssl ecparam -name prime256v1 -genkey -noout -out key.pem
      openssl ec -in key.pem -pubout -out public.pem
      rnnexport sign model.onnx --key key.pem
      rnnexport verify model.onnx --signature model.onnx.sig --public-key public.pem
    """
    from rnnexport.api.signing import sign

    place = sign(artifact, key, output)
    session_of(ctx).show(f"wrote {place}")
