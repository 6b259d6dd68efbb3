"""Training the two generators of the zoo: a denoiser in the style of Stable Diffusion 1 and 2, and a flow in that of 3.

*Denoising* (Ho et al. 2020, arXiv 2006.11239): z_t = sqrt(abar_t) x + sqrt(1 - abar_t) e, every t drawn alike, and the loss either
|e - e_theta(z_t, t, c)|^2 or |v - v_theta(z_t, t, c)|^2 with v = sqrt(abar_t) e - sqrt(1 - abar_t) x (Salimans and Ho 2022, arXiv
2202.00512). Both are least at the conditional mean at every noise level, which is what information in pixels is computed from. The
second counts errors of the image 1 / abar_t times as much as the first: where there is hardly any signal left, which is where
place and colour of everything are decided, the first hardly counts them. *Rectified flow* (Esser et al. 2024, arXiv 2403.03206): z = (1 - s) x + s e, loss
|(e - x) - v_theta(z, s, c)|^2 with logit s drawn from a normal distribution.

Noise levels are drawn one from each of as many equal parts of their distribution as the batch has images, which leaves
the loss the same in the mean and its gradient less noisy.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from unsnarl.arrays import check_choice
from unsnarl.training import EMA, Task
from unsnarl.zoo._schedule import adamw, cosine_rate, set_rate

AVERAGED_STEPS = 1000.0  # a decay of 0.999
WARMUP = 300


def spread_uniforms(n: int, generator: torch.Generator) -> Float[Tensor, " n"]:
    """One uniform number from each of n equal parts of [0, 1), in random order."""
    device = generator.device
    parts = torch.randperm(n, generator=generator, device=device)
    return (parts + torch.rand(n, generator=generator, device=device)) / n


class _Denoising(Task):
    """A network with the average of its weights, and a frozen text encoder that is not saved with them."""

    def __init__(self, network: Any, *, steps: int, lr: float):
        super().__init__()
        self.network = network
        self.average = EMA(network, steps=AVERAGED_STEPS)
        self.steps, self.lr = steps, lr

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW without decay."""
        optimizer = adamw(self.network, lr=self.lr, weight_decay=0.0, betas=(0.9, 0.99), clip_norm=1.0)
        self.average.follow(self.network, optimizer)
        return {"main": optimizer}


class NoiseTask(_Denoising):
    """Denoising by a `UNet2DConditionModel` of pixels rearranged by `PixelUnshuffleVAE`.

    Args:
        unet: of diffusers.
        text_encoder: a `CLIPTextModel`; left as it is.
        alphas_cumprod: abar of every step of the noise schedule.
        factor: of the rearrangement.
        prediction: "epsilon" or "v_prediction".
        steps: over which the rate falls.
        lr: highest learning rate.
    """

    abar: Tensor

    def __init__(
        self,
        unet: Any,
        text_encoder: Any,
        alphas_cumprod: Float[Tensor, " time"],
        *,
        factor: int = 2,
        prediction: str = "epsilon",
        steps: int,
        lr: float = 8e-4,
    ):
        check_choice(prediction, ("epsilon", "v_prediction"), "prediction")
        super().__init__(unet, steps=steps, lr=lr)
        self._frozen = (text_encoder.requires_grad_(False).eval(),)
        self.register_buffer("abar", alphas_cumprod.clone(), persistent=False)
        self.factor, self.prediction = factor, prediction

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The mean squared error of the noise, or of v."""
        set_rate(self.optimizers_["main"], cosine_rate(step, self.steps, WARMUP))
        images, ids = batch
        with torch.no_grad():
            context = self._frozen[0](input_ids=ids).last_hidden_state
        x = functional.pixel_unshuffle(images, self.factor)
        t = (spread_uniforms(len(x), generator) * len(self.abar)).long()
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        abar = self.abar[t][:, None, None, None]
        noisy = abar.sqrt() * x + (1 - abar).sqrt() * noise
        predicted = self.network(noisy, t, encoder_hidden_states=context).sample
        target = noise if self.prediction == "epsilon" else abar.sqrt() * noise - (1 - abar).sqrt() * x
        return {"loss": functional.mse_loss(predicted, target)}


class FlowTask(_Denoising):
    """Rectified flow by an `SD3Transformer2DModel` on pixels.

    Args:
        transformer: of diffusers.
        text_encoders: two `CLIPTextModelWithProjection`; left as they are.
        zero_tokens: how many empty tokens stand where a third text encoder's would.
        steps: over which the rate falls.
        lr: highest learning rate.
    """

    def __init__(
        self, transformer: Any, text_encoders: tuple[Any, Any], *, zero_tokens: int = 8, steps: int, lr: float = 8e-4
    ):
        super().__init__(transformer, steps=steps, lr=lr)
        self._frozen = tuple(encoder.requires_grad_(False).eval() for encoder in text_encoders)
        self.zero_tokens = zero_tokens

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The mean squared error of the velocity."""
        set_rate(self.optimizers_["main"], cosine_rate(step, self.steps, WARMUP))
        x, ids = batch
        context, pooled = flow_context(self._frozen, ids, self.zero_tokens)
        normal = torch.special.ndtri(spread_uniforms(len(x), generator).clamp(1e-6, 1 - 1e-6))
        share = torch.sigmoid(normal)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        s = share[:, None, None, None]
        predicted = self.network(
            hidden_states=(1 - s) * x + s * noise,
            timestep=1000 * share,
            encoder_hidden_states=context,
            pooled_projections=pooled,
        ).sample
        return {"loss": functional.mse_loss(predicted, noise - x)}


@torch.no_grad()
def flow_context(
    text_encoders: tuple[Any, ...], ids: Int[Tensor, "n token"], zero_tokens: int
) -> tuple[Float[Tensor, "n sequence width"], Float[Tensor, "n pooled"]]:
    """What `StableDiffusion3Pipeline` conditions on without its third text encoder.

    The second last hidden states of both encoders side by side, followed by tokens of zeros; and both projected texts.
    """
    told = [encoder(input_ids=ids, output_hidden_states=True) for encoder in text_encoders]
    hidden = torch.cat([one.hidden_states[-2] for one in told], dim=-1)
    hidden = torch.cat([hidden, hidden.new_zeros(len(hidden), zero_tokens, hidden.shape[-1])], dim=1)
    return hidden, torch.cat([one.text_embeds for one in told], dim=-1)
