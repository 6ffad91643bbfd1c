"""The program: its commands with their options, what it prints where, and the status that it ends with."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Group, Parameter
from cyclopts.exceptions import CycloptsError

from art_denoise import __version__
from art_denoise._words import one_line
from art_denoise.cli import commands, pictures, statuses
from art_denoise.cli.commands import UnreadError, say
from art_denoise.cli.debugging import DEBUG, show_trace
from art_denoise.cli.errors import explained, sentence
from art_denoise.cli.info import info
from art_denoise.cli.statuses import FAILED, UNREAD, WRONG
from art_denoise.cli.verify import verify

#: Shells that can complete what is written.
Shell = Literal["bash", "zsh", "fish", "powershell"]

#: Heading of the options that every command has.
_OPTIONS = Group("Options", sort_key=99)

_ATTACK = "The attack: deepfool-uap or sgd-uap, with parameters as in sgd-uap:max_iter=20."
_FOLDER = "Folder of a run."
_DENOISES = "The denoiser: rof:weight=5, nlm:h=0.03 or any other defence that art-denoise list names."
_FORM = f"Format of what is printed: {', '.join(commands.formats())}. The report is written in all of them."


def app() -> App:
    """Return the program: its commands, with their options."""
    made = App(
        name="art-denoise",
        version=__version__,
        help="Measure what denoising, or any other defence, is worth against attacks on an image classifier.",
        help_format="plaintext",
        help_epilogue=statuses.told(),
    )
    made["--help"].group = made["--version"].group = _OPTIONS
    # How the program ends is told once, with what all commands are.
    add = partial(made.command, help_epilogue="")
    add(_with_options(commands.table1))
    add(_with_options(commands.evaluate))
    add(_with_options(commands.tune))
    add(_with_options(commands.transfer))
    attack = inspect.Parameter(
        "attack",
        inspect.Parameter.POSITIONAL_ONLY,
        default=None,
        annotation=Annotated[str | None, Parameter(help=_ATTACK)],
    )
    add(_with_options(commands.craft, attack))
    others: dict[str, Callable[..., int]] = {
        "report": _report,
        "denoise": _denoise,
        "compare": _compare,
        "diff": _diff,
        "verify": _verify,
        "list": commands.list_names,
        "info": _info,
    }
    for name, command in others.items():
        add(_with_debug(command, inspect.signature(command, eval_str=True)), name=name)
    completing = _with_debug(_install_completion, inspect.signature(_install_completion, eval_str=True))
    add(completing, name="--install-completion", group=_OPTIONS)
    return made


def _with_options(command: Callable[..., int], *first: inspect.Parameter) -> Callable[..., int]:
    """Return a command with an option for each field that it has a use for."""

    def call(*positional: str, **given: Any) -> int:
        return command(given, *positional)

    options = commands.options_for(command.__name__)
    call.__name__, call.__doc__ = command.__name__, command.__doc__
    return _with_debug(call, inspect.Signature([*first, *(option.parameter() for option in options)]))


def _with_debug(command: Callable[..., int], signature: inspect.Signature) -> Callable[..., int]:
    """Return a command with the option that every command has; what that does is done where errors are told.

    :param signature: The command's own parameters.
    """

    def call(*positional: Any, debug: bool = False, **given: Any) -> int:
        return command(*positional, **given)

    how = Parameter(
        name=DEBUG,
        help="Show where an error comes from, as a traceback.",
        group=_OPTIONS,
        negative=(),
        show_default=False,
    )
    option = inspect.Parameter("debug", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, how])
    call.__name__, call.__doc__ = command.__name__, _unwrapped(command.__doc__ or "")
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    call.__annotations__ = {}
    return call


def _unwrapped(text: str) -> str:
    """Return paragraphs without ends of lines of their own."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _report(
    folder: Annotated[Path, Parameter(help=_FOLDER)],
    /,
    *,
    form: Annotated[str, Parameter(name="--format", help=_FORM)] = "text",
) -> int:
    return commands.report(folder, form)


