"""Which observations make up the batch of step t: a pure function of the seed and t, so that nothing has to be saved."""

from __future__ import annotations

import torch
from torch import Tensor

from unsnarl.arrays import check_range, check_same_length

_MIX = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: neighbouring seeds and steps end far apart


def stream_seed(seed: int, *path: int) -> int:
    """A 63-bit seed for one place in a run, such as (stream, step); different places give unrelated streams."""
    value = int(seed) & 0xFFFFFFFFFFFFFFFF
    for part in path:  # splitmix64 over the path
        value = (value + _MIX * (part + 1)) & 0xFFFFFFFFFFFFFFFF
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 31
    return value >> 1


class TensorBatches:
    """Batches of one or more tensors held in memory, a fresh permutation each epoch, the last short batch dropped.

    `batches(step)` gives the tensors of that step's batch; uint8 tensors become float32 in [0, 1]. With several
    processes each takes its own part of every batch.

    Args:
        tensors: tensors with the same first dimension.
        batch_size: observations a step over all processes; at most all of them.
        seed: seed of the permutations.
        stream: separates the permutations of several loaders that share a seed.
        device: where the batches go.
    """

    def __init__(
        self,
        *tensors: Tensor,
        batch_size: int,
        seed: int = 0,
        stream: int = 0,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
    ):
        check_range(batch_size, "batch_size", low=1, integer=True)
        self.tensors = tensors
        self.n = check_same_length(**{f"tensor {i}": t for i, t in enumerate(tensors)})
        self.batch_size = min(int(batch_size), self.n)
        self.steps_per_epoch = self.n // self.batch_size
        self.seed, self.stream, self.device = seed, stream, device
        self.rank, self.world_size = rank, world_size
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def indices(self, step: int) -> Tensor:
        """Which observations step `step` sees."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(stream_seed(self.seed, 1, self.stream, epoch))
            self._order, self._epoch = torch.randperm(self.n, generator=generator), epoch
        start = place * self.batch_size
        return self._order[start + self.rank : start + self.batch_size : self.world_size]

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        index = self.indices(step)
        return tuple(as_input(t[index]).to(self.device) for t in self.tensors)


def as_input(x: Tensor) -> Tensor:
    """What a network sees: uint8 images scaled to [0, 1], floats as float32, other integers as they are."""
    if x.dtype == torch.uint8:
        return x.float().div_(255)
    return x.float() if x.is_floating_point() else x
