"""How defences and attacks are written, on the command line and in files: names, parameters, chains.

`name:parameter=value,parameter=value`, and for a chain such stages with `+` between them. A value is a number, a
fraction (`5/255`), `true`, `false`, `none`, values in parentheses, or else a text; `attacker_params.max_iter=50` is an
entry of a parameter that takes a mapping.

A `+` stands between stages, with two exceptions. It may stand in the exponent of a number, `1e+3`. And it may stand in
the path of a file: what comes before it and is no name of a stage begins a path, if a `file.py:function` follows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from art_denoise.evaluation.experiment import Attack, Component
from art_denoise.evaluation.origins import FILE, is_mapping

#: Libraries whose parts are named "library:Name".
LIBRARIES = ("art:", "kornia:")

#: Most characters of a chain or of a value, most `+` in a chain, and most parentheses in each other: what is longer
#: takes for ever to read.
_MOST_CHARACTERS, _MOST_STAGES, _DEEPEST = 4000, 64, 8

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"

_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None, "inf": math.inf}


def split_chain(text: str, is_stage: Callable[[str], bool]) -> list[str]:
    """Return the stages of a chain.

    :param is_stage: Whether a name is that of a stage.
    :raises ValueError: If the text is far longer than any chain is.
    """
    if len(text) > _MOST_CHARACTERS or text.count("+") > _MOST_STAGES:
        raise ValueError(
            f"{text[:40]!r}...: a chain has at most {_MOST_CHARACTERS:,} characters and {_MOST_STAGES} `+`"
        )
    # The number's exponent is not looked into: "1e+3" is one piece.
    pieces = re.split(r"(?<![\d.][eE])\+|(?<=[\d.][eE])\+(?!\d)", text)
    stages, begun = [], ""
    for i, piece in enumerate(pieces):
        begun = f"{begun}+{piece}" if begun else piece
        file_follows = any(
            FILE.fullmatch(f"{begun}+{'+'.join(pieces[i + 1 : j])}") for j in range(i + 2, len(pieces) + 1)
        )
        if not file_follows or FILE.fullmatch(begun) or is_stage(begun.partition(":")[0]):
            stages.append(begun)
            begun = ""
    return stages


def read_component(text: str) -> tuple[str, dict[str, str]]:
    """Return the name of a component and its parameters, each as it is written.

    :raises ValueError: If a parameter has no name or no value, or is there twice.
    """
    text = text.strip()
    file = FILE.fullmatch(text)
    if file:
        name, given = file["name"], file["params"]
    elif text.startswith(LIBRARIES):
        library, _, rest = text.partition(":")
        called, _, given = rest.partition(":")
        name = f"{library}:{called}"
    else:
        name, _, given = text.partition(":")
    found: dict[str, str] = {}
    for part in _at_commas(given or ""):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not key or not equals or not value:
            raise ValueError(
                f"{text!r}: parameters are written name=value, with commas between them, not {part.strip()!r}"
            )
        if key in found:
            raise ValueError(f"{text!r}: `{key}` is there twice")
        found[key] = value
    return name, found


def _at_commas(text: str) -> Iterator[str]:
    """Yield what stands between commas outside of parentheses."""
    depth, begun = 0, ""
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            yield begun
            begun = ""
        else:
            begun += character
    if begun.strip():
        yield begun


def read_value(text: str, depth: int = 0) -> Any:
    """Return a value: a bool, None, a number, a fraction as a float, a tuple, or else the text.

    :param depth: In how many parentheses it is.
    :raises ValueError: If it is a far longer text than values are, or in far more parentheses.
    """
    text = text.strip()
    if len(text) > _MOST_CHARACTERS or depth > _DEEPEST:
        raise ValueError(
            f"{text[:40]!r}...: a value has at most {_MOST_CHARACTERS:,} characters, in {_DEEPEST} parentheses at most"
        )
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if re.fullmatch(_NUMBER, text):
        return float(text)
    if re.fullmatch(f"{_NUMBER}/{_NUMBER}", text):
        above, below = map(float, text.split("/"))
        return above / below if below else text
    if text.startswith("(") and text.endswith(")"):
        return tuple(read_value(part, depth + 1) for part in _at_commas(text[1:-1]))
    return text


def intensities(name: str, attack: bool) -> tuple[str, ...]:
    """Return the names of a component's parameters that are intensities, besides the bound of an attack."""
    return ("eps_step",) if attack else ("weight",) if name == "rof" else ()


def read_share(name: str, text: str, whole: str) -> float:
    """Return an intensity as a share of the value range: a plain number is of 255, a fraction is taken as it is.

    :param name: The parameter.
    :param whole: All that was written, for messages.
    :raises ValueError: If it is no number, or a plain one so small that it would do nothing: most likely it is a share.
    """
    value = read_value(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{whole!r}: `{name}` must be a number of 255, as 5, or a fraction, as 5/255, not {text!r}")
    if "/" in text:
        return value
    if 0 < value < 0.5:
        raise ValueError(
            f"{whole!r}: `{name}` is {text} of 255, which would do nothing: write a share of the value range as a "
            f"fraction, {name}={text}/1, which is {name}={value * 255:.3g}/255"
        )
    return value / 255


def write_share(value: float) -> str:
    """Return an intensity as :func:`read_share` reads it: "5/255"."""
    of_255 = round(255 * value, 9)
    return f"{of_255!r}".removesuffix(".0") + "/255" if of_255 / 255 == value else f"{value!r}/1"


def write_value(value: Any) -> str:
    """Return a value as :func:`read_value` reads it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"({','.join(map(write_value, value))})"
    return repr(value) if isinstance(value, float) else str(value)


def write_params(component: Component) -> list[str]:
    """Return the parameters of a component as they are written."""
    written, shares = [], intensities(component.name, isinstance(component, Attack))
    for name, value in component.params:
        if name in shares and isinstance(value, (int, float)):
            written.append(f"{name}={write_share(value)}")
        elif is_mapping(value):
            written += [f"{name}.{key}={write_value(entry)}" for key, entry in value]
        else:
            written.append(f"{name}={write_value(value)}")
    return written
