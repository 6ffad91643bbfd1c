"""The paper's filters on real ImageNet photographs, where there are any beside the checkout."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from art_denoise import nl_means_denoise, rof_denoise


def test_equal_to_scikit_image(realdata):
    files = sorted((realdata / "imagenet200").glob("*/*.JPEG"))[::25]
    assert files
    for file in files:
        image = np.asarray(Image.open(file).convert("RGB"))[:224, :224].transpose(2, 0, 1).astype(np.float32) / 255
        x = torch.from_numpy(image[None])
        expected = denoise_tv_chambolle(image, weight=10 / 255, channel_axis=0)
        np.testing.assert_allclose(rof_denoise(x, 10 / 255)[0].numpy(), expected, atol=1e-5)
        expected = denoise_nl_means(image, patch_size=2, patch_distance=3, h=0.05, channel_axis=0)
        np.testing.assert_allclose(nl_means_denoise(x, 0.05)[0].numpy(), expected, atol=5e-3)
