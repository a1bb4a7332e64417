"""`rnnexport onnx`."""

from rnnexport.cli.options import lowering_options, opset_options
from rnnexport.cli.quantization import quantize_options
from rnnexport.cli.single import export_command

command = export_command(
    "onnx",
    """Export MODEL to ONNX, verify the file, then put it in place.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    Inputs and outputs keep their Keras names; dynamic dimensions are called `batch` and `time`; the states of
    stateful layers are inputs and outputs.

    Each recurrence gets the fastest form that is shown to compute the same: LSTM, GRU or RNN of ONNX, a Scan, straight
    code for a fixed length, or the Loop it always may be. What it became, and why, is printed and told by inspect.

    \b
    Examples:
      rnnexport onnx model.keras --opset 17 --custom-objects cells.py -o model.onnx
      rnnexport onnx model.keras --tune 32x100
      rnnexport onnx model.keras --max-loss 0.02 --calibrate recordings.npz
    """,
    opset_options(),
    lowering_options(form=True),
    quantize_options("onnx"),
)
