"""What is installed with an extra of this package, and the error that says which one is missing.

Filters and defences need nothing but the package's own requirements. Everything else asks here, before it imports what
an extra brings, so that nobody has to guess from "No module named 'safetensors'" what to install.
"""

from __future__ import annotations

from importlib.util import find_spec

_ATTACKS, _PHOTOGRAPHS, _REPORT = ("safetensors",), ("PIL", "skimage"), ("jinja2", "matplotlib")

#: Modules that each extra of `pyproject.toml` brings, beside those that ART needs as well.
EXTRAS = {
    "attacks": _ATTACKS,
    "photographs": _PHOTOGRAPHS,
    "report": _REPORT,
    "evaluation": (*_ATTACKS, *_PHOTOGRAPHS, *_REPORT, "torchvision", "platformdirs", "filelock", "cyclopts"),
}


def require(extra: str, what: str) -> None:
    """Raise if a module that an extra brings is not installed.

    :param extra: One of :data:`EXTRAS`.
    :param what: What needs it, as the first word of a sentence.
    :raises ImportError: With the modules and the command that installs them.
    """
    missing = [module for module in EXTRAS[extra] if find_spec(module) is None]
    if missing:
        raise ImportError(
            f"{what} needs {', '.join(missing)}, which {'are' if missing[1:] else 'is'} not installed: "
            f'pip install "art_denoise[{extra}]"'
        )
