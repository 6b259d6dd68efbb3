"""Training the two generators of the zoo: a denoiser in the style of Stable Diffusion 1 and 2, and a flow in that of 3.

*Denoising* (Ho et al. 2020, arXiv 2006.11239): z_t = sqrt(abar_t) x + sqrt(1 - abar_t) e, every t drawn alike, and the loss
|e - e_theta(z_t, t, c)|^2, |v - v_theta(z_t, t, c)|^2 with v = sqrt(abar_t) e - sqrt(1 - abar_t) x (Salimans and Ho 2022, arXiv
2202.00512), or |x - x_theta(z_t, t, c)|^2 times min(1 / (1 - abar_t), 10), which is the second up to where little is left to do (Hang et al. 2023,
arXiv 2303.09556). All are least at the conditional mean at every noise level, which is what information in pixels is computed from. The
second counts errors of the image 1 / abar_t times as much as the first: where there is hardly any signal left, which is where
place and colour of everything are decided, the first hardly counts them. Steps may be drawn more often where the signal is weak
(`time_density`): what minimises the loss at each step is the same, but these images are so plain that what they show is decided while
there is a hundredth as much signal as noise, and steps drawn alike would spend one in twenty there. *Rectified flow* (Esser et al. 2024, arXiv 2403.03206): z = (1 - s) x + s e, loss
|(e - x) - v_theta(z, s, c)|^2 with logit s drawn from a normal distribution, that is with a normal log-SNR.

Both may have a second task beside (`unsnarl.zoo._scene_head`). Noise levels are drawn one from each of as many equal parts of their distribution as the batch has images, which leaves
the loss the same in the mean and its gradient less noisy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from unsnarl.arrays import check_choice
from unsnarl.training import EMA, Task
from unsnarl.zoo._oracle import MAP, OracleTargets, oracle_loss
from unsnarl.zoo._scene_head import SceneHead
from unsnarl.zoo._schedule import adamw, late_rate, set_rate

AVERAGED_STEPS = 1000.0  # a decay of 0.999
WARMUP = 300
MOST_WEIGHT = 10.0


def spread_uniforms(n: int, generator: torch.Generator) -> Float[Tensor, " n"]:
    """One uniform number from each of n equal parts of [0, 1), in random order."""
    device = generator.device
    parts = torch.randperm(n, generator=generator, device=device)
    return (parts + torch.rand(n, generator=generator, device=device)) / n


def time_density(
    log_snr: Float[Tensor, " time"], mean: float, deviation: float, evenly: float
) -> Float[Tensor, " time"]:
    """The chance of each step of a noise schedule: a share spread evenly, the rest normal in the log-SNR."""
    middle = (log_snr[1:] + log_snr[:-1]) / 2
    edges = torch.cat([log_snr.new_tensor([torch.inf]), middle, log_snr.new_tensor([-torch.inf])])
    above = torch.special.ndtr((edges - mean) / deviation)
    return evenly / len(log_snr) + (1 - evenly) * (above[:-1] - above[1:])


class _Denoising(Task):
    """A network with the average of its weights, and a frozen text encoder that is not saved with them.

    With `read_from` the features that a part of the network gives out, on the 16 x 16 map or as 256 tokens, are read by a
    `SceneHead`, whose loss is added.
    """

    def __init__(
        self,
        network: Any,
        *,
        steps: int,
        lr: float,
        read_from: Any = None,
        channels: int = 0,
        reading_weight: float = 0.01,
    ):
        super().__init__()
        self.network = network
        self.average = EMA(network, steps=AVERAGED_STEPS)
        self.steps, self.lr, self.reading_weight = steps, lr, reading_weight
        self.head = SceneHead(channels) if read_from is not None else None
        self._seen: list[Tensor] = []
        if read_from is not None:
            read_from.register_forward_hook(lambda part, given, out: self._seen.append(_as_map(out)))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """AdamW without decay."""
        learned = nn.ModuleList([self.network] if self.head is None else [self.network, self.head])
        optimizer = adamw(learned, lr=self.lr, weight_decay=0.0, betas=(0.9, 0.99), clip_norm=1.0)
        self.average.follow(self.network, optimizer)
        return {"main": optimizer}

    def losses(self, error: Tensor, targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """The mean squared error, and with a head the sum of it and of what the head says of the features just seen."""
        if self.head is None:
            return {"loss": error}
        said = self.head(self._seen.pop())
        self._seen.clear()
        reading = torch.stack(list(oracle_loss(said, OracleTargets(*targets)).values())).sum()
        return {"loss": error + self.reading_weight * reading, "error": error, "reading": reading}


def _as_map(out: Any) -> Tensor:
    """What a block gives out, of a joint transformer the images' tokens, as a map."""
    seen: Tensor = out[-1] if isinstance(out, tuple) else out
    return seen if seen.ndim == 4 else seen.transpose(1, 2).unflatten(2, (MAP, MAP))


