"""From fields of dataclasses to options of the command line, and to lines of a TOML file: a field more, an option more.

What an option is called, under which heading it stands and whether it is of 255, a field says itself (:class:`Shown`);
what it means is in the docstring of its class.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter

from art_denoise._checks import check_number
from art_denoise.cli.errors import nearest
from art_denoise.evaluation import options as told
from art_denoise.evaluation.notation import read_value, write_share
from art_denoise.evaluation.options import Options, Shown

#: The headings, in the order in which they stand in the help.
HEADINGS = (told.WHAT, told.SIZES, told.ATTACKS, told.DEFENCES, told.MACHINE, told.RUN)

_GROUPS = {heading: Group(heading, sort_key=place) for place, heading in enumerate(HEADINGS)}

#: A plain number below this is, most likely, meant as a share of the value range: of 255 it would do nothing.
_LEAST_OF_255 = 0.5


@dataclass(frozen=True)
class Option:
    """A field as an option.

    :param field: Name of the field.
    :param name: Name of the option, without dashes before it.
    :param kind: Type of its values, without None.
    :param help: What it means.
    :param shown: How its field is shown.
    :param default: Its default as a text; empty if there is none to show.
    :param keys: Names that may stand behind a dot, of an option that takes a value for each.
    """

    field: str
    name: str
    kind: Any
    help: str
    shown: Shown
    default: str = ""
    keys: tuple[str, ...] = ()

    def parameter(self) -> inspect.Parameter:
        """Return the option as a parameter of a function that takes what was written, unread."""
        kind = self.kind
        if get_origin(kind) is tuple:
            kind = tuple[str, ...]
        elif self.keys:
            kind = dict[str, dict[str, str]] if is_dataclass(_of(kind)) else dict[str, str]
        single = kind is self.kind and kind is not bool
        how = Parameter(
            name=f"--{self.name}",
            converter=_as_written if single else None,
            help=self.help,
            group=_GROUPS[self.shown.under],
            show_default=self.default or False,
            # Nothing has to be emptied: what is not given has its default.
            negative_iterable="",
        )
        return inspect.Parameter(
            self.field, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, how]
        )

    def read(self, given: Any) -> Any:
        """Return the value of what was written on the command line, as texts, or in a TOML file.

        :raises TypeError: If it is of another type.
        :raises ValueError: If it can be read as none.
        """
        if self.keys:
            return self._read_each(given)
        if get_origin(self.kind) is tuple:
            one = get_args(self.kind)[0]
            parts = given if isinstance(given, (list, tuple)) else [given]
            if one is not str:
                parts = [p for part in parts for p in (part.split(",") if isinstance(part, str) else [part])]
            return tuple(_read(self.field, one, part, self.shown.of_255) for part in parts)
        return _read(self.field, self.kind, given, self.shown.of_255)

    def _read_each(self, given: Any) -> dict[str, Any]:
        of: Any = _of(self.kind)
        if not isinstance(given, Mapping):
            raise TypeError(f"`{self.field}` must name what each value is of, as --{self.name}.{self.keys[0]}")
        found: dict[str, Any] = {}
        for key, value in given.items():
            if key not in self.keys:
                raise ValueError(f"there is no --{self.name}.{key}{nearest(key, self.keys)}")
            if not is_dataclass(of):
                found[key] = _read(f"{self.field}.{key}", of, value)
                continue
            kinds: dict[str, Any] = {f.name: hint for f, hint in _hints(of)}
            found[key] = {}
            for name, part in (value if isinstance(value, Mapping) else {"": value}).items():
                name = name.replace("-", "_")
                if name not in kinds:
                    raise ValueError(f"there is no --{self.name}.{key}.{name}{nearest(name, kinds)}")
                argument = f"{self.field}.{key}.{name}"
                found[key][name] = _read(argument, kinds[name], part)
                # Numbers of something, and rates: what is wrong with them would be seen in the middle of a run only.
                check_number(argument, found[key][name], low=1 if kinds[name] is int else 0)
        return found

    def written(self, value: Any) -> Iterable[tuple[str, str]]:
        """Yield name and value of the lines of a TOML file that give a value again."""
        if isinstance(value, Mapping):
            for key, part in value.items():
                if is_dataclass(part):
                    for f in fields(part):
                        yield f"{self.name}.{key}.{f.name.replace('_', '-')}", json.dumps(getattr(part, f.name))
                else:
                    yield f"{self.name}.{key}", json.dumps(part)
        elif isinstance(value, tuple):
            yield self.name, f"[{', '.join(_write(part, self.shown.of_255) for part in value)}]"
        elif value is not None:
            yield self.name, _write(value, self.shown.of_255)


@cache
def options_of(kind: type) -> tuple[Option, ...]:
    """Return the options that the fields of a dataclass are, in the order of the fields."""
    meanings = dict(re.findall(r":param (\w+): (.*?)(?=\n\s*:|\n\s*\n|\Z)", kind.__doc__ or "", flags=re.DOTALL))
    return tuple(_option(f, hint, meanings.get(f.name, "")) for f, hint in _hints(kind))


def _option(f: Field[Any], hint: Any, meaning: str) -> Option:
    shown = Shown(told.RUN)
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        shown = next((note for note in notes if isinstance(note, Shown)), shown)
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (kind for kind in get_args(hint) if kind is not type(None))
    name = (shown.name or f.name).replace("_", "-")
    keys: tuple[str, ...] = ()
    meaning = " ".join(meaning.split()).replace("; None:", "; by default").replace("None:", "By default")
    meaning = re.sub(r"`(\w+)`", lambda found: f"--{found[1].replace('_', '-')}", meaning)
    if shown.of_255:
        meaning += " On a scale of 0 to 255."
    if get_origin(hint) is tuple:
        meaning += " Repeat it for more, or write 8,16." if shown.of_255 else " Repeat it for more."
    default = None if f.default is MISSING else f.default
    if _is_mapping(hint):
        filled = getattr(Options().filled(), f.name)
        keys, of = tuple(filled), _of(hint)
        parts = [part.name.replace("_", "-") for part in fields(of)] if is_dataclass(of) else []
        written = [f"--{name}.{keys[0]}.{part} N" for part in parts] or [f"--{name}.{key} N" for key in keys]
        others = f"; also of {', '.join(keys[1:])}" if parts else ""
        meaning += f" Written {', '.join(written)}{others}."
    return Option(f.name, name, hint, meaning, shown, _default(f.name, default, shown.of_255), keys)


def _default(name: str, default: Any, of_255: bool) -> str:
    """Return a default as it is told of: of a field that is None, what that stands for, by the images."""
    if default is not None or name not in {f.name for f in fields(Options)}:
        return _told(default, of_255)
    here, elsewhere = (_told(getattr(o.filled(), name), of_255) for o in (Options(), Options(data="folder")))
    if here == elsewhere:
        return here
    return ", else ".join([*([f"{here} on the photographs"] if here else []), *([elsewhere] if elsewhere else [])])


def _told(value: Any, of_255: bool) -> str:
    if isinstance(value, bool):
        # Of what may be asked for, nobody expects that it is done anyway.
        return "yes" if value else ""
    if isinstance(value, Mapping):
        return "" if any(map(is_dataclass, value.values())) else ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, tuple):
        return ",".join(_told(part, of_255) for part in value)
    if of_255 and isinstance(value, float):
        return f"{255 * value:.6g}"
    return "" if value is None else str(value)


def _as_written(kind: Any, tokens: Any) -> str:
    """Convert nothing: texts are read in one place, whether they are from the command line or from a file."""
    return str(tokens[-1].value)


def _hints(kind: Any) -> list[tuple[Field[Any], Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return [(f, hints[f.name]) for f in fields(kind)]


def _is_mapping(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _of(hint: Any) -> Any:
    """Return the type of the values of a mapping."""
    return get_args(hint)[1]


def _read(name: str, kind: Any, given: Any, of_255: bool = False) -> Any:
    """Return a single value."""
    if kind is bool:
        if not isinstance(given, bool):
            raise TypeError(f"`{name}` must be true or false, got {given!r}")
        return given
    if kind is int:
        if isinstance(given, str) and re.fullmatch(r"\s*[+-]?\d+\s*", given):
            return int(given)
        if isinstance(given, bool) or not isinstance(given, int):
            raise TypeError(f"`{name}` must be an integer, got {given!r}")
        return given
    if kind is float:
        value = read_value(given) if isinstance(given, str) else given
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"`{name}` must be a number, got {given!r}")
        return _share(name, given, float(value)) if of_255 else float(value)
    if not isinstance(given, str):
        raise TypeError(f"`{name}` must be a text, got {given!r}")
    if any("\ud800" <= character <= "\udfff" for character in given):
        # Neither a report nor a file of options could name it.
        raise ValueError(f"`{name}` is {given!r}, which is no name in UTF-8: give the file or folder another")
    # Words of a Literal are looked at where the options are checked.
    return Path(given) if kind is Path else given


def _share(name: str, given: Any, value: float) -> float:
    """Return a number of 255, or a fraction as it is, as a share of the value range."""
    if isinstance(given, str) and "/" in given:
        return value
    if 0 < value < _LEAST_OF_255:
        raise ValueError(
            f"`{name}` is of 255, and {value:g} of 255 does next to nothing: write {value:g}/255 if it is meant, or "
            f"{value * 255:.4g} for that share of the value range"
        )
    return value / 255


def _write(value: Any, of_255: bool = False) -> str:
    """Return a single value as TOML has it; its texts are written as JSON's, but for a few characters."""
    if of_255:
        text = write_share(value)
        plain = text.endswith("/255") and 255 * value >= _LEAST_OF_255
        return text.removesuffix("/255") if plain else json.dumps(text)
    if isinstance(value, Path):
        value = str(value)
    # What a terminal would act upon is there as its number.
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in json.dumps(value, ensure_ascii=False))
