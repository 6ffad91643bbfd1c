"""Table 1 of Lee, Park & Lee (2018): on photographs, on ImageNet, or with your own model and images.

python examples/table1.py                                  on the photographs, minutes on a CPU
python examples/table1.py --data imagenet --data-dir DIR   the paper's experiment: DIR holds train and val
python examples/table1.py --data imagenette                ten of ImageNet's classes, downloaded
python examples/table1.py --data FOLDER --model net.py:f   your images, one folder a class, and your model
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Annotated, Any

import typer

WHAT, SIZES, ATTACK, NOISE, MACHINE = (
    "What is evaluated",
    "How many images",
    "Attacks",
    "Defences",
    "Where it runs",
)


def main(
    # What is evaluated.
    data: Annotated[
        str,
        typer.Option(
            metavar="photographs|imagenette|imagenet|FOLDER",
            help="Images: FOLDER holds one folder for each class, or two such folders, train and val.",
            rich_help_panel=WHAT,
        ),
    ] = "photographs",
    data_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where imagenet or imagenette is.", rich_help_panel=WHAT)
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="JSON or CSV: which class each folder is.", rich_help_panel=WHAT),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE.py:FUNCTION",
            help="Target: inception_v1, vgg16, vgg19, torchvision:NAME[:WEIGHTS], or a function that returns a network "
            "for images in [0, 1].",
            rich_help_panel=WHAT,
        ),
    ] = "inception_v1",
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A column: a model to craft on, or a file of a perturbation, FILE.npy:order=bgr,layout=HWC,units=255. "
            "Repeat it for more.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    input_size: Annotated[
        int | None, typer.Option(min=1, help="Height and width of the images.", rich_help_panel=WHAT)
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option(min=2, help="Number of logits of the target.", rich_help_panel=WHAT)
    ] = None,
    rows: Annotated[
        str, typer.Option(metavar="all|paper", help="All rows, or the paper's only.", rich_help_panel=WHAT)
    ] = "all",
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Also score over strengths of the denoisers.", rich_help_panel=WHAT)
    ] = False,
    preflight: Annotated[
        bool, typer.Option(help="Check the models before hours of work.", rich_help_panel=WHAT)
    ] = True,
    # How many images.
    craft_images: Annotated[
        int | None, typer.Option(min=0, help="Images each perturbation is crafted on.", rich_help_panel=SIZES)
    ] = None,
    tune_images: Annotated[
        int | None, typer.Option(min=0, help="Images to choose σ and ε of v_def on.", rich_help_panel=SIZES)
    ] = None,
    noise_images: Annotated[
        int | None, typer.Option(min=0, help="Images to fit v_def on; 0: no v_def.", rich_help_panel=SIZES)
    ] = None,
    test_images: Annotated[
        int | None, typer.Option(min=1, help="Images that are scored.", rich_help_panel=SIZES)
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out images that cannot be read.", rich_help_panel=SIZES)
    ] = False,
    # Attacks.
    eps: Annotated[
        float | None, typer.Option(help="L∞ bound of perturbations, of 255; the paper's: 10.", rich_help_panel=ATTACK)
    ] = None,
    craft_passes: Annotated[
        int | None, typer.Option(min=1, help="Most passes of DeepFoolUAP.", rich_help_panel=ATTACK)
    ] = None,
    craft_batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Images an update of DeepFoolUAP; the paper's: 1.", rich_help_panel=ATTACK),
    ] = None,
    craft_until: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fooling rate that suffices.", rich_help_panel=ATTACK)
    ] = None,
    sgd_passes: Annotated[
        int | None, typer.Option(min=1, help="Passes of SGDUAP, the stronger attack.", rich_help_panel=ATTACK)
    ] = None,
    # Denoisers and defensive noise.
    rof_weight: Annotated[
        float | None, typer.Option(help="Weight of ROF, of 255; the paper's: 10.", rich_help_panel=NOISE)
    ] = None,
    nlm_h: Annotated[
        float | None, typer.Option(help="h of NL-means, of 1; the paper's: 0.05.", rich_help_panel=NOISE)
    ] = None,
    noise_accept: Annotated[
        str | None,
        typer.Option(
            metavar="flip|loss", help="Draws that make v_def: wrong → right, or any lower loss.", rich_help_panel=NOISE
        ),
    ] = None,
    noise_through: Annotated[
        str | None,
        typer.Option(
            metavar="defences|classifier", help="Fit v_def through the denoiser, or without.", rich_help_panel=NOISE
        ),
    ] = None,
    noise_draws: Annotated[
        int | None, typer.Option(min=1, help="Draws per image that make v_def.", rich_help_panel=NOISE)
    ] = None,
    noise_knowing: Annotated[
        bool | None,
        typer.Option("--noise-knowing", help="Also fit v_def on perturbed images.", rich_help_panel=NOISE),
    ] = None,
    # Where it runs.
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda[:i]", help="Where to compute.", rich_help_panel=MACHINE)
    ] = "auto",
    mixed_precision: Annotated[
        bool,
        typer.Option(
            "--mixed-precision",
            help="Score in half precision, if a check shows the same labels.",
            rich_help_panel=MACHINE,
        ),
    ] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images scored at once; else found by trial.", rich_help_panel=MACHINE)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode images.", rich_help_panel=MACHINE)
    ] = None,
    weights_dir: Annotated[
        Path | None, typer.Option(help="Folder of torchvision's files of weights.", rich_help_panel=MACHINE)
    ] = None,
    decoded_dir: Annotated[
        Path | None, typer.Option(help="Folder for decoded images.", rich_help_panel=MACHINE)
    ] = None,
    # The run.
    out: Annotated[
        Path | None, typer.Option(help="Run folder; by default runs/table1, or runs/ and the name of the data.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Photographs: every step on few images; the figures mean nothing.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be done and how long it takes; do nothing.")
    ] = False,
    change: Annotated[
        bool, typer.Option("--change", help="Let a run folder go on with other options; compute what depends on them.")
    ] = False,
    progress: Annotated[bool, typer.Option(help="Show progress bars.")] = True,
) -> None:
    """Attack a classifier by universal perturbations, defend it by denoising, print Table 1 of Lee, Park & Lee (2018).

    Without options: on photographs that come with the installation, with three small networks trained on them.
    """
    from art_denoise.evaluation.options import Machine, Options
    from art_denoise.evaluation.plan import plan as make_plan
    from art_denoise.evaluation.report import write_report
    from art_denoise.evaluation.table1 import run_table1

    given: dict[str, Any] = {
        "data_dir": data_dir,
        "classes": classes,
        "sources": tuple(source) if source else None,
        "input_size": input_size,
        "num_classes": num_classes,
        "eps": None if eps is None else eps / 255,
        "rof_weight": None if rof_weight is None else rof_weight / 255,
        "nlm_h": nlm_h,
        "craft_images": craft_images,
        "tune_images": tune_images,
        "noise_images": noise_images,
        "test_images": test_images,
        "craft_passes": craft_passes,
        "craft_batch_size": craft_batch_size,
        "craft_until": craft_until,
        "sgd_passes": sgd_passes,
        "noise_accept": noise_accept,
        "noise_through": noise_through,
        "noise_draws": noise_draws,
        "noise_knowing": noise_knowing,
    }
    flags = {"rows": rows, "sweep": sweep, "preflight": preflight, "skip_broken": skip_broken}
    chosen = {"seed": seed, "model": model, **flags, **{k: v for k, v in given.items() if v is not None}}
    name = "quick" if quick else "table1" if data == "photographs" else Path(data).resolve().name
    folder = out or Path("runs") / name
    try:
        if quick and data != "photographs":
            raise ValueError("--quick is for the photographs: give small numbers of images instead, --test-images 20")
        options = Options.quick(**chosen) if quick else Options.for_data(data, **chosen)
        machine = Machine(device, mixed_precision, batch_size, workers, weights_dir, decoded_dir, progress)
        if plan:
            typer.echo(_as_options(make_plan(folder, options, machine)), nl=False)
            return
        result = run_table1(folder, options, machine, change=change)
        typer.echo(write_report(result, folder))
    except (OSError, ValueError) as error:
        message = str(error)
        if isinstance(error, OSError) and error.strerror:
            message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        typer.echo(f"Error: {_as_options(message)}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"Report: {folder / 'report' / 'index.html'}")


def _as_options(message: str) -> str:
    """Name arguments in a message as the options of this program that they come from."""
    names = {"sources": "source", **{name: name for name in inspect.signature(main).parameters}}
    return re.sub(
        r"`(\w+)`", lambda found: f"--{names[found[1]].replace('_', '-')}" if found[1] in names else found[0], message
    )


if __name__ == "__main__":
    typer.run(main)
