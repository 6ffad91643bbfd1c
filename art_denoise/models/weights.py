"""Weights from files: a user's own, and those that torchvision publishes. Only tensors are read, never code."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file as load_safetensors

from art_denoise._tensor_files import check_header, read_pytorch
from art_denoise._words import some

#: Auxiliary heads serve training only; files from elsewhere may hold them.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")

#: Under what names trainers save a state dict beside other things, and what wrappers put before all of its names.
_HOLDERS, _PREFIXES = ("state_dict", "model_state_dict", "model"), ("module.", "_orig_mod.", "model.")


def load_weights(network: torch.nn.Module, path: str | os.PathLike[str]) -> None:
    """Load a state dict into a network, all of it, from safetensors or from a file that `torch.save` wrote.

    Only tensors are read, never pickled code, and none that are larger than their file. What trainers save is taken
    apart: a state dict beside other things under "state_dict", "model_state_dict" or "model", and names that all begin
    with "module.", "_orig_mod." or "model.".

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
            check_header(path)
            state = load_safetensors(path)
        else:
            state = read_pytorch(path)
        kept = {k: v for k, v in _unwrapped(state).items() if not k.startswith(_AUXILIARY)}
        wanted = network.state_dict().keys()
        if kept and not wanted & kept.keys():
            raise RuntimeError(f"it holds {some(kept)}, and {some(wanted)} are wanted")
        if any(parameter.is_meta for parameter in network.parameters()):
            network.to_empty(device="cpu")
        network.load_state_dict(kept)
    except Exception as error:  # readers of damaged files raise whatever they stumble over
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(
            f"`weights` = {os.fspath(path)!r} does not fit this network: use the state dict of the same architecture, "
            f"width and number of classes ({reason})"
        ) from error


def _unwrapped(state: Any) -> dict[str, Any]:
    """Return the state dict in what trainers save: in a mapping of other things, too, and with prefixes of wrappers."""
    for name in _HOLDERS:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
    found = dict(state.items())
    prefix = next((prefix for prefix in _PREFIXES if found and all(key.startswith(prefix) for key in found)), None)
    return found if prefix is None else _unwrapped({key[len(prefix) :]: value for key, value in found.items()})


def published_file(url: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the place of a file of torchvision's published weights, whether it is there or not.

    :param url: Its address, or its name.
    :param folder: Folder of such files; None: where torchvision keeps them.
    """
    parent = Path(torch.hub.get_dir()) / "checkpoints" if folder is None else Path(folder)
    return parent / url.rsplit("/", 1)[-1]


def fetch_published(weights: str, folder: str | os.PathLike[str] | None = None, *, progress: bool = True) -> Path:
    """Return the file of torchvision's published weights; torchvision's source is asked for it if it is not there.

    What is downloaded is compared with the digest in its name, and so is what is there where torchvision keeps it. A
    file that is another is told of, but taken, as torchvision takes it: it may be somebody's own, put there on purpose.
    In a folder of one's own a file is taken without a word.

    :param weights: torchvision's name of them, such as "VGG16_Weights.IMAGENET1K_V1".
    :param folder: Folder of such files; None: where torchvision keeps them.
    :param progress: Show a progress bar.
    :raises OSError: If it cannot be downloaded; the message says which file to put where.
    :warns RuntimeWarning: If a file where torchvision keeps them is not the one that was published.
    """
    from torchvision import models

    url = models.get_weight(weights).url
    file = published_file(url, folder)
    if folder is None and file.is_file() and not _is_named_by_digest(file):
        warnings.warn(
            f"{file} is not the file that was published, as its content is not what the digest in its name says: if it "
            "is not your own, it is damaged; delete it, and it is downloaded anew",
            RuntimeWarning,
            stacklevel=2,
        )
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


def _is_named_by_digest(file: Path) -> bool:
    """Return whether a file has the digest that is in its name, if there is one: `vgg16-397923af.pth`."""
    named = re.search(r"-([0-9a-f]{8,64})\.", file.name)
    if named is None:
        return True
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while part := opened.read(1 << 20):
            digest.update(part)
    return digest.hexdigest().startswith(named[1])
