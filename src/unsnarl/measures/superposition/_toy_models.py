"""Toy models of superposition, in which the number of features that are represented is known.

    x' = ReLU(W^T W x + b)                         W is (m, n) with m < n
    loss = mean over inputs and features of importance_i (x'_i - x_i)^2

Elhage et al. 2022, "Toy Models of Superposition" (arXiv 2209.10652). With dense inputs such a model keeps about m features
and gives up the rest; the sparser the inputs, the more features it squeezes into the m numbers h = W x, at the price of
interference. Feature i is represented where its direction is long, ||W_i||^2 > 1/2; ||W||_F^2 counts without a threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.data.known._sparse_features import sparse_features
from unsnarl.errors import OptionError
from unsnarl.training import Task, train

REPRESENTED = 0.5


class ToyModel(nn.Module):
    """n features through m neurons and back.

    >>> model = ToyModel(features=5, hidden=2)
    >>> model(torch.rand(3, 5)).shape, model.hidden(torch.rand(3, 5)).shape
    (torch.Size([3, 5]), torch.Size([3, 2]))

    Args:
        features: n.
        hidden: m.
        seed: of the first weights (Xavier-normal; b = 0).
    """

    def __init__(self, features: int, hidden: int, *, seed: int = 0):
        super().__init__()
        check_range(features, "features", low=1, integer=True)
        check_range(hidden, "hidden", low=1, integer=True)
        self.weight = nn.Parameter(torch.empty(int(hidden), int(features)))
        self.bias = nn.Parameter(torch.zeros(int(features)))
        nn.init.xavier_normal_(self.weight, generator=torch.Generator().manual_seed(seed))

    def hidden(self, x: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch neuron"]:
        """The activations h = W x in which features may be superposed."""
        return x @ self.weight.T

    def forward(self, x: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
        """The reconstructed features x'."""
        return torch.relu(self.hidden(x) @ self.weight + self.bias)

    @property
    def represented(self) -> int:
        """How many features have ||W_i||^2 > 1/2: the ground truth of F."""
        return int((self.weight.detach().square().sum(0) > REPRESENTED).sum())

    @property
    def frobenius(self) -> float:
        """||W||_F^2: the same without a threshold."""
        return self.weight.detach().square().sum().item()


def train_toy_models(
    sparsities: Sequence[float],
    *,
    features: int = 20,
    hidden: int = 6,
    importance: Sequence[float] | None = None,
    steps: int = 10_000,
    batch_size: int = 1_024,
    lr: float = 1e-3,
    seed: int = 0,
    progress: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> list[ToyModel]:
    """One toy model for each sparsity, all trained side by side on fresh inputs with Adam.

    >>> dense, sparse = train_toy_models([0.0, 0.9], features=4, hidden=2, steps=20)
    >>> dense.weight.shape
    torch.Size([2, 4])

    Args:
        sparsities: S of each model's inputs (`unsnarl.data.known.sparse_features`).
        features: n.
        hidden: m.
        importance: weight of each feature's error; equal where absent.
        steps: optimiser steps.
        batch_size: inputs a step and model.
        lr: Adam's learning rate.
        seed: of the first weights, equal for all, and of the inputs.
        progress: show progress on stderr.
        report: called as report(done, steps) after each step.

    Raises:
        OptionError: an option out of range.

    Cost: O(steps * batch * models * features * hidden): about 3 ms a step for six models of 20 features.
    """
    if not len(sparsities):
        raise OptionError("sparsities is empty; give at least one")
    for sparsity in sparsities:
        check_range(sparsity, "sparsities", low=0, high=1 - 1e-6)
    check_range(steps, "steps", low=1, integer=True)
    check_range(batch_size, "batch_size", low=1, integer=True)
    check_range(lr, "lr", low=0, open_low=True)
    weights = torch.ones(features) if importance is None else torch.tensor(list(importance), dtype=torch.float32)
    if len(weights) != features or bool((weights < 0).any()):
        raise OptionError(f"importance must be {features} numbers, none negative, one for each feature")
    first = ToyModel(features, hidden, seed=seed)
    task = _ToyTask(first, list(sparsities), weights, int(batch_size), lr)
    callbacks = [] if report is None else [lambda done: report(done, int(steps))]
    train(task, lambda step: (), steps=steps, seed=seed, progress=progress, label="toy models", callbacks=callbacks)
    models = []
    for weight, bias in zip(task.weight.detach(), task.bias.detach(), strict=True):
        model = ToyModel(features, hidden)
        model.load_state_dict({"weight": weight.clone(), "bias": bias[0].clone()})
        models.append(model.eval())
    return models


class _ToyTask(Task):
    """Models of one size as one three-dimensional weight; inputs are drawn by the loss."""

    importance: Tensor

    def __init__(
        self, first: ToyModel, sparsities: list[float], importance: Float[Tensor, " feature"], batch: int, lr: float
    ):
        super().__init__()
        self.sparsities, self.batch, self.lr = sparsities, batch, lr
        members = len(sparsities)
        self.weight = nn.Parameter(first.weight.detach().repeat(members, 1, 1))
        self.bias = nn.Parameter(first.bias.detach().repeat(members, 1, 1))
        self.register_buffer("importance", importance)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam on everything."""
        return {"main": torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The sum of the models' losses."""
        n = self.weight.shape[2]
        x = torch.stack([sparse_features(self.batch, n, s, generator=generator) for s in self.sparsities])
        output = torch.relu(torch.baddbmm(self.bias, x @ self.weight.mT, self.weight))
        return {"loss": ((output - x).square() * self.importance).mean((1, 2)).sum()}
