"""Point prototypes: vectors of latent space that vote for a class by how near they are (Chen et al. 2019, arXiv 1806.10574).

    d_j(z)  = relu(|z|^2 - 2 z . p_j + |p_j|^2)             to a vector, or to every vector of a map
    g(d)    = log((d + 1) / (d + eps))                      similarity, from 0 far away to log(1 / eps) at d = 0
    Clst    = mean over inputs of min_{j of own class} min_position d_j
    Sep     = mean over inputs of min_{j of other classes} min_position d_j

Distances to a map are taken for all prototypes and positions at once by the "L2 convolution": a 1 x 1 convolution with the
prototypes gives z . p. What push and prune need, the k inputs with the nearest vector to each prototype, is gathered over
a stream of maps by `NearestPatches`, whatever network made them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import DataError, OptionError


class PointPrototypes(nn.Module):
    """n prototypes of `dim` numbers, each of one class for good.

    >>> two = PointPrototypes([0, 1], 3)
    >>> _ = two.vectors.data.copy_(torch.tensor([[0.0, 0, 0], [1, 1, 1]]))
    >>> two(torch.tensor([[0.0, 0, 1]])).tolist()
    [[1.0, 2.0]]
    >>> [round(v, 4) for v in two.similarity(torch.tensor([0.0, 1.0])).tolist()]
    [9.2103, 0.693]

    Args:
        class_of: the class of every prototype, integers from 0; or one number n for n prototypes of no class (all 0).
        dim: numbers of a latent vector.
        low: prototypes start uniform between `low` and `high`, where a sigmoid puts the latents.
        high: see `low`.
        epsilon: the eps of the similarity; its largest value is log(1 / eps).
        generator: draws the first vectors; torch's global one when absent.

    Raises:
        OptionError: no prototype, a class that is not an integer of at least 0, or eps outside (0, 1).
    """

    class_of: Tensor

    def __init__(
        self,
        class_of: Sequence[int] | Tensor | Any,
        dim: int,
        *,
        low: float = 0.0,
        high: float = 1.0,
        epsilon: float = 1e-4,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        check_range(dim, "dim", low=1, integer=True)
        check_range(epsilon, "epsilon", low=0, high=1, open_low=True)
        check_range(low, "low")
        check_range(high, "high", low=low)
        classes = torch.zeros(class_of, dtype=torch.long) if isinstance(class_of, int) else torch.as_tensor(class_of)
        if classes.ndim != 1 or len(classes) == 0 or classes.is_floating_point() or int(classes.min()) < 0:
            raise OptionError(f"class_of must be one class, an integer from 0, for each prototype; got {class_of!r}")
        start = torch.rand(len(classes), int(dim), generator=generator)
        self.vectors = nn.Parameter(low + (high - low) * start)
        self.register_buffer("class_of", classes.long().clone())
        self.epsilon = epsilon

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def dim(self) -> int:
        """Numbers of a latent vector."""
        return self.vectors.shape[1]

    def forward(self, z: Float[Tensor, "batch dim *map"]) -> Float[Tensor, "batch prototype *map"]:
        """Squared distances of vectors (batch, dim), or of every vector of maps (batch, dim, height, width).

        Raises:
            DataError: vectors of another length than the prototypes.

        Cost: O(batch * positions * prototypes * dim), one matrix product.
        """
        if z.ndim not in (2, 4) or z.shape[1] != self.dim:
            raise DataError(
                f"prototypes have {self.dim} numbers and take vectors (batch, {self.dim}) or maps "
                f"(batch, {self.dim}, height, width), got shape {tuple(z.shape)}"
            )
        own = self.vectors.square().sum(1)
        if z.ndim == 2:
            return torch.relu(z.square().sum(1, keepdim=True) - 2 * z @ self.vectors.t() + own)
        inner = nn.functional.conv2d(z, self.vectors[:, :, None, None])
        return torch.relu(z.square().sum(1, keepdim=True) - 2 * inner + own[:, None, None])

    def similarity(self, distance: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """g(d) = log((d + 1) / (d + eps)), decreasing in the squared distance d."""
        return torch.log((distance + 1) / (distance + self.epsilon))

    @property
    def largest_similarity(self) -> float:
        """The similarity at distance 0."""
        return -math.log(self.epsilon)

    def nearest(
        self, distance: Float[Tensor, "batch prototype height width"]
    ) -> tuple[Float[Tensor, "batch prototype"], Int[Tensor, "batch prototype"]]:
        """The smallest distance over all positions of a map, and that position counted row by row."""
        found = distance.flatten(2).min(dim=2)
        return found.values, found.indices

    def class_weights(
        self, n_classes: int, *, own: float = 1.0, other: float = -0.5
    ) -> Float[Tensor, "class prototype"]:
        """First weights from similarities to class scores: `own` for the prototype's class, `other` for all others.

        Raises:
            OptionError: a prototype is of a class beyond `n_classes`.
        """
        check_range(n_classes, "n_classes", low=1, integer=True)
        if int(self.class_of.max()) >= n_classes:
            raise OptionError(f"n_classes={n_classes}, but a prototype is of class {int(self.class_of.max())}")
        mine = self.is_own(torch.arange(n_classes, device=self.class_of.device))
        return torch.where(mine, own, other).to(self.vectors.dtype)

    def is_own(self, labels: Int[Tensor, " batch"]) -> Bool[Tensor, "batch prototype"]:
        """Which prototypes are of an input's class."""
        return labels[:, None] == self.class_of

    def classes_without(self, n_classes: int) -> list[int]:
        """Classes that have no prototype."""
        return [c for c in range(n_classes) if not bool((self.class_of == c).any())]

    def keep(self, chosen: Bool[Tensor, " prototype"]) -> None:
        """Drop all prototypes but the chosen ones, in place.

        Raises:
            OptionError: none is left.
        """
        if not bool(chosen.any()):
            raise OptionError("no prototype would be left")
        self.vectors = nn.Parameter(self.vectors.detach()[chosen].clone())
        self.class_of = self.class_of[chosen].clone()


