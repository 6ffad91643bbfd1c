"""What was chosen: by options of the command line, and by a TOML file of the same names."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from art_denoise._words import one_line
from art_denoise.cli.errors import nearest
from art_denoise.cli.fields import HEADINGS, Option, options_of
from art_denoise.evaluation.options import RUN, Machine, Options, Shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The file of a run folder that holds every choice.
FILE = "run.toml"


@dataclass(frozen=True)
class Run:
    """Where a run is kept, and what is done with it.

    :param out: Run folder, where results are kept; None: a folder in runs, named after the command and the data.
    :param config: TOML file of options, such as the run.toml of a run folder; options on the command line take
        precedence.
    :param plan: Say what would be computed and how long it would take, and stop there.
    :param change: Continue a run folder with changed options; what depends on them is computed again.
    :param fail_on_flag: End with status 3 if anything casts doubt on the figures, for automatic checks.
    :param full: Print every table, not only the summary.
    """

    out: Annotated[Path | None, Shown(RUN)] = None
    config: Annotated[Path | None, Shown(RUN)] = None
    plan: Annotated[bool, Shown(RUN)] = False
    change: Annotated[bool, Shown(RUN)] = False
    fail_on_flag: Annotated[bool, Shown(RUN)] = False
    full: Annotated[bool, Shown(RUN)] = False


#: What a file of options does not hold: what is said anew each time.
_NOT_IN_FILES = ("config", "plan", "change", "progress", "full")


@dataclass(frozen=True)
class Choice:
    """Everything that was chosen.

    :param options: What figures depend on.
    :param machine: Where it is computed.
    :param run: Where it is kept, and what is done.
    """

    options: Options
    machine: Machine
    run: Run


@cache
def all_options(without: frozenset[str] = frozenset()) -> tuple[Option, ...]:
    """Return the options, in the order of their headings.

    :param without: Names of fields that are no options here.
    """
    found = [o for kind in (Options, Machine, Run) for o in options_of(kind) if o.field not in without]
    return tuple(sorted(found, key=lambda option: HEADINGS.index(option.shown.under)))


def choose(given: Mapping[str, Any], command: str, without: Iterable[str] = ()) -> Choice:
    """Return what was chosen.

    :param given: What was written on the command line, unread, by field.
    :param command: The command, for messages.
    :param without: Names of fields that are no options of the command.
    :raises TypeError: If a value is of another type than its field.
    :raises ValueError: If a value makes no sense, or a name in the file is that of no option.
    :raises OSError: If the file cannot be read.
    """
    given, options = dict(given), {o.field: o for o in all_options(frozenset(without))}
    file = given.get("config")
    read = {name: options[name].read(value) for name, value in given.items()}
    if file is not None:
        read = _merged(_from_file(Path(file), options, command), read)
    parts = {kind: {o.field for o in options_of(kind)} for kind in (Options, Machine, Run)}
    chosen = {kind: {n: v for n, v in read.items() if n in names} for kind, names in parts.items()}
    try:
        return Choice(_options(chosen[Options]), Machine(**chosen[Machine]), Run(**chosen[Run]))
    except ValueError as error:
        raise ValueError(f"{error}{_of_255(str(error), given, options)}") from None


def _options(chosen: dict[str, Any]) -> Options:
    """Return the options; of what holds several values, those that are not given keep their default."""
    shares, schedules = chosen.pop("shares", None), chosen.pop("schedules", None)
    options = Options(**chosen)
    if shares is not None:
        shares = {**(options.filled().shares or {}), **shares}
        # As with --tune-images 0 of folders.
        options = replace(options, shares={name: count for name, count in shares.items() if count != 0})
    if schedules is not None:
        there = options.filled().schedules or {}
        options = replace(options, schedules={name: replace(there[name], **of) for name, of in schedules.items()})
    return options


def _of_255(message: str, given: Mapping[str, Any], options: Mapping[str, Option]) -> str:
    """Say that a value that is refused as a share was written as one of 255."""
    found = re.match(r"`(\w+)`", message)
    if found is None or found[1] not in given or not options[found[1]].shown.of_255:
        return ""
    return f" as a share of the value range: --{options[found[1]].name} is of 255, where 10 is 10/255"


def _from_file(file: Path, options: Mapping[str, Option], command: str) -> dict[str, Any]:
    """Return the values in a TOML file, by field."""
    try:
        with file.open("rb") as opened:
            found = tomllib.load(opened)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is no TOML file: {str(error)[:1].lower()}{str(error)[1:]}") from None
    except RecursionError:
        raise ValueError(f"{file} is no file of options: values stand in each other a thousand deep") from None
    names = {n: o for o in options.values() if o.field not in _NOT_IN_FILES for n in (o.field, _under(o.name))}
    read: dict[str, Any] = {}
    for name, value in found.items():
        option = names.get(_under(name))
        if option is None:
            of_others = any(_under(name) in (o.field, _under(o.name)) for o in all_options())
            why = "" if of_others else nearest(_under(name).replace("_", "-"), [o.name for o in names.values()])
            raise ValueError(f"{file}: there is no option {name!r} of {command} that a file may hold{why}")
        if option.field in read:
            raise ValueError(f"{file}: {option.name!r} is there twice, by two names")
        try:
            read[option.field] = option.read(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{file}: {error}") from None
    return read


def _under(name: str) -> str:
    return name.replace("-", "_")


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is above, and of what is below the rest; mappings likewise."""
    both = {**below, **above}
    for name in below.keys() & above.keys():
        if isinstance(below[name], Mapping) and isinstance(above[name], Mapping):
            both[name] = _merged(below[name], above[name])
    return both


