"""Gated attention over the instances of a bag (Ilse, Tomczak and Welling 2018, arXiv 1802.04712, eq. 9)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unsnarl.arrays import check_range


class GatedAttention(nn.Module):
    """A bag as the weighted mean of its instances, with weights that depend on each instance alone.

        a_i = softmax_i( w . ( tanh(V x_i) * sigmoid(U x_i) ) ),    pooled = sum_i a_i x_i

    The order of the instances does not matter, nor how many there are.

    Args:
        dim: numbers in an instance.
        hidden: rows of V and U.
        dropout: share of tanh(.) and of sigmoid(.) that is dropped in training.

    Cost: O(batch * instances * dim * hidden).

    Examples:
        >>> attention = GatedAttention(3, 4)
        >>> bags, mask = torch.ones(2, 5, 3), torch.tensor([[True] * 5, [True, True, False, False, False]])
        >>> pooled, weights = attention(bags, mask)
        >>> pooled.shape, weights[1].tolist()
        (torch.Size([2, 3]), [0.5, 0.5, 0.0, 0.0, 0.0])
    """

    def __init__(self, dim: int, hidden: int, *, dropout: float = 0.0):
        super().__init__()
        check_range(dim, "dim", low=1, integer=True)
        check_range(hidden, "hidden", low=1, integer=True)
        check_range(dropout, "dropout", low=0, high=1)
        self.signal = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), nn.Dropout(dropout))
        self.gate = nn.Sequential(nn.Linear(dim, hidden), nn.Sigmoid(), nn.Dropout(dropout))
        self.score = nn.Linear(hidden, 1)

    def forward(
        self, bags: Float[Tensor, "batch instance dim"], mask: Bool[Tensor, "batch instance"] | None = None
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch instance"]]:
        """Pooled bags, and the weights of their instances.

        Args:
            bags: padded to one length.
            mask: True for instances, False for padding; None where there is no padding. A bag without any instance
                gives zeros.
        """
        scores = self.score(self.signal(bags) * self.gate(bags))[..., 0]
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        weights = scores.softmax(1)
        if mask is not None:
            weights = weights.where(mask, 0.0)
            bags = bags.where(mask[..., None], 0.0)  # padding may hold anything
        return (weights[:, None] @ bags)[:, 0], weights
