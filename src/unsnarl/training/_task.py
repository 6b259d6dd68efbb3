"""What the loop trains: networks, their optimisers, and the losses of each phase of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Task(nn.Module):
    """An `nn.Module` whose forward pass is a training objective.

    A step consists of phases, each with its own optimiser: an autoencoder has one, a GAN a critic and a generator
    phase. The loop calls `task(phase, batch, step, generator)`, differentiates `["loss"]` and steps that optimiser.
    Subclasses hold the networks as attributes, so their weights are saved with the task's `state_dict`.
    """

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Phase name -> optimiser, in the order the phases run."""
        raise NotImplementedError

    def schedule(self, step: int) -> Sequence[str]:
        """The phases of one step; all of them unless a subclass skips some."""
        return tuple(self.optimizers_)

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The losses of one phase: "loss" is minimised, everything else is logged.

        Args:
            phase: one of the names of `optimizers`.
            batch: tensors of shape (batch, ...).
            step: steps done so far; for annealing.
            generator: the only source of randomness; seeded anew for every step and phase.
        """
        raise NotImplementedError

    def prepare(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers, made once."""
        if not hasattr(self, "optimizers_"):
            self.optimizers_: dict[str, Any] = self.optimizers()
        return self.optimizers_


def clip_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Clip the gradients of each parameter group by its own `clip_value` (element-wise) or `clip_norm`."""
    for group in optimizer.param_groups:
        value, norm = group.get("clip_value"), group.get("clip_norm")
        if value is not None:
            gradients = [p.grad for p in group["params"] if p.grad is not None]
            if gradients:
                torch._foreach_clamp_min_(gradients, -value)
                torch._foreach_clamp_max_(gradients, value)
        if norm is not None:
            nn.utils.clip_grad_norm_(group["params"], norm)


def decayed_adam(
    modules: nn.Module | Sequence[nn.Module],
    *,
    lr: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    clip_value: float | None = None,
    undecayed: Sequence[nn.Module] = (),
) -> torch.optim.AdamW:
    """AdamW whose decoupled weight decay and element-wise gradient clip leave biases and chosen modules alone.

    Group A, all weights: clip to [-clip_value, clip_value], then AdamW with the decay. Group B, every bias and all
    parameters of `undecayed` (codebooks): Adam without either (Hsu et al. 2023, official code).
    """
    modules = [modules] if isinstance(modules, nn.Module) else list(modules)
    free = {id(p) for module in undecayed for p in module.parameters()}
    decayed: dict[int, nn.Parameter] = {}
    plain: dict[int, nn.Parameter] = {}
    for module in [*modules, *undecayed]:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                is_plain = id(parameter) in free or name.rpartition(".")[2] == "bias"
                (plain if is_plain else decayed)[id(parameter)] = parameter
    groups: list[dict[str, Any]] = [
        {"params": list(decayed.values()), "weight_decay": weight_decay, "clip_value": clip_value},
        {"params": list(plain.values()), "weight_decay": 0.0, "clip_value": None},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=betas, fused=True)
