"""`python -m rnnexport`: the command line without the script that pip installs."""

from rnnexport.cli import main

if __name__ == "__main__":
    main()
