"""How fast the filters are: `python -m benchmarks.filters` prints tables and writes them to benchmarks/RESULTS.md.

All contenders filter the same real photographs in one process, one after another in each round, so that a change of
the machine's speed meets them all; quoted are medians over the rounds and their ratio to the first of each table.
Those that take long get fewer images, as stated. OpenCV, deepinv and vs-nlm-ispc (Python 3.12 or later) take part
where they are installed (`pip install ".[bench]"`). What no filter can be faster than is in `benchmarks.limits`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import isnan, nan
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from art.defences.preprocessor import TotalVarMin
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from tqdm.auto import tqdm

from art_denoise import nl_means_denoise, rof_denoise
from art_denoise.data.photographs import load_photograph
from art_denoise.filters._rof_chambolle import chambolle
from benchmarks.latency import first_use_table, latency_table
from benchmarks.limits import bare_divisions, bare_multiply_adds

RESULTS = Path(__file__).with_name("RESULTS.md")
WEIGHT, H, TOL = 10 / 255, 0.05, 1e-4
PACKAGES = (
    "torch",
    "numba",
    "numpy",
    "scikit-image",
    "adversarial-robustness-toolbox",
    "opencv-python-headless",
    "deepinv",
    "vapoursynth-nlm-ispc",
)

#: What is asked of the first size of images: task, contender, and how many times as fast as the first it is to be.
BOUNDS = [
    ("ROF, default stop", "art_denoise", 12.0),
    ("ROF, 200 iterations", "art_denoise", 14.0),
    ("ROF, converged", "art_denoise", 25.0),
    ("NL-means, fast", "art_denoise", 6.0),
]
#: How many times as long as what no filter can do without each is to take.
LIMITS = {"ROF": 1.3, "NL-means": 3.0}
TIMES_TOTALVARMIN, BACKWARD, MEMORY = 1000.0, 3.0, 6.0

#: What was tried for the bounds that two cores without a GPU did not meet.
TRIED = """\
What was tried where a bound is not met. ROF against `TotalVarMin`: the iteration is bound by the divider, one
square root and two divisions a pixel. One reciprocal for both, corrected by fused multiply-add to keep
scikit-image's bits, took longer; what else there is to do, the image of the next rows, runs beside it.
Backward pass of 200 iterations: their dual fields are larger than the cache. Keeping them all and computing
them twice (√K kept) take the same time, and the adjoint itself is twice the forward pass; for the dozen
iterations of the default stop all of them fit. ROF against its limit: the default stop sums an energy as well, and the
image and its dual field come from the second cache. NL-means against its limit: of its operations only half are
multiply-adds, the others being differences, sums over patches and the exponential, and half of all loads lie across two
lines of the cache. What helped: shifts side by side, whose sums stay in registers, and their weights in the nearest
cache; the distance and the exponential of 2×2 patches in one loop. What did not: the squares of seven shifts at
once, or a plane of ones in place of the mask, which are not vectorised any more. vs-nlm-ispc is asked for
frames from Python, 0.3 ms each; what it returns has another scale of `h`, and is not comparable."""


@dataclass(frozen=True)
class Contender:
    """One way to do one thing.

    :param run: Filters what `prepare` made, and returns images (N, 3, H, W).
    :param images: How many images of the batch are given to it, at most.
    :param prepare: Is given images (N, 3, H, W), and not timed.
    :param limit: Whether it filters nothing, and does only what no filter can do without.
    """

    name: str
    run: Callable[[Any], np.ndarray]
    images: int = 64
    prepare: Callable[[np.ndarray], Any] = lambda x: x
    limit: bool = False


@dataclass(frozen=True)
class Measured:
    """Seconds and bytes an image, and the greatest difference from the first contender's results."""

    images: int
    seconds: float
    memory: float
    difference: float


def photographs(count: int, size: int) -> np.ndarray:
    """Return float32 crops (`count`, 3, `size`, `size`) of four photographs, perturbed by random signs of 10/255."""
    rng = np.random.default_rng(0)
    sources = [load_photograph(name) for name in ("astronaut", "coffee", "chelsea", "rocket")]
    crops = []
    for k in range(count):
        source = sources[k % len(sources)]
        row, column = (int(rng.integers(0, extent - size)) for extent in source.shape[:2])
        crops.append(source[row : row + size, column : column + size].transpose(2, 0, 1))
    signs = rng.choice(np.array([-1, 1], dtype=np.float32), (3, size, size))
    return np.clip(np.stack(crops).astype(np.float32) / 255 + WEIGHT * signs, 0, 1)


