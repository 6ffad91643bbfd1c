"""A universal perturbation with its units and where it comes from, as a file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from art_denoise._files import content_digest, replacing
from art_denoise._plain import plain
from art_denoise.choices import NormName

_UNITS = "value range"


@dataclass(frozen=True, eq=False, repr=False)
class Perturbation:
    """One image that is added to every image, and where it comes from.

    Sizes are in units of the value range: ±10/255 is ±10 on images in 0 to 255.

    :param array: float32 (C, H, W).
    :param attack: What made it.
    :param source: Model that it was crafted on.
    :param norm: Norm that it was bounded in: "inf" or "2".
    :param eps: The bound.
    :param value_range: Range of the images that it was crafted from.
    :param seed: Seed of the attack.
    :param fooling_rates: Share of images whose label it changes, 0 to 1, by what it was measured on.
    :param provenance: What else is known, by name: JSON-like values.
    :raises TypeError: If the array is not of floats, or something else is nothing that a file can hold.
    :raises ValueError: If it is not (C, H, W), or not finite.

    Example::

        >>> import numpy as np
        >>> from art_denoise import Perturbation
        >>> signs = np.random.default_rng(0).choice(np.array([-1, 1], dtype=np.float32), (3, 32, 32))
        >>> perturbation = Perturbation(signs * np.float32(10 / 255), attack="signs", norm="inf", eps=10 / 255)
        >>> perturbation.save("signs.safetensors")
        >>> print(f"{Perturbation.load('signs.safetensors').linf * 255:.1f}")
        10.0
        >>> grey = np.full((2, 3, 32, 32), 128, dtype=np.float32)
        >>> print(f"{perturbation.add_to(grey, value_range=(0, 255)).max():.1f}")
        138.0
    """

    array: np.ndarray
    attack: str | None = None
    source: str | None = None
    norm: NormName | None = None
    eps: float | None = None
    value_range: tuple[float, float] = (0.0, 1.0)
    seed: int | None = None
    fooling_rates: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not np.issubdtype(self.array.dtype, np.floating):
            raise TypeError(f"`array` must be of floats, got {self.array.dtype}")
        if self.array.ndim != 3 or 0 in self.array.shape:
            raise ValueError(f"`array` must be (C, H, W), got {self.array.shape}")
        if not np.isfinite(self.array).all():
            raise ValueError("`array` must be finite, got NaN or infinite values")
        for name, value in self._record().items():
            kept = plain(value)
            try:
                # Here, and not when hours of work are to be saved.
                json.dumps(kept)
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"`{name}` must be what JSON has, numbers, texts, lists and mappings: {error}"
                ) from error
            object.__setattr__(self, name, kept)

    @property
    def linf(self) -> float:
        """Greatest absolute value, in units of the value range."""
        return float(np.abs(self.array).max())

    @property
    def l2(self) -> float:
        """Euclidean norm, in units of the value range."""
        return float(np.linalg.norm(self.array.astype(np.float64)))

    def with_record(self, **changes: Any) -> Perturbation:
        """Return the same perturbation with other values of `attack`, `source`, `fooling_rates` and so on."""
        return replace(self, **changes)

    def add_to(self, images: np.ndarray, value_range: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
        """Return float images (N, C, H, W) plus the perturbation, as float32, clipped to their range.

        :param value_range: Ends of the range of the images.
        :raises TypeError: If the images are not floats.
        :raises ValueError: If they are not of the perturbation's shape, or reach beyond the range.
        """
        low, high = value_range
        if not np.issubdtype(images.dtype, np.floating):
            raise TypeError(f"`images` must be floats in [{low:g}, {high:g}], got {images.dtype}: divide bytes by 255")
        if images.shape[1:] != self.array.shape:
            hint = ""
            if images.ndim == 4 and images.shape[1] == self.array.shape[0]:
                hint = ": load_perturbation(path, size=(height, width)) resizes a perturbation"
            raise ValueError(f"`images` must be (N, {', '.join(map(str, self.array.shape))}), got {images.shape}{hint}")
        if images.size and not (images.min() >= low and images.max() <= high):
            raise ValueError(
                f"`images` must be within {low:g} and {high:g}, got {images.min():g} to {images.max():g}: give the "
                "ends of their range as `value_range`"
            )
        added = images + np.float32(high - low) * self.array
        return np.clip(added, low, high, out=added).astype(np.float32, copy=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, whole or not at all."""
        record, array = json.dumps(self._record()), np.ascontiguousarray(self.array, dtype=np.float32)
        metadata, arrays = {"units": _UNITS, "record": record}, {"perturbation": array}
        with replacing(Path(path)) as beside:
            save_file(arrays, beside, metadata={**metadata, "sha256": content_digest(metadata, arrays)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Perturbation:
        """Read a file that `save` wrote.

        :raises FileNotFoundError: If there is none.
        :raises ValueError: If it holds something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"`path` = {os.fspath(path)!r}: there is no such file")
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                if metadata["units"] != _UNITS:
                    raise ValueError(f"units {metadata['units']!r}")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
            # Files of earlier versions have none.
            digest = metadata.pop("sha256", None)
            if digest is not None and digest != content_digest(metadata, arrays):
                raise ValueError("its content is not what was written")
            record = json.loads(metadata["record"])
            record["value_range"] = tuple(record["value_range"])
            return cls(arrays["perturbation"], **record)
        except Exception as error:  # whatever a damaged file leads to
            raise ValueError(
                f"`path` = {os.fspath(path)!r} is not a perturbation saved by this package, or is damaged ({error})"
            ) from error

    def _record(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "array"}

    def __repr__(self) -> str:
        known = {name: value for name, value in asdict(self).items() if name != "array" and value not in (None, {})}
        shape = "x".join(map(str, self.array.shape))
        return f"Perturbation({shape}, L∞ {self.linf:.4g}, {', '.join(f'{k}={v!r}' for k, v in known.items())})"
