"""What is wrong with what was asked for, as far as it is seen in a moment: nothing is run, and no PyTorch imported.

What only running a user's file, importing ART or reading all images tells, is told afterwards, by what does that.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from art_denoise._defined import functions_in, names_in, names_of_installed, told
from art_denoise.data.imagenet import check_images
from art_denoise.evaluation.attack_table import ART, art_attack
from art_denoise.evaluation.components import parse_attack, parse_defence
from art_denoise.evaluation.experiment import Attack, Defence, Preprocessor
from art_denoise.evaluation.options import Machine, Options
from art_denoise.evaluation.origins import not_installed, source_of, split_file, unknown
from art_denoise.evaluation.results import FILE as RESULTS
from art_denoise.evaluation.written import read_source
from art_denoise.models.names import PAPER_NAMES, check_name


def check_early(options: Options, machine: Machine) -> None:
    """Raise if images, networks, perturbations, defences or attacks are not there, or are misspelt.

    :raises ValueError: In one sentence.
    :raises OSError: If a folder cannot be written to, or is a file.
    """
    for model in options.targets or (options.model,):
        check_name(model, trained=options.on_photographs)
    for source in options.sources or ():
        _check_source(source, options)
    for text in options.defences or ():
        checked_defence(text)
    for text in options.attacks or ():
        _check_attack(parse_attack(text).attack)
    if not options.on_photographs:
        check_images(options.data, options.data_dir, options.classes)
        if machine.weights_dir is not None:
            _check_weights(machine.weights_dir, (*(options.targets or (options.model,)), *(options.sources or ())))
    if machine.decoded_dir is not None:
        check_writable(machine.decoded_dir)


def check_writable(place: Path) -> None:
    """Raise if nothing can be written below a folder, be it there or not; nothing is written to find out.

    :raises OSError: With the folder and the remedy.
    """
    there = next(path for path in (place, *place.absolute().parents) if path.exists())
    if not there.is_dir():
        raise OSError(errno.ENOTDIR, f"nothing can be written in {place}, as {there} is a file: give another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OSError(
            errno.EACCES, f"nothing can be written in {there}: make it writable, or give a folder that is, as `out`"
        )


def check_run_folder(folder: Path) -> None:
    """Raise if a folder cannot be that of a run. One that holds results may be read-only, as in an archive.

    :raises OSError: With the folder and the remedy.
    """
    if not (folder / RESULTS).is_file():
        check_writable(folder)


def checked_defence(text: str) -> Defence:
    """Return a defence, or raise if it is not written as it has to be, or what it names is not there.

    :raises ValueError: In one sentence.
    """
    defence = parse_defence(text)
    for preprocessor in defence.preprocessors:
        _check_preprocessor(preprocessor)
    return defence


def _check_source(source: str, options: Options) -> None:
    file = read_source(source)
    if file is None:
        check_name(source, trained=options.on_photographs, argument="sources")
    elif not Path(file[0]).is_file():
        raise ValueError(f"source {source!r}: there is no file {file[0]}")


def _check_preprocessor(preprocessor: Preprocessor) -> None:
    name = preprocessor.name
    library, _, called = name.partition(":")
    file = split_file(name)
    if file:
        _check_file(name, *file)
    elif library == "kornia":
        if find_spec(library) is None:
            raise not_installed(name, library)
        _check_named("filter", name, called, names_of_installed(library, "filters", "__init__.py"), library)
    elif name.startswith(ART):
        _check_class("preprocessor", name, ("defences", "preprocessor"))


def _check_attack(attack: Attack) -> None:
    if attack.kind != "per-image":
        return
    row = art_attack(attack.name)
    row.check_package(attack.name)
    if attack.name.startswith(ART):
        _check_class("evasion attack", attack.name, ("attacks", "evasion"))


def _check_class(what: str, name: str, path: tuple[str, ...]) -> None:
    """Raise if a module of ART does not define a class."""
    _check_named(what, name, name.removeprefix(ART), names_of_installed("art", *path, "__init__.py"), "ART")


def _check_named(what: str, name: str, called: str, known: Iterable[str] | None, of: str) -> None:
    if known is None or called in known:
        return
    prefix = name.removesuffix(called)
    # Classes of ART, functions of kornia; modules and what is private are names, too.
    there = sorted(f"{prefix}{n}" for n in known if n[:1].isupper() == (prefix == ART) and not n.startswith("_"))
    raise unknown(what, name, there, name, of=of)


def _check_file(name: str, path: str, function: str) -> None:
    source = source_of(path)
    try:
        known = names_in(source)
    except SyntaxError as error:
        raise ValueError(f"{name} cannot be built ({told(error, path)})") from error
    if known is not None and function not in known:
        raise unknown("function", function, functions_in(source), name, of=path)


def _check_weights(folder: Path, specs: Iterable[str]) -> None:
    """Raise if the folder of torchvision's files of weights is a file; one that is not there would be filled."""
    named = any(spec.partition(":")[0] in (*PAPER_NAMES, "torchvision") for spec in specs)
    if named and not folder.is_dir():
        check_writable(folder)
