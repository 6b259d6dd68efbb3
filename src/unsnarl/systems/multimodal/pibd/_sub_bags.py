"""Large bags as several random sub-bags, whose logits and losses are averaged."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Int
from torch import Tensor

Part = tuple[Tensor | None, Tensor | None, Tensor]


def sub_bags(
    counts: Int[Tensor, " batch"],
    padded: int,
    size: int | None,
    generator: torch.Generator | None = None,
    order: int | None = None,
) -> Iterator[Part]:
    """Indices of random sub-bags: n // size of them for a bag of n instances, at least one, each of `size` distinct ones.

    A bag of no more than `size` is its own only sub-bag. Sub-bags of one bag are drawn apart from each other and may overlap
    (Zhang et al. 2024, official code, which draws one set of places for the whole batch; here every bag has its own, since
    bags differ in size). In training all bags of a batch get as many as the largest; at test each counts for its own number
    only, and the draws depend on nothing but the size of the bag, so a patient's prediction does not depend on the batch.

    Args:
        counts: instances of each bag.
        padded: length the bags are padded to.
        size: instances of a sub-bag; None for whole bags.
        generator: source of the draws in training.
        order: seed of the draws at test; None in training.

    Yields:
        Indices (batch, size) to gather, or None for the bags as they are; a mask of what is not padding, or None where nothing
        is; and the weight of this sub-bag for each bag, (batch,), 1 or 0.
    """
    ones = torch.ones(len(counts), device=counts.device)
    if size is None or int(counts.max()) <= size:
        mask = torch.arange(padded, device=counts.device) < counts[:, None]
        yield None, None if bool(mask.all()) else mask, ones
        return
    draws = (counts // size).clamp_min(1)
    places = torch.arange(padded, device=counts.device)
    kept = counts.clamp_max(size)
    mask = torch.arange(size, device=counts.device) < kept[:, None]
    for turn in range(int(draws.max())):
        if order is None:
            keys = torch.rand(len(counts), padded, generator=generator, device=counts.device)
        else:
            fixed = torch.Generator().manual_seed(order + turn)
            keys = torch.rand(padded, generator=fixed).to(counts.device).expand(len(counts), -1)
        index = keys.masked_fill(places >= counts[:, None], 2.0).argsort(1)[:, :size]
        weight = ones if order is None else (turn < draws).to(ones.dtype)
        yield index, None if bool(mask.all()) else mask, weight