def _loop(function: Callable[..., np.ndarray], **options: object) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.stack([function(image, channel_axis=0, **options) for image in x])


def _ours(function: Callable[[torch.Tensor], torch.Tensor], images: int = 64) -> list[Contender]:
    """Return a filter and its backward pass, alone."""

    def graph(x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        tensor = torch.from_numpy(x.copy()).requires_grad_()
        return tensor, function(tensor), torch.randn(x.shape, generator=torch.Generator().manual_seed(0))

    def backward(made: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> np.ndarray:
        tensor, result, grad = made
        torch.autograd.grad(result, tensor, grad, retain_graph=True)
        return result.detach().numpy()

    return [
        Contender("art_denoise", lambda x: function(torch.from_numpy(x)).numpy(), images),
        Contender("art_denoise, backward pass alone", backward, images, graph),
    ]


def _total_var_min(x: np.ndarray) -> np.ndarray:
    # ART's default drops pixels at random (prob=0.3); it wants channels last.
    denoised, _ = TotalVarMin(clip_values=(0, 1))(x.transpose(0, 2, 3, 1))
    return np.asarray(denoised).transpose(0, 3, 1, 2)


def _rof_energy(u: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    """Return the energy of every channel (N, C)."""
    down, across = (torch.zeros_like(u) for _ in range(2))
    down[:, :, :-1], across[..., :-1] = u.diff(dim=2), u.diff(dim=3)
    return (0.5 * (u - f).square() + WEIGHT * (down.square() + across.square()).sqrt()).sum((2, 3), dtype=torch.float64)


def _iterations_to_the_gap(x: np.ndarray) -> np.ndarray:
    """Return after how many iterations scikit-image's energy is within `TOL` of the least, for each channel (N, 3).

    Found with our own iterations, which are the same bit for bit, to 2 %. The least energy is bounded below by that
    of a more precise solution, less its gap.
    """
    f = torch.from_numpy(x)
    u, gap = rof_denoise(f, WEIGHT, solver="converged", tol=TOL / 100, return_gap=True)
    least = (1 - gap) * _rof_energy(u, f)
    needed, count = np.zeros(gap.shape, dtype=int), 50
    while not needed.all():
        energy = _rof_energy(rof_denoise(f, WEIGHT, eps=0, max_iter=count), f)
        reached = ((energy - least) / energy <= TOL).numpy()
        needed[reached & (needed == 0)] = count
        count = int(np.ceil(count * 1.02))
    return needed


def _scikit_image_to_the_gap(made: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    x, needed = made
    result = np.empty_like(x)
    for n, c in np.ndindex(needed.shape):
        result[n, c] = denoise_tv_chambolle(x[n, c], weight=WEIGHT, eps=0, max_num_iter=int(needed[n, c]))
    return result


def _deepinv() -> list[Contender]:
    if importlib.util.find_spec("deepinv") is None:
        return []
    from deepinv.models import TVDenoiser

    def run(x: np.ndarray) -> np.ndarray:
        return np.asarray(TVDenoiser()(torch.from_numpy(x), ths=WEIGHT))

    return [Contender("deepinv's TVDenoiser, its own stop", run, 2)]


def _opencv() -> list[Contender]:
    if importlib.util.find_spec("cv2") is None:
        return []
    import cv2

    def run(x: np.ndarray) -> np.ndarray:
        result = []
        for image in np.round(x * 255).astype(np.uint8).transpose(0, 2, 3, 1):
            # An odd patch, bytes, and tables instead of the exponential.
            denoised = cv2.fastNlMeansDenoising(
                np.ascontiguousarray(image), None, h=255 * H, templateWindowSize=3, searchWindowSize=7
            )
            result.append(denoised.transpose(2, 0, 1).astype(np.float32) / 255)
        return np.stack(result)

    return [Contender("OpenCV's fastNlMeansDenoising, 3×3 patches, bytes", run)]


def _vapoursynth(distance: int) -> list[Contender]:
    if importlib.util.find_spec("vapoursynth") is None:
        return []
    import vapoursynth

    core = vapoursynth.core
    if not hasattr(core, "nlm_ispc"):
        return []

    def clip(x: np.ndarray) -> Any:
        blank = core.std.BlankClip(width=x.shape[3], height=x.shape[2], format=vapoursynth.RGBS, length=len(x))
        frames = []
        for image, empty in zip(x, blank.frames(), strict=True):
            frame = empty.copy()
            for channel, plane in enumerate(image):
                np.asarray(frame[channel])[:] = plane
            frames.append(frame)
        return blank.std.ModifyFrame(blank, lambda n, f: frames[n])

    def run(clip: Any) -> np.ndarray:
        core.num_threads = torch.get_num_threads()
        # A filter of its own for each run: it remembers what it did.
        filtered = clip.nlm_ispc.NLMeans(d=0, a=distance, s=1, h=255 * H, channels="RGB")
        # Their `frames()` takes longer than they filter.
        asked = [filtered.get_frame_async(n) for n in range(len(clip))]
        return np.stack([np.stack([np.asarray(frame.result()[c]) for c in range(3)]) for frame in asked])

    return [Contender("vs-nlm-ispc, 3×3 patches", run, prepare=clip)]


def _limits_of_rof(eps: float) -> list[Contender]:
    def prepare(x: np.ndarray) -> tuple[np.ndarray, int]:
        _, iterations = chambolle(torch.from_numpy(x), WEIGHT, None, eps, 200)
        return x, round(float(iterations.double().mean()))

    name = "limit: its square roots and divisions alone"
    return [Contender(name, lambda made: bare_divisions(*made), prepare=prepare, limit=True)]


def _limits_of_nl_means(distance: int) -> list[Contender]:
    # Of half the shifts: the squares of three channels, and for both pixels the products with three and the weight.
    count = ((2 * distance + 1) ** 2 - 1) // 2 * (3 + 2 * 4)
    return [Contender("limit: its multiply-adds alone", lambda x: bare_multiply_adds(x[:, 0], count), limit=True)]


def tasks() -> dict[str, list[Contender]]:
    """Return the contenders by task; the first of each is what the others are compared with."""

    def rof(x: torch.Tensor) -> torch.Tensor:
        return rof_denoise(x, WEIGHT)

    def rof_200(x: torch.Tensor) -> torch.Tensor:
        return rof_denoise(x, WEIGHT, eps=0)

    def minimiser(x: torch.Tensor) -> torch.Tensor:
        return rof_denoise(x, WEIGHT, solver="converged", tol=TOL)

    def nl_means(x: torch.Tensor) -> torch.Tensor:
        return nl_means_denoise(x, H)

    def centred(x: torch.Tensor) -> torch.Tensor:
        return nl_means_denoise(x, H, patch_size=3, mode="centred", patch_weights="gaussian")

    def nl_means_of(distance: int) -> list[Contender]:
        def run(x: torch.Tensor) -> torch.Tensor:
            return nl_means_denoise(x, H, patch_distance=distance)

        scikit = _loop(denoise_nl_means, h=H, patch_size=2, patch_distance=distance)
        others = [*_vapoursynth(distance), *_limits_of_nl_means(distance)]
        return [Contender("scikit-image", scikit, images=16), *_ours(run), *others]

    return {
        "ROF, default stop": [
            Contender("scikit-image", _loop(denoise_tv_chambolle, weight=WEIGHT)),
            *_ours(rof),
            *_limits_of_rof(2e-4),
            Contender("ART's TotalVarMin (another energy)", _total_var_min, images=1),
        ],
        "ROF, 200 iterations": [
            Contender("scikit-image", _loop(denoise_tv_chambolle, weight=WEIGHT, eps=0), images=8),
            *_ours(rof_200),
            *_limits_of_rof(0.0),
        ],
        "ROF, converged": [
            Contender(
                "scikit-image, to the same gap",
                _scikit_image_to_the_gap,
                images=2,
                prepare=lambda x: (x, _iterations_to_the_gap(x)),
            ),
            *_ours(minimiser),
            *_deepinv(),
        ],
        "NL-means, fast": [
            Contender("scikit-image", _loop(denoise_nl_means, h=H, patch_size=2, patch_distance=3)),
            *_ours(nl_means),
            *_opencv(),
            *_vapoursynth(3),
            *_limits_of_nl_means(3),
        ],
        "NL-means, fast, search window 5×5": nl_means_of(2),
        "NL-means, fast, search window 11×11": nl_means_of(5),
        "NL-means, centred, Gaussian 3×3 patches": [
            Contender(
                "scikit-image, fast_mode=False",
                _loop(denoise_nl_means, h=H, patch_size=3, patch_distance=3, fast_mode=False),
                images=16,
            ),
            *_ours(centred),
            *_vapoursynth(3),
            *_limits_of_nl_means(3),
        ],
    }


def _peak_memory(run: Callable[[], object]) -> float:
    """Return how far resident memory rises while something runs, in bytes; NaN where Linux does not tell."""

    def resident(name: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
        before = resident("VmRSS")
        run()
        return float(resident("VmHWM") - before)
    except OSError:
        return float("nan")


def measure(contenders: list[Contender], x: np.ndarray, rounds: int) -> dict[str, Measured]:
    """Time the contenders in turn, `rounds` times after one warm-up, and measure the memory of one more run."""
    made = {c.name: c.prepare(x[: c.images]) for c in contenders}
    results = {c.name: c.run(made[c.name]) for c in contenders}
    seconds: dict[str, list[float]] = {c.name: [] for c in contenders}
    for _ in range(rounds):
        for c in contenders:
            start = time.perf_counter()
            c.run(made[c.name])
            seconds[c.name].append(time.perf_counter() - start)
    reference = results[contenders[0].name]
    measured = {}
    for c in contenders:
        count = len(results[c.name])
        common = min(count, len(reference))
        measured[c.name] = Measured(
            images=count,
            seconds=median(seconds[c.name]) / count,
            memory=_peak_memory(lambda c=c: c.run(made[c.name])) / count,  # type: ignore[misc]
            # A limit filters nothing, and vs-nlm-ispc returns NaN for some pixels.
            difference=nan if c.limit else float(np.nanmax(np.abs(results[c.name][:common] - reference[:common]))),
        )
    return measured


def _table(measured: dict[str, Measured], size: int) -> list[str]:
    lines = ["| | images | ms/image | images/s | ratio | extra memory | difference |", "|---|---|---|---|---|---|---|"]
    baseline = next(iter(measured.values()))
    for name, m in measured.items():
        difference = "" if isnan(m.difference) else f"{m.difference:.1e}"
        lines.append(
            f"| {name} | {m.images} | {1000 * m.seconds:.3f} | {1 / m.seconds:.0f} "
            f"| {baseline.seconds / m.seconds:.2f}× | {m.memory / (12 * size**2):.1f}× | {difference} |"
        )
    return lines


def _bounds(measured: dict[str, dict[str, Measured]], size: int) -> list[str]:
    """Say which of the bounds are met."""
    rows = []
    for task, name, bound in BOUNDS:
        ratio = next(iter(measured[task].values())).seconds / measured[task][name].seconds
        rows.append((f"{task}, against scikit-image", f"≥ {bound:g}×", f"{ratio:.1f}×", ratio >= bound))
    default = measured["ROF, default stop"]
    ratio = default["ART's TotalVarMin (another energy)"].seconds / default["art_denoise"].seconds
    rows.append(
        (
            "ROF, default stop, against TotalVarMin",
            f"≥ {TIMES_TOTALVARMIN:g}×",
            f"{ratio:.0f}×",
            ratio >= TIMES_TOTALVARMIN,
        )
    )
    for task, some in measured.items():
        for name, m in some.items():
            bound = LIMITS[task.split(",")[0]]
            if name.startswith("limit"):
                ratio = some["art_denoise"].seconds / m.seconds
                rows.append((f"{task}, against its limit", f"≤ {bound:g}×", f"{ratio:.2f}×", ratio <= bound))
            if name.startswith("vs-nlm"):
                ratio = m.seconds / some["art_denoise"].seconds
                rows.append((f"{task}, against vs-nlm-ispc", "≥ 1×", f"{ratio:.2f}×", ratio >= 1))
    for task, some in measured.items():
        ratio = some["art_denoise, backward pass alone"].seconds / some["art_denoise"].seconds
        rows.append((f"{task}, backward pass against forward", f"≤ {BACKWARD:g}×", f"{ratio:.1f}×", ratio <= BACKWARD))
    for task, some in measured.items():
        # The result is one image of the extra memory.
        most = max(m.memory for name, m in some.items() if name.startswith("art_denoise")) / (12 * size**2)
        rows.append((f"{task}, extra memory", f"≤ {MEMORY:g}× the images", f"{most:.1f}×", most <= MEMORY))
    lines = ["| | asked | measured | |", "|---|---|---|---|"]
    return lines + [f"| {a} | {b} | {c} | {'met' if met else '**not met**'} |" for a, b, c, met in rows]


_CUDA = "\n## CUDA\n"


def _cuda_lines(size: int) -> list[str]:
    return _cuda(size) if torch.cuda.is_available() else ["Not timed: there is no GPU on this machine."]


def _cuda(size: int) -> list[str]:
    """Time the filters on the GPU, against the memory traffic that each cannot do without."""
    x = torch.from_numpy(photographs(64, size)).cuda()
    big = torch.empty(2**28, device="cuda")

    def seconds(run: Callable[[], object]) -> float:
        taken = []
        for _ in range(6):
            torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
        return median(taken[1:])

    bandwidth = 2 * big.numel() * 4 / seconds(big.clone)
    # Planes read and written: five in an iteration of ROF (f, p twice; p twice), two in NL-means.
    runs: list[tuple[str, Callable[[], object], int]] = [
        ("ROF, 200 iterations", lambda: rof_denoise(x, WEIGHT, eps=0), 200 * 5),
        ("NL-means, fast", lambda: nl_means_denoise(x, H), 2),
    ]
    lines = ["| | images/s | share of the bandwidth of a copy |", "|---|---|---|"]
    for name, run, planes in runs:
        taken = seconds(run)
        lines.append(f"| {name} | {len(x) / taken:.0f} | {planes * x.numel() * 4 / taken / bandwidth:.1%} |")
    for name, run in (
        ("ROF, default stop", lambda: rof_denoise(x, WEIGHT)),
        ("ROF, converged", lambda: rof_denoise(x, WEIGHT, solver="converged")),
    ):
        lines.append(f"| {name} | {len(x) / seconds(run):.0f} | |")
    return [f"{torch.cuda.get_device_name()}, a copy moves {bandwidth / 1e9:.0f} GB/s.", "", *lines]


def installed(packages: tuple[str, ...]) -> str:
    """Return the packages with their versions."""
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Counted rounds, after one warm-up.")] = 5,
    sizes: Annotated[tuple[int, int], typer.Option(help="Two sides of the images.")] = (224, 32),
    device: Annotated[str, typer.Option(help="“cuda” times the GPU only, and replaces its section.")] = "cpu",
) -> None:
    """Measure the filters against others, and write the tables to RESULTS.md, that of a GPU if there is one."""
    if device == "cuda":
        text = RESULTS.read_text(encoding="utf-8").split(_CUDA)[0] + "\n".join([_CUDA, *_cuda_lines(sizes[0])]) + "\n"
        RESULTS.write_text(text, encoding="utf-8")
        typer.echo(text)
        return
    lines = [
        "# Speed of the filters",
        "",
        f"Medians of {rounds} interleaved rounds in one process on crops of real photographs, float32, by "
        f"`python -m benchmarks.filters`. {torch.get_num_threads()} threads on {os.cpu_count()} cores, load average "
        f"{os.getloadavg()[0]:.1f} at the start. Python {platform.python_version()}, {installed(PACKAGES)}.",
        "",
        "Ratio: speed compared with the first line. Extra memory: how far resident memory rises during a run, as a "
        "multiple of the images, less what the process had and did not use (for small images, all of it). Difference: "
        "greatest, of filtered images, from the first line.",
    ]
    done = {}
    with tqdm(total=len(sizes) * len(tasks()), unit="table") as bar:
        for size in sizes:
            for task, contenders in tasks().items():
                done[task, size] = measure(contenders, photographs(64, size), rounds)
                bar.update()
                if task.startswith("NL-means") and size == sizes[0]:
                    # OpenCV has threads of its own.
                    some = [c for c in contenders if not c.name.startswith("OpenCV")]
                    threads = torch.get_num_threads()
                    torch.set_num_threads(1)
                    done[f"{task}, one thread", size] = measure(some, photographs(16, size), rounds)
                    torch.set_num_threads(threads)
    first = {task: some for (task, size), some in done.items() if size == sizes[0]}
    lines += [
        "",
        f"## Asked and measured, 3×{sizes[0]}×{sizes[0]}",
        "",
        *_bounds(first, sizes[0]),
        "",
        *TRIED.splitlines(),
    ]
    for (task, size), measured in done.items():
        lines += ["", f"## {task}, 3×{size}×{size}", "", *_table(measured, size)]
    for size in sizes:
        lines += ["", f"## One image at a time, 3×{size}×{size}", "", *latency_table(photographs(32, size), 10)]
    lines += ["", "## First use: the first call of a filter in a process", "", *first_use_table()]
    lines += [_CUDA, *_cuda_lines(sizes[0])]
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
