"""Weights from files: a user's own, and those that torchvision publishes. Only tensors are read, never code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors

#: Auxiliary heads serve training only; files from elsewhere may hold them.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def load_weights(network: torch.nn.Module, path: str | os.PathLike[str]) -> None:
    """Load a state dict into a network, all of it, from safetensors or from a file that `torch.save` wrote.

    Only tensors are read, never pickled code.

    :raises FileNotFoundError: If there is no such file.
    :raises ValueError: If the file is damaged, or is of another architecture or number of classes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"`weights` = {os.fspath(path)!r}: there is no such file; 'imagenet' and None are the other choices"
        )
    try:
        if path.suffix == ".safetensors":
            state = load_safetensors(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        kept = {k: v for k, v in state.items() if not k.startswith(_AUXILIARY)}
        if any(parameter.is_meta for parameter in network.parameters()):
            network.to_empty(device="cpu")
        network.load_state_dict(kept)
    except (RuntimeError, AttributeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"`weights` = {os.fspath(path)!r} does not fit this network: use the state dict of the same architecture, "
            f"width and number of classes ({reason})"
        ) from error


def published_file(url: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the place of a file of torchvision's published weights, whether it is there or not.

    :param url: Its address, or its name.
    :param folder: Folder of such files; None: where torchvision keeps them.
    """
    parent = Path(torch.hub.get_dir()) / "checkpoints" if folder is None else Path(folder)
    return parent / url.rsplit("/", 1)[-1]


def fetch_published(weights: str, folder: str | os.PathLike[str] | None = None, *, progress: bool = True) -> Path:
    """Return the file of torchvision's published weights; torchvision's source is asked for it if it is not there.

    What is downloaded is checked against the digest in its name; a file that is there is taken as it is, as torchvision
    does.

    :param weights: torchvision's name of them, such as "VGG16_Weights.IMAGENET1K_V1".
    :param folder: Folder of such files; None: where torchvision keeps them.
    :param progress: Show a progress bar.
    :raises OSError: If it cannot be downloaded; the message says which file to put where.
    """
    from torchvision import models

    url = models.get_weight(weights).url
    file = published_file(url, folder)
    if not file.is_file():
        digest = file.stem.rsplit("-", 1)[-1]
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), digest, progress=progress)
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"the published weights {weights} could not be downloaded ({error}). Without a network, put "
                f"{file.name} from {url} into {file.parent}"
            ) from error
    return file
