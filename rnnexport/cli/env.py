"""`rnnexport env`."""

from __future__ import annotations

import sys

import click

from rnnexport.cli import options
from rnnexport.cli.grouping import grouped
from rnnexport.cli.session import session_of
from rnnexport.core.run_record import Watch
from rnnexport.core.versions import installed
from rnnexport.version import __version__

_OTHERS = ("onnx", "onnx-ir", "tf2onnx", "onnxscript", "h5py", "jinja2", "tritonclient")


@grouped("env", options.message_options())
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show versions, runtimes and execution providers of this host, for a report of a problem.

    \b
    Example:
      rnnexport env
    """
    run = Watch().record()
    told = {
        "rnnexport": __version__,
        "python": f"{run.python}, {sys.executable}",
        "system": run.system,
        **run.versions,
        **installed(*_OTHERS),
        "providers": ", ".join(_providers()) or "onnxruntime is not installed",
    }
    session = session_of(ctx)
    width = max(map(len, told))
    for name, value in told.items():
        session.write(f"{name:<{width}}  {value}")


def _providers() -> list[str]:
    """What ONNX Runtime says that it can run on here."""
    try:
        from onnxruntime import get_available_providers
    except ImportError:
        return []
    return [str(name).removesuffix("ExecutionProvider").lower() for name in get_available_providers()]
