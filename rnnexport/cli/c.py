"""`rnnexport c`."""

from rnnexport.cli.options import c_options
from rnnexport.cli.single import export_command

command = export_command(
    "c",
    """Export MODEL to a C99 program without an interpreter or an allocation, verify it, then put it in place.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    Three files are written: NAME.c and NAME.h, which a firmware, a plug-in or a service compiles, and NAME.c.npz with
    the proof. NAME_run computes sequences of any length; with states, NAME_init begins a stream and NAME_step goes on
    by one timestep. One call is one row of a batch.

    Verifying compiles the program by CC, else by cc, gcc or clang, or by the ziglang package.

    \b
    Examples:
      rnnexport c model.keras -o model.c
      rnnexport c model.keras --stream 1 -o firmware
      cc -O2 -c model.c
    """,
    c_options,
    place="DIR|FILE.c",
)
