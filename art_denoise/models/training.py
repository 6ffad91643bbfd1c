"""Train a network on the photographs, from scratch, in minutes on a CPU."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from art_denoise.data.sets import Split
from art_denoise.models.schedule import Schedule

#: Largest standard deviation of the noise in a view.
_NOISE = 12 / 255

#: Share of the steps in which the learning rate rises.
_RISING = 0.2


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return random views of image crops: zoom, shift, flip, strong changes of colour, and a little noise.

    The colour changes are what makes the evaluation honest. Photographs differ so much in colour that a network trained
    without them looks at nothing else; a universal perturbation is then a slow drift of colour that no denoiser can
    remove, and the network has learnt nothing about shape or texture.

    So does the noise, Gaussian with a standard deviation from 0 to 12/255, another for each view. A network that never
    saw any loses as many images to random signs as to a perturbation that was crafted on another network: what
    transfers cannot be told from noise.

    :param x: Images (N, 3, H, W) in [0, 1].
    :param generator: CPU source of every random draw, so that any device sees the same views.
    :return: One view of each image, same shape, in [0, 1].
    """

    def uniform(shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
        return (torch.rand(shape, generator=generator) * (high - low) + low).to(x.device)

    n = len(x)
    scale = uniform((n,), 0.6, 1.0)
    theta = torch.zeros(n, 2, 3, device=x.device)
    theta[:, 0, 0] = scale * torch.where(uniform((n,), 0, 1) < 0.5, -1.0, 1.0)
    theta[:, 1, 1] = scale
    theta[:, :, 2] = uniform((n, 2), -1, 1) * (1 - scale)[:, None]
    x = functional.grid_sample(
        x, functional.affine_grid(theta, list(x.shape), align_corners=False), padding_mode="border", align_corners=False
    )
    grey = uniform((n, 1, 1, 1), 0, 1) < 0.3
    x = torch.where(grey, x.mean(dim=1, keepdim=True), x)
    order = torch.rand((n, 3), generator=generator).argsort(dim=1).to(x.device)
    shuffled = x.gather(1, order[:, :, None, None].expand_as(x))
    x = torch.where(uniform((n, 1, 1, 1), 0, 1) < 0.5, shuffled, x)
    x = (x * uniform((n, 3, 1, 1), 0.6, 1.4) + uniform((n, 3, 1, 1), -0.2, 0.2)).clamp(0, 1)
    noise = torch.randn(x.shape, generator=generator).to(x.device)
    return (x + uniform((n, 1, 1, 1), 0, _NOISE) * noise).clamp(0, 1)


def train(
    network: torch.nn.Module,
    crops: Split,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    schedule: Schedule,
    seed: int = 0,
    device: torch.device | str = "cpu",
    told: Callable[[int], object] = lambda count: None,
) -> torch.nn.Module:
    """Train a network in place and return it in evaluation mode.

    AdamW with a one-cycle learning rate (Smith & Topin 2018, arXiv:1708.07120) on `augment`ed views.

    :param network: Network on standardised images (N, 3, H, W), returning logits (N, K), as it was initialised.
    :param crops: Training crops.
    :param mean: Mean of each channel, in units of [0, 1], taken off before the network sees an image.
    :param std: Standard deviation of each channel, likewise.
    :param seed: Decides the order of the images and every augmentation.
    :param told: Is told how many steps were done since it was told last.
    :raises ValueError: If the schedule makes too few steps for the learning rate to rise and fall.
    """
    steps = schedule.steps(len(crops))
    if _RISING * steps <= 1:
        raise ValueError(
            f"`schedule` makes {steps} steps of {len(crops)} images, in which the learning rate cannot rise and fall: "
            "give more `epochs` or `views`, or a smaller `batch_size`"
        )
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.from_numpy(crops.images), torch.from_numpy(crops.labels)
    center = torch.tensor(mean, device=device).view(1, -1, 1, 1)
    spread = torch.tensor(std, device=device).view(1, -1, 1, 1)
    network = network.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, total_steps=steps, pct_start=_RISING
    )
    for _ in range(schedule.epochs):
        order = torch.cat([torch.randperm(len(crops), generator=generator) for _ in range(schedule.views)])
        for chosen in order.split(schedule.batch_size):
            x = augment(images[chosen].to(device).float() / 255, generator)
            logits = network(((x - center) / spread).contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, labels[chosen].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            one_cycle.step()
            told(1)
    return network.eval()
