"""Batches of patients: drawn anew each step from the seed and the step, padded to the largest bag among them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unsnarl.systems.multimodal.pibd._inputs import Patients
from unsnarl.training import TensorBatches, stream_seed

IN_MEMORY = 2**26  # numbers: bags that fit are padded once, which makes a batch one lookup


class PatientBatches:
    """step -> (bags, counts, genes, has_genes, time bin, event) of that step's patients.

    Args:
        patients: the training patients.
        time_bin: bin of each, (n,).
        batch_size: patients a step.
        balanced: draw patients with replacement so that every (time bin, event) cell comes up equally often, as published;
            otherwise each patient comes once an epoch, the last short batch dropped.
        max_patches: bags larger than that give a random part of so many instances, another each time; None for all.
        seed: of the draws.
        device: where batches go.
        rank: which of the processes this is; each takes its part of every batch.
        world_size: number of processes.
    """

    def __init__(
        self,
        patients: Patients,
        time_bin: np.ndarray,
        *,
        batch_size: int,
        balanced: bool,
        max_patches: int | None,
        seed: int,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
    ):
        assert patients.event is not None
        self.patients, self.seed, self.device = patients, seed, device
        self.rank, self.world_size, self.max_patches = rank, world_size, max_patches
        self.batch_size = min(int(batch_size), len(patients))
        self.counts = patients.counts
        self.rest = (
            torch.from_numpy(patients.genes),
            torch.from_numpy(patients.has_genes),
            torch.from_numpy(np.asarray(time_bin, dtype=np.int64)),
            torch.from_numpy(patients.event),
        )
        cells = np.unique(np.stack([time_bin, patients.event]), axis=1, return_inverse=True)[1].ravel()
        self.weights = torch.from_numpy(1.0 / np.bincount(cells)[cells]) if balanced else None
        self.order = TensorBatches(self.rest[2], batch_size=self.batch_size, seed=seed)
        full = -(-len(patients) // self.batch_size)
        self.steps_per_epoch = full if balanced else self.order.steps_per_epoch
        largest = int(self.counts.max())
        small = len(patients) * largest * patients.bags[0].shape[1] <= IN_MEMORY
        self.padded = pad(patients.bags, largest) if small and (max_patches is None or largest <= max_patches) else None

    def indices(self, step: int) -> Tensor:
        """Which patients step `step` sees."""
        if self.weights is None:
            return self.order.indices(step)[self.rank :: self.world_size]
        generator = torch.Generator().manual_seed(stream_seed(self.seed, 1, 0, step))
        drawn = torch.multinomial(self.weights, self.batch_size, replacement=True, generator=generator)
        return drawn[self.rank :: self.world_size]

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        index = self.indices(step)
        rows = index.numpy()
        if self.padded is not None:
            counts = self.counts[rows]
            bags = self.padded[index, : max(1, int(counts.max()))]
        else:
            rng = np.random.default_rng(stream_seed(self.seed, 4, step))
            chosen = [_part(self.patients.bags[i], self.max_patches, rng) for i in rows]
            counts = np.array([len(bag) for bag in chosen], dtype=np.int64)
            bags = pad(chosen, int(counts.max()))
        parts = (bags, torch.from_numpy(counts), *(t[index] for t in self.rest))
        return tuple(t.to(self.device) for t in parts)


def pad(bags: list[np.ndarray], length: int) -> Tensor:
    """Bags filled up with zeros to one length of at least 1, (n, length, width)."""
    padded = torch.zeros(len(bags), max(1, length), bags[0].shape[1])
    for row, bag in zip(padded, bags, strict=True):
        row[: len(bag)] = torch.from_numpy(np.ascontiguousarray(bag))
    return padded


def _part(bag: np.ndarray, most: int | None, rng: np.random.Generator) -> np.ndarray:
    if most is None or len(bag) <= most:
        return bag
    return bag[np.sort(rng.choice(len(bag), most, replace=False))]
