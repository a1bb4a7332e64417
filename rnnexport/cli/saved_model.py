"""`rnnexport saved-model`."""

from rnnexport.cli.single import export_command

command = export_command(
    "saved-model",
    """Export MODEL to a TensorFlow SavedModel, verify it, then put it in place.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    It has one signature, `serving_default`, and constant weights.

    \b
    Example:
      rnnexport saved-model model.keras --custom-objects cells.py -o model_saved
    """,
)
