"""DisenBooth's losses."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._hosts import Host
from unsnarl.diffusion._lora import Lora
from unsnarl.systems.diffusion._irrelevant import IrrelevantAdapter
from unsnarl.systems.diffusion._personal_task import Asking, PersonalTask, denoising_errors, on_cpu


def told_with(
    text: Condition, irrelevant: Float[Tensor, "n width"], *, text_weight: float = 1.0, image_weight: float = 1.0
) -> Condition:
    """w_text f_s + w_img f_i, f_i added to the vector of every token, those of begin and padding as well.

    Args:
        text: f_s, of one row or of n.
        irrelevant: f_i, of one row or of n.
        text_weight: w_text; it scales the pooled text of hosts that read one, too.
        image_weight: w_img.
    """
    n = max(len(text), len(irrelevant))
    text, irrelevant = text.expand(n), irrelevant.expand(n, -1)
    context = text_weight * text.context + image_weight * irrelevant[:, None, :].to(text.context)
    return Condition(context, None if text.pooled is None else text_weight * text.pooled)


def likeness(text: Condition, irrelevant: Float[Tensor, "n width"]) -> Float[Tensor, " n"]:
    """The cosine of the mean of f_s over its tokens and f_i, row by row."""
    said = text.context.float().mean(1).expand(len(irrelevant), -1)
    return functional.cosine_similarity(said, irrelevant.float(), dim=1)


class DisenBoothTask(PersonalTask):
    """L_1 + weak_weight L_2 + contrast_weight L_3, and prior preservation where there is a prior.

    Noise and time are drawn once a photo and shared by both passes of the denoiser.

    Args:
        host: the host.
        lora: attached to it.
        adapter: makes f_i of image embeddings; trained at the same rate as the LoRA, its gradient is not clipped.
        condition: f_s, the subject's prompt.
        weak_weight: lambda_2; at 0 the second pass is left out.
        contrast_weight: lambda_3.
        options: those of `PersonalTask`.
    """

    def __init__(
        self,
        host: Host,
        lora: Lora,
        adapter: IrrelevantAdapter,
        condition: Condition,
        *,
        weak_weight: float = 0.01,
        contrast_weight: float = 0.001,
        **options: Any,
    ):
        super().__init__(host, lora, **options)
        self.adapter = adapter
        self._told = (condition,)
        self.weak_weight, self.contrast_weight = weak_weight, contrast_weight

    def groups(self) -> list[dict[str, Any]]:
        """LoRA, clipped; adapter, not clipped."""
        return [*super().groups(), {"params": list(self.adapter.parameters())}]

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss and its terms.

        Args:
            phase: "main".
            batch: latents of photos (n, c, h, w) and their image embeddings (n, d).
            step: not used.
            generator: of noise and times.
        """
        draws = on_cpu(generator)
        latents, embeddings = batch
        irrelevant = self.adapter(embeddings)
        text = self._told[0]
        with_image = self.noised(latents, told_with(text, irrelevant), draws)
        askings: list[Asking] = [with_image]
        if self.weak_weight:
            askings.append(with_image._replace(condition=text))
        askings += self.prior_askings(len(latents), draws)
        errors = [e.mean() for e in denoising_errors(self.host, askings, one_pass=self.one_pass)]
        cosine = likeness(text, irrelevant).mean()
        losses = {"reconstruction": errors.pop(0)}
        loss = losses["reconstruction"] + self.contrast_weight * cosine
        if self.weak_weight:
            losses["weak"] = errors.pop(0)
            loss = loss + self.weak_weight * losses["weak"]
        if errors:
            losses["prior"] = errors.pop(0)
            loss = loss + self.prior_weight * losses["prior"]
        return {"loss": loss, **{name: value.detach() for name, value in losses.items()}, "cosine": cosine.detach()}
