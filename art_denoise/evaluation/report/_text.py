"""Text in forms: as wide as it looks, as a list in a sentence, and in LaTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from art_denoise._words import one_line

#: What has a meaning in LaTeX's text, as it is written there.
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
}

#: What LaTeX makes another character of, if there are two of them; braces keep them apart.
_PAIRS = "-'`"

#: What is beyond ASCII and common in tables, in commands that every LaTeX has.
_SYMBOLS = {
    "–": "--",
    "—": "---",
    "‐": "-",
    "‑": "-",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≠": r"$\neq$",
    "≈": r"$\approx$",
    "→": r"$\rightarrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "°": r"$^{\circ}$",
    "²": "$^2$",
    "³": "$^3$",
    "′": "$'$",
    "″": "$''$",
    "…": r"\dots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}

_GREEK = (
    "alpha beta gamma delta zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
#: Unicode's names of Greek letters are LaTeX's commands, but for epsilon, the round one of which is common.
_SYMBOLS |= {
    unicodedata.lookup(
        f"GREEK {'CAPITAL' if name[0].isupper() else 'SMALL'} LETTER {'LAMDA' if name.lower() == 'lambda' else name}"
    ): rf"$\{name}$"
    for name in _GREEK.split()
} | {"ε": r"$\varepsilon$", "µ": r"$\mu$"}

#: Accents by the combining character that a letter with one comes apart into.
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0323": "d",
    "\u0327": "c",
}


def raised(number: str) -> str:
    """Return a number in raised digits."""
    return number.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def width(text: str) -> int:
    """Return how many columns a text takes in a terminal."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def latex_text(text: str) -> str:
    """Return a text as LaTeX's text, in ASCII, so that it says what it says and compiles, whatever is in it.

    Letters with accents and the symbols of this package's tables are written in LaTeX's commands; any other character
    beyond ASCII as its number, "[U+4E2D]".
    """
    plain = one_line(text)
    return "".join(
        _latex(character) + ("{}" if character in _PAIRS and after in _PAIRS else "")
        for character, after in zip(plain, plain[1:] + " ", strict=False)
    )


#: What LaTeX's mathematics is made of that is written as it is: nothing that reads a file or defines anything.
_COMMANDS = (
    f"{_GREEK} epsilon varepsilon ell infty mathrm mathbf mathit mathsf mathcal operatorname hat tilde bar vec prime "
    "circ cdot times star ast dagger pm leq geq"
)
_MATHEMATICS = re.compile(
    rf"(?:[\w ,.'()+*/=^{{}}-]|\\(?:{'|'.join(_COMMANDS.split())})(?![A-Za-z])|\\[_,;:! ])*", re.ASCII
)


def mathematics(latex: str) -> str:
    """Return what is said to be LaTeX's mathematics if it is, and nothing else; else ""."""
    closed = 0
    for brace in re.findall(r"[{}]", latex):
        closed += 1 if brace == "{" else -1
        if closed < 0:
            return ""
    return latex if not closed and "^^" not in latex and _MATHEMATICS.fullmatch(latex) else ""


def _latex(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    if character.isascii():
        return character
    apart = unicodedata.normalize("NFD", character)
    base, mark = apart[0], apart[1:]
    if base.isascii() and base.isalpha() and mark in _ACCENTS:
        return rf"\{_ACCENTS[mark]}{{{base}}}"
    return f"[U+{ord(character):04X}]"


def listed(texts: Sequence[str]) -> str:
    """Name several things one after the other, the last behind "and"."""
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
