"""The denoising autoencoders that compress: a convolutional one for images, a dense one for layers and tables.

Butakov et al. 2024 (arXiv 2305.08013), from its architecture. They are made denoising by dropout in front of each layer of the
encoder, pixels included, and by noise on the code, both in training only. All randomness comes from the generator that the
training loop hands over; without one, a pass is deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.errors import DataError
from unsnarl.training import Task

CODES = ("linear", "pre-sigmoid", "sigmoid")


def drop(x: Float[Tensor, "..."], rate: float, generator: torch.Generator | None) -> Float[Tensor, "..."]:
    """Dropout with its own source of randomness; nothing without one."""
    if generator is None or rate == 0:
        return x
    keep = torch.rand(x.shape, generator=generator, device=x.device) >= rate
    return x * keep / (1 - rate)


class ConvCompressor(nn.Module):
    """Images -> d numbers -> images.

    Encoder: three 3x3 convolutions of 8, 16 and 32 channels, LeakyReLU, 2x2 max-pooling behind the first two, dropout in front of
    each; Linear 128; Linear d. Decoder: Linear 128, Linear to 32 channels on a quarter of the sides, and 3x3 convolutions
    of 16, 8 and as many channels as the images have, with nearest-neighbour enlarging in between. For 28 x 28 pixels these are
    the published sizes (32 x 7 x 7 = 1568); for others the grid is a quarter of the image, rounded up.

    Args:
        shape: (channels, height, width), 8 pixels a side at least.
        dim: numbers in the code.
        dropout: share of inputs of each convolution that training drops.
    """

    def __init__(self, shape: Sequence[int], dim: int, dropout: float):
        super().__init__()
        channels, height, width = shape
        if min(height, width) < 8:
            raise DataError(
                f"images of {height} x {width} pixels are too small for the convolutional autoencoder (8 a side at least); "
                "flatten them to (n, pixels), which takes the dense one"
            )
        self.dropout, self.full = dropout, (height, width)
        self.halved = (math.ceil(height / 2), math.ceil(width / 2))
        self.grid = (math.ceil(height / 4), math.ceil(width / 4))
        sizes = [channels, 8, 16, 32]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        features = 32 * self.grid[0] * self.grid[1]
        self.hidden, self.code = nn.Linear(features, 128), nn.Linear(128, dim)
        self.back = nn.Sequential(nn.Linear(dim, 128), nn.LeakyReLU(), nn.Linear(128, features), nn.LeakyReLU())
        self.deconvolutions = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in ((32, 16), (16, 8), (8, channels))
        )

    def features(self, x: Float[Tensor, "n c h w"], generator: torch.Generator | None = None) -> Float[Tensor, "n f"]:
        """The last hidden layer, of which the code is a linear map."""
        for i, convolution in enumerate(self.convolutions):
            x = F.leaky_relu(convolution(drop(x, self.dropout, generator)))
            if i < 2:
                x = F.max_pool2d(x, 2, ceil_mode=True)
        return F.leaky_relu(self.hidden(x.flatten(1)))

    def decode(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n c h w"]:
        """Images for codes, on no particular scale."""
        x = self.back(z).unflatten(1, (32, *self.grid))
        for i, (convolution, size) in enumerate(zip(self.deconvolutions, (self.halved, self.full, None), strict=True)):
            x = convolution(x)
            if i < 2:
                x = F.interpolate(F.leaky_relu(x), size=size, mode="nearest")
        return x


class DenseCompressor(nn.Module):
    """Vectors -> d numbers -> vectors, through layers of 24 and 16 units (LeakyReLU), and back.

    Args:
        features: length of a vector.
        dim: numbers in the code.
        dropout: share of the inputs of each hidden layer of the encoder that training drops.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them.
    """

    def __init__(self, features: int, dim: int, dropout: float, hidden: Sequence[int] = (24, 16)):
        super().__init__()
        self.dropout = dropout
        sizes = [features, *hidden, dim]
        self.encoder = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes[:-1]))
        self.code = nn.Linear(sizes[-2], dim)
        self.decoder = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes[::-1]))

    def features(self, x: Float[Tensor, "n f"], generator: torch.Generator | None = None) -> Float[Tensor, "n h"]:
        """The last hidden layer, of which the code is a linear map."""
        for layer in self.encoder:
            x = F.leaky_relu(layer(drop(x, self.dropout, generator)))
        return x

    def decode(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n f"]:
        """Vectors for codes."""
        for i, layer in enumerate(self.decoder):
            z = layer(F.leaky_relu(z) if i else z)
        return z


class CompressorTask(Task):
    """Mean absolute error of the reconstruction from a noisy code, by Adam.

    Args:
        network: a `ConvCompressor` or `DenseCompressor`.
        code: "linear": no sigmoid. "sigmoid" or "pre-sigmoid": the decoder sees sigmoid(code); the two differ in what is read.
        latent_noise: relative noise on what the decoder sees, in training.
        lr: learning rate of Adam.
        shift: subtracted from observations.
        scale: observations are divided by it.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        network: ConvCompressor | DenseCompressor,
        *,
        code: str,
        latent_noise: float,
        lr: float,
        shift: Float[Tensor, "..."],
        scale: Float[Tensor, "..."],
    ):
        super().__init__()
        self.network, self.code = network, code
        self.latent_noise, self.lr = latent_noise, lr
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam."""
        return {"main": torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)}

    def codes(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """What is read as the code, in float64: a sigmoid near 1 has only 2^-24 in float32, where different codes would coincide."""
        features = self.network.features((x - self.shift) / self.scale)
        layer = self.network.code
        z = F.linear(features.double(), layer.weight.double(), layer.bias.double())
        return torch.sigmoid(z) if self.code == "sigmoid" else z

    def reconstruct(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Observations after encoding and decoding."""
        z = self.network.code(self.network.features((x - self.shift) / self.scale))
        z = z if self.code == "linear" else torch.sigmoid(z)
        return self.network.decode(z) * self.scale + self.shift

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Mean absolute error of the reconstruction."""
        x = (batch[0] - self.shift) / self.scale
        z = self.network.code(self.network.features(x, generator))
        z = z if self.code == "linear" else torch.sigmoid(z)
        if self.latent_noise:
            z = z + self.latent_noise * z * torch.randn(z.shape, generator=generator, device=z.device)
        return {"loss": F.l1_loss(self.network.decode(z), x)}
