"""An exponential moving average of a module's weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from unsnarl.arrays import check_range
from unsnarl.errors import OptionError


class EMA(nn.Module):
    """A copy of a module whose weights trail those of the original: w_avg <- d w_avg + (1 - d) w, d = exp(-1 / steps).

    Held as an attribute of a `Task` it is saved and resumed with the task's other weights, and `follow` keeps it up to
    date after every step of the optimiser that trains the original. Calling it calls the averaged module.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = layer.weight.data.fill_(0.0)
    >>> average = EMA(layer, steps=1 / math.log(2))  # a decay of one half
    >>> _ = layer.weight.data.fill_(1.0)
    >>> average.update(layer)
    >>> round(average.module.weight.item(), 6)
    0.5

    Args:
        module: the original; the average starts as its copy and never shares memory with it.
        steps: after this many steps an old weight counts 1/e; 0 keeps no memory (the average is the original).

    Raises:
        OptionError: steps is negative.
    """

    def __init__(self, module: nn.Module, steps: float = 50.0):
        super().__init__()
        check_range(steps, "steps", low=0)
        self.module = copy.deepcopy(module).requires_grad_(False)
        self.decay = math.exp(-1.0 / steps) if steps else 0.0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the original; its buffers (counts, running statistics) are copied.

        Raises:
            OptionError: a module of another make than the one it was made of.
        """
        ours: list[torch.Tensor] = list(self.module.parameters())
        theirs: list[torch.Tensor] = list(module.parameters())
        if [p.shape for p in ours] != [p.shape for p in theirs]:
            raise OptionError(f"module is a {type(module).__name__} whose weights have other shapes than the average's")
        torch._foreach_lerp_(ours, theirs, 1.0 - self.decay)
        for mine, other in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(other)

    def follow(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
        """Update after every step of that optimiser.

        Returns:
            A handle whose `remove()` ends it.
        """
        return optimizer.register_step_post_hook(lambda *_: self.update(module))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged module puts out."""
        return self.module(*args, **kwargs)
