"""Gradients summed over several batches before a step, clipped after each, inside one call of a training objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unsnarl.arrays import check_choice, check_range
from unsnarl.errors import OptionError
from unsnarl.training import TensorBatches

LEFTOVERS = ("drop", "step")


class _Gathered(torch.autograd.Function):
    """A loss whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor | None], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        return (None, None, *(None if g is None else g * outer[0] for g in ctx.gradients))


def accumulated_losses(
    losses: Callable[..., dict[str, Tensor]],
    parameters: Sequence[nn.Parameter],
    batches: Sequence[tuple[Tensor, ...]],
    *,
    clip_value: float | None = None,
) -> dict[str, Tensor]:
    """The sum of a loss over batches, with the gradient that backward passes one after the other would leave.

    After each batch the sum of the gradients so far is clipped to [-clip_value, clip_value] element by element, as loops
    do that call `backward` and `clip_grad_value_` for every batch and `step` for every tenth. This is not the same as
    clipping the sum once. Each batch's graph is freed before the next, so memory is that of one batch.

    Args:
        losses: batch -> losses, of which "loss" is differentiated.
        parameters: what to differentiate by; those a loss does not reach keep no gradient.
        batches: what the loss is summed over.
        clip_value: bound of the running sum; None does not clip.

    Returns:
        "loss": the sum, whose backward pass gives the gradients; all else the mean over batches, without gradients.
    """
    if len(batches) == 1:
        return losses(*batches[0])
    gradients: list[Tensor | None] = [None] * len(parameters)
    seen: list[dict[str, Tensor]] = []
    for batch in batches:
        terms = losses(*batch)
        new = torch.autograd.grad(terms["loss"], list(parameters), allow_unused=True)
        gradients = [g if n is None else n if g is None else g.add_(n) for g, n in zip(gradients, new, strict=True)]
        held = [g for g in gradients if g is not None]
        if clip_value is not None:
            torch._foreach_clamp_min_(held, -clip_value)
            torch._foreach_clamp_max_(held, clip_value)
        seen.append({name: value.detach() for name, value in terms.items()})
    out = {name: torch.stack([terms[name] for terms in seen]).mean() for name in seen[0]}
    total = torch.stack([terms["loss"] for terms in seen]).sum()
    out["loss"] = _Gathered.apply(total, gradients, *parameters)  # type: ignore[no-untyped-call]
    return out


class AccumulatedBatches(TensorBatches):
    """What the batches between two steps see, one after the other in one tuple of tensors.

    Every epoch is a fresh permutation cut into batches, the last of which may be short; `accumulate` batches make a step.

    Args:
        tensors: tensors with the same first dimension.
        batch_size: observations a batch.
        accumulate: batches a step.
        leftover: what becomes of the batches of an epoch that make no whole step. "drop": they are never learned from (the
            official loop computes their gradients and then discards them). "step": they make a step of their own.
        seed: seed of the permutations.
        options: those of `TensorBatches`.

    Raises:
        OptionError: an epoch has fewer batches than a step needs, and they are to be dropped.
    """

    def __init__(
        self,
        *tensors: Tensor,
        batch_size: int,
        accumulate: int,
        leftover: str = "drop",
        seed: int = 0,
        **options: Any,
    ):
        check_range(accumulate, "accumulate", low=1, integer=True)
        check_choice(leftover, LEFTOVERS, "leftover")
        super().__init__(*tensors, batch_size=batch_size * accumulate, seed=seed, **options)
        batches = -(-self.n // batch_size)
        steps = batches // accumulate if leftover == "drop" else -(-batches // accumulate)
        if not steps:
            raise OptionError(
                f"accumulate={accumulate} batches of {batch_size} make a step, but {self.n} observations make only {batches} "
                "an epoch, so no step would ever be taken; lower accumulate or pass leftover='step'"
            )
        self.steps_per_epoch = steps