class NoiseTask(_Denoising):
    """Denoising by a `UNet2DConditionModel` of pixels rearranged by `PixelUnshuffleVAE`.

    Args:
        unet: of diffusers.
        text_encoder: a `CLIPTextModel`; left as it is.
        alphas_cumprod: abar of every step of the noise schedule.
        factor: of the rearrangement.
        prediction: "epsilon", "v_prediction" or "sample".
        density: of each step, in place of the same for all; see `time_density`.
        steps: over which the rate falls.
        lr: highest learning rate.
        head: `read_from`, `channels` and `reading_weight` of a `SceneHead`; batches then hold `OracleTargets`, too.
    """

    abar: Tensor
    reached: Tensor

    def __init__(
        self,
        unet: Any,
        text_encoder: Any,
        alphas_cumprod: Float[Tensor, " time"],
        *,
        factor: int = 2,
        prediction: str = "epsilon",
        density: Float[Tensor, " time"] | None = None,
        steps: int,
        lr: float = 8e-4,
        **head: Any,
    ):
        check_choice(prediction, ("epsilon", "v_prediction", "sample"), "prediction")
        super().__init__(unet, steps=steps, lr=lr, **head)
        self._frozen = (text_encoder.requires_grad_(False).eval(),)
        self.register_buffer("abar", alphas_cumprod.clone(), persistent=False)
        even = torch.full_like(alphas_cumprod, 1 / len(alphas_cumprod))
        self.register_buffer("reached", (even if density is None else density).double().cumsum(0), persistent=False)
        self.factor, self.prediction = factor, prediction

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The mean squared error of the noise, of v, or, weighted, of the image."""
        set_rate(self.optimizers_["main"], late_rate(step, self.steps, WARMUP))
        images, ids, *targets = batch
        with torch.no_grad():
            context = self._frozen[0](input_ids=ids).last_hidden_state
        x = functional.pixel_unshuffle(images, self.factor)
        uniforms = spread_uniforms(len(x), generator).double()
        t = torch.searchsorted(self.reached, uniforms, right=True).clamp(max=len(self.abar) - 1)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        abar = self.abar[t][:, None, None, None]
        noisy = abar.sqrt() * x + (1 - abar).sqrt() * noise
        predicted = self.network(noisy, t, encoder_hidden_states=context).sample
        if self.prediction == "sample":
            error = ((1 / (1 - abar)).clamp(max=MOST_WEIGHT) * (predicted - x) ** 2).mean()
        else:
            target = noise if self.prediction == "epsilon" else abar.sqrt() * noise - (1 - abar).sqrt() * x
            error = functional.mse_loss(predicted, target)
        return self.losses(error, targets)


class FlowTask(_Denoising):
    """Rectified flow by an `SD3Transformer2DModel` on pixels.

    Args:
        transformer: of diffusers.
        text_encoders: two `CLIPTextModelWithProjection`; left as they are.
        zero_tokens: how many empty tokens stand where a third text encoder's would.
        mean: of the log-SNR, which is normal.
        deviation: of the log-SNR.
        steps: over which the rate falls.
        lr: highest learning rate.
        head: `read_from`, `channels` and `reading_weight` of a `SceneHead`; batches then hold `OracleTargets`, too.
    """

    def __init__(
        self,
        transformer: Any,
        text_encoders: tuple[Any, Any],
        *,
        zero_tokens: int = 8,
        mean: float = 0.0,
        deviation: float = 2.0,
        steps: int,
        lr: float = 8e-4,
        **head: Any,
    ):
        super().__init__(transformer, steps=steps, lr=lr, **head)
        self._frozen = tuple(encoder.requires_grad_(False).eval() for encoder in text_encoders)
        self.zero_tokens, self.mean, self.deviation = zero_tokens, mean, deviation

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The mean squared error of the velocity."""
        set_rate(self.optimizers_["main"], late_rate(step, self.steps, WARMUP))
        x, ids, *targets = batch
        context, pooled = flow_context(self._frozen, ids, self.zero_tokens)
        normal = torch.special.ndtri(spread_uniforms(len(x), generator).clamp(1e-6, 1 - 1e-6))
        share = torch.sigmoid(-(self.mean + self.deviation * normal) / 2)  # the log-SNR is -2 logit of it
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        s = share[:, None, None, None]
        predicted = self.network(
            hidden_states=(1 - s) * x + s * noise,
            timestep=1000 * share,
            encoder_hidden_states=context,
            pooled_projections=pooled,
        ).sample
        return self.losses(functional.mse_loss(predicted, noise - x), targets)


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
