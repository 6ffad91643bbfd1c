"""Parameters by name, as ART's preprocessors have them: set all or none, shown by `repr`."""

from __future__ import annotations

from typing import Any, ClassVar

from art.defences.preprocessor import Preprocessor


class Parameterised(Preprocessor):
    """A preprocessor whose `params` can all be set and are all shown."""

    params: ClassVar[list[str]] = []

    def set_params(self, **kwargs: Any) -> None:
        """Change parameters by name; either all of them are changed or, on an error, none.

        :raises TypeError: If a name is not one of `params`, or a value is of the wrong type.
        :raises ValueError: If a value is outside its interval.
        """
        for name in kwargs:
            if name not in self.params:
                raise TypeError(f"`{name}` is no parameter of {type(self).__name__}: use {', '.join(self.params)}")
        before = {name: getattr(self, name) for name in kwargs}
        try:
            for name, value in kwargs.items():
                setattr(self, name, value)
            self._check_params()
        except Exception:
            for name, value in before.items():
                setattr(self, name, value)
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.params)})"
