"""Attributes that are checked whenever they are set, as the arguments of the constructor are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any


class CheckedAttributes:
    """What has parameters as attributes, and `_check_params`, which raises if they are unfit; so ART has it.

    A constructor ends with `_check_now_and_when_set`. From then on an attribute that is set to something unfit is
    refused and stays what it was.
    """

    @property
    def _checked_attributes(self) -> Sequence[str]:
        """Names of the attributes."""
        raise NotImplementedError

    if TYPE_CHECKING:  # not defined here, where it would hide that of ART's class beside

        def _check_params(self) -> None: ...

    def _check_now_and_when_set(self) -> None:
        self._check_params()
        vars(self)["_checks_when_set"] = True

    def __setattr__(self, name: str, value: Any) -> None:
        # Neither while an object is made, as its parameters come one after the other, nor while it checks itself.
        if vars(self).get("_checks_when_set") and name in self._checked_attributes:
            self._set_checked({name: value})
        else:
            super().__setattr__(name, value)

    def _set_checked(self, values: Mapping[str, Any]) -> None:
        """Set attributes, all of them or, on an error, none."""
        state = vars(self)
        before = dict(state)
        try:
            state["_checks_when_set"] = False
            for name, value in values.items():
                setattr(self, name, value)
            self._check_params()
        except BaseException:
            state.clear()
            state.update(before)
            raise
        state["_checks_when_set"] = before.get("_checks_when_set", False)
