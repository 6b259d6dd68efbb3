"""InfoWGAN-GP and its quantized-latent form (Hsu et al. 2023, arXiv 2305.18378).

A generator turns latents into images; one encoder both judges images (the critic of a Wasserstein GAN with gradient
penalty, Gulrajani et al. 2017) and recovers their latents (InfoGAN, Chen et al. 2016). In the quantized form the latents
are drawn uniformly from learned values, and the recovered ones snap to them.

    zf_j ~ Uniform(V_j),  xf = sigmoid(G(zf))                        (continuous: zf ~ U(0, 1), no quantizer)
    encoder:   value (c(xf) - c(x)) + gradient (||grad c(eps x + (1 - eps) xf)|| - 1)^2
               + latent mean_j (z(xf)_j - zf_j)^2 + quantization + commitment
    generator: -value c(xf) + latent mean_j (z(xf)_j - zf_j)^2 + quantization + commitment, every fifth step

The generator step moves generator and values; the encoder step never moves the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from unsnarl.arrays import check_range
from unsnarl.errors import DataError
from unsnarl.nn import Architecture, Quantized, ScalarQuantizer
from unsnarl.objectives import commitment_loss, quantization_loss
from unsnarl.systems.latents._learner import LatentLearner
from unsnarl.systems.latents._task import AutoencoderTask
from unsnarl.training import decayed_adam


class InfoWGANTask(AutoencoderTask):
    """Encoder and generator phases; with `levels`, latents are quantized."""

    def __init__(
        self,
        *args: Any,
        levels: int | None,
        weights: dict[str, float],
        generator_every: int,
        betas: tuple[float, float],
        **options: Any,
    ):
        super().__init__(*args, **options)
        self.critic = nn.Linear(self.encoder.feature_size, 1)
        self.quantizer = None if levels is None else ScalarQuantizer(self.latents, levels)
        self.weights, self.generator_every, self.betas = weights, generator_every, betas

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Encoder and critic; generator and values."""
        encoder, generator = [self.encoder, self.critic], [self.decoder]
        values = [] if self.quantizer is None else [self.quantizer]
        options: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay}
        options |= {"betas": self.betas, "clip_value": 1.0}
        return {
            "encoder": decayed_adam(encoder, **options),
            "generator": decayed_adam(generator, undecayed=values, **options),
        }

    def schedule(self, step: int) -> Sequence[str]:
        """The encoder every step, the generator every `generator_every`-th."""
        return ("encoder", "generator") if (step + 1) % self.generator_every == 0 else ("encoder",)

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, "n latent"]:
        """Latents from their prior."""
        if self.quantizer is not None:
            return self.quantizer.sample(n, generator)
        return torch.rand(n, self.latents, generator=generator, device=generator.device)

    def read(self, x: Float[Tensor, "batch ..."]) -> tuple[Quantized, Float[Tensor, " batch"]]:
        """The latents that the encoder recovers, and the critic's value."""
        features = self.encoder.features(x)
        z, value = self.encoder.head(features), self.critic(features).squeeze(1)
        return (Quantized(z, z, z, z) if self.quantizer is None else self.quantizer(z)), value

    def value(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, " batch"]:
        """The critic alone."""
        return self.critic(self.encoder.features(x)).squeeze(1)

    def codes(self, x: Float[Tensor, "batch ..."]) -> Shaped[Tensor, "batch latent"]:
        """Level indices, or continuous latents."""
        return self.read(x)[0].indices

    def decoder_input(self, codes: Shaped[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
        """The values of level indices; floats are taken as values."""
        if self.quantizer is None or codes.is_floating_point():
            return codes.float()
        return self.quantizer.lookup(codes.long())

    def latent_terms(self, z: Quantized, drawn: Float[Tensor, "batch latent"]) -> dict[str, Tensor]:
        """How far the recovered latents are from the drawn ones, and from their values."""
        terms = {"latent": (z.straight_through - drawn).square().mean()}
        if self.quantizer is not None:
            terms["quantization"] = quantization_loss(z.continuous, z.quantized)
            terms["commitment"] = commitment_loss(z.continuous, z.quantized)
        return terms

    def gradient_penalty(self, x: Tensor, fake: Tensor, generator: torch.Generator) -> Float[Tensor, ""]:
        """(norm of the critic's gradient at a random mixture - 1)^2, mean over the batch."""
        mix = torch.rand(len(x), *[1] * (x.ndim - 1), generator=generator, device=x.device)
        between = (mix * x + (1 - mix) * fake).requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.value(between).sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The encoder's or the generator's loss of the module's docstring."""
        x = batch[0]
        if phase == "encoder":
            with torch.no_grad():  # neither generator nor values move here
                drawn = self.draw(len(x), generator)
                fake = torch.sigmoid(self.decoder(drawn))
            z, fake_value = self.read(fake)
            terms = {"value": (fake_value - self.value(x)).mean()}
            terms["gradient"] = self.gradient_penalty(x, fake, generator)
        else:
            drawn = self.draw(len(x), generator)
            z, fake_value = self.read(torch.sigmoid(self.decoder(drawn)))
            terms = {"value": -fake_value.mean()}
        terms |= self.latent_terms(z, drawn)
        loss = sum((self.weights[name] * term for name, term in terms.items()), torch.zeros((), device=x.device))
        return {"loss": loss, **terms}


class InfoWGANGP(LatentLearner):
    """InfoWGAN-GP with continuous latents, uniform on [0, 1].

    `transform` recovers latents with the encoder; `decode` generates; `reconstruct` does both.

    Args:
        latents: number of latents.
        network: "auto", a name of `unsnarl.nn.ARCHITECTURES`, or an `Architecture`.
        value_weight: weight of the critic's value.
        gradient_weight: weight of the gradient penalty.
        latent_weight: weight of the recovery of latents.
        generator_every: the generator learns every so many steps.
        weight_decay: decoupled weight decay.
        lr: learning rate.
        betas: Adam's moment decays.
        batch_size: observations a step.
        steps: encoder steps of `fit`.
        seed: seed of weights, batches and latents.
    """

    levels: int | None = None
    task_: InfoWGANTask

    def __init__(
        self,
        latents: int = 10,
        *,
        network: str | Architecture = "auto",
        value_weight: float = 1.0,
        gradient_weight: float = 10.0,
        latent_weight: float = 200.0,
        generator_every: int = 5,
        weight_decay: float = 1e-4,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.0, 0.9),
        batch_size: int = 64,
        steps: int = 200_000,
        seed: int = 0,
    ):
        self.latents = latents
        self.network = network
        self.value_weight = value_weight
        self.gradient_weight = gradient_weight
        self.latent_weight = latent_weight
        self.generator_every = generator_every
        self.weight_decay = weight_decay
        self.lr = lr
        self.betas = betas
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed

    def _check_options(self) -> None:
        super()._check_options()
        for name in ("value_weight", "gradient_weight", "latent_weight"):
            check_range(getattr(self, name), name, low=0)
        check_range(self.generator_every, "generator_every", low=1, integer=True)

    def _weights(self) -> dict[str, float]:
        return {"value": self.value_weight, "gradient": self.gradient_weight, "latent": self.latent_weight}

    def _make_networks(
        self, architecture: Architecture, shape: tuple[int, ...], likelihood: str, n: int
    ) -> InfoWGANTask:
        if likelihood != "bernoulli":
            raise DataError(f"{type(self).__name__} generates images; observations of shape {shape} are a table")
        return InfoWGANTask(
            architecture,
            shape,
            self.latents,
            likelihood,
            lr=self.lr,
            weight_decay=self.weight_decay,
            levels=self.levels,
            weights=self._weights(),
            generator_every=self.generator_every,
            betas=(self.betas[0], self.betas[1]),
        )

    def sample(self, n: int, seed: int = 0) -> Float[Tensor, "n ..."]:
        """Images generated from draws of the latents."""
        check_range(n, "n", low=1, integer=True)
        self._check_fitted()
        with torch.inference_mode():
            return self.decode(self.task_.draw(n, torch.Generator().manual_seed(seed)))


class QuantizedInfoWGANGP(InfoWGANGP):
    """InfoWGAN-GP whose latents each take one of a few learned scalar values.

    Args:
        latents: number of latents; the paper uses twice the number of factors.
        levels: number of values of each latent.
        network: "auto", a name of `unsnarl.nn.ARCHITECTURES`, or an `Architecture`.
        value_weight: weight of the critic's value.
        gradient_weight: weight of the gradient penalty.
        latent_weight: weight of the recovery of latents.
        quantization: weight of the pull on the values.
        commitment: weight of the pull on the encoder.
        generator_every: the generator learns every so many steps.
        weight_decay: decoupled weight decay (1e-3 for 3D Shapes in the paper).
        lr: learning rate.
        betas: Adam's moment decays.
        batch_size: observations a step.
        steps: encoder steps of `fit`.
        seed: seed of weights, batches and latents.
    """

    discrete_codes = True

    def __init__(
        self,
        latents: int = 10,
        levels: int = 10,
        *,
        network: str | Architecture = "auto",
        value_weight: float = 1.0,
        gradient_weight: float = 10.0,
        latent_weight: float = 200.0,
        quantization: float = 0.01,
        commitment: float = 0.01,
        generator_every: int = 5,
        weight_decay: float = 1e-4,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.0, 0.9),
        batch_size: int = 64,
        steps: int = 200_000,
        seed: int = 0,
    ):
        super().__init__(
            latents,
            network=network,
            value_weight=value_weight,
            gradient_weight=gradient_weight,
            latent_weight=latent_weight,
            generator_every=generator_every,
            weight_decay=weight_decay,
            lr=lr,
            betas=betas,
            batch_size=batch_size,
            steps=steps,
            seed=seed,
        )
        self.levels: int = levels
        self.quantization = quantization
        self.commitment = commitment

    def _check_options(self) -> None:
        super()._check_options()
        check_range(self.levels, "levels", low=2, integer=True)
        check_range(self.quantization, "quantization", low=0)
        check_range(self.commitment, "commitment", low=0)

    def _weights(self) -> dict[str, float]:
        return super()._weights() | {"quantization": self.quantization, "commitment": self.commitment}

    def encode(self, X: Any) -> tuple[Float[np.ndarray, "n latent"], Int[np.ndarray, "n latent"]]:
        """Quantized values and their level indices."""
        indices = self._map(X, lambda x: self.task_.codes(x))
        with torch.inference_mode():
            return self.task_.decoder_input(indices).numpy(), indices.numpy()

    def latent_values(self, latent: int, n_values: int = 7) -> Int[np.ndarray, " value"]:
        """Level indices of a latent in the order of their values, evenly thinned to at most `n_values`."""
        assert self.task_.quantizer is not None
        return self.task_.quantizer.ordered_levels(latent, n_values)
