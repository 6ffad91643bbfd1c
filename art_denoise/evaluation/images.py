"""Images as results depend on them."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Images:
    """Images for one purpose, known by what is in them.

    :param purpose: What they are for, see :data:`art_denoise.data.sets.PURPOSES`.
    :param fingerprint: Digits that change with any image or label.
    :param count: Number of images.
    :param shape: (3, H, W).
    """

    purpose: str = field(compare=False)
    fingerprint: str
    count: int
    shape: tuple[int, int, int]

    def first(self, count: int) -> Images:
        """Return the first of them, as many as there are at most."""
        return Images(self.purpose, self.fingerprint, min(count, self.count), self.shape)
