"""Fully connected stacks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def dense_stack(in_size: int, hidden: Sequence[int], *, layer_norm: bool = False) -> nn.Sequential:
    """Linear [-> LayerNorm] -> ReLU for each width in `hidden`."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers.append(nn.Linear(in_size, width))
        if layer_norm:
            layers.append(nn.LayerNorm(width))
        layers.append(nn.ReLU())
        in_size = width
    return nn.Sequential(*layers)


class DenseEncoder(nn.Module):
    """Flattened observations -> features -> outputs.

    Args:
        shape: shape of one observation.
        out_size: number of outputs.
        hidden: widths of the hidden layers; the last one holds the features.
        layer_norm: normalise each hidden layer.
    """

    def __init__(self, shape: Sequence[int], out_size: int, hidden: Sequence[int], *, layer_norm: bool = True):
        super().__init__()
        self.body = dense_stack(math.prod(shape), hidden, layer_norm=layer_norm)
        self.head = nn.Linear(hidden[-1], out_size)
        self.feature_size = hidden[-1]

    def features(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch feature"]:
        """The last hidden layer."""
        return self.body(x.flatten(1))

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch out"]:
        """The outputs."""
        return self.head(self.features(x))


class DenseDecoder(nn.Module):
    """Latents -> flattened outputs -> observations (logits for images)."""

    def __init__(self, latent_size: int, shape: Sequence[int], hidden: Sequence[int], *, layer_norm: bool = True):
        super().__init__()
        self.shape = tuple(shape)
        self.body = dense_stack(latent_size, hidden, layer_norm=layer_norm)
        self.head = nn.Linear(hidden[-1], math.prod(shape))

    def forward(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch ..."]:
        """Decoded observations."""
        return self.head(self.body(z)).unflatten(1, self.shape)


def uniform_fan_in(weight: Tensor, fan_in: int, generator: torch.Generator | None = None) -> None:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)), the initialisation of the published JAX layers."""
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        weight.uniform_(-bound, bound, generator=generator)
