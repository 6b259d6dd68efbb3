"""Self-normalizing layers, and one small network a gene pathway.

Klambauer, Unterthiner, Mayr and Hochreiter, "Self-Normalizing Neural Networks", NeurIPS 2017 (arXiv 1706.02515). As in most
networks for expression data the activation is ELU, not SELU; the dropout is theirs, which keeps mean and variance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError


def self_normalizing_block(in_size: int, out_size: int, *, dropout: float = 0.25) -> nn.Sequential:
    """Linear -> ELU -> AlphaDropout.

    Examples:
        >>> self_normalizing_block(5, 3)(torch.zeros(2, 5)).shape
        torch.Size([2, 3])
    """
    check_range(dropout, "dropout", low=0, high=1)
    return nn.Sequential(nn.Linear(in_size, out_size), nn.ELU(), nn.AlphaDropout(dropout))


class PathwayEncoder(nn.Module):
    """Every pathway through a self-normalizing network of its own: genes -> one vector a pathway.

    The networks share nothing; they are computed side by side in batched products (pathways of fewer genes are filled
    up with zeros, which carry no gradient), so that some three hundred pathways cost two products.

    Args:
        sizes: numbers of genes of the pathways.
        width: numbers in the vector of a pathway.
        layers: self-normalizing blocks one after the other.
        dropout: of each block.

    Raises:
        OptionError: no pathways.
        DataError: a pathway without genes.

    Cost: O(batch * pathways * (largest size + layers * width) * width).

    Examples:
        >>> encoder = PathwayEncoder([4, 2], width=8)
        >>> encoder(torch.zeros(3, 6)).shape  # the genes of all pathways one after the other
        torch.Size([3, 2, 8])
    """

    place: Tensor

    def __init__(self, sizes: Sequence[int], width: int, *, layers: int = 2, dropout: float = 0.25):
        super().__init__()
        if not len(sizes):
            raise OptionError("sizes is empty; a pathway encoder needs at least one pathway")
        if min(sizes) < 1:
            raise DataError(f"pathway {list(sizes).index(min(sizes))} has no gene; leave it out")
        check_range(width, "width", low=1, integer=True)
        check_range(layers, "layers", low=1, integer=True)
        check_range(dropout, "dropout", low=0, high=1)
        self.sizes, self.total = [int(s) for s in sizes], int(sum(sizes))
        longest = max(self.sizes)
        place = torch.full((len(self.sizes), longest), self.total)  # the gene after the last is a zero
        start = 0
        for row, size in zip(place, self.sizes, strict=True):
            row[:size] = torch.arange(start, start + size)
            start += size
        self.register_buffer("place", place, persistent=False)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer in range(layers):
            fan_in = torch.tensor(self.sizes if layer == 0 else [width] * len(self.sizes))
            weight = torch.zeros(len(self.sizes), longest if layer == 0 else width, width)
            bias = torch.zeros(len(self.sizes), 1, width)
            for one, shift, size in zip(weight, bias, fan_in.tolist(), strict=True):
                bound = 1 / math.sqrt(size)  # as nn.Linear starts
                one[:size].uniform_(-bound, bound)
                shift.uniform_(-bound, bound)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(bias))
        self.dropout = nn.AlphaDropout(dropout)

    def forward(self, genes: Float[Tensor, "batch gene"]) -> Float[Tensor, "batch pathway width"]:
        """Vectors of the pathways.

        Args:
            genes: those of all pathways one after the other; a gene of two pathways stands there twice.

        Raises:
            DataError: another number of genes.
        """
        if genes.shape[1] != self.total:
            raise DataError(f"genes must have {self.total} columns (those of all pathways), got {genes.shape[1]}")
        x = F.pad(genes, (0, 1))[:, self.place].transpose(0, 1)  # (pathway, batch, gene)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            x = self.dropout(F.elu(torch.baddbmm(bias, x, weight)))
        return x.transpose(0, 1)
