"""Rules of the parameters of a defence."""

from __future__ import annotations

import inspect
import math
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
from art.defences.preprocessor import Preprocessor

from art_denoise._contract.images import moved
from art_denoise._contract.trial import Breach, NotClaimed, Trial, described, is_unknown_keyword, rule, treated_by

#: What is wrong for parameters of these names, whatever they are now.
_WRONG: dict[str, tuple[Any, ...]] = {
    "clip_values": ((1, 0), (0, math.nan), (0, 0.5, 1)),
    "chunk_size": (0, 1.5),
    "channels_first": ("no",),
    "gradient": ("no such word",),
    "verbose": ("no",),
    "apply_fit": ("no",),
    "apply_predict": ("no",),
    "device_type": ("no such word",),
}

#: A name that no parameter has.
_UNKNOWN = "no_such_parameter"


@rule("params names every argument of the constructor")
def params_are_complete(trial: Trial) -> Iterator[Breach]:
    preprocessor = trial.made()
    arguments = sorted(inspect.signature(type(preprocessor)).parameters)
    if sorted(preprocessor.params) != arguments:
        missing = ", ".join(sorted(set(arguments) ^ set(preprocessor.params)))
        yield Breach(
            f"`params` and the arguments of the constructor differ in {missing or 'how often one is named'}",
            "List in `params` what the constructor takes: ART sets and shows parameters by it",
        )
    for name in preprocessor.params:
        if not hasattr(preprocessor, name):
            yield Breach(f"`{name}` is in `params` and is no attribute", f"Keep it, as `self.{name}`")


@rule("params make an equal preprocessor")
def params_make_an_equal(trial: Trial) -> Iterator[Breach]:
    preprocessor = trial.made()
    values = {name: getattr(preprocessor, name) for name in preprocessor.params}
    if apart := trial.difference(treated_by(type(preprocessor)(**values), trial.images), trial.result):
        yield Breach(
            f"results of the preprocessor and of another made from its `params` {apart}",
            "Keep parameters as they were given, and compute what follows from them when it is needed",
        )


@rule("unknown parameters are refused")
def unknown_parameters_are_refused(trial: Trial) -> Iterator[Breach]:
    preprocessor = trial.made()
    values = {name: getattr(preprocessor, name) for name in preprocessor.params}
    ways = {
        "the constructor": lambda: type(preprocessor)(**values, **{_UNKNOWN: 1}),
        "`set_params`": lambda: preprocessor.set_params(**{_UNKNOWN: 1}),
    }
    for name, way in ways.items():
        try:
            way()
        except Exception as error:
            if _UNKNOWN not in str(error):
                yield Breach(f"the error of {name} does not name it: {described(error)}", "Name it in the message")
        else:
            yield Breach(
                f"{name} took a parameter `{_UNKNOWN}`",
                "Raise a TypeError: a misspelt name otherwise changes nothing, and nobody learns of it",
            )


@rule("set_params changes what it is told, all or nothing")
def set_params_changes_all_or_nothing(trial: Trial) -> Iterator[Breach]:
    name, new = _another_value(trial)
    preprocessor = trial.made()
    before = getattr(preprocessor, name)
    preprocessor.set_params(**{name: new})
    if not _equal(getattr(preprocessor, name), new):
        yield Breach(f"`set_params({name}={new!r})` left it at {before!r}", "Set the attribute that is used")
    elif name == "clip_values" and not trial.random:
        x = moved(trial, new)
        apart = trial.difference(treated_by(preprocessor, x), trial.treated(x, clip_values=new), width=new[1] - new[0])
        if apart:
            yield Breach(
                f"results after `set_params({name}={new!r})` and of a new one {apart}",
                "Compute what follows from a parameter when it is used",
            )
    for other, wrong in _wrong_values(trial.made()):
        if other != name:
            preprocessor = trial.made()
            try:
                preprocessor.set_params(**{name: new, other: wrong})
            except Exception:
                if not _equal(getattr(preprocessor, name), before):
                    yield Breach(
                        f"`set_params({name}=..., {other}=...)` refused `{other}` and changed `{name}` all the same",
                        "Put the old values back if one of the new ones is refused",
                    )
            else:
                yield Breach(f"`set_params({other}={wrong!r})` was accepted", "Check parameters in `_check_params`")
            return


@rule("bad values are refused by name")
def bad_values_are_refused(trial: Trial) -> Iterator[Breach]:
    remedy = "Raise a TypeError or a ValueError that names the parameter, in the constructor"
    known = [(name, value) for name, values in _WRONG.items() for value in values]
    for name, value in [*known, *((n, v) for n, v in _wrong_values(trial.made()) if n not in _WRONG)]:
        try:
            trial.made(**{name: value})
        except (TypeError, ValueError) as error:
            unknown = isinstance(error, TypeError) and is_unknown_keyword(error)
            if not unknown and name not in str(error):
                yield Breach(f"the error for `{name}` = {value!r} does not name it: {described(error)}", remedy)
        except Exception as error:
            yield Breach(f"`{name}` = {value!r} made it raise {described(error)}", remedy)
        else:
            yield Breach(f"`{name}` = {value!r} was accepted", remedy)


@rule("repr shows every parameter")
def repr_shows_every_parameter(trial: Trial) -> Iterator[Breach]:
    preprocessor = trial.made()
    text = repr(preprocessor)
    missing = [name for name in preprocessor.params if f"{name}=" not in text]
    if not text.startswith(f"{type(preprocessor).__name__}(") or missing:
        yield Breach(
            f"`repr` is {text[:100]!r}" + (f", without {', '.join(missing)}" if missing else ""),
            "Show the class and its parameters, `Name(parameter=value, ...)`: ART writes it into its records",
        )


@rule("it can be pickled")
def can_be_pickled(trial: Trial) -> Iterator[Breach]:
    again = pickle.loads(pickle.dumps(trial.made()))
    if apart := trial.difference(treated_by(again, trial.images), trial.result):
        yield Breach(f"results of a pickled preprocessor and of the original {apart}", "Let `__getstate__` keep all")


def _wrong_values(preprocessor: Preprocessor) -> Iterator[tuple[str, Any]]:
    """Yield values that are wrong for parameters, as one sees by what they are now."""
    for name in preprocessor.params:
        value = getattr(preprocessor, name, None)
        if name in _WRONG:
            yield name, _WRONG[name][0]
        elif isinstance(value, bool):
            yield name, "no"
        elif isinstance(value, str):
            yield name, "no such word"
        elif isinstance(value, (int, float)):
            yield from ((name, wrong) for wrong in (math.nan, "no number"))


def _another_value(trial: Trial) -> tuple[str, Any]:
    """Return a parameter and a value that it may have and does not have now."""
    preprocessor = trial.made()
    if "clip_values" in preprocessor.params and trial.ranges:
        return "clip_values", trial.ranges[0]
    for name in preprocessor.params:
        value = getattr(preprocessor, name, None)
        if isinstance(value, bool) and name != "channels_first":
            return name, not value
    raise NotClaimed


def _equal(first: Any, second: Any) -> bool:
    return bool(np.array_equal(np.asarray(first, dtype=object), np.asarray(second, dtype=object)))
