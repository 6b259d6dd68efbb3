"""Mutual information by a trained statistics network (MINE), the usual way without compression, and our baseline.

Belghazi et al. 2018, "Mutual Information Neural Estimation" (arXiv 1801.04062). The Donsker-Varadhan bound

    I(X; Y) >= E_p(x,y) T(x, y) - log E_p(x)p(y) exp T(x, y)

is maximised over a network T. The gradient of the logarithm of a mean over a minibatch is biased; as in the paper's section 3.2 the
batch mean in its denominator is replaced by an exponential moving average.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from unsnarl.arrays import check_choice, check_range, check_same_length
from unsnarl.errors import DataError
from unsnarl.measures.lossy._compressors import as_observations
from unsnarl.training import Task, TensorBatches, as_input, stream_seed, train

SHUFFLES = 10  # pairings of x with other rows' y, for the second term of the bound on held-out pairs


class MineEstimate(NamedTuple):
    """A Donsker-Varadhan bound in nats on pairs the network did not learn from, and its standard error.

    `history` holds (step, bound on the validation pairs).
    """

    mi: float
    standard_error: float
    history: list[tuple[int, float]]


class StatisticsNetwork(nn.Module):
    """T(x, y): features of x and of y, side by side, through dense layers to one number.

    Args:
        x_shape: shape of one x, (features,) or (channels, height, width).
        y_shape: shape of one y.
        hidden: widths of the dense layers.
        convolutional: see images through three 3x3 convolutions of 8, 16 and 32 channels with max-pooling first.
    """

    def __init__(self, x_shape: Sequence[int], y_shape: Sequence[int], hidden: Sequence[int], *, convolutional: bool):
        super().__init__()
        self.x_part, x_size = _features(x_shape, convolutional)
        self.y_part, y_size = _features(y_shape, convolutional)
        sizes = [x_size + y_size, *hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))

    def forward(self, x: Float[Tensor, "n ..."], y: Float[Tensor, "n ..."]) -> Float[Tensor, "n"]:
        """T of each pair."""
        return self.body(torch.cat([self.x_part(x), self.y_part(y)], dim=1))[:, 0]


def _features(shape: Sequence[int], convolutional: bool) -> tuple[nn.Module, int]:
    if not (convolutional and len(shape) == 3):
        return nn.Flatten(), math.prod(shape)
    layers: list[nn.Module] = []
    channels, height, width = shape
    for out in (8, 16, 32):
        layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        channels, height, width = out, math.ceil(height / 2), math.ceil(width / 2)
    return nn.Sequential(*layers, nn.Flatten()), channels * height * width


class MineTask(Task):
    """Minus the bound, with the moving average in the gradient.

    Args:
        network: T, called as network(x, y) -> (n,).
        lr: learning rate of Adam.
        ema: weight of the past in the moving average of the mean of exp T; 0 gives the biased gradient.
    """

    log_average: Tensor

    def __init__(self, network: nn.Module, *, lr: float, ema: float):
        super().__init__()
        self.network, self.lr, self.ema = network, lr, ema
        self.register_buffer("log_average", torch.tensor(-math.inf))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam."""
        return {"main": torch.optim.Adam(self.network.parameters(), lr=self.lr, fused=True)}

    def forward(
        self, phase: str, batch: tuple[Tensor, ...], step: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The gradient is that of -(E_p T - E_q exp T / average); the value logged as `bound` that of the bound itself."""
        x, y = batch
        n = len(x)
        other = y[torch.randperm(n, generator=generator, device=y.device)]
        joint, apart = self.network(torch.cat([x, x]), torch.cat([y, other])).split(n)
        log_mean = torch.logsumexp(apart, 0) - math.log(n)
        with torch.no_grad():
            now = log_mean.detach()
            if bool(torch.isinf(self.log_average)):
                self.log_average.copy_(now)
            elif self.ema:
                past = self.log_average + math.log(self.ema)
                self.log_average.copy_(torch.logaddexp(past, now + math.log1p(-self.ema)))
            else:
                self.log_average.copy_(now)
        ratio = torch.exp(torch.logsumexp(apart, 0) - math.log(n) - self.log_average)
        return {"loss": ratio - joint.mean(), "bound": (joint.mean() - log_mean).detach()}


def mine_mutual_information(
    x: Any,
    y: Any,
    *,
    network: Literal["dense", "conv"] | nn.Module | str = "dense",
    hidden: Sequence[int] = (128, 128),
    steps: int = 2000,
    batch_size: int = 256,
    lr: float = 1e-3,
    ema: float = 0.99,
    held_out: float = 0.3,
    validate_every: int = 50,
    seed: int = 0,
    progress: bool = False,
    callbacks: Sequence[Callable[[int], None]] = (),
) -> MineEstimate:
    """Mutual information in nats by MINE (Belghazi et al. 2018), with the bound read on pairs that were held out.

    The equations are at the head of this module. The published estimate is read on the training pairs, where a network that
    memorises a finite sample makes it as large as one likes. Here a third of the held-out pairs chooses the step (the highest bound),
    and the other two thirds give the estimate; so it is a lower bound up to chance.

    Args:
        x: n observations: images, or a table (n, features).
        y: n observations.
        network: "dense", "conv" (images go through convolutions first), or a module called as network(x, y) -> (n,), which is
            trained in place.
        hidden: widths of the dense layers.
        steps: training steps.
        batch_size: pairs a step; as many shuffled pairs are made of them.
        lr: learning rate of Adam.
        ema: weight of the past in the moving average that corrects the gradient.
        held_out: share of the pairs that is not trained on.
        validate_every: steps between readings on the validation pairs.
        seed: of weights, batches, split and shuffles.
        progress: show progress on stderr.
        callbacks: each called with the number of steps done.

    Returns:
        (mi, standard_error, history). With n held-out pairs a bound far above log n cannot be shown; it is then too low.

    Raises:
        DataError: different lengths, not finite, or fewer than 50 pairs.
        OptionError: an option out of range.
        TrainingError: the loss is no longer finite.

    Cost: `steps` passes of the network over 2 batch_size pairs, forward and backward.

    >>> x = np.random.default_rng(0).normal(size=(500, 1))
    >>> mine_mutual_information(x, -x, steps=200, lr=1e-2, hidden=(32,)).mi > 0.3
    True
    """
    if not isinstance(network, nn.Module):
        check_choice(network, ("dense", "conv"), "network")
    for value, name in ((steps, "steps"), (batch_size, "batch_size"), (validate_every, "validate_every")):
        check_range(value, name, low=1, integer=True)
    for width in hidden:
        check_range(width, "hidden", low=1, integer=True)
    check_range(lr, "lr", low=0, open_low=True)
    check_range(ema, "ema", low=0, high=0.9999)
    check_range(held_out, "held_out", low=0.05, high=0.9)
    check_range(seed, "seed", low=0, integer=True)
    sides = [_standardized(values) for values in (x, y)]
    n = check_same_length(x=sides[0], y=sides[1])
    if n < 50:
        raise DataError(f"MINE needs at least 50 pairs to train on some and to read the bound on others, got {n}")
    order = np.random.default_rng([int(seed), 2]).permutation(n)
    cut = n - round(held_out * n)
    middle = cut + (n - cut) // 3
    rows = [torch.as_tensor(order[part]) for part in (slice(0, cut), slice(cut, middle), slice(middle, n))]
    training, validation, test = ([side[some] for side in sides] for some in rows)
    if not isinstance(network, nn.Module):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(seed, 0))
            shapes = sides[0].shape[1:], sides[1].shape[1:]
            network = StatisticsNetwork(*shapes, hidden, convolutional=network == "conv")
    task = MineTask(network, lr=lr, ema=ema)
    history: list[tuple[int, float]] = []
    best: dict[str, Tensor] = {}

    def read(step: int) -> None:
        if step % validate_every and step != steps:
            return
        network.eval()
        value = _bound(network, validation, seed)[0]
        network.train()
        if not history or value > max(old for _, old in history):
            best.update({name: weight.detach().clone() for name, weight in network.state_dict().items()})
        history.append((step, value))

    train(
        task,
        TensorBatches(*training, batch_size=int(batch_size), seed=seed),
        steps=int(steps),
        seed=seed,
        progress=progress,
        label="MINE",
        callbacks=[read, *callbacks],
    )
    network.load_state_dict(best)
    network.eval()
    return MineEstimate(*_bound(network, test, seed + 1), history)


def _standardized(values: Any) -> Tensor:
    """Observations with mean zero and one deviation for all numbers, so that the network starts on its scale."""
    array = np.asarray(values)
    data = as_input(as_observations(array[:, None] if array.ndim == 1 else values))
    if data.ndim == 4:
        spread, mean = torch.std_mean(data)
    else:
        spread, mean = torch.std_mean(data, 0)
    return (data - mean) / spread.where(spread > 0, 1.0)


def _bound(network: nn.Module, pairs: Sequence[Tensor], seed: int) -> tuple[float, float]:
    """The Donsker-Varadhan bound and its standard error by the delta method; each x with ten ys of other rows."""
    x, y = pairs
    n = len(x)
    generator = torch.Generator().manual_seed(stream_seed(seed, 4))
    shifts = 1 + torch.randperm(n - 1, generator=generator)[: min(SHUFFLES, n - 1)]

    def values(other: Tensor) -> Tensor:
        return torch.cat([network(a, b) for a, b in zip(x.split(1024), other.split(1024), strict=True)]).double()

    with torch.inference_mode():
        joint = values(y)
        apart = torch.stack([values(y.roll(int(shift), 0)) for shift in shifts])
    log_mean = float(torch.logsumexp(apart.flatten(), 0)) - math.log(apart.numel())
    relative = torch.exp(apart - log_mean).mean(dim=0)  # a term of the mean for each x
    variance = float(joint.var()) / n + float(relative.var()) / n
    return float(joint.mean()) - log_mean, math.sqrt(variance)
