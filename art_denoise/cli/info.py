"""The command that says what is installed, what it computes on, and what it keeps where."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs

from art_denoise import __version__
from art_denoise.cli.commands import show

#: Packages that results or speed depend on, those that need not be there among them.
_PACKAGES = (
    "adversarial-robustness-toolbox",
    "torch",
    "torchvision",
    "numpy",
    "numba",
    "triton",
    "scikit-image",
    "scikit-learn",
    "pillow",
    "kornia",
)

#: What the folders of the cache hold.
_KEPT = {
    "weights": "trained networks",
    "decoded": "decoded images",
    "data": "downloaded data sets",
    "checks": "checks of networks",
}


def info(clean: bool) -> int:
    """Show the installed versions, the devices to compute on, and what is in the cache.

    With --clean the cache is emptied. Networks are then trained, images decoded and data sets downloaded again when
    they are needed. Runs are kept.
    """
    versions = [f"art_denoise {__version__}", f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} not installed")
    show("\n".join(["Versions", *(f"  {line}" for line in versions), "", "Devices", *map("  {}".format, _devices())]))
    cache = Path(platformdirs.user_cache_path("art_denoise"))
    # What is linked to is kept elsewhere, by somebody else.
    folders = sorted(path for path in cache.glob("*") if path.is_dir() and not path.is_symlink())
    lines, total = [], 0
    for folder in folders:
        files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
        size = sum(file.stat().st_size for file in files)
        total += size
        said = _KEPT.get(folder.name, "")
        lines.append(f"  {folder.name:10} {len(files):6} files {_megabytes(size):>10}{f'   {said}' if said else ''}")
    show("\n".join(["", f"Cache in {cache}", *(lines or ["  nothing"])]))
    if clean and folders:
        for folder in folders:
            shutil.rmtree(folder)
        show(f"  emptied: {_megabytes(total)} are free again")
    return 0


def _devices() -> list[str]:
    import torch

    capability = getattr(getattr(torch.backends, "cpu", None), "get_cpu_capability", lambda: "")()
    found = [f"CPU, {os.cpu_count()} cores, {torch.get_num_threads()} threads{f', {capability}' if capability else ''}"]
    for number in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(number).total_memory
        found.append(f"GPU cuda:{number}, {torch.cuda.get_device_name(number)}, {memory / 1e9:.0f} GB")
    return found if len(found) > 1 else [*found, "no GPU that PyTorch can use"]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
