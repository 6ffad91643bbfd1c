"""A preprocessor as an augmentation of MAITE, protocols by which libraries of test and evaluation call each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from art.config import ART_NUMPY_DTYPE
from art.defences.preprocessor import Preprocessor

from art_denoise._plain import array_of
from art_denoise.defences.adapters import pair_of


class AsAugmentation:
    """Make an ART preprocessor an augmentation by MAITE's protocols, for images with any targets.

    `maite.tasks.evaluate(model=…, dataset=…, metric=…, augmentation=AsAugmentation(ROFDefence()))` evaluates a defended
    model. MAITE itself is not needed. Targets and metadata stay what they are: boxes are right after a denoiser, which
    moves nothing, and would not be after a preprocessor that does.

    :param preprocessor: A preprocessor of images, e.g. (N, C, H, W) in [0, 1], as its own `channels_first` and
        `clip_values` say; several as :class:`~art_denoise.Compose`.
    :param name: The identifier in `metadata`; None: the preprocessor with its parameters.
    :ivar metadata: What MAITE asks for: `{"id": name}`.
    :raises TypeError: If `preprocessor` is none, or `name` is no word.

    Example::

        >>> import numpy as np
        >>> from art_denoise import AsAugmentation, ROFDefence
        >>> augmentation = AsAugmentation(ROFDefence(), name="ROF")
        >>> images = [np.full((3, 8, 8), 0.5, dtype=np.float32), np.full((3, 9, 7), 0.5, dtype=np.float32)]
        >>> denoised, targets, metadata = augmentation((images, [0, 1], [{"id": 0}, {"id": 1}]))
        >>> [image.shape for image in denoised], targets, augmentation.metadata
        ([(3, 8, 8), (3, 9, 7)], [0, 1], {'id': 'ROF'})
    """

    def __init__(self, preprocessor: Preprocessor, name: str | None = None) -> None:
        if not isinstance(preprocessor, Preprocessor):
            raise TypeError(f"`preprocessor` must be an ART preprocessor, got {type(preprocessor).__name__}")
        if name is not None and not isinstance(name, str):
            raise TypeError(f"`name` must be a word or None, got {name!r}")
        self.preprocessor = preprocessor
        self.metadata = {"id": repr(preprocessor) if name is None else name}

    def __call__(
        self, batch: tuple[Sequence[Any], Sequence[Any], Sequence[Any]], /
    ) -> tuple[list[Any], Sequence[Any], Sequence[Any]]:
        """Apply the preprocessor to the images of a batch; those of one shape go through it together.

        :param batch: Images (C, H, W), or as the preprocessor takes them, arrays or tensors, which may differ in shape;
            their targets; their metadata.
        :return: The images, each of the kind that it was, an array, or a tensor on its device; integers are rounded
            to integers, floats are float32. Targets and metadata are returned as they are.
        :raises TypeError: If the batch is not these three.
        :raises ValueError: If an image has not three axes, or the preprocessor makes more or fewer of them.
        """
        if not isinstance(batch, (tuple, list)) or len(batch) != 3:
            raise TypeError("`batch` must be (images, targets, metadata), each of as many items as there are images")
        images, targets, metadata = batch
        of_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for at, image in enumerate(images):
            shape = tuple(np.shape(image))
            if len(shape) != 3:
                raise ValueError(f"`batch` must have images (C, H, W), and image {at} is of shape {shape}")
            of_shape[shape].append(at)
        results: list[Any] = [None] * len(images)
        for places in of_shape.values():
            arrays = np.stack([_array_of(images[at]) for at in places])
            made = pair_of(self.preprocessor, self.preprocessor(arrays.astype(ART_NUMPY_DTYPE), None))[0]
            if len(made) != len(places):
                kind = type(self.preprocessor).__name__
                raise ValueError(
                    f"`preprocessor` must keep the number of images: {kind} makes {len(made)} of {len(places)}"
                )
            for at, result in zip(places, made, strict=True):
                results[at] = _as_given(result, images[at])
        return results, targets, metadata


def _array_of(image: Any) -> np.ndarray:
    return array_of(image) if isinstance(image, torch.Tensor) else np.asarray(image)


def _as_given(result: np.ndarray, image: Any) -> Any:
    """Return a result as an array or a tensor, of integers or floats, as the image was."""
    given = _array_of(image).dtype
    result = np.asarray(result)
    if given.kind in "iu":
        limits = np.iinfo(given)
        result = np.clip(np.rint(result), limits.min, limits.max).astype(given)
    return torch.from_numpy(np.array(result)).to(image.device) if isinstance(image, torch.Tensor) else result
