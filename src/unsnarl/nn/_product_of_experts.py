"""A product of Gaussian experts with learned weights: what several modalities together say about one latent vector."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import DataError


class ProductOfExperts(nn.Module):
    """The Gaussian proportional to the weighted product of E diagonal Gaussians.

    With weights a = softmax(phi) over the experts and precisions T_e = 1 / var_e,

        var = 1 / sum_e a_e T_e,    mean = var * sum_e a_e T_e mean_e:

    an expert counts the more the surer it is. The weights are learned and start equal. An expert that is absent for a
    row has no say there, and the weights of the others are renormalised, so that one expert alone is handed through.

    Source: Hinton 2002 for the product; Zhang et al. 2024 (arXiv 2401.01646) for the weights, equal to those of a
    generalised product of experts (Cao and Fleet 2014).

    Args:
        n_experts: number of experts.
        eps: added to every variance, so that none is zero.

    Cost: O(E * batch * dim).

    Examples:
        >>> experts = ProductOfExperts(2)
        >>> means = torch.tensor([[[0.0]], [[3.0]]])
        >>> mean, variance = experts(means, torch.tensor([[[1.0]], [[0.5]]]))
        >>> round(mean.item(), 4), round(variance.item(), 4)  # twice as sure: twice the weight
        (2.0, 0.6667)
    """

    def __init__(self, n_experts: int, *, eps: float = 1e-8):
        super().__init__()
        check_range(n_experts, "n_experts", low=1, integer=True)
        check_range(eps, "eps", low=0)
        self.n_experts, self.eps = int(n_experts), eps
        self.phi = nn.Parameter(torch.ones(self.n_experts))

    @property
    def weights(self) -> Float[Tensor, " expert"]:
        """How much each expert counts, summing to 1."""
        return self.phi.softmax(0)

    def forward(
        self,
        means: Float[Tensor, "expert batch dim"],
        variances: Float[Tensor, "expert batch dim"],
        present: Bool[Tensor, "expert batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
        """Mean and variance of the product.

        Args:
            means: of each expert.
            variances: of each expert, positive.
            present: False where an expert has nothing to say about a row; None where all do.

        Raises:
            DataError: another number of experts, or a row without any.
        """
        if len(means) != self.n_experts or means.shape != variances.shape:
            raise DataError(
                f"means and variances must both have shape ({self.n_experts}, batch, dim), "
                f"got {tuple(means.shape)} and {tuple(variances.shape)}"
            )
        precision = 1 / (variances + self.eps)
        if present is None:
            weighted = self.weights[:, None, None] * precision
        else:
            if not bool(present.any(0).all()):
                raise DataError(f"row {int((~present.any(0)).nonzero()[0])} has no expert at all")
            share = self.phi[:, None].expand_as(present).masked_fill(~present, -torch.inf).softmax(0)
            # where, not a product with zero: what an absent expert would have said may be anything, NaN included
            weighted = (share[:, :, None] * precision).where(present[:, :, None], 0.0)
            means = means.where(present[:, :, None], 0.0)
        total = weighted.sum(0)
        return (weighted * means).sum(0) / total, 1 / total
