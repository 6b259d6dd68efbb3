"""Recipe of `gan-tiny-32`: a style-based generator of coloured sprites, and the losses it is trained by.

As in StyleGAN2 (Karras et al. 2020, arXiv 1912.04958), with D the discriminator's score and G(w) the image of a style:

- discriminator: E softplus(D(G(w))) + E softplus(-D(x)), and every 16th step 16 gamma / 2 E |grad_x D(x)|^2 (R1, Mescheder et al.
  2018, arXiv 1801.04406);
- generator: E softplus(-D(G(w))), and every 8th step 8 * 2 E (|J_w^T y| - a)^2, J_w being the Jacobian of the synthesis, y an
  image of noise and a the running mean of the lengths (eq. 4): steps of equal length in W change the image equally much.

What is kept is the average of the generator's weights, with the mean of its own styles to truncate towards.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from unsnarl.data._color_sprites import draw_sprites, render_color_sprites
from unsnarl.data.scenes import to_signed
from unsnarl.errors import CheckpointError
from unsnarl.training import EMA, Task
from unsnarl.zoo._networks import read_network, write_network
from unsnarl.zoo._recipe import Recipe
from unsnarl.zoo._schedule import set_rate
from unsnarl.zoo._style_gan import Discriminator, Generator

BATCH, IMAGES = 16, 112_000
R1_EVERY, PATH_EVERY = 16, 8
GAMMA = 0.1  # of R1; the published rule, 0.0002 * pixels / batch, gives 0.013, for photographs that differ far more than sprites
PATH_WEIGHT, PATH_FOLLOW = 2.0, 0.01
MIXED = 0.5  # share of images with two styles; 0.9 is published, for networks of more layers and trainings a hundred times as long
AVERAGED_STEPS = 500.0
FALL = 0.6  # from this share of the steps on the learning rate falls, to a tenth
CORRELATED = {("hue", "size"): 0.8, ("shape", "x"): 0.6}


class SpriteBatches:
    """Step t -> signed images (batch, 3, 32, 32) of coloured sprites; a function of (seed, t).

    Args:
        batch_size: sprites a step.
        seed: of all draws.
        correlate: pairs of factors drawn together, as in `unsnarl.data.draw_sprites`.
    """

    def __init__(self, batch_size: int, seed: int, correlate: Mapping[tuple[str, str], float] | None = None):
        self.batch_size, self.seed, self.correlate = batch_size, seed, correlate

    def rows(self, step: int) -> Float[np.ndarray, "batch 7"]:
        """The factors of a step's sprites."""
        return draw_sprites(self.batch_size, np.random.default_rng([self.seed, step, 31]), self.correlate)

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        return (to_signed(render_color_sprites(self.rows(step))),)


def path_lengths(
    generator: Generator, styles: Float[Tensor, "n layer style"], direction: Float[Tensor, "n 3 side side"]
) -> Float[Tensor, " n"]:
    """|J^T y| of the synthesis at w+: root of the mean over layers of the squared norm; can be differentiated again.

    Args:
        generator: whose synthesis it is.
        styles: w+ that require gradients.
        direction: y, normal noise over the root of the number of pixels.
    """
    images = generator.synthesize(styles)
    (slope,) = torch.autograd.grad((images * direction).sum(), styles, create_graph=True)
    return slope.square().sum(2).mean(1).add(1e-12).sqrt()


