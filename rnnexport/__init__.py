"""Recurrent Keras models to SavedModel, TFLite, ONNX and NumPy, each artifact proved to compute the same thing.

    import rnnexport

    rnnexport.export("model.keras", "model.onnx")
    assert rnnexport.verify("model.onnx").passed

Importing this package imports no TensorFlow; `load` and `export` do when they are called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rnnexport.core.errors import (
    ConversionError,
    MismatchError,
    ProviderError,
    RnnExportError,
    UsageError,
)
from rnnexport.version import __version__

if TYPE_CHECKING:
    from rnnexport import runtime
    from rnnexport.api.callback import ExportBest
    from rnnexport.api.compare import compare
    from rnnexport.api.export import export, export_all, load
    from rnnexport.api.inspect import inspect
    from rnnexport.api.jobs import Exported
    from rnnexport.api.reseal import Stripped, reseal, strip
    from rnnexport.api.run import run
    from rnnexport.api.verify import verify
    from rnnexport.core.forms import TFLiteForm
    from rnnexport.core.load_options import LoadOptions
    from rnnexport.core.lowering import LoweringDecision, LoweringRequest
    from rnnexport.core.quantization import QuantizeRequest
    from rnnexport.verification.report import Report
    from rnnexport.verification.tolerance import Override

__all__ = [
    "ConversionError",
    "ExportBest",
    "Exported",
    "LoadOptions",
    "LoweringDecision",
    "LoweringRequest",
    "MismatchError",
    "Override",
    "ProviderError",
    "QuantizeRequest",
    "Report",
    "RnnExportError",
    "Stripped",
    "TFLiteForm",
    "UsageError",
    "__version__",
    "compare",
    "export",
    "export_all",
    "inspect",
    "load",
    "reseal",
    "run",
    "runtime",
    "strip",
    "verify",
]

# Imported when they are asked for: a command line that verifies must not pay for what exports.
_HOMES = {
    "Exported": "api.jobs",
    "LoadOptions": "core.load_options",
    "LoweringDecision": "core.lowering",
    "LoweringRequest": "core.lowering",
    "TFLiteForm": "core.forms",
    "QuantizeRequest": "core.quantization",
    "Override": "verification.tolerance",
    "Report": "verification.report",
    "ExportBest": "api.callback",
    "compare": "api.compare",
    "export": "api.export",
    "export_all": "api.export",
    "inspect": "api.inspect",
    "load": "api.export",
    "reseal": "api.reseal",
    "run": "api.run",
    "Stripped": "api.reseal",
    "strip": "api.reseal",
    "verify": "api.verify",
}


def __getattr__(name: str) -> Any:
    if name == "runtime":
        return import_module("rnnexport.runtime")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"rnnexport.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
