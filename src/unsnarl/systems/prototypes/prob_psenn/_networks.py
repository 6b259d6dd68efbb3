"""Encoders and decoders of images with values in [-1, 1], and the changes of brightness and zoom colour images train with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 32  # what the convolutional networks see
GREY = (32, 32, 64, 256)
COLOUR = (64, 128, 256, 512)
DENSE = (256, 128)
SLOPE = 0.2


class Resized(nn.Module):
    """Images brought to one size, bilinearly; those that have it stay as they are."""

    def __init__(self, size: Sequence[int]):
        super().__init__()
        self.size = tuple(size)

    def forward(self, x: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel h w"]:
        """The images in the new size."""
        if tuple(x.shape[2:]) == self.size:
            return x
        shrinks = self.size[0] < x.shape[2] or self.size[1] < x.shape[3]
        return F.interpolate(x, self.size, mode="bilinear", antialias=shrinks)


def conv_encoder(channels: int, out_size: int, widths: Sequence[int] | None = None) -> nn.Sequential:
    """Images of 32 x 32 -> outputs (Vadillo et al., the authors' encoder).

    Three 4 x 4 convolutions of stride 2, a 4 x 4 one to a single place, each with batch norm and leaky ReLU (0.2), and a
    1 x 1 convolution. Widths are 32, 32, 64, 256 for grey and 64, 128, 256, 512 for colour.
    """
    a, b, c, d = widths or (GREY if channels == 1 else COLOUR)
    network = nn.Sequential(
        *_block(nn.Conv2d(channels, a, 4, 2, 1), a),
        *_block(nn.Conv2d(a, b, 4, 2, 1), b),
        *_block(nn.Conv2d(b, c, 4, 2, 1), c),
        *_block(nn.Conv2d(c, d, 4), d),
        nn.Conv2d(d, out_size, 1),
        nn.Flatten(),
    )
    return _started(network)


def conv_decoder(z_dim: int, channels: int, widths: Sequence[int] | None = None) -> nn.Sequential:
    """Codes -> images of 32 x 32 in [-1, 1], the mirror image of `conv_encoder`."""
    a, b, c, d = widths or (GREY if channels == 1 else COLOUR)
    network = nn.Sequential(
        nn.Unflatten(1, (z_dim, 1, 1)),
        *_block(nn.Conv2d(z_dim, d, 1), d),
        *_block(nn.ConvTranspose2d(d, c, 4), c),
        *_block(nn.ConvTranspose2d(c, b, 4, 2, 1), b),
        *_block(nn.ConvTranspose2d(b, a, 4, 2, 1), a),
        nn.ConvTranspose2d(a, channels, 4, 2, 1),
        nn.Tanh(),
    )
    return _started(network)


def dense_encoder(shape: Sequence[int], out_size: int, widths: Sequence[int] | None = None) -> nn.Sequential:
    """Small images, flattened, through fully connected layers with leaky ReLU (0.2)."""
    sizes = [math.prod(shape), *(widths or DENSE)]
    return nn.Sequential(nn.Flatten(), *_dense(sizes), nn.Linear(sizes[-1], out_size))


def dense_decoder(z_dim: int, shape: Sequence[int], widths: Sequence[int] | None = None) -> nn.Sequential:
    """The mirror image of `dense_encoder`, with values in [-1, 1]."""
    sizes = [z_dim, *reversed(widths or DENSE)]
    return nn.Sequential(
        *_dense(sizes), nn.Linear(sizes[-1], math.prod(shape)), nn.Tanh(), nn.Unflatten(1, tuple(shape))
    )


def _dense(sizes: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layers += [nn.Linear(wide, narrow), nn.LeakyReLU(SLOPE)]
    return layers


def _block(convolution: nn.Module, width: int) -> list[nn.Module]:
    # torch's momentum, not Keras's 0.99 that the authors' code leaves as it is: its averages take hundreds of steps to
    # forget their first value, and short runs would be tested with them
    return [convolution, nn.BatchNorm2d(width, eps=1e-3), nn.LeakyReLU(SLOPE)]


def _started(network: nn.Sequential) -> nn.Sequential:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def brightened_and_zoomed(
    x: Float[Tensor, "batch channel height width"],
    generator: torch.Generator,
    *,
    brightness: float = 0.2,
    zoom: float = 0.1,
) -> Float[Tensor, "batch channel height width"]:
    """Each image brighter or darker by up to `brightness` of its range, and larger or smaller by up to `zoom`.

    Brightness is added and the result clipped to [-1, 1]; what a smaller image leaves free repeats its border.
    """
    draws = 2 * torch.rand(2, len(x), generator=generator, device=x.device, dtype=x.dtype) - 1
    x = (x + 2 * brightness * draws[0, :, None, None, None]).clamp(-1, 1)  # the range -1..1 is 2 wide
    scale = 1 + zoom * draws[1]
    theta = torch.zeros(len(x), 2, 3, device=x.device, dtype=x.dtype)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
