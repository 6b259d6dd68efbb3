"""The disentangling part: one transformer layer that keeps three streams apart, and the information between them.

Tokens of histology attend to histology, those of the genes to the genes, and the one common token, which a product of experts
made from both patients' prototypes, attends to everything (Zhang et al. 2024, section 3.3).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import OptionError
from unsnarl.objectives._club import CLUB

Tokens = Float[Tensor, "batch token dim"]
Mask = Bool[Tensor, "batch token"]


class DropPath(nn.Module):
    """Leaves a whole branch out for some samples in training, and scales it up for the others (stochastic depth).

    Source: Huang et al. 2016, arXiv 1603.09382.
    """

    def __init__(self, rate: float):
        super().__init__()
        check_range(rate, "rate", low=0, high=0.999)
        self.rate = rate

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """The branch, or zeros."""
        if not self.training or self.rate == 0:
            return x
        shape = (len(x),) + (1,) * (x.ndim - 1)
        return x * (torch.rand(shape, dtype=x.dtype, device=x.device) >= self.rate) / (1 - self.rate)


class DisentanglingLayer(nn.Module):
    """A pre-norm transformer layer with shared weights for the three streams, and attention that does not mix two of them.

    For every stream: x <- x + path(attention(norm1(x))), x <- x + path(mlp(norm2(x))). Queries of histology see the keys of
    histology, those of the pathways the keys of the pathways, the common token those of [common, histology, pathways]. The
    linear maps, norms and the MLP (one hidden layer of `mlp_ratio * dim`, GELU) are the same for all three.

    Args:
        dim: numbers in a token.
        heads: attention heads; a divisor of `dim`.
        mlp_ratio: width of the MLP's hidden layer over `dim`.
        dropout: of attention weights and of their output.
        drop_path: how often a branch is left out for a sample; also the dropout within the MLP.

    Cost: O(batch * (tokens^2 * dim + tokens * dim^2)), tokens being those of one modality.
    """

    def __init__(
        self, dim: int, *, heads: int = 4, mlp_ratio: float = 1.0, dropout: float = 0.1, drop_path: float = 0.1
    ):
        super().__init__()
        if dim % heads:
            raise OptionError(f"heads={heads} must divide z_dim={dim}")
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.attention_dropout, self.out_dropout = nn.Dropout(dropout), nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)
        hidden = max(1, int(dim * mlp_ratio))
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(drop_path), nn.Linear(hidden, dim), nn.Dropout(drop_path)
        )

    def forward(
        self,
        histology: Tokens,
        pathways: Float[Tensor, "batch pathway dim"],
        common: Float[Tensor, "batch 1 dim"],
        histology_mask: Mask | None = None,
        pathways_mask: Bool[Tensor, "batch pathway"] | None = None,
    ) -> tuple[Tokens, Float[Tensor, "batch pathway dim"], Float[Tensor, "batch 1 dim"]]:
        """The three streams after the layer.

        Args:
            histology: the kept patches.
            pathways: the kept pathways.
            common: the token of both.
            histology_mask: False at padding; None where there is none.
            pathways_mask: likewise.
        """
        heads = [self._heads(x) for x in (histology, pathways, common)]
        (qh, kh, vh), (qp, kp, vp), (qc, kc, vc) = heads
        mask = None
        if histology_mask is not None or pathways_mask is not None:
            h = _all_true(histology) if histology_mask is None else histology_mask
            p = _all_true(pathways) if pathways_mask is None else pathways_mask
            mask = torch.cat([_all_true(common), h, p], 1)
        seen = [
            self._attend(qh, kh, vh, histology_mask),
            self._attend(qp, kp, vp, pathways_mask),
            self._attend(qc, torch.cat([kc, kh, kp], 2), torch.cat([vc, vh, vp], 2), mask),
        ]
        after = []
        for x, branch in zip((histology, pathways, common), seen, strict=True):
            x = x + self.drop_path(branch)
            after.append(x + self.drop_path(self.mlp(self.norm2(x))))
        return after[0], after[1], after[2]

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of shape (batch, head, token, dim / heads)."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
        if mask is not None:  # a finite number: a stream without any token is not looked at later, but must not be NaN
            scores = scores.masked_fill(~mask[:, None, None], torch.finfo(scores.dtype).min)
        weights = self.attention_dropout(scores.softmax(3))
        return self.out_dropout(self.out((weights @ v).transpose(1, 2).flatten(2)))


class SharedInformation(nn.Module):
    """How much the three embeddings tell of each other, as upper bounds: I(h; p) + I([h, p]; g).

    Args:
        dim: numbers in an embedding.
        hidden: width of the estimators.
    """

    def __init__(self, dim: int, hidden: int = 512):
        super().__init__()
        self.specific = CLUB(dim, dim, hidden)
        self.common = CLUB(2 * dim, dim, hidden)

    def forward(
        self,
        histology: Float[Tensor, "batch dim"],
        genomics: Float[Tensor, "batch dim"],
        common: Float[Tensor, "batch dim"],
    ) -> Float[Tensor, ""]:
        """The sum of both bounds, in nats."""
        return self.specific(histology, genomics) + self.common(torch.cat([histology, genomics], 1), common)

    def learning_loss(
        self,
        histology: Float[Tensor, "batch dim"],
        genomics: Float[Tensor, "batch dim"],
        common: Float[Tensor, "batch dim"],
    ) -> Float[Tensor, ""]:
        """What fits both estimators."""
        both = torch.cat([histology, genomics], 1)
        return self.specific.learning_loss(histology, genomics) + self.common.learning_loss(both, common)


def pool(tokens: Tokens, mask: Mask | None) -> Float[Tensor, "batch dim"]:
    """The mean of the tokens that are there; zeros where none is."""
    if mask is None:
        return tokens.mean(1)
    return tokens.where(mask[..., None], 0.0).sum(1) / mask.sum(1).clamp_min(1)[:, None]


def _all_true(tokens: Tensor) -> Tensor:
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