def cluster_cost(nearest: Float[Tensor, "batch prototype"], own: Bool[Tensor, "batch prototype"]) -> Float[Tensor, ""]:
    """Clst: mean over inputs of the distance to the nearest prototype of their class.

    Raises:
        DataError: an input's class has no prototype.
    """
    if not bool(own.any(dim=1).all()):
        raise DataError("an input is of a class that has no prototype, so its cluster cost is not defined")
    return nearest.masked_fill(~own, math.inf).amin(dim=1).mean()


def separation_cost(
    nearest: Float[Tensor, "batch prototype"], own: Bool[Tensor, "batch prototype"]
) -> Float[Tensor, ""]:
    """Sep: mean over inputs of the distance to the nearest prototype of any other class; 0 where there is only one class."""
    if bool(own.all(dim=1).any()):
        return nearest.sum() * 0.0
    return nearest.masked_fill(own, math.inf).amin(dim=1).mean()


def other_class_l1(weight: Float[Tensor, "class prototype"], class_of: Int[Tensor, " prototype"]) -> Float[Tensor, ""]:
    """Sum of |W| over the entries that join a prototype to a class not its own."""
    other = torch.arange(len(weight), device=weight.device)[:, None] != class_of
    return (weight * other).abs().sum()


class NearestPatches:
    """For each prototype the k inputs whose nearest vector is nearest, gathered over a stream of maps.

    An input counts once, with its one best position; on ties the earlier input stays. With `own_only` a prototype sees
    inputs of its own class alone, as push wants it; prune looks at all.

    Args:
        prototypes: the prototypes.
        k: how many inputs.
        own_only: only inputs of a prototype's class.

    Attributes:
        distance: (prototype, k), infinite where fewer inputs were seen.
        index: (prototype, k), number of the input in the stream, -1 where there is none.
        position: (prototype, k), place in the map counted row by row.
        label: (prototype, k), class of the input, -1 where there is none.
        vector: (prototype, k, dim), the latent vector itself.
    """

    def __init__(self, prototypes: PointPrototypes, k: int = 1, *, own_only: bool = True):
        check_range(k, "k", low=1, integer=True)
        n, device = len(prototypes), prototypes.vectors.device
        self.prototypes, self.k, self.own_only, self.seen = prototypes, int(k), own_only, 0
        self.distance = torch.full((n, self.k), math.inf, device=device)
        self.index = torch.full((n, self.k), -1, dtype=torch.long, device=device)
        self.position, self.label = self.index.clone(), self.index.clone()
        self.vector = torch.zeros(n, self.k, prototypes.dim, device=device)

    @torch.no_grad()
    def update(self, maps: Float[Tensor, "batch dim height width"], labels: Int[Tensor, " batch"]) -> None:
        """See the next inputs of the stream.

        Cost: O(batch * positions * prototypes * dim) time; memory for one batch of distances.
        """
        distance, position = self.prototypes.nearest(self.prototypes(maps))
        if self.own_only:
            distance = distance.masked_fill(~self.prototypes.is_own(labels), math.inf)
        kept = min(self.k, len(maps))
        best = distance.t().sort(dim=1, stable=True)
        values, rows = best.values[:, :kept], best.indices[:, :kept]
        place = position.t().gather(1, rows)
        vectors = maps.flatten(2).permute(0, 2, 1)[rows, place]
        none = values.isinf()
        joined = torch.cat([self.distance, values], dim=1).sort(dim=1, stable=True)
        order = joined.indices[:, : self.k]

        def merged(old: Tensor, new: Tensor) -> Tensor:
            both = torch.cat([old, new], dim=1)
            return both.gather(1, order) if both.ndim == 2 else both.take_along_dim(order[..., None], dim=1)

        self.index = merged(self.index, (rows + self.seen).masked_fill(none, -1))
        self.position = merged(self.position, place)
        self.label = merged(self.label, labels[rows].masked_fill(none, -1))
        self.vector = merged(self.vector, vectors)
        self.distance = joined.values[:, : self.k]
        self.seen += len(maps)

    def push(self) -> None:
        """Put every prototype on the nearest vector seen.

        Raises:
            DataError: a prototype has seen no input (of its class).
        """
        lost = self.index[:, 0] < 0
        if bool(lost.any()):
            classes = sorted({int(c) for c in self.prototypes.class_of[lost]})
            raise DataError(f"there is no input of class {', '.join(map(str, classes))} to push its prototypes to")
        with torch.no_grad():
            self.prototypes.vectors.copy_(self.vector[:, 0])

    def own_among(self) -> Int[Tensor, " prototype"]:
        """How many of the k inputs nearest to a prototype are of its class."""
        return (self.label == self.prototypes.class_of[:, None]).sum(dim=1)
