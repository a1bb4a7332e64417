"""`rnnexport saved-model`."""

from rnnexport.cli.single import export_command

command = export_command(
    "saved-model",
    """Export MODEL (.keras or .h5) to a TensorFlow SavedModel, verify it, then put it in place.

    It has one signature, `serving_default`, and constant weights.

    \b
    Example:
      rnnexport saved-model model.keras --custom-objects cells.py -o model_saved
    """,
)
