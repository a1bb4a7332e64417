"""`rnnexport numpy`."""

from rnnexport.cli.single import export_command

command = export_command(
    "numpy",
    """Export MODEL to a Python program that needs NumPy alone, verify it, then put it in place.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    Two files are written, NAME.py and beside it NAME.npz with the weights and the proof; they belong together, and move
    together. The program can be imported, or run on arrays by name.

    Verifying or opening such an artifact runs its program: do it with those alone that you trust, for the seal tells
    damage, and is no signature.

    \b
    Examples:
      rnnexport numpy model.keras -o model.py
      rnnexport numpy model.keras --custom-objects cells.py -o programs
      python model.py inputs.npz outputs.npz
    """,
    place="DIR|FILE.py",
)
