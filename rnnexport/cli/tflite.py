"""`rnnexport tflite`."""

from rnnexport.cli.single import export_command

command = export_command(
    "tflite",
    """Export MODEL (.keras or .h5) to TFLite, verify the file, then put it in place.

    Recurrent layers are unrolled, which needs a fixed length: give --timesteps unless the model has one. Only
    built-in operators are used, so that the file runs wherever LiteRT does.

    \b
    Example:
      rnnexport tflite model.keras --timesteps 50 --batch 1 -o model.tflite
    """,
)
