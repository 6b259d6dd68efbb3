"""Learning rates of the zoo's trainings: a linear warm-up, then down to a hundredth by half a cosine, or late and straight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

FLOOR = 0.01


def cosine_rate(step: int, steps: int, warmup: int) -> float:
    """The share of the highest learning rate at a step (0, 1, ...) of so many.

    Examples:
        >>> [round(cosine_rate(s, 100, 10), 3) for s in (0, 9, 10, 55, 99)]
        [0.1, 1.0, 1.0, 0.505, 0.01]
    """
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * done))


def restarting_rate(step: int, cycles: Sequence[int], warmup: int) -> float:
    """`cosine_rate` of one cycle after the other (Loshchilov and Hutter 2017, arXiv 1608.03983), each with a warm-up of its own.

    Examples:
        >>> [round(restarting_rate(s, (100, 200), 10), 3) for s in (0, 9, 99, 100, 109, 299)]
        [0.1, 1.0, 0.01, 0.1, 1.0, 0.01]
    """
    for length in cycles[:-1]:
        if step < length:
            return cosine_rate(step, length, warmup)
        step -= length
    return cosine_rate(step, cycles[-1], warmup)


def late_rate(step: int, steps: int, warmup: int, falling: float = 0.25) -> float:
    """The highest rate until the last quarter of the steps, in which it falls in a straight line.

    About as good as a cosine, and a training whose rate has not begun to fall can be made longer without losing anything
    (Hägele et al. 2024, arXiv 2405.18392).

    Examples:
        >>> [round(late_rate(s, 100, 10), 3) for s in (0, 9, 75, 87, 99)]
        [0.1, 1.0, 1.0, 0.525, 0.05]
    """
    if step < warmup:
        return (step + 1) / warmup
    length = falling * steps
    return FLOOR + (1 - FLOOR) * min(1.0, (steps - step) / length)


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Set every group's learning rate to a share of its `highest_lr`."""
    for group in optimizer.param_groups:
        group["lr"] = group["highest_lr"] * share


def adamw(
    module: nn.Module, *, lr: float, weight_decay: float, betas: tuple[float, float], clip_norm: float
) -> torch.optim.AdamW:
    """AdamW whose decay leaves biases, norms and embeddings alone, with a clip of the gradient's norm a group."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    for group in groups:
        group |= {"lr": lr, "highest_lr": lr, "clip_norm": clip_norm}
    return torch.optim.AdamW(groups, lr=lr, betas=betas)
