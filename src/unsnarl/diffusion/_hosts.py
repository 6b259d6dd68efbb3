"""One way to ask any text-to-image pipeline, whatever its denoiser predicts and however it is conditioned.

A `Host` is a pipeline of diffusers with three kinds of questions: what is the noise in these latents at this log-SNR (for
information), what would its training have shown and asked (for tuning), and images of these texts or vectors (for looking).
The pipeline stays the ordinary object; nothing in it is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from unsnarl.arrays import check_range, check_same_length
from unsnarl.diffusion._conditions import Condition
from unsnarl.diffusion._pipelines import load_pipeline
from unsnarl.diffusion._predictions import flow_log_snr, flow_norm, flow_share, target_of, to_noise
from unsnarl.errors import DataError, OptionError

FLOW_STEPS = 1000
WITHOUT_THIRD = 8  # zero tokens in place of a third text encoder that the zoo's transformer was trained with
PUBLISHED_LENGTH, THIRD_LENGTH = 77, 256  # tokens of CLIP's texts, and of the third encoder's


class Host:
    """A text-to-image pipeline with a UNet (Stable Diffusion 1 and 2) or a joint transformer (Stable Diffusion 3).

    Args:
        pipeline: a pipeline, a name ("zoo/sd-tiny-32", a hub name), a folder, or another host.
        zero_tokens: Stable Diffusion 3 only: tokens of the third text encoder, or of zeros in its place. When absent: 256, and 8 for
            pipelines whose texts are shorter than the published 77 tokens.

    Attributes:
        pipeline: the pipeline.
        denoiser: its UNet or transformer.
        kind: "unet" or "transformer".
        prediction: "epsilon", "v_prediction", "sample" or "flow".
        log_snr: of the steps 0 to T - 1 of its noise schedule, falling.
        latent_shape: (channels, height, width).
        image_size: pixels a side.

    Raises:
        OptionError: a pipeline of another family.
    """

    def __init__(self, pipeline: Any, *, zero_tokens: int | None = None):
        self.pipeline: Any = pipeline.pipeline if isinstance(pipeline, Host) else load_pipeline(pipeline)
        self.kind, self.denoiser = _denoiser(self.pipeline)
        scheduler, vae = self.pipeline.scheduler, self.pipeline.vae
        if self.kind == "unet":
            self.prediction = str(getattr(scheduler.config, "prediction_type", "epsilon"))
            abar = torch.as_tensor(scheduler.alphas_cumprod).double().clamp(1e-12, 1 - 1e-12)
            self.log_snr = torch.logit(abar).float()
        else:
            self.prediction = "flow"
            self.log_snr = flow_log_snr((torch.arange(FLOW_STEPS) + 0.5) / FLOW_STEPS)
        side = self.denoiser.config.sample_size
        height, width = side if isinstance(side, (tuple, list)) else (side, side)
        self.latent_shape = (int(self.denoiser.config.in_channels), int(height), int(width))
        self.image_size = int(height) * int(self.pipeline.vae_scale_factor)
        self._scaling = float(getattr(vae.config, "scaling_factor", 1.0))
        self._shift = float(getattr(vae.config, "shift_factor", None) or 0.0)
        length = self.pipeline.tokenizer.model_max_length
        self.zero_tokens = zero_tokens or (WITHOUT_THIRD if length < PUBLISHED_LENGTH else THIRD_LENGTH)
        self.text_length = length if self.kind == "unet" else length + self.zero_tokens

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the denoiser."""
        return next(self.denoiser.parameters()).dtype

    # images and texts

    @torch.no_grad()
    def encode_images(self, images: Float[Tensor, "n channel height width"]) -> Float[Tensor, "n c h w"]:
        """Images in [-1, 1] as latents in the scale of the denoiser: the mode of the posterior, no noise.

        Raises:
            DataError: not images, or not in [-1, 1].
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise DataError(f"images must have the shape (n, 3, height, width), got {tuple(images.shape)}")
        if not bool(images.isfinite().all()) or float(images.abs().max()) > 1.001:
            raise DataError("images must be finite and in [-1, 1]")
        vae = self.pipeline.vae
        first = next(chain(vae.parameters(), vae.buffers()))
        code = vae.encode(images.to(first.device, first.dtype)).latent_dist.mode()
        return ((code - self._shift) * self._scaling).to(self.device, self.dtype)

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 height width"]:
        """Latents as images, clipped to [-1, 1]."""
        vae = self.pipeline.vae
        first = next(chain(vae.parameters(), vae.buffers()))
        code = (latents / self._scaling + self._shift).to(first.device, first.dtype)
        return vae.decode(code, return_dict=False)[0].clamp(-1, 1).float()

    def encode_texts(self, texts: Sequence[str], *, gradients: bool = False) -> Condition:
        """Texts as the denoiser reads them.

        Args:
            texts: one or more.
            gradients: keep them, for learned words and tuned text encoders.

        Raises:
            DataError: no text.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise DataError("texts must have at least one element")
        with torch.set_grad_enabled(gradients and torch.is_grad_enabled()):
            if self.kind == "unet":
                return Condition(self.pipeline.encode_prompt(texts, self.device, 1, False)[0])
            context, _, pooled, _ = self.pipeline.encode_prompt(
                [_with_further_vectors(text, self.pipeline.tokenizer) for text in texts],
                prompt_2=None,
                prompt_3=None,
                device=self.device,
                do_classifier_free_guidance=False,
                max_sequence_length=self.zero_tokens,
            )
            return Condition(context, pooled)

    # information: the variance-preserving channel

    def snap(self, log_snr: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], Shaped[Tensor, " n"]]:
        """The nearest log-SNR that the denoiser knows, and its time; a flow knows all of them.

        A UNet has one time embedding a step of its schedule: noise of a log-SNR between two steps would be shown to it as
        noise of another.
        """
        if self.prediction == "flow":
            return log_snr, FLOW_STEPS * flow_share(log_snr)
        known = self.log_snr.to(log_snr)
        times = (log_snr[:, None] - known).abs().argmin(1)
        return known[times], times

    def predict_noise(
        self, z: Float[Tensor, "n c h w"], log_snr: Float[Tensor, " n"], condition: Condition
    ) -> Float[Tensor, "n c h w"]:
        """The noise that the denoiser sees in z = sqrt(sigmoid(a)) x + sqrt(sigmoid(-a)) e.

        Args:
            z: noisy latents.
            log_snr: a, as `snap` gives it.
            condition: of one row, or of n.

        Returns:
            Its estimate of e, whatever it predicts; differentiable. One pass.
        """
        _, times = self.snap(log_snr)
        inside = (z * flow_norm(flow_share(log_snr))).to(z.dtype) if self.prediction == "flow" else z
        return to_noise(self.prediction, self.predict(inside, times, condition), z, log_snr)

    # training: the host's own channel and target

    def draw_times(self, n: int, generator: torch.Generator | None = None) -> Shaped[Tensor, " n"]:
        """Times as its family is trained: steps drawn evenly, or for flows 1000 times a logit-normal share of noise."""
        where = None if generator is None else generator.device
        if self.prediction == "flow":
            return FLOW_STEPS * torch.sigmoid(torch.randn(n, generator=generator, device=where)).to(self.device)
        return torch.randint(0, len(self.log_snr), (n,), generator=generator, device=where).to(self.device)

    def log_snr_at(self, times: Shaped[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The log-SNR at times."""
        if self.prediction == "flow":
            return flow_log_snr(times / FLOW_STEPS)
        return self.log_snr.to(times.device)[times.long()]

    def add_noise(
        self, latents: Float[Tensor, "n c h w"], times: Shaped[Tensor, " n"], noise: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n c h w"]:
        """Noisy latents in the channel that the denoiser was trained on."""
        if self.prediction == "flow":
            share = (times / FLOW_STEPS).to(latents)[:, None, None, None]
            return (1 - share) * latents + share * noise
        log_snr = self.log_snr_at(times).to(latents)[:, None, None, None]
        return torch.sigmoid(log_snr).sqrt() * latents + torch.sigmoid(-log_snr).sqrt() * noise

    def target(
        self, latents: Float[Tensor, "n c h w"], times: Shaped[Tensor, " n"], noise: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n c h w"]:
        """What the denoiser should answer to `add_noise`."""
        return target_of(self.prediction, latents, noise, self.log_snr_at(times).to(latents))

    def predict(
        self, z: Float[Tensor, "n c h w"], times: Shaped[Tensor, " n"], condition: Condition, **kwargs: Any
    ) -> Float[Tensor, "n c h w"]:
        """The denoiser's own answer; further keywords go to it. Differentiable."""
        told = condition.expand(len(z))
        if self.kind == "unet":
            return self.denoiser(z, times, encoder_hidden_states=told.context, **kwargs).sample
        return self.denoiser(
            hidden_states=z,
            timestep=times.to(z.dtype),
            encoder_hidden_states=told.context,
            pooled_projections=told.pooled,
            **kwargs,
        ).sample

    # looking

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str] | str | None = None,
        *,
        seeds: Sequence[int],
        steps: int = 25,
        guidance: float = 3.0,
        negative: str = "",
        rows: int = 16,
        conditions: Condition | None = None,
        negative_conditions: Condition | None = None,
        **kwargs: Any,
    ) -> Float[Tensor, "n 3 height width"]:
        """Images through the pipeline's own call; image i depends on its prompt and on seeds[i] alone.

        Args:
            prompts: one for all seeds, or one a seed.
            seeds: one an image.
            steps: of sampling.
            guidance: scale of classifier-free guidance; 1 is none.
            negative: what guidance leads away from.
            rows: images at a time.
            conditions: in place of prompts; of one row or of n.
            negative_conditions: in place of `negative`; of one row or of n.
            kwargs: go to the pipeline.

        Returns:
            Images in [-1, 1].

        Raises:
            OptionError: neither prompts nor conditions, or both.
            DataError: prompts and seeds of different numbers.
        """
        seeds = list(seeds)
        check_range(steps, "steps", low=1, integer=True)
        check_range(rows, "rows", low=1, integer=True)
        if (prompts is None) == (conditions is None):
            raise OptionError("give either prompts or conditions")
        if conditions is None:
            texts = [prompts] if isinstance(prompts, str) else list(prompts or [])
            texts = texts * len(seeds) if len(texts) == 1 else texts
            check_same_length(prompts=texts, seeds=seeds)
            distinct = list(dict.fromkeys(texts))
            conditions = self.encode_texts(distinct)[torch.tensor([distinct.index(text) for text in texts])]
        told = conditions.expand(len(seeds))
        against = None
        if guidance > 1:
            against = negative_conditions if negative_conditions is not None else self.encode_texts([negative])
            against = against.expand(len(seeds))
        images = []
        for start in range(0, len(seeds), rows):
            part = slice(start, start + rows)
            asked = _embeddings(told[part], None if against is None else against[part])
            generators = [torch.Generator(self.device).manual_seed(seed) for seed in seeds[part]]
            made = self.pipeline(
                **asked,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=generators,
                output_type="pt",
                **kwargs,
            ).images
            images.append(made.float() * 2 - 1)
        return torch.cat(images)


