"""How models are named, and whether a name can be that of one: known at once, where finding it imports PyTorch."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from art_denoise._defined import functions_in, installed, names_in, told

#: The paper's names of its networks.
PAPER_NAMES = {"inception_v1": "IncV1", "vgg16": "VGG16", "vgg19": "VGG19"}

#: Full names, for headings.
TITLES = {"inception_v1": "Inception V1", "vgg16": "VGG-16", "vgg19": "VGG-19"}

#: Begins the name of one of torchvision's networks.
TORCHVISION = "torchvision"

#: How torchvision says in its sources that a function is one of its networks, and which.
_REGISTERED = re.compile(r"^@register_model\(\)$.*?^def (\w+)", re.MULTILINE | re.DOTALL)


def slug(text: str) -> str:
    """Return a text as the name of a file."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")


def split_title(spec: str) -> tuple[str, str | None]:
    """Return the name of a model without what it is to be called in tables, ":title=NAME", and that."""
    found = re.fullmatch(r"(.+?):title=([^:=,]*[^:=,\s][^:=,]*)", spec)
    return (spec, None) if found is None else (found[1], found[2].strip())


def is_function_of_file(spec: str) -> bool:
    """Return whether a model is named as "path/to/file.py:function"."""
    return re.search(r"\.py:[A-Za-z_]\w*$", spec) is not None


def check_name(spec: str, *, trained: bool = False, argument: str = "model") -> None:
    """Raise if there can be no model of a name. What only running a user's file or importing torchvision tells, is not.

    :param spec: The name, as :func:`art_denoise.models.find_model` takes it.
    :param trained: Whether it is to be trained on the photographs, or somebody's own.
    :param argument: What it is the value of, for messages.
    :raises ValueError: With the names that are nearest.
    """
    spec, _ = split_title(spec)
    if ":title=" in spec:
        raise ValueError(
            f"`{argument}` = {spec!r}: what tables call it must be a text without colons, commas and equals signs, and "
            "stand last"
        )
    name, _, rest = spec.partition(":")
    if is_function_of_file(spec):
        _check_file(spec)
    elif name.endswith(".py"):
        raise ValueError(
            f"`{argument}` = {spec!r} must say which function of the file returns the network: {name}:FUNCTION"
        )
    elif trained:
        if spec not in PAPER_NAMES:
            raise ValueError(
                f"`{argument}` on the photographs must be {', '.join(PAPER_NAMES)}, which are trained on them, or "
                f"path/to/file.py:function, got {spec!r}{_near(spec, PAPER_NAMES)}"
            )
    elif name == TORCHVISION:
        architecture = rest.partition(":")[0]
        known = torchvision_names()
        if known and architecture not in known:
            raise no_such_network(architecture, known)
    elif name not in PAPER_NAMES:
        raise ValueError(
            f"`{argument}` must be {', '.join(PAPER_NAMES)}, torchvision:NAME[:WEIGHTS] or path/to/file.py:function, "
            f"got {spec!r}{_near(name, [*PAPER_NAMES, *torchvision_names()])}"
        )


def no_such_network(architecture: str, known: Collection[str]) -> ValueError:
    """Return the error for a network that torchvision does not have.

    :param known: Those that it has.
    """
    near = get_close_matches(architecture, known, 5) or [n for n in known if n.startswith(architecture[:4])][:5]
    return ValueError(
        f"torchvision has no classification network {architecture!r}: it has {', '.join(near or list(known)[:5])} and "
        "others, torchvision.models.list_models() lists them"
    )


@cache
def torchvision_names() -> tuple[str, ...]:
    """Return the names of torchvision's classification networks as its sources say them; none if they do not."""
    files = installed(TORCHVISION, "models", "*.py")
    return tuple(sorted(n for f in files for n in _REGISTERED.findall(f.read_text(encoding="utf-8", errors="replace"))))


def _near(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, list(known), 1)
    if not near:
        return ""
    return f": did you mean {near[0] if near[0] in PAPER_NAMES else f'{TORCHVISION}:{near[0]}'}?"


def _check_file(spec: str) -> None:
    """Raise if a user's file is not there, is no Python, or has no such function."""
    path, _, function = spec.rpartition(":")
    if not Path(path).is_file():
        raise ValueError(f"model {spec!r}: there is no file {path}")
    try:
        source = Path(path).read_bytes()
        known = names_in(source)
    except SyntaxError as error:
        raise ValueError(f"model {spec!r} cannot be built ({told(error, path)})") from error
    if known is not None and function not in known:
        there = functions_in(source)
        listed = [*get_close_matches(function, there, 3), *there]
        raise ValueError(
            f"model {spec!r} cannot be built (there is no function {function!r}, but "
            f"{', '.join(dict.fromkeys(listed)) or 'none at all'})"
        )
