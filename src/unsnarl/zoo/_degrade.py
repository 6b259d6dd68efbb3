"""Images made a little worse, as generated images are: blurred, noisy, ringing, off in tone."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

WORST_NOISE, WORST_BLUR, WORST_RINGING, WORST_TONE = 0.16, 0.9, 1.2, 0.1


def degrade(
    images: Float[Tensor, "n channel height width"], generator: torch.Generator, share: float = 0.5
) -> Float[Tensor, "n channel height width"]:
    """A share of the images blurred or sharpened beyond the original, shifted in tone and covered with noise.

    Args:
        images: in [-1, 1].
        generator: of all draws.
        share: of the images that are touched.

    Returns:
        Images in [-1, 1].
    """
    n, channels = images.shape[:2]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, 1, 1, generator=generator, device=images.device)

    width = 0.3 + WORST_BLUR * uniform(n, 1)
    place = torch.arange(-2, 3, device=images.device).float()
    line = torch.exp(-0.5 * (place / width.reshape(n, 1)) ** 2)
    line = line / line.sum(1, keepdim=True)
    kernel = (line[:, :, None] * line[:, None, :]).repeat_interleave(channels, 0)[:, None]
    padded = functional.pad(images, (2, 2, 2, 2), mode="replicate")
    blurred = functional.conv2d(
        padded.reshape(1, n * channels, *padded.shape[2:]), kernel, groups=n * channels
    ).reshape(images.shape)
    ringing = images + WORST_RINGING * uniform(n, 1) * (images - blurred)
    out = torch.where(uniform(n, 1) < 0.5, blurred, ringing)
    out = out * (1 + WORST_TONE * (2 * uniform(n, 1) - 1)) + WORST_TONE * (2 * uniform(n, channels) - 1)
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    out = (out + WORST_NOISE * uniform(n, 1) * noise).clamp(-1, 1)
    return torch.where(uniform(n, 1) < share, out, images)
