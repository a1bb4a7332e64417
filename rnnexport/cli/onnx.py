"""`rnnexport onnx`."""

from rnnexport.cli.options import opset_option
from rnnexport.cli.single import export_command

command = export_command(
    "onnx",
    """Export MODEL to ONNX, verify the file, then put it in place.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    Inputs and outputs keep their Keras names; dynamic dimensions are called `batch` and `time`; the states of
    stateful layers are inputs and outputs.

    \b
    Example:
      rnnexport onnx model.keras --opset 17 --custom-objects cells.py -o model.onnx
    """,
    opset_option,
)
