"""What personalisation trains: LoRA weights, and how denoisers are asked about several conditions in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._hosts import Host
from unsnarl.diffusion._lora import Lora
from unsnarl.training import Task, stream_seed


class Asking(NamedTuple):
    """One question to a denoiser: what it should answer to clean latents with this noise at these times, told this."""

    latents: Float[Tensor, "n c h w"]
    times: Shaped[Tensor, " n"]
    noise: Float[Tensor, "n c h w"]
    condition: Condition


def denoising_errors(host: Host, askings: Sequence[Asking], *, one_pass: bool = True) -> list[Float[Tensor, " n"]]:
    """|target - prediction|^2 of each asking, a mean over channels and places for each of its rows.

    Args:
        host: whose denoiser is asked.
        askings: one or more.
        one_pass: all rows in one pass of the denoiser, which is exact, since rows do not see each other, and faster; or one
            pass for each asking.
    """
    rows = [len(asking.latents) for asking in askings]
    noisy = [host.add_noise(asking.latents, asking.times, asking.noise) for asking in askings]
    told = [asking.condition.expand(n) for asking, n in zip(askings, rows, strict=True)]
    if one_pass:
        times = torch.cat([asking.times for asking in askings])
        answers = list(host.predict(torch.cat(noisy), times, Condition.cat(told)).split(rows))
    else:
        answers = [host.predict(z, asking.times, c) for z, asking, c in zip(noisy, askings, told, strict=True)]
    targets = [host.target(asking.latents, asking.times, asking.noise) for asking in askings]
    return [((a - b).float() ** 2).flatten(1).mean(1) for a, b in zip(answers, targets, strict=True)]


class PersonalTask(Task):
    """LoRA trained on one phase; the host itself is neither trained nor saved with the task.

    Args:
        host: the host.
        lora: attached to it.
        prior: latents and condition of images of the class, for prior preservation.
        prior_weight: of its loss.
        lr: learning rate.
        betas: of AdamW.
        weight_decay: of AdamW.
        clip_norm: the gradient of the LoRA weights is clipped to this norm.
        one_pass: see `denoising_errors`.
    """

    def __init__(
        self,
        host: Host,
        lora: Lora,
        *,
        prior: tuple[Tensor, Condition] | None = None,
        prior_weight: float = 1.0,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 1e-2,
        clip_norm: float = 1.0,
        one_pass: bool = True,
    ):
        super().__init__()
        self._frozen = (host, lora, prior)  # a tuple, so that torch does not count the host among the task's modules
        self.lora_weights = nn.ParameterList(lora.parameters().values())
        self.prior_weight, self.lr, self.betas = prior_weight, lr, betas
        self.weight_decay, self.clip_norm, self.one_pass = weight_decay, clip_norm, one_pass

    @property
    def host(self) -> Host:
        """The host."""
        return self._frozen[0]

    def groups(self) -> list[dict[str, Any]]:
        """What is trained: groups of parameters, each with its own clip of the gradient."""
        return [{"params": list(self.lora_weights), "clip_norm": self.clip_norm}]

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW at a constant rate."""
        options: dict[str, Any] = {"lr": self.lr, "betas": self.betas, "weight_decay": self.weight_decay, "fused": True}
        return {"main": torch.optim.AdamW(self.groups(), **options)}

    def noised(self, latents: Tensor, condition: Condition, draws: torch.Generator) -> Asking:
        """An asking with times and noise drawn for it."""
        times = self.host.draw_times(len(latents), draws)
        noise = torch.randn(latents.shape, generator=draws).to(latents)
        return Asking(latents, times, noise, condition)

    def prior_askings(self, n: int, draws: torch.Generator) -> list[Asking]:
        """An asking about n images of the class, where there is a prior."""
        prior = self._frozen[2]
        if prior is None:
            return []
        latents, condition = prior
        rows = torch.randint(len(latents), (n,), generator=draws)
        return [self.noised(latents[rows.to(latents.device)], condition, draws)]


def on_cpu(generator: torch.Generator) -> torch.Generator:
    """A generator on the CPU with the seed of another, so that every device draws the same numbers."""
    return torch.Generator().manual_seed(generator.initial_seed())


class PhotoBatches:
    """Batches of a few photos, again and again: one shuffled pass after another, cut into batches of any size.

    Step t gives the same rows every time. Where a batch is larger than the set, photos repeat in it.

    Args:
        tensors: with one row a photo.
        batch_size: photos a step.
        seed: of the order.
    """

    def __init__(self, *tensors: Tensor, batch_size: int = 1, seed: int = 0):
        self.tensors, self.batch_size, self.seed = tensors, batch_size, seed

    def rows(self, step: int) -> Int[Tensor, " batch"]:
        """Which photos step `step` sees."""
        n = len(self.tensors[0])
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        orders = {
            epoch: torch.randperm(n, generator=torch.Generator().manual_seed(stream_seed(self.seed, 1, 0, epoch)))
            for epoch in {place // n for place in places}
        }
        return torch.stack([orders[place // n][place % n] for place in places])

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        rows = self.rows(step)
        return tuple(values[rows.to(values.device)] for values in self.tensors)
