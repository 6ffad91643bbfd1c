"""Attacks whose parameters are checked whenever they are set."""

from __future__ import annotations

from art.attacks.attack import EvasionAttack

from art_denoise._attributes import CheckedAttributes


class CheckedAttack(CheckedAttributes, EvasionAttack):
    """An attack of ART; its constructor ends with `_check_now_and_when_set`."""

    @property
    def _checked_attributes(self) -> list[str]:
        return self.attack_params
