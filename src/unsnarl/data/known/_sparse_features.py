"""Inputs whose true number of features is known: sparse independent features, and several parity tasks on one input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unsnarl.arrays import check_range


def sparse_features(
    n: int, features: int, sparsity: float, *, seed: int = 0, generator: torch.Generator | None = None
) -> Float[Tensor, "n feature"]:
    """Independent features that are zero with probability S, else uniform on [0, 1] (Elhage et al. 2022).

    x_i = u_i * Bernoulli(1 - S). Its mean is (1 - S) / 2 and its second moment (1 - S) / 3.

    >>> x = sparse_features(1000, 20, sparsity=0.9)
    >>> x.shape, 0.08 < (x > 0).float().mean().item() < 0.12
    (torch.Size([1000, 20]), True)

    Args:
        n: number of inputs.
        features: number of features.
        sparsity: S in [0, 1); 0 gives dense inputs.
        seed: of the draws.
        generator: to go on with, instead of a seed.

    Raises:
        OptionError: a size below 1, or a sparsity outside [0, 1).

    Cost: O(n * features).
    """
    check_range(n, "n", low=1, integer=True)
    check_range(features, "features", low=1, integer=True)
    check_range(sparsity, "sparsity", low=0, high=1 - 1e-6)
    generator = generator or torch.Generator().manual_seed(seed)
    active = 1 - sparsity
    drawn = torch.rand(int(n), int(features), generator=generator)
    return torch.where(drawn < active, drawn / active, torch.zeros(()))  # a uniform number below p is p times one


@dataclass(frozen=True, eq=False)
class SparseParity:
    """All inputs of several parity tasks, split.

    Attributes:
        inputs: one-hot task, then all bits.
        labels: parity of the bits of that task, 0 or 1.
        task: index of the task.
        train: rows to train on, shuffled.
        test: the others, shuffled.
    """

    inputs: Float[Tensor, "n column"]
    labels: Int[Tensor, " n"]
    task: Int[Tensor, " n"]
    train: Int[Tensor, " train"]
    test: Int[Tensor, " test"]


def sparse_parity(tasks: int = 3, bits: int = 4, *, test_share: float = 0.2, seed: int = 0) -> SparseParity:
    """Multi-task sparse parity: which task, and bits of which only that task's decide the label by their parity.

    Every combination of a task and all tasks * bits bits occurs once: 3 * 4,096 inputs of 15 columns by default
    (Bereska et al. 2025). The split keeps the share of each task and label.

    >>> data = sparse_parity()
    >>> data.inputs.shape, len(data.train), len(data.test)
    (torch.Size([12288, 15]), 9828, 2460)

    Args:
        tasks: number of tasks.
        bits: bits a task.
        test_share: share of test inputs in each stratum, rounded up.
        seed: of the split.

    Raises:
        OptionError: sizes below 1, more than 20 bits in all, or a share outside (0, 1).

    Cost: O(tasks * 2^(tasks * bits)).
    """
    check_range(tasks, "tasks", low=1, high=20, integer=True)
    check_range(bits, "bits", low=1, integer=True)
    check_range(tasks * bits, "tasks * bits", high=20, integer=True)
    check_range(test_share, "test_share", low=0, high=1 - 1e-9, open_low=True)
    total = tasks * bits
    places = torch.arange(total - 1, -1, -1)
    pattern = (torch.arange(2**total)[:, None] >> places) & 1  # (2^total, total)
    task = torch.arange(tasks).repeat_interleave(2**total)
    control = torch.nn.functional.one_hot(task, tasks)
    inputs = torch.cat([control, pattern.repeat(tasks, 1)], dim=1).float()
    parity = pattern.view(-1, tasks, bits).sum(2) % 2  # (2^total, task)
    labels = parity.T.reshape(-1)

    generator = torch.Generator().manual_seed(seed)
    train, test = [], []
    for stratum in range(2 * tasks):
        rows = (2 * task + labels == stratum).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        kept = int(len(rows) * (1 - test_share))
        train.append(rows[:kept])
        test.append(rows[kept:])
    order = [torch.cat(part) for part in (train, test)]
    first, second = (rows[torch.randperm(len(rows), generator=generator)] for rows in order)
    return SparseParity(inputs, labels, task, first, second)
