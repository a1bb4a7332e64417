"""Build every sample, export it to every target, verify each artifact from the file alone, print one table.

python -m samples.demo FOLDER [NAME ...]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import rnnexport
from rnnexport.artifact.atomic_write import staged
from rnnexport.cli.progress import ProgressLine
from rnnexport.cli.session import captured_stderr
from rnnexport.report.json_view import to_json
from rnnexport.report.text import matrix_table
from rnnexport.targets.registry import TARGET_NAMES
from rnnexport.verification.report import Report
from samples.catalog import SAMPLES, SAMPLES_BY_NAME, Sample


def run(sample: Sample, folder: Path, console: Console) -> Report:
    """Save the sample, export the file to every target, and verify the artifacts from their goldens."""
    progress = ProgressLine(console)
    progress(f"{sample.name}: building")
    model = folder / f"{sample.name}.keras"
    sample.build().save(model)
    exported = rnnexport.export_all(
        model,
        TARGET_NAMES,
        folder,
        loading=rnnexport.LoadOptions([str(sample.path)]),
        tflite_timesteps=sample.timesteps,
        progress=lambda message: progress(f"{sample.name}: {message}"),
    )
    report = rnnexport.verify([item.path for item in exported])
    progress.stop()
    verdict = "verified" if report.passed else "NOT verified"
    console.print(f"{sample.name}: {verdict} on {', '.join(item.target for item in report.artifacts)}")
    return report


def main(arguments: Sequence[str]) -> int:
    """Run the demo; 0 when everything was verified."""
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [SAMPLES_BY_NAME[name] for name in arguments[1:]] or list(SAMPLES)
    with captured_stderr(show=False) as stderr:
        console = Console(file=stderr, highlight=False)
        reports = [run(sample, folder, console) for sample in chosen]
    whole = Report(tuple(item for report in reports for item in report.artifacts))
    Console(width=None if sys.stdout.isatty() else 120, highlight=False).print(matrix_table(whole))
    with staged(folder / "report.json") as path:
        path.write_text(to_json(whole))
    return whole.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
