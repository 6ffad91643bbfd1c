"""Which axes of images are which: what is refused, with the remedy, and the frames of videos as images."""

from __future__ import annotations

import torch

#: Numbers of channels that are almost surely channels when they are found on an axis.
_USUAL_CHANNELS = (1, 3, 4)


def check_shape(shape: tuple[int, ...], *, channels_first: bool) -> None:
    """Raise unless a shape is that of images, or of videos, in a layout.

    :raises ValueError: With the remedy that fits the shape.
    """
    layout = "(N, C, H, W)" if channels_first else "(N, H, W, C)"
    if len(shape) == 2:
        raise ValueError(
            f"Feature vectors detected. Unrecognized input dimension. `x` must be images {layout}, got {shape}: "
            "for features that are the pixels of images use AsFlat(defence, image_shape=...); one grey image is "
            f"{'x[None, None]' if channels_first else 'x[None, ..., None]'}"
        )
    if len(shape) == 3:
        channel = "x[:, None]" if channels_first else "x[..., None]"
        one = shape[0 if channels_first else 2] in _USUAL_CHANNELS
        remedy = "add a batch axis, `x[None]`" if one else f"of grey images add an axis of one channel, `{channel}`"
        raise ValueError(f"`x` must be {layout}, got {shape}: {remedy}")
    if len(shape) not in (4, 5):
        videos = "(N, C, F, H, W)" if channels_first else "(N, F, H, W, C)"
        raise ValueError(
            f"Unrecognized input dimension. `x` must be images {layout}, or videos {videos}, got {shape}: "
            "make the axes before those of an image or video one, with `x.reshape`"
        )
    if 0 in shape[1:]:
        raise ValueError(f"`x` must have at least one channel and one pixel, got {shape}")
    if len(shape) == 5:
        _check_video(shape, channels_first=channels_first)
        return
    channels, other = (shape[1], shape[3]) if channels_first else (shape[3], shape[1])
    if channels > 4 and other in _USUAL_CHANNELS:
        raise ValueError(
            f"`x` must be {layout}, got {shape}, which looks like the other layout: "
            f"use channels_first={not channels_first}, or transpose `x` if it does have {channels} channels"
        )


def _check_video(shape: tuple[int, ...], *, channels_first: bool) -> None:
    """Raise if frames would be taken for channels."""
    channels = shape[1 if channels_first else 4]
    if channels <= 4:
        return
    # Where the channels seem to be, and how they get to where they are to be.
    if channels_first and shape[2] in _USUAL_CHANNELS:
        found, remedy = "(N, F, C, H, W)", "`x.swapaxes(1, 2)`"
    elif channels_first and shape[4] in _USUAL_CHANNELS:
        found, remedy = "(N, F, H, W, C)", "channels_first=False"
    elif not channels_first and shape[1] in _USUAL_CHANNELS:
        found, remedy = "(N, C, F, H, W)", "channels_first=True"
    elif not channels_first and shape[2] in _USUAL_CHANNELS:
        found, remedy = "(N, F, C, H, W)", "channels_first=True and `x.swapaxes(1, 2)`"
    else:
        return
    wanted = "(N, C, F, H, W)" if channels_first else "(N, F, H, W, C)"
    raise ValueError(
        f"Unrecognized input dimension. `x`, videos, must be {wanted}, got {shape}, which looks like {found}: "
        f"use {remedy}"
    )


def frames_of(videos: torch.Tensor, *, channels_first: bool) -> torch.Tensor:
    """Return the frames of videos (N, C, F, H, W), or (N, F, H, W, C), as images (N F, C, H, W) or (N F, H, W, C)."""
    return (videos.movedim(2, 1) if channels_first else videos).flatten(0, 1)


def videos_of(frames: torch.Tensor, like: torch.Tensor, *, channels_first: bool) -> torch.Tensor:
    """Undo `frames_of` for as many videos, of as many frames."""
    videos = frames.unflatten(0, (like.shape[0], like.shape[2 if channels_first else 1]))
    return videos.movedim(1, 2) if channels_first else videos