def as_file(choice: Choice, command: str, out: Path, file: Path, without: Iterable[str] = ()) -> str:
    """Return every choice as a TOML file that `--config` takes, with the defaults that were filled in.

    A line for each value, under headings, is all that there is to write: it takes no package to write that.

    :param command: The command that it is of.
    :param out: Where its results are.
    :param file: The file itself, for what it says of itself.
    :param without: Names of fields that are no options of the command.
    """
    options = choice.options.filled()
    parts = (options, choice.machine, replace(choice.run, out=out))
    values = {f.name: getattr(part, f.name) for part in parts for f in fields(part)}
    if not options.on_photographs:
        values |= {"shares": None, "schedules": None}
    elif options.shares is not None:
        # What is left out is said, too: it is not filled in again.
        values["shares"] = {**dict.fromkeys(_option("shares").keys, 0), **options.shares}
    again = one_line(f"art-denoise {command} --config {shlex.quote(str(file))}")
    lines = ["# Every choice of this run, also those that nobody made. The same run again:", f"#     {again}"]
    lines.append("# Options of the command line win over this file. Sizes are of 255.")
    heading = ""
    for option in all_options(frozenset(without)):
        if option.field in _NOT_IN_FILES:
            continue
        for name, value in option.written(values[option.field]):
            if option.shown.under != heading:
                heading = option.shown.under
                lines += ["", f"# {heading}"]
            lines.append(f"{name} = {value}")
    return "\n".join(lines) + "\n"


def _option(field: str) -> Option:
    return next(option for option in all_options() if option.field == field)


def as_options(message: str) -> str:
    """Return a message with arguments in backticks as the options that they are: `sources` as --source.

    What follows something in quotes is about that, as 'rof:eps=3' is about ROF: its arguments are not options.
    """
    if re.search(r"(?:^|: )(['\"])[^'\"]*\1: ", message):
        return message
    names = {option.field: option.name for option in all_options()}

    def option(found: re.Match[str]) -> str:
        name, rest = names.get(found[1]), found[2] or ""
        part = re.sub(r"\['(.+)'\]", r".\1", rest).replace("_", "-")
        return found[0] if name is None else f"--{name}{part}"

    return re.sub(r"`(\w+)(\['[\w-]+'\]|\.[\w.-]+)?`", option, message)
