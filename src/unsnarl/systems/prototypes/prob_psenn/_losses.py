"""The equations of Prob-PSENN: distances to draws of prototypes, votes, and the terms of the loss.

Shapes: a batch of B encodings e of size z, K classes with one prototype each, S draws of all prototypes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

R2_CLIP = (-1.0, 10_000.0)


def squared_distances(
    encodings: Float[Tensor, "batch dim"], prototypes: Float[Tensor, "sample classes dim"]
) -> Float[Tensor, "batch classes sample"]:
    """|e|^2 + |p|^2 - 2 e.p of every encoding e to every draw p of every prototype; rounding below 0 is cut off."""
    products = torch.einsum("bd,skd->bks", encodings, prototypes)
    own = encodings.square().sum(1)[:, None, None]
    return (own + prototypes.square().sum(2).t()[None] - 2 * products).clamp_min(0)


def vote_logits(
    distances: Float[Tensor, "batch classes sample"], votes: Float[Tensor, "classes classes"]
) -> Float[Tensor, "batch sample classes"]:
    """W^T d: what the distance to each prototype says for and against each class, separately for every draw."""
    return torch.einsum("bks,kc->bsc", distances, votes)


def vote_nll(logits: Float[Tensor, "batch sample classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean over observations and draws of -log softmax_y, in nats; draws are not averaged first (as prediction does)."""
    wanted = labels[:, None].expand(-1, logits.shape[1])
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten())


def r1_loss(surprise: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """Mean over prototypes of the least surprise of any observation: each prototype is to resemble some observation.

    Args:
        surprise: -log p_k(e) for Gaussian prototypes, squared distances for points.
    """
    return surprise.amin(0).mean()


def r2_loss(
    surprise: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], clip: tuple[float, float] = R2_CLIP
) -> Float[Tensor, ""]:
    """Mean over observations of the surprise under the prototype of their class, clipped: each class is to be covered.

    Args:
        surprise: -log p_k(e) for Gaussian prototypes, squared distances for points.
        labels: the classes.
        clip: outside of it there is no gradient; densities need not be sharpened beyond e^1.
    """
    own = surprise.gather(1, labels[:, None])[:, 0]
    return own.clamp(*clip).mean()
