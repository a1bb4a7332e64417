"""`rnnexport tflite`."""

from rnnexport.cli.options import tflite_options
from rnnexport.cli.quantization import quantize_options
from rnnexport.cli.single import export_command

command = export_command(
    "tflite",
    """Export MODEL to TFLite, verify the file, then put it in place.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    Recurrent layers are unrolled where sequences are short, which needs a fixed length: give --timesteps unless the
    model has one. With --form rolled they are loops, and the length may be open. Only built-in operators are used, so
    that the file runs wherever LiteRT does.

    \b
    Examples:
      rnnexport tflite model.keras --timesteps 50 --batch 1 -o model.tflite
      rnnexport tflite model.keras --form rolled
      rnnexport tflite model.keras --form fused --batch 1
    """,
    tflite_options(runtime=True),
    quantize_options("tflite"),
)