def _denoiser(pipeline: Any) -> tuple[str, Any]:
    unet, transformer = getattr(pipeline, "unet", None), getattr(pipeline, "transformer", None)
    needed = all(getattr(pipeline, part, None) is not None for part in ("vae", "scheduler", "tokenizer"))
    if needed and unet is not None and getattr(unet.config, "addition_embed_type", None) is None:
        return "unet", unet
    if needed and type(transformer).__name__ == "SD3Transformer2DModel":
        return "transformer", transformer
    raise OptionError(
        f"{type(pipeline).__name__} is of a family that is not supported; supported are Stable Diffusion 1 and 2 (a UNet that "
        "reads one text encoder) and Stable Diffusion 3 (an SD3Transformer2DModel)"
    )


def _with_further_vectors(text: str, tokenizer: Any) -> str:
    """Learned words of several vectors written out, "<new>" as "<new> <new>_1", as pipelines with a UNet do by themselves."""
    added = tokenizer.added_tokens_encoder
    for word in added:
        if f"{word}_1" in added and word in text:
            number, written = 1, word
            while f"{word}_{number}" in added:
                written += f" {word}_{number}"
                number += 1
            text = text.replace(word, written)
    return text


def _embeddings(told: Condition, against: Condition | None) -> dict[str, Tensor]:
    named = {"prompt_embeds": told.context, "pooled_prompt_embeds": told.pooled}
    if against is not None:
        named |= {"negative_prompt_embeds": against.context, "negative_pooled_prompt_embeds": against.pooled}
    return {name: value for name, value in named.items() if value is not None}
