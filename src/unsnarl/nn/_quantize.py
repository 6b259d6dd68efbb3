"""Quantizers: continuous vectors snap to learned values, gradients pass straight through."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unsnarl.arrays import check_range


class Quantized(NamedTuple):
    """What a quantizer makes of its input.

    `straight_through` has the values of `quantized` up to float rounding and the gradient of `continuous`; count or
    score `indices`, never the floats.
    """

    continuous: Tensor
    quantized: Tensor
    straight_through: Tensor
    indices: Tensor


class ScalarQuantizer(nn.Module):
    """Each latent takes one of `levels` learned scalar values (Hsu et al. 2023, latent quantization).

    The codebook has one row a latent, every row initialised linspace(-.5, .5, levels). `shared=True` gives all latents
    one row (the paper's "global codebook" ablation).

    Args:
        latents: number of latents.
        levels: number of values of each.
        shared: one row for all latents.
        learned: False freezes the values.
    """

    def __init__(self, latents: int, levels: int, *, shared: bool = False, learned: bool = True):
        super().__init__()
        check_range(latents, "latents", low=1, integer=True)
        check_range(levels, "levels", low=2, integer=True)
        latents, levels = int(latents), int(levels)
        values = torch.linspace(-0.5, 0.5, levels).expand(1 if shared else latents, levels).clone()
        self.values = nn.Parameter(values, requires_grad=learned)
        self.latents, self.levels = latents, levels

    @property
    def codebook(self) -> Float[Tensor, "latent level"]:
        """The values of every latent."""
        return self.values.expand(self.latents, self.levels)

    def forward(self, continuous: Float[Tensor, "batch latent"]) -> Quantized:
        """Snap each latent to its nearest value: k_j = argmin_k |z_j - V_jk|, zq_j = V_j,k_j."""
        with torch.no_grad():
            indices = (continuous[:, :, None] - self.values[None]).abs_().argmin(dim=2)
        quantized = self.lookup(indices)
        return Quantized(continuous, quantized, continuous + (quantized - continuous).detach(), indices)

    def lookup(self, indices: Int[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """The values of level indices."""
        return self.codebook.gather(1, indices.t()).t()

    def ordered_levels(self, latent: int, most: int) -> Int[np.ndarray, " level"]:
        """Level indices of a latent in the order of their values, evenly thinned to at most `most`."""
        order = self.codebook[latent].detach().argsort().cpu().numpy()
        return order[np.unique(np.linspace(0, self.levels - 1, min(most, self.levels)).round().astype(int))]

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n latent"]:
        """Codes with every latent drawn uniformly from its values."""
        size = (n, self.latents)
        return self.lookup(torch.randint(self.levels, size, generator=generator, device=self.values.device))


class VectorQuantizer(nn.Module):
    """Each latent is a vector that takes one of `entries` learned vectors shared by all (van den Oord et al. 2017).

    Entries are initialised U(-l, l) with l = sqrt(3 / size).
    """

    def __init__(self, latents: int, entries: int = 512, size: int = 64):
        super().__init__()
        check_range(latents, "latents", low=1, integer=True)
        check_range(entries, "entries", low=2, integer=True)
        check_range(size, "size", low=1, integer=True)
        latents, entries, size = int(latents), int(entries), int(size)
        limit = (3.0 / size) ** 0.5
        self.vectors = nn.Parameter(torch.empty(entries, size).uniform_(-limit, limit))
        self.latents, self.levels, self.size = latents, entries, size

    def forward(self, continuous: Float[Tensor, "batch number"]) -> Quantized:
        """Snap each latent's vector to its nearest entry (Euclidean)."""
        vectors = continuous.unflatten(1, (self.latents, self.size))
        with torch.no_grad():
            # |v - e|^2 = |v|^2 - 2 v.e + |e|^2, and |v|^2 is the same for every entry
            scores = self.vectors.square().sum(1) - 2 * vectors @ self.vectors.t()
            indices = scores.argmin(dim=2)
        quantized = self.lookup(indices)
        return Quantized(continuous, quantized, continuous + (quantized - continuous).detach(), indices)

    def lookup(self, indices: Int[Tensor, "batch latent"]) -> Float[Tensor, "batch number"]:
        """The vectors of entry indices, one after the other."""
        return self.vectors[indices].flatten(1)
