"""Recurrent Keras models to SavedModel, TFLite and ONNX, each artifact proved to compute the same thing.

    import rnnexport

    rnnexport.export("model.keras", to="onnx", output="model.onnx")
    assert rnnexport.verify("model.onnx").passed

Importing this package imports no TensorFlow; `load` and `export` do when they are called.
"""

from __future__ import annotations

from rnnexport.errors import (
    ConversionError,
    MismatchError,
    ProviderError,
    RnnExportError,
    UsageError,
)
from rnnexport.loading import Loading
from rnnexport.lowered import Lowered, LoweringRequest
from rnnexport.orders import Exported
from rnnexport.pipeline import export, export_all, load, verify
from rnnexport.verification.compare import Tolerance
from rnnexport.verification.report import Report
from rnnexport.version import __version__

__all__ = [
    "ConversionError",
    "Exported",
    "Loading",
    "Lowered",
    "LoweringRequest",
    "MismatchError",
    "ProviderError",
    "Report",
    "RnnExportError",
    "Tolerance",
    "UsageError",
    "__version__",
    "export",
    "export_all",
    "load",
    "verify",
]
