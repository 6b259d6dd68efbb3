"""Posteriors of any Gaussian encoder, and what its passive latents do while it trains.

Bonheme and Grzes 2023 (arXiv 2109.12679), Section 5: passive means are highly correlated and have next to no covariance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from unsnarl.arrays import check_choice, check_range, to_numpy
from unsnarl.errors import DataError, OptionError
from unsnarl.measures._active import LatentTypes, classify_latents
from unsnarl.measures._inputs import varying
from unsnarl.measures._mean_and_sampled import correlation_of

if TYPE_CHECKING:
    import pandas as pd

SPATIAL = ("rows", "latents")


def gaussian_posterior(
    model: Any, x: Any, *, batch_size: int = 256, spatial: str = "rows"
) -> tuple[Float[np.ndarray, "n latent"], Float[np.ndarray, "n latent"]]:
    """Means and log-variances of a model's posteriors, batch by batch, without gradients and in evaluation mode.

    The model needs `encode(x)`, which returns (mu, logvar), or a distribution with `.mean` and `.logvar`, or (as the
    AutoencoderKL of diffusers does) an output whose `.latent_dist` is one. Training modes and torch's random state are left
    as they were.

    Encoders of images may have a posterior at each place of a grid, shape (n, channel, height, width). With
    `spatial="rows"` a channel is a latent and each place of each input an observation, which says what the channels do;
    rows of one input are then not independent, and factors have to be repeated height * width times. With
    `spatial="latents"` each channel at each place is a latent of its own.

    Args:
        model: a torch module or any object with `encode`.
        x: inputs: a tensor, an array, or a data set with `.observations`.
        batch_size: inputs encoded at a time.
        spatial: what to do with a grid of posteriors.

    Returns:
        mu and logvar, both of shape (n, latent).

    Raises:
        DataError: no inputs, no `encode`, or it returned something else.
        OptionError: an unknown `spatial`, or a batch size below 1.
    """
    check_choice(spatial, SPATIAL, "spatial")
    check_range(batch_size, "batch_size", low=1, integer=True)
    x = getattr(x, "observations", x)
    if not hasattr(x, "shape"):
        x = to_numpy(x, "x")
    if not callable(getattr(model, "encode", None)):
        raise DataError(f"model ({type(model).__name__}) has no method encode(x) -> (mu, logvar)")
    if len(x) == 0:
        raise DataError("x has no inputs to encode")
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    with _undisturbed(model):
        for start in range(0, len(x), int(batch_size)):
            mu, logvar = _mean_and_logvar(model.encode(_as_input(x[start : start + int(batch_size)], model)))
            parts.append((_flat(to_numpy(mu, "mu"), spatial), _flat(to_numpy(logvar, "logvar"), spatial)))
    mu, logvar = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if mu.shape != logvar.shape:
        raise DataError(f"encode returned mu of shape {mu.shape} and logvar of shape {logvar.shape}")
    return mu, logvar


@contextlib.contextmanager
def _undisturbed(model: Any) -> Iterator[None]:
    """Evaluation mode, no gradients, and everything as before afterwards."""
    import torch

    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    modes = [module.training for module in modules]
    parameter = _first_parameter(model)
    devices = [parameter.device] if parameter is not None and parameter.device.type == "cuda" else []
    try:
        for module in modules:
            module.training = False
        with torch.no_grad(), torch.random.fork_rng(devices):
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _first_parameter(model: Any) -> Any:
    import torch

    return next(model.parameters(), None) if isinstance(model, torch.nn.Module) else None


def _as_input(batch: Any, model: Any) -> Any:
    """Inputs where the model's parameters are, in their precision; other objects get what they were given."""
    import torch

    if not isinstance(model, torch.nn.Module):
        return batch
    tensor = batch if isinstance(batch, torch.Tensor) else torch.as_tensor(np.ascontiguousarray(batch))
    parameter = _first_parameter(model)
    if parameter is None:
        return tensor
    return tensor.to(parameter.device, parameter.dtype if tensor.is_floating_point() else None)


def _mean_and_logvar(output: Any) -> tuple[Any, Any]:
    if isinstance(output, tuple | list) and len(output) == 1:
        output = output[0]
    output = getattr(output, "latent_dist", output)
    if hasattr(output, "logvar") and hasattr(output, "mean"):
        return output.mean, output.logvar
    if isinstance(output, tuple | list) and len(output) == 2:
        return output[0], output[1]
    raise DataError(
        f"encode must return (mu, logvar), a distribution with .mean and .logvar, or an output with .latent_dist; "
        f"got {type(output).__name__}" + (f" of length {len(output)}" if isinstance(output, tuple | list) else "")
    )


def _flat(values: np.ndarray, spatial: str) -> np.ndarray:
    """(n, channel, *grid) as (n * grid, channel) or (n, channel * grid)."""
    if values.ndim < 2:
        raise DataError(f"encode must return one row an input, got shape {values.shape}")
    if spatial == "rows":
        values = np.moveaxis(values, 1, -1)
        return values.reshape(-1, values.shape[-1])
    return values.reshape(len(values), -1)


