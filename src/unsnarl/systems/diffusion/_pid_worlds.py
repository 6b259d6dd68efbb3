"""Worlds in which everything is known: two words, a small picture, and the best denoiser in closed form.

Pictures are mixtures of Gaussians, and a word says which of them are possible. The mean of the noise given a noisy picture is then
a sum over the mixture, densities are exact, and what two words tell is log 2 or nothing. An estimate that is wrong here is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unsnarl.arrays import check_choice, check_range

WORLDS = ("unique", "copy", "xor")
SOURCES = ("first", "second", "both", "none")
WIDTH = 0.2
"""Five deviations between a mean and the border of the two: the bit is in the picture but for 1e-5 nats."""


@dataclass(frozen=True)
class MixtureWorld:
    """Two words of two values each, and pictures of one channel and two places that are told by them.

    Attributes:
        name: what the words tell: "unique": each its own place; "copy": both the same bit at the first place; "xor": the first place
            shows whether they are equal.
        means: of the mixture's parts, (part, 1, 2).
        values: of the two words in each part.
        width: deviation around a mean.
        redundancy: exact, in nats, at each place; likewise the next three.
        unique_1: what the first word alone tells.
        unique_2: what the second alone tells.
        synergy: what only both together tell.

    Examples:
        >>> world = mixture_world("xor")
        >>> x, values = world.draw(3, seed=0)
        >>> tuple(x.shape), tuple(values.shape), round(float(world.synergy[0]), 3)
        ((3, 1, 2), (3, 2), 0.693)
    """

    name: str
    means: Float[Tensor, "part 1 2"]
    values: Int[Tensor, "part 2"]
    redundancy: Float[Tensor, " 2"]
    unique_1: Float[Tensor, " 2"]
    unique_2: Float[Tensor, " 2"]
    synergy: Float[Tensor, " 2"]
    width: float = WIDTH

    def draw(self, n: int, seed: int = 0) -> tuple[Float[Tensor, "n 1 2"], Int[Tensor, "n 2"]]:
        """Pictures and the values of their words.

        Raises:
            OptionError: no picture.
        """
        check_range(n, "n", low=1, integer=True)
        generator = torch.Generator().manual_seed(seed)
        part = torch.randint(len(self.means), (n,), generator=generator)
        noise = torch.randn(n, *self.means.shape[1:], generator=generator, dtype=self.means.dtype)
        return self.means[part] + self.width * noise, self.values[part]

    def told(self, values: Int[Tensor, "n 2"], source: str) -> Float[Tensor, "n part"]:
        """The chances of the parts once a word, both or none are known, as the denoiser takes them.

        Raises:
            OptionError: another source than "first", "second", "both" or "none".
        """
        check_choice(source, SOURCES, "source")
        same = values[:, None] == self.values
        possible = {
            "first": same[..., 0],
            "second": same[..., 1],
            "both": same.all(-1),
            "none": torch.ones_like(same[..., 0]),
        }[source].to(self.means.dtype)
        return possible / possible.sum(1, keepdim=True)

    def denoiser(
        self, z: Float[Tensor, "rows 1 2"], log_snr: Float[Tensor, " rows"], chances: Float[Tensor, "rows part"]
    ) -> Float[Tensor, "rows 1 2"]:
        """The mean of the noise given the noisy picture and the chances of the parts: no network comes nearer."""
        signal, noise = (torch.sigmoid(sign * log_snr).sqrt()[:, None, None, None] for sign in (1, -1))
        spread = (signal * self.width) ** 2 + noise**2
        away = z[:, None] - signal * self.means  # (rows, part, 1, 2)
        score = chances.log() - (away**2 / (2 * spread)).flatten(2).sum(2)
        weights = torch.softmax(score, dim=1)[:, :, None, None]
        return (weights * noise * away / spread).sum(1)

    def log_density(self, x: Float[Tensor, "n 1 2"], chances: Float[Tensor, "n part"]) -> Float[Tensor, " n"]:
        """The log-density of pictures under the chances of the parts."""
        squares = ((x[:, None] - self.means) ** 2).flatten(2).sum(2) / (2 * self.width**2)
        normal = -math.log(2 * math.pi * self.width**2)  # two places
        return torch.logsumexp(chances.log() - squares, dim=1) + normal


def mixture_world(name: str) -> MixtureWorld:
    """The world of a name.

    Args:
        name: "unique", "copy" or "xor".

    Raises:
        OptionError: another name.
    """
    check_choice(name, WORLDS, "name")
    every = [(a, b) for a in (-1, 1) for b in (-1, 1)]
    if name == "copy":
        every = [(-1, -1), (1, 1)]
    means = [{"unique": (a, b), "copy": (a, 0), "xor": (a * b, 0)}[name] for a, b in every]
    bit, nothing = math.log(2), 0.0
    terms = {
        "unique": ((nothing, nothing), (bit, nothing), (nothing, bit), (nothing, nothing)),
        "copy": ((bit, nothing), (nothing, nothing), (nothing, nothing), (nothing, nothing)),
        "xor": ((nothing, nothing), (nothing, nothing), (nothing, nothing), (bit, nothing)),
    }[name]
    redundancy, first, second, synergy = (torch.tensor(term, dtype=torch.float64) for term in terms)
    return MixtureWorld(
        name=name,
        means=torch.tensor(means, dtype=torch.float64)[:, None],
        values=torch.tensor(every),
        redundancy=redundancy,
        unique_1=first,
        unique_2=second,
        synergy=synergy,
    )