def squared_slopes(scores: Float[Tensor, " n"], images: Float[Tensor, "n 3 side side"]) -> Float[Tensor, " n"]:
    """|grad_x D(x)|^2 of each image, which can be differentiated again."""
    (slope,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return slope.square().sum((1, 2, 3))


class GanTask(Task):
    """The generator's and the discriminator's game; see the module.

    Args:
        steps: over which the rate falls.
        lr: highest learning rate of both.
        gamma: weight of R1.
        path_weight: weight of the path lengths.
        mixed: share of images with two styles.
        generator: one of another size.
        discriminator: one of another size, or any module that gives each image a score.
    """

    path_mean: Tensor

    def __init__(
        self,
        *,
        steps: int,
        lr: float = 2e-3,
        gamma: float = GAMMA,
        path_weight: float = PATH_WEIGHT,
        mixed: float = MIXED,
        generator: Generator | None = None,
        discriminator: nn.Module | None = None,
    ):
        super().__init__()
        self.generator = Generator() if generator is None else generator
        self.discriminator = Discriminator() if discriminator is None else discriminator
        self.average = EMA(self.generator, steps=AVERAGED_STEPS)
        self.register_buffer("path_mean", torch.zeros(()))
        self.steps, self.lr, self.gamma, self.path_weight, self.mixed = steps, lr, gamma, path_weight, mixed

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam without momentum for each of the two."""
        made: dict[str, torch.optim.Optimizer] = {}
        for name, network in (("discriminator", self.discriminator), ("generator", self.generator)):
            group: dict[str, Any] = {"params": list(network.parameters()), "highest_lr": self.lr}
            made[name] = torch.optim.Adam([group], lr=self.lr, betas=(0.0, 0.99), eps=1e-8, fused=True)
        self.average.follow(self.generator, made["generator"])
        return made

    def rate(self, step: int) -> float:
        """Share of the highest learning rate: 1, then falling in a line to a tenth."""
        done = step / max(1, self.steps)
        return 1.0 - 0.9 * max(0.0, min(1.0, (done - FALL) / (1.0 - FALL)))

    def styles(self, n: int, generator: torch.Generator) -> Float[Tensor, "n layer style"]:
        """Random w+, of which a share takes its layers from some layer on from a second style."""
        network, device = self.generator, generator.device
        z = torch.randn(2, n, network.latent, generator=generator, device=device)
        first = network.style(z[0])
        if self.training:
            network.follow(first.detach())
        mixed = torch.rand(n, 1, 1, generator=generator, device=device) < self.mixed
        cut = torch.randint(1, network.layers, (n, 1, 1), generator=generator, device=device)
        place = torch.arange(network.layers, device=device)[None, :, None]
        return torch.where(mixed & (place >= cut), network.spread(network.style(z[1])), network.spread(first))

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The losses of one of the two."""
        set_rate(self.optimizers_[phase], self.rate(step))
        ours = phase == "generator"
        self.generator.requires_grad_(ours)  # what the other phase moves needs no gradient
        self.discriminator.requires_grad_(not ours)
        (images,) = batch
        if ours:
            return self._generator_losses(len(images), step, generator)
        return self._discriminator_losses(images, step, generator)

    def _discriminator_losses(self, images: Tensor, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            made = self.generator.synthesize(self.styles(len(images), generator))
        lazy = step % R1_EVERY == R1_EVERY - 1
        images = images.detach().requires_grad_(lazy)
        real, fake = self.discriminator(images), self.discriminator(made)
        loss = functional.softplus(fake).mean() + functional.softplus(-real).mean()
        logged = {"game": loss.detach(), "real": real.detach().mean(), "fake": fake.detach().mean()}
        if lazy:
            r1 = squared_slopes(real, images).mean()
            loss = loss + 0.5 * self.gamma * R1_EVERY * r1
            logged["r1"] = r1.detach()
        return {"loss": loss, **logged}

    def _generator_losses(self, n: int, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        made = self.generator.synthesize(self.styles(n, generator))
        loss = functional.softplus(-self.discriminator(made)).mean()
        logged = {"game": loss.detach()}
        if step % PATH_EVERY == PATH_EVERY - 1 and self.path_weight:
            styles = self.styles(max(1, n // 2), generator)
            noise = torch.randn(len(styles), *made.shape[1:], generator=generator, device=made.device)
            lengths = path_lengths(self.generator, styles, noise / math.sqrt(made.shape[2] * made.shape[3]))
            self.path_mean.lerp_(lengths.detach().mean(), PATH_FOLLOW)
            loss = loss + self.path_weight * PATH_EVERY * (lengths - self.path_mean).square().mean()
            logged |= {"path": lengths.detach().mean(), "path_spread": lengths.detach().std(correction=0)}
        return {"loss": loss, **logged}


@torch.no_grad()
def settle_mean(generator: Generator, n: int = 10_000, seed: int = 0) -> None:
    """Set the mean style to that of n fresh styles.

    The running mean was taken of the weights as they were trained; of their average it is a little off.
    """
    z = torch.randn(n, generator.latent, generator=torch.Generator().manual_seed(seed))
    generator.mean_w.copy_(generator.style(z.to(generator.mean_w.device)).mean(0))


def write_generator(generator: Generator, folder: Path) -> None:
    """A generator as model.safetensors in half precision, and config.json."""
    write_network(generator, folder, {"network": "Generator", **generator.config})


def read_generator(folder: Path) -> Generator:
    """What `write_generator` wrote, in single precision.

    Raises:
        CheckpointError: a missing or damaged file.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config.pop("network")
        generator = Generator(**{**config, "widths": tuple(config["widths"])})
    except (OSError, ValueError, TypeError, KeyError):
        raise CheckpointError(f"{folder / 'config.json'} is missing or damaged") from None
    return read_network(generator, folder)


def _export(task: Any, models: Mapping[str, Any], folder: Path) -> None:
    generator = copy.deepcopy(task.average.module).eval()
    settle_mean(generator)
    write_generator(generator, folder)


def gan_recipe(
    name: str,
    summary: str,
    correlate: Mapping[tuple[str, str], float] | None = None,
    *,
    images: int = IMAGES,
    batch_size: int = BATCH,
    seed: int = 8,
) -> Recipe:
    """A recipe of a generator of sprites.

    Args:
        name: of the model.
        summary: what it is, in a line.
        correlate: pairs of factors that go together in the images it is trained on.
        images: shown in all.
        batch_size: images a step.
        seed: of everything.
    """
    return Recipe(
        name=name,
        summary=summary,
        make=lambda models, steps: GanTask(steps=steps),
        batches=lambda models: SpriteBatches(batch_size, seed, correlate),
        export=_export,
        load=read_generator,
        steps=images // batch_size,
        batch_size=batch_size,
        seed=seed,
        data="coloured sprites",
        settings={
            "gamma": GAMMA,
            "path_weight": PATH_WEIGHT,
            "mixed": MIXED,
            "correlate": {" ".join(pair): strength for pair, strength in (correlate or {}).items()},
        },
    )


GAN_TINY = gan_recipe("gan-tiny-32", "coloured sprites, 32 x 32: a style-based generator of a million parameters")
GAN_CORRELATED = gan_recipe(
    "gan-correlated-32",
    "as gan-tiny-32, trained on sprites whose hue goes with their size and whose shape goes with their place",
    CORRELATED,
    seed=9,
)
