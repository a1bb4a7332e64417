"""`rnnexport tflite`."""

from rnnexport.cli.single import export_command

command = export_command(
    "tflite",
    """Export MODEL to TFLite, verify the file, then put it in place.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    Recurrent layers are unrolled, which needs a fixed length: give --timesteps unless the model has one. Only
    built-in operators are used, so that the file runs wherever LiteRT does.

    \b
    Example:
      rnnexport tflite model.keras --timesteps 50 --batch 1 -o model.tflite
    """,
)