_report.__doc__ = commands.report.__doc__


def _diff(
    first: Annotated[Path, Parameter(help="Folder of the first run.")],
    second: Annotated[Path, Parameter(help="Folder of the second run.")],
    /,
    *,
    form: Annotated[str, Parameter(name="--format", help=_FORM)] = "text",
) -> int:
    return commands.diff(first, second, form)


_diff.__doc__ = commands.diff.__doc__


def _verify(
    folder: Annotated[Path, Parameter(help=_FOLDER)],
    /,
    *,
    sample: Annotated[str, Parameter(help="How many randomly chosen cells are scored again: a number, or all.")] = "3",
    seed: Annotated[int, Parameter(help="Seed of that random choice.")] = 0,
) -> int:
    return verify(folder, sample, seed)


_verify.__doc__ = verify.__doc__


def _denoise(
    source: Annotated[Path, Parameter(name="IN", help="A picture, or a folder of pictures, to read.")],
    destination: Annotated[Path, Parameter(name="OUT", help="The file or folder to write.")],
    /,
    *,
    defence: Annotated[str, Parameter(help=_DENOISES)] = "rof",
) -> int:
    return pictures.denoise(source, destination, defence)


_denoise.__doc__ = pictures.denoise.__doc__


def _compare(
    picture: Annotated[Path, Parameter(help="The picture to denoise.")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="File to write.")] = None,
    side: Annotated[int, Parameter(help="Side of the square that is shown, in pixels.")] = 256,
) -> int:
    return pictures.compare(picture, out, side)


_compare.__doc__ = pictures.compare.__doc__


def _info(*, clean: Annotated[bool, Parameter(help="Empty the cache.", negative=())] = False) -> int:
    return info(clean)


_info.__doc__ = info.__doc__


def _install_completion(
    *,
    shell: Annotated[Shell | None, Parameter(help="The shell; by default the one that this is called from.")] = None,
    output: Annotated[Path | None, Parameter(help="File to write; by default where the shell looks for it.")] = None,
) -> int:
    """Let the shell complete commands and options.

    This writes a file for bash, zsh, fish or PowerShell and, unless --output is given, adds a line to the file that the
    shell reads at its start.
    """
    # It costs nobody else anything.
    from cyclopts.completion.detect import ShellDetectionError, detect_shell

    try:
        chosen = detect_shell() if shell is None else shell
    except ShellDetectionError:
        raise ValueError("the shell that this is called from is not known: name it, as --shell bash") from None
    file = app().install_completion(shell=chosen, output=output, add_to_startup=output is None)
    when = f"read by each {chosen} that is started from now on" if output is None else "read when it is sourced"
    commands.show(f"Completion for {chosen}: {file}, {when}")
    return 0


def status(arguments: list[str]) -> int:
    """Do what a command line says, and return the status that the program ends with."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no δ shows a question mark.
        with suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    as_before, warnings.formatwarning = warnings.formatwarning, _warning
    try:
        return _status(arguments)
    except (UnreadError, BrokenPipeError):
        return UNREAD
    finally:
        warnings.formatwarning = as_before
        _let_go()


def _warning(message: Warning | str, *_: Any, **__: Any) -> str:
    return f"Warning: {one_line(str(message))}\n"


def _let_go() -> None:
    """See to it that nothing is left to be printed that cannot be: Python would fail with that at its end."""
    try:
        # There may be no standard output.
        with suppress(AttributeError):
            sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _status(arguments: list[str]) -> int:
    program = app()
    found: Exception
    try:
        command, bound, _ = program.parse_args(arguments, print_error=False, exit_on_error=False)
        return int(command(*bound.args, **bound.kwargs) or 0)
    except CycloptsError as error:
        say(f"Error: {sentence(error)}")
        return WRONG
    except (OSError, ValueError, TypeError) as error:
        found, result = error, WRONG
    except RuntimeError as error:
        if type(error).__name__ != "WorkerDiedError":
            raise
        found, result = error, FAILED
    show_trace(found)
    say(f"Error: {explained(found)}")
    return result
