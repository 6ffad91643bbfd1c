"""Which code a component runs, so that keys of results move with it. Imports neither torch nor ART, nor what it names.

Where the code of each component is, is written here once. What builds components finds it by these names instead of
importing all of it, so that no result depends on the code of components that have no part in it.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from art_denoise._user_code import digest_of, user_code
from art_denoise.evaluation.experiment import Attack, Component

#: "path/to/file.py:function", with or without parameters.
FILE = re.compile(r"(?P<name>(?P<path>.+?\.py):(?P<function>[A-Za-z_]\w*))(?::(?P<params>.*))?", re.DOTALL)

#: More names than so many are not listed: if some are like the one that was meant, then so few.
_MANY, _FEW = 24, 5

#: Module and name of what builds this package's preprocessors.
OWN_PREPROCESSORS = {
    "rof": ("art_denoise.defences.rof", "ROFDefence"),
    "nlm": ("art_denoise.defences.nl_means", "NLMeansDefence"),
}

#: Module and name of what builds this package's attacks.
OWN_ATTACKS = {
    "deepfool-uap": ("art_denoise.attacks.deepfool_uap", "DeepFoolUAP"),
    "sgd-uap": ("art_denoise.attacks.sgd_uap", "SGDUAP"),
    "random-signs": ("art_denoise.attacks.universal_noise", "random_signs"),
}

_FOREIGN = ("art_denoise.evaluation.foreign", "build_foreign")
_KORNIA = ("art_denoise.evaluation.kornia_filters", "build_kornia")
_ART_ATTACKS = ("art_denoise.evaluation.art_attacks", "attack_images")

#: What a user's file may use of this package, besides its preprocessors.
_COMBINING = ("art_denoise.defences.adapters", "art_denoise.defences.chain", "art_denoise.defences.defensive_noise")


def load(component: Component) -> Any:
    """Import and return what builds, or runs, a component.

    :raises ValueError: If there is no such component.
    """
    module, name = _home(component)
    return getattr(importlib.import_module(module), name)


def modules_of(component: Component) -> tuple[str, ...]:
    """Return the names of this package's modules whose code a component runs.

    A user's file that mentions this package, or imports one beside it that does, may use any of its defences.

    :raises ValueError: If there is no such component, or no such file.
    """
    module, _ = _home(component)
    file = split_file(component.name)
    if file and any(b"art_denoise" in source for source in _sources(file[0]).values()):
        return (module, *_COMBINING, *(m for m, _ in OWN_PREPROCESSORS.values()))
    return (module,)


def code_of(component: Component) -> str:
    """Return a text that changes with the code a component runs that is not this package's; empty if there is none.

    It is ART's version, and for a user's file also a digest of it and of the files beside it that it imports.

    :raises ValueError: If there is no such component, or no such file.
    """
    if _home(component) not in (_FOREIGN, _KORNIA, _ART_ATTACKS):
        return ""
    if component.name.startswith("kornia:"):
        return f"kornia {_version_of('kornia')}"
    art = f"adversarial-robustness-toolbox {_version_of('adversarial-robustness-toolbox')}"
    file = split_file(component.name)
    if not file:
        return art
    return f"{digest_of(_sources(file[0]), place_of(file[0]))} {art}"


def split_file(name: str) -> tuple[str, str] | None:
    """Return path and function of "path/to/file.py:function"; None if it is something else."""
    found = FILE.fullmatch(name)
    return (found["path"], found["function"]) if found else None


def arguments_of(component: Component) -> dict[str, Any]:
    """Return the parameters of a component as arguments for what builds it, with mappings as mappings."""
    return {name: dict(value) if is_mapping(value) else value for name, value in component.params}


def is_mapping(value: Any) -> bool:
    """Whether a value is a mapping, as :func:`params` has it: a tuple of pairs that begin with a text."""
    if not isinstance(value, tuple) or not value:
        return False
    return all(isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str) for entry in value)


def check_arguments(
    name: str,
    make: Callable[..., Any],
    given: Mapping[str, Any],
    set_here: Sequence[str] = (),
    besides: Sequence[str] = (),
) -> None:
    """Raise unless a class or a function takes these arguments by name, and needs no others.

    Of their values only that a text is given for a number, which ART does not always say itself, is told.

    :param name: What it is called, for messages.
    :param set_here: Its parameters that are not the user's to give.
    :param besides: What else may be written with it, for messages.
    :raises ValueError: If it does not take one of them or its value, or one that it needs is not there.
    """
    parameters = inspect.signature(make).parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    free = [key for key in named if key not in set_here]
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for key, value in given.items():
        if key not in free and (not anything or key in set_here):
            raise unknown("parameter", key, [*besides, *free], f"{name}:{key}={value}", of=name)
        default = named[key].default if key in named else None
        if isinstance(value, str) and isinstance(default, (bool, int, float)):
            raise ValueError(
                f"{name}: `{key}` must be {'true or false' if isinstance(default, bool) else 'a number'}, got {value!r}"
            )
    missing = [key for key in free if named[key].default is inspect.Parameter.empty and key not in given]
    if missing:
        raise ValueError(f"{name} needs {' and '.join(f'`{key}`' for key in missing)}: {name}:{missing[0]}=...")


def source_of(path: str) -> bytes:
    """Return the source of a user's file, which a process reads once: what is run is what was digested.

    :param path: Its path, relative to the current folder; "~" is the user's.
    :raises ValueError: If there is no such file.
    """
    return _sources(path)[place_of(path)]


def _sources(path: str) -> dict[Path, bytes]:
    """Return the sources of a user's file and of those beside it that it imports."""
    try:
        return _read(place_of(path))
    except OSError as error:
        raise ValueError(f"there is no file {path} in {Path.cwd()} ({error.strerror})") from None


@cache
def _version_of(package: str) -> str:
    # As slow to import as all that names need besides.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        raise ValueError(f"the package {package} is not installed: pip install {package}") from None


def place_of(path: str) -> Path:
    """Return where a user's file is."""
    return Path(path).expanduser().resolve()


@cache
def _read(file: Path) -> dict[Path, bytes]:
    return user_code(file)


def _home(component: Component) -> tuple[str, str]:
    name = component.name
    if isinstance(component, Attack):
        if name in OWN_ATTACKS:
            return OWN_ATTACKS[name]
        # Of which there is a table, which nothing else depends on.
        return _ART_ATTACKS
    if name in OWN_PREPROCESSORS:
        return OWN_PREPROCESSORS[name]
    if name.startswith("kornia:"):
        return _KORNIA
    if name.startswith("art:") or split_file(name):
        return _FOREIGN
    raise ValueError(f"there is no preprocessor {name!r}")


def not_installed(what: str, package: str, why: str = "") -> ValueError:
    """Return the error that something needs a package that is not installed."""
    return ValueError(f"{what} needs the package {package}{why}: pip install {package}")


def unknown(what: str, name: str, names: Collection[str], whole: str, *, of: str = "") -> ValueError:
    """Return the error for a name that does not exist: it names those that do, the nearest first.

    :param what: What kind of name it is.
    :param whole: All that was written.
    :param of: What it should be the name of a part of.
    """
    bare = {n.removeprefix("art:").lower(): n for n in reversed(list(names))}
    near = [bare[n] for n in get_close_matches(name.removeprefix("art:").lower(), list(bare), 3)]
    there = [*near, *(n for n in names if n not in near)]
    if len(there) > _MANY:
        there = [*there[: _FEW if near else _MANY], "others"]
    listed = ", ".join(there) or "none at all"
    return ValueError(f"{whole!r}: {f'{of} has' if of else 'there is'} no {what} {name!r}, but {listed}")
