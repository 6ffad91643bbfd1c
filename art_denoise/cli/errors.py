"""What went wrong, in one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args, get_origin

from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from art_denoise._files import FULL


def nearest(name: str, names: Iterable[str], dashes: str = "") -> str:
    """Return what a message ends with where there is nothing by a name: the nearest names, or else all of a few.

    :param dashes: What stands before each name.
    """
    names = list(dict.fromkeys(names))
    near = get_close_matches(name, names, 3) or ([] if len(names) > 20 else names)
    shown = [f"{dashes}{n}" for n in near]
    if not shown:
        return ": --help lists what there is"
    return f": did you mean {', '.join(shown[:-1])}{' or ' if shown[1:] else ''}{shown[-1]}?"


def sentence(error: CycloptsError) -> str:
    """Return what is wrong with a command line."""
    command = " ".join(error.command_chain or ())
    if isinstance(error, UnknownOptionError):
        given = error.token.keyword or error.token.value
        names = [n for argument in error.argument_collection for n in argument.names if n.startswith("--")]
        return f"there is no option {given}{f' of {command}' if command else ''}{nearest(given, names)}"
    if isinstance(error, UnknownCommandError) and error.unused_tokens:
        given, names = error.unused_tokens[0], [n for n in error.app or () if not n.startswith("-")]
        if given.startswith("-"):
            return f"{given} must stand behind a command, as in art-denoise {names[0]} {given}"
        return f"there is no command {given}{nearest(given, names)}"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return (
            f"{command} does not take {' '.join(map(repr, error.unused_tokens))}: options begin with two dashes, and "
            "a value with spaces stands in quotes"
        )
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        name = getattr(error, "keyword", None) or error.argument.name
        return (
            f"{name} must be followed by a value"
            if name.startswith("-")
            else f"{command} needs {name}: art-denoise {command} --help says what that is"
        )
    if isinstance(error, CoercionError) and error.token is not None and error.token.keyword:
        name = error.token.keyword
        if error.target_type is bool:
            return f"{name} takes no value: it stands alone, or as --no-{name.lstrip('-')} for the opposite"
        if error.target_type is int:
            return f"{name} must be an integer, got {error.token.value!r}"
        if get_origin(error.target_type) is Literal:
            # Python may have them in the order of somebody else's equal type.
            words = sorted(get_args(error.target_type))
            return f"{name} must be {', '.join(words[:-1])} or {words[-1]}, got {error.token.value!r}"
        return f"{name} must say what each value is of, as {name}.NAME: --help lists the names"
    if isinstance(error, RepeatArgumentError):
        return f"{error.token.keyword} is there twice: give it once"
    error.verbose = False
    return " ".join(str(error).split()).rstrip(".")


def explained(error: BaseException) -> str:
    """Return an error in one line; of one that other code than this package's raised, also what it is, and where."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        return f"{text}: make room, and the same command goes on from here" if error.errno in FULL else text
    text, trace = " ".join(str(error).split()) or type(error).__name__, error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else trace.tb_frame.f_code.co_filename
    if trace is None or Path(__file__).parents[1] in Path(place).parents:
        return text
    return f"{text} ({type(error).__name__} in {place}, line {trace.tb_lineno})"
