"""Parameters by name, as ART's preprocessors have them: set all or none, shown by `repr`."""

from __future__ import annotations

from typing import Any, ClassVar

from art.defences.preprocessor import Preprocessor

from art_denoise._attributes import CheckedAttributes


class Parameterised(CheckedAttributes, Preprocessor):
    """A preprocessor whose `params` can all be set, are checked whenever they are, and are all shown."""

    params: ClassVar[list[str]] = []

    @property
    def _checked_attributes(self) -> list[str]:
        return self.params

    def set_params(self, **kwargs: Any) -> None:
        """Change parameters by name; either all of them are changed or, on an error, none.

        :raises TypeError: If a name is not one of `params`, or a value is of the wrong type.
        :raises ValueError: If a value is outside its interval.
        """
        for name in kwargs:
            if name not in self.params:
                raise TypeError(f"`{name}` is no parameter of {type(self).__name__}: use {', '.join(self.params)}")
        self._set_checked(kwargs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.params)})"
