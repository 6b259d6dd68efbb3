"""A triplet margin loss whose margin grows with the distance of two labels."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from unsnarl.errors import DataError

SMALL = 1e-8


def cosines(vectors: Float[Tensor, "vector dim"]) -> Float[Tensor, "vector vector"]:
    """Cosine similarity of all pairs; norms are sqrt(|v|^2 + 1e-8), so a zero vector is similar to none.

    >>> cosines(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).round(decimals=4).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    unit = vectors * (vectors.square().sum(1, keepdim=True) + SMALL).rsqrt()
    return unit @ unit.T


def label_anchors(labels: Shaped[Tensor, " vector"]) -> Bool[Tensor, " vector"]:
    """Which vectors have both a positive (another vector of exactly equal label) and a negative (another label).

    >>> label_anchors(torch.tensor([1.0, 1.0, 2.0])).tolist(), label_anchors(torch.tensor([1.0, 1.0])).tolist()
    ([True, True, False], [False, False])
    """
    same = (labels[:, None] == labels[None]).sum(1)
    return (same > 1) & (same < len(labels))


def label_margin_loss(
    vectors: Float[Tensor, "vector dim"], labels: Float[Tensor, " label"], *, slope: float = 0.15
) -> Float[Tensor, ""]:
    """Vectors of equal label should be nearer than others, by the more the further labels lie apart.

    With c the cosine similarity, an anchor i has as positives P the other vectors of exactly its label, as negatives N
    the rest, and the loss

        l_i = mean over p in P, n in N of max(0, slope |y_i - y_n| - c(i, p) + c(i, n)).

    The result is the mean of l_i over the anchors that have both (Wang et al. 2025, DLF, official code; after Li et al.
    2023, decoupled multimodal distilling). Where no anchor has both, as when all labels are equal, it is 0 with zero
    gradients; `label_anchors` tells, and the caller may warn. Equality is that of floats: of a continuous label the only
    positives are other vectors of the same sample.

    Args:
        vectors: one a row; their lengths do not matter.
        labels: the label of each; a sample with several vectors repeats its own.
        slope: margin a unit of label distance.

    Raises:
        DataError: another number of labels than of vectors.

    Cost: O(pairs of equal label * vectors), at most O(vectors^3), in time and memory; O(vectors^2 * dim) for the cosines.

    Examples:
        >>> vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
        >>> labels = torch.tensor([0.0, 0.0, 2.0, 2.0])
        >>> label_margin_loss(vectors, labels).item(), round(label_margin_loss(vectors, 5 * labels).item(), 4)
        (0.0, 0.5)
    """
    if len(vectors) != len(labels):
        raise DataError(f"there are {len(vectors)} vectors but {len(labels)} labels; give each vector its label")
    cosine = cosines(vectors)
    same = labels[:, None] == labels[None]
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    anchor, partner = positive.nonzero(as_tuple=True)
    margin = slope * (labels[:, None] - labels[None]).abs()
    hinge = (margin[anchor] - cosine[anchor, partner][:, None] + cosine[anchor]).relu()
    negative = ~same[anchor]
    by_pair = (hinge * negative).sum(1) / negative.sum(1).clamp_min(1)
    both = label_anchors(labels)
    weight = both / (positive.sum(1) * both.sum()).clamp_min(1)
    return (by_pair * weight[anchor]).sum()
