"""An experiment, or any value in it, as JSON, and back."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import Any

from art_denoise.evaluation.experiment import (
    Attack,
    Cell,
    Comparison,
    Condition,
    Defence,
    Experiment,
    Knowledge,
    Network,
    Noise,
    Preprocessor,
    Published,
    Section,
    Source,
    Sweep,
    Threat,
    Transfer,
)

_VALUES = {
    kind.__name__: kind
    for kind in (
        Preprocessor,
        Noise,
        Defence,
        Attack,
        Threat,
        Condition,
        Network,
        Source,
        Cell,
        Section,
        Comparison,
        Transfer,
        Sweep,
        Published,
        Experiment,
    )
}


def to_json(value: Any) -> Any:
    """Return an experiment, or any value in it, as JSON has it; :func:`from_json` gives it back."""
    if isinstance(value, Enum):
        return {"is": type(value).__name__, "value": value.value}
    if type(value).__name__ in _VALUES:
        return {"is": type(value).__name__, **{f.name: to_json(getattr(value, f.name)) for f in fields(value)}}
    if isinstance(value, (tuple, list)):
        return [to_json(v) for v in value]
    return value


def from_json(value: Any) -> Any:
    """Return the value that :func:`to_json` was given.

    :raises ValueError: If it is of another kind.
    """
    if isinstance(value, list):
        return tuple(from_json(v) for v in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("is")
    if kind == "Knowledge":
        return Knowledge(value["value"])
    if kind not in _VALUES:
        raise ValueError(f"{kind!r} is no value of an experiment")
    try:
        return _VALUES[kind](**{name: from_json(v) for name, v in value.items() if name != "is"})
    except TypeError as error:
        raise ValueError(f"a {kind} of an experiment is of another form: {error}") from None
