"""Run Table 1 of Lee, Park & Lee (2018) on the photographs and print it.

python examples/table1.py            the whole table, minutes on a CPU
python examples/table1.py --quick    every step on a few images; the figures mean nothing
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer


def main(
    out: Annotated[
        Path | None, typer.Option(help="Run folder; by default runs/table1, with --quick runs/quick.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Every step on few images; the figures mean nothing.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")] = 0,
    craft_images: Annotated[int | None, typer.Option(min=1, help="Crops each perturbation is crafted on.")] = None,
    craft_passes: Annotated[int | None, typer.Option(min=1, help="Most passes of DeepFoolUAP.")] = None,
    sgd_passes: Annotated[int | None, typer.Option(min=1, help="Passes of SGDUAP, the stronger attack.")] = None,
    noise_accept: Annotated[
        str | None, typer.Option(metavar="flip|loss", help="Draws that make v_def: wrong → right, or any lower loss.")
    ] = None,
    noise_through: Annotated[
        str | None, typer.Option(metavar="defences|classifier", help="Fit v_def through the denoiser, or without.")
    ] = None,
    noise_draws: Annotated[int | None, typer.Option(min=1, help="Draws per image that make v_def.")] = None,
    noise_knowing: Annotated[
        bool | None, typer.Option("--noise-knowing", help="Also fit v_def on perturbed images, in rows of their own.")
    ] = None,
    progress: Annotated[bool, typer.Option(help="Show progress bars.")] = True,
) -> None:
    """Train three classifiers on photographs, attack them, defend them, and print Table 1 of Lee, Park & Lee (2018)."""
    from art_denoise.evaluation.options import Options
    from art_denoise.evaluation.report import write_report
    from art_denoise.evaluation.table1 import run_table1

    given: dict[str, Any] = {
        "craft_images": craft_images,
        "craft_passes": craft_passes,
        "sgd_passes": sgd_passes,
        "noise_accept": noise_accept,
        "noise_through": noise_through,
        "noise_draws": noise_draws,
        "noise_knowing": noise_knowing,
    }
    folder = out or Path("runs") / ("quick" if quick else "table1")
    try:
        options = replace(
            Options.quick(seed) if quick else Options(seed=seed), **{k: v for k, v in given.items() if v is not None}
        )
        result = run_table1(folder, options, progress=progress)
        typer.echo(write_report(result, folder))
    except (OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"Report: {folder / 'report' / 'index.html'}")


if __name__ == "__main__":
    typer.run(main)