@dataclass(frozen=True)
class _Record:
    step: int
    types: LatentTypes
    cov: Float[np.ndarray, "latent latent"]


class PassiveTracker:
    """Follows correlation and covariance of the passive latents' means during training.

    Call it from a training loop; every `every` steps it encodes the same inputs and keeps the covariance of mu and the
    classification. A high correlation with next to no covariance is the echo that makes a mean representation look entangled.

    Args:
        x: the inputs to encode each time (a few hundred will do); a tensor, an array, or a data set with `.observations`.
        every: steps between records; 1,000 in the paper.
        var_tol: as in `classify_latents`.
        mean_tol: as in `classify_latents`.
        batch_size: inputs encoded at a time.
        spatial: as in `gaussian_posterior`.

    Cost: encoding x, and latents^2 numbers kept a record.

    Examples:
        >>> class Encoder:
        ...     def encode(self, x):
        ...         echo = 0.01 * x[:, :1]
        ...         return np.hstack([x[:, 1:], echo, 2 * echo]), np.log(np.full((len(x), 3), [0.01, 1.0, 1.0]))
        >>> tracker = PassiveTracker(np.random.default_rng(0).normal(size=(500, 2)), every=10)
        >>> for step in range(1, 31):
        ...     tracker(step, Encoder())
        >>> tracker.table()[["step", "latents", "correlation"]].round(2)
           step  latents  correlation
        0    10        2          1.0
        1    20        2          1.0
        2    30        2          1.0
    """

    def __init__(
        self,
        x: Any,
        *,
        every: int = 1000,
        var_tol: float = 0.1,
        mean_tol: float = 0.1,
        batch_size: int = 256,
        spatial: str = "rows",
    ):
        check_range(every, "every", low=1, integer=True)
        check_choice(spatial, SPATIAL, "spatial")
        self.x = x
        self.every = int(every)
        self.var_tol = var_tol
        self.mean_tol = mean_tol
        self.batch_size = batch_size
        self.spatial = spatial
        self.records: list[_Record] = []

    def __call__(self, step: int, model: Any) -> None:
        """Record this step if it is a multiple of `every`."""
        if step % self.every:
            return
        mu, logvar = gaussian_posterior(model, self.x, batch_size=self.batch_size, spatial=self.spatial)
        types = classify_latents(logvar, var_tol=self.var_tol, mean_tol=self.mean_tol, is_logvar=True)
        cov = np.atleast_2d(np.cov(mu.astype(np.float64), rowvar=False))
        constant = ~varying(mu)
        cov[constant] = cov[:, constant] = 0.0
        self.records.append(_Record(int(step), types, cov))

    @property
    def types(self) -> LatentTypes:
        """The latest classification.

        Raises:
            DataError: nothing has been recorded yet.
        """
        if not self.records:
            raise DataError(f"nothing has been recorded yet; call tracker(step, model) with a multiple of {self.every}")
        return self.records[-1].types

    def table(self, latents: str | Int[np.ndarray, " chosen"] | list[int] = "then") -> pd.DataFrame:
        """One row a record: the mean absolute correlation and covariance between different latents of a block.

        Args:
            latents: "then" takes the latents that were passive at each record, "last" those passive at the last one, in
                hindsight, all the way; or indices of latents.

        Returns:
            A data frame with columns step, latents (size of the block), correlation and covariance of mu in the block, and
            sampled_correlation, what is left of the correlation when z is sampled (by the law of total covariance
            cov z = cov mu + diag(m)). nan for a block with fewer than two latents; a latent whose mean is constant counts
            as uncorrelated.

        Raises:
            OptionError: an unknown word, or an index out of range.
        """
        import pandas as pd

        rows = []
        for record in self.records:
            chosen = self._block(record, latents)
            block = record.cov[np.ix_(chosen, chosen)]
            noisy = block + np.diag(record.types.mean[chosen])
            rows.append(
                {
                    "step": record.step,
                    "latents": len(chosen),
                    "correlation": _mean_off_diagonal(correlation_of(block)),
                    "covariance": _mean_off_diagonal(block),
                    "sampled_correlation": _mean_off_diagonal(correlation_of(noisy)),
                }
            )
        return pd.DataFrame(rows, columns=["step", "latents", "correlation", "covariance", "sampled_correlation"])

    def _block(self, record: _Record, latents: Any) -> Int[np.ndarray, " chosen"]:
        if isinstance(latents, str):
            check_choice(latents, ("then", "last"), "latents")
            return (record if latents == "then" else self.records[-1]).types.passive
        chosen = np.asarray(latents, dtype=np.int64)
        if chosen.ndim != 1 or (chosen < 0).any() or (chosen >= len(record.cov)).any():
            raise OptionError(f"latents={latents!r} must be indices from 0 to {len(record.cov) - 1}")
        return chosen


def _mean_off_diagonal(matrix: Float[np.ndarray, "k k"]) -> float:
    """Mean absolute value off the diagonal; nan for fewer than two."""
    k = len(matrix)
    if k < 2:
        return float("nan")
    return float((np.abs(matrix).sum() - np.abs(np.diag(matrix)).sum()) / (k * k - k))
