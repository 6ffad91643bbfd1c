"""Run Table 1 of Lee, Park & Lee (2018) on the photographs and print it.

python examples/table1.py            the whole table, minutes on a CPU
python examples/table1.py --quick    every step on a few images; the figures mean nothing
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def main(
    out: Annotated[Path | None, typer.Option(help="Run folder [default: runs/table1, with --quick runs/quick]")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Every step on a few images; the figures mean nothing.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")] = 0,
    progress: Annotated[bool, typer.Option(help="Show progress bars.")] = True,
) -> None:
    """Train three classifiers on photographs, attack them, defend them, and print Table 1 of Lee, Park & Lee (2018)."""
    from art_denoise.evaluation.report import write_report
    from art_denoise.evaluation.table1 import Options, run_table1

    folder = out or Path("runs") / ("quick" if quick else "table1")
    try:
        result = run_table1(folder, Options.quick(seed) if quick else Options(seed=seed), progress=progress)
        typer.echo(write_report(result, folder))
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"Report: {folder / 'report' / 'index.html'}")


if __name__ == "__main__":
    typer.run(main)
