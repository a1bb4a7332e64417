"""`rnnexport saved-model`."""

from rnnexport.cli.single import export_command

command = export_command(
    "saved-model",
    """Export MODEL to a TensorFlow SavedModel, verify it, then put it in place.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    Its signature is `serving_default`; where there are states it has `step` and `initial_state` too. Weights are
    constants.

    \b
    Example:
      rnnexport saved-model model.keras --custom-objects cells.py -o model_saved
    """,
)
