"""When what is trained: warm-up, joint epochs, pushes, and epochs of the last layer after each push."""

from __future__ import annotations

from dataclasses import dataclass

WARM, JOINT, LAST = "warm", "joint", "last"


@dataclass(frozen=True)
class Epoch:
    """One pass over the data.

    Attributes:
        phase: "warm", "joint" or "last".
        joint: joint epochs before this one; sets the learning rate.
        push: whether the prototypes are pushed when it is over.
    """

    phase: str
    joint: int
    push: bool = False


def training_plan(epochs: int, *, warm: int, push_start: int, push_every: int, last: int) -> list[Epoch]:
    """The published order, and always a push at the end.

    Epoch 0 to warm - 1 train add-on layers and prototypes, the others everything but the last layer. From epoch
    `push_start` on, every `push_every`-th, and after the final one, prototypes are pushed and `last` epochs of the last layer follow.

    >>> [(e.phase, e.push) for e in training_plan(3, warm=1, push_start=1, push_every=2, last=1)]
    [('warm', False), ('joint', True), ('last', False), ('joint', True), ('last', False)]
    """
    plan: list[Epoch] = []
    for epoch in range(epochs):
        due = epoch >= push_start and (epoch - push_start) % push_every == 0
        push = due or epoch == epochs - 1
        plan.append(Epoch(WARM if epoch < warm else JOINT, max(0, epoch - warm), push))
        if push:
            plan += [Epoch(LAST, max(0, epoch - warm))] * last
    return plan
