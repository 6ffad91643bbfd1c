"""What components are called in tables, and how those that differ are told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain

from art_denoise.evaluation.experiment import ComponentT, Defence, Threat
from art_denoise.evaluation.notation import write_params, write_share


def with_unique_texts(defences: Sequence[Defence]) -> list[Defence]:
    """Return defences in whose texts preprocessors that differ are told apart: by parameters, or by their files."""
    apart = _told_apart(chain.from_iterable(d.preprocessors for d in defences))
    return [replace(d, preprocessors=tuple(apart[p] for p in d.preprocessors)) for d in defences]


def with_unique_attack_texts(threats: Sequence[Threat]) -> list[Threat]:
    """Return threats in whose texts attacks that differ are told apart: by parameters, bound, or what they know.

    That an attack knows the defence is part of a row's text already; which of its gradients it takes, is not.
    """
    apart = _told_apart(t.attack for t in threats)
    found = []
    for threat in threats:
        alike = [t for t in threats if apart[t.attack].text == apart[threat.attack].text]
        words = []
        if len({(t.eps, t.norm) for t in alike}) > 1:
            words.append(f"eps={write_share(threat.eps)}")
        if len({t.norm for t in alike}) > 1:
            words.append(f"norm={threat.norm}")
        if threat.knowledge.knows_defence and len({t.knowledge for t in alike if t.knowledge.knows_defence}) > 1:
            words.append(threat.knowledge.value)
        found.append(replace(threat, attack=_with_words(apart[threat.attack], words)))
    return found


def in_latex(symbol: str, index: str) -> str:
    r"""Return a symbol with an upright index: "D_{\mathrm{ROF}}"."""
    return rf"{symbol}_{{{_upright(index)}}}"


def _told_apart(components: Iterable[ComponentT]) -> dict[ComponentT, ComponentT]:
    alike: dict[str, list[ComponentT]] = {}
    for component in dict.fromkeys(components):
        alike.setdefault(component.text, []).append(component)
    found = {}
    for group in alike.values():
        names = len({c.name for c in group}) > 1
        for component in group:
            words = [component.name] if names else []
            found[component] = _with_words(component, [*words, *write_params(component)] if len(group) > 1 else [])
    return found


def _with_words(component: ComponentT, words: Sequence[str]) -> ComponentT:
    if not words:
        return component
    said = ", ".join(words)
    return replace(component, text=f"{component.text}[{said}]", latex=f"{component.latex}[{_upright(said)}]")


def _upright(text: str) -> str:
    return rf"\mathrm{{{text.replace('_', chr(92) + '_').replace(' ', chr(92) + ' ')}}}"
