"""Adversarial examples: inputs changed by at most epsilon in each number so that a classifier's loss rises most.

One gradient step of full length (FGSM; Goodfellow et al. 2015, arXiv 1412.6572) or many small ones, each followed by a
projection into the box of radius epsilon around the input (PGD; Madry et al. 2018, arXiv 1706.06083). Inputs lie in
[0, 1] and stay there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.nn import functional as F

from unsnarl.arrays import check_range
from unsnarl.errors import DataError

Inputs = Float[Tensor, "batch ..."]
Labels = Num[Tensor, " batch"]
Loss = Callable[[Tensor, Tensor], Tensor]


def fgsm(
    model: nn.Module, x: Inputs, y: Labels, epsilon: float, *, targeted: bool = False, loss: Loss | None = None
) -> Inputs:
    """The fast gradient sign attack: clip(x + epsilon sign(grad of the loss), 0, 1).

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> x, y = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 1, 0])
    >>> (fgsm(model, x, y, 0.1) - x).abs().max().item()
    0.1...

    Args:
        model: the classifier; run in the mode it is in. Its weights and their gradients stay as they are.
        x: inputs in [0, 1].
        y: classes, or with `targeted` the classes to be mistaken for.
        epsilon: the largest change of one number.
        targeted: lower the loss of `y` instead of raising it.
        loss: (outputs, y) -> scalar; by default cross-entropy, binary where the model has one output.

    Returns:
        Changed inputs, detached.

    Raises:
        OptionError: epsilon outside [0, 1].
        DataError: inputs outside [0, 1] or not finite.

    Cost: one forward and one backward pass.
    """
    _check(x, epsilon)
    step = -epsilon if targeted else epsilon
    return (x + step * _gradient(model, x, y, loss).sign()).clamp(0, 1).detach()


def pgd(
    model: nn.Module,
    x: Inputs,
    y: Labels,
    epsilon: float,
    *,
    step_size: float = 0.01,
    steps: int = 40,
    random_start: bool = True,
    targeted: bool = False,
    loss: Loss | None = None,
    generator: torch.Generator | None = None,
) -> Inputs:
    """Projected gradient descent: from a random point of the box, `steps` signed steps, each projected and clipped.

    The defaults are those for digits in 28 x 28 (Madry et al. 2018); for CIFAR-10 they are 2/255 and 10 steps.

    Args:
        model: the classifier, as in `fgsm`.
        x: inputs in [0, 1].
        y: classes, or with `targeted` the classes to be mistaken for.
        epsilon: the largest change of one number.
        step_size: length of one step in each number.
        steps: number of steps.
        random_start: start at a uniform point of the box, not at `x`.
        targeted: lower the loss of `y` instead of raising it.
        loss: as in `fgsm`.
        generator: source of the starting points.

    Returns:
        Changed inputs, detached: within epsilon of `x` and in [0, 1].

    Raises:
        OptionError: epsilon outside [0, 1], a step size that is not positive, or no steps.
        DataError: inputs outside [0, 1] or not finite.

    Cost: `steps` forward and backward passes.
    """
    _check(x, epsilon)
    check_range(step_size, "step_size", low=0, open_low=True)
    check_range(steps, "steps", low=1, integer=True)
    x = x.detach()
    low, high = (x - epsilon).clamp_min(0), (x + epsilon).clamp_max(1)
    changed = x
    if random_start:
        noise = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        changed = (x + epsilon * (2 * noise - 1)).clamp(0, 1)
    step = -step_size if targeted else step_size
    for _ in range(int(steps)):
        changed = changed + step * _gradient(model, changed, y, loss).sign()
        changed = torch.minimum(torch.maximum(changed, low), high)
    return changed


def classification_loss(outputs: Float[Tensor, "batch out"], y: Labels) -> Float[Tensor, ""]:
    """Mean cross-entropy (nats): of the classes, or of one logit for labels 0 and 1."""
    if outputs.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(outputs[:, 0], y.to(outputs.dtype))
    return F.cross_entropy(outputs, y.long())


def _gradient(model: nn.Module, x: Tensor, y: Tensor, loss: Loss | None) -> Tensor:
    """Of the loss in the inputs alone, so that the weights' gradients of a training step stay untouched."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        return torch.autograd.grad((loss or classification_loss)(model(x), y), x)[0]


def _check(x: Tensor, epsilon: float) -> None:
    check_range(epsilon, "epsilon", low=0, high=1)
    low, high = x.aminmax() if x.numel() else (x.new_zeros(()), x.new_zeros(()))
    if not (low >= 0 and high <= 1):  # also where one of them is NaN
        raise DataError(f"x must lie in [0, 1], where attacks are clipped, but ranges from {low:.3g} to {high:.3g}")
