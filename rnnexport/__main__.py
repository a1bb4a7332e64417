"""The command line as a process: what pip's script `rnnexport` and `python -m rnnexport` start."""

import os


def main() -> None:
    """Run the command line; one that is interrupted before it begins, while modules are imported, says so as well."""
    try:
        from rnnexport.cli import main as command

        command()
    except KeyboardInterrupt:
        os.write(2, b"rnnexport: error: interrupted; no artifact was written\n")
        os._exit(130)


if __name__ == "__main__":
    main()
